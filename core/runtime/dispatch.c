#include "runtime/dispatch.h"

#include "bridge/profile.h"
#include "protocol/registration.h"

/* Reads again what the sender sent, without the script's changes. */
static bool scan_again(struct reactor *reactor, const struct dispatch *dispatch)
{
    const struct config *config = reactor->config;
    struct message_rules rules = {
        .depth = config->limits.json_depth, .lenient = config->mode == CONFIG_MODE_ORIGINAL, .utf8_checked = true};
    if (dispatch->is_message)
        return message_scan((char *)dispatch->text.data, dispatch->text.length, &rules, &reactor->store,
                            &reactor->message) == CODE_OK;
    char error[ERROR_TEXT_BYTES];
    return envelope_scan(dispatch->text, &rules, dispatch->envelope->store, dispatch->envelope, error) == CODE_OK;
}

/* The decision of a `route` that failed, by script.onError; NULL: the envelope is dropped. */
static const struct decision *decision_after_failure(struct reactor *reactor, const struct dispatch *dispatch)
{
    static const struct decision by_default = {.count = 1, .items = {{.kind = DECISION_DEFAULT}}};
    if (reactor->config->script.on_error == CONFIG_ON_ERROR_DROP || !scan_again(reactor, dispatch))
        return NULL;
    return &by_default;
}

/* Lets the script decide once more about each failed delivery. `current` is the frame of the dispatch that is under way
 * and `sender` where it came from. True: one of the failures was of it, and it found a taker after all. */
static bool resolve_undeliverable(struct reactor *reactor, const struct frame *current, struct endpoint *sender)
{
    struct lane *lane = reactor->lane;
    bool taken = false;
    struct undeliverable *failure;
    while ((failure = lane_take_undeliverable(lane))) {
        struct envelope envelope;
        struct text_store store = {0};
        char error[ERROR_TEXT_BYTES];
        struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
        rules.lenient = reactor->config->mode == CONFIG_MODE_ORIGINAL;
        struct envelope_defaults defaults = {.timestamp = lane->timestamp};
        if (envelope_scan(frame_envelope(failure->frame), &rules, &store, &envelope, error) == CODE_OK) {
            struct decision *decision = NULL;
            struct slice recipient =
                slice_from(failure->recipient_length ? failure->recipient : NULL, failure->recipient_length);
            script_on_undeliverable(reactor->script, &envelope, NULL, &defaults,
                                    slice_from_string(undeliverable_reason_name(failure->reason)), recipient,
                                    &decision);
            if (decision) {
                /* Its own failures are counted, but not told again: once is the rule. */
                struct delivery delivery = {.lane = lane, .envelope = &envelope, .defaults = &defaults};
                struct slice from = envelope_text(&envelope, FIELD_FROM, &defaults);
                if (failure->frame == current)
                    delivery.sender = sender;
                if (!client_id_reserved(from))
                    delivery.answer_to = from;
                struct delivery_result result;
                lane->report_undeliverable = false;
                delivery_carry_out(&delivery, decision, &result);
                lane->report_undeliverable = true;
                frame_release(result.frame);
                taken = taken || (result.accepted && failure->frame == current);
            }
        }
        text_store_free(&store);
        undeliverable_free(failure);
    }
    return taken;
}

void dispatch_undeliverable(struct reactor *reactor)
{
    if (reactor->lane->undeliverable_first)
        resolve_undeliverable(reactor, NULL, NULL);
}

static struct slice refusal_text(enum code code)
{
    switch (code) {
    case CODE_NO_RECIPIENT:
        return SLICE("nobody took the envelope: no connected agent matches");
    case CODE_MAILBOX_FULL:
        return SLICE("the recipient is absent and its mailbox can take no more");
    default:
        return SLICE("the bridge is out of memory or too far behind: try again later");
    }
}

void dispatch_envelope(struct reactor *reactor, const struct dispatch *dispatch, struct dispatch_result *result)
{
    struct lane *lane = reactor->lane;
    *result = (struct dispatch_result){0};
    struct script_sender who, *sender = NULL;
    if (dispatch->sender && dispatch->sender->profile) {
        const struct profile *profile = dispatch->sender->profile;
        who = (struct script_sender){.id = profile->id, .role = profile->role, .labels = profile->labels};
        sender = &who;
    }
    struct decision *decided = NULL;
    const struct decision *decision;
    if (script_route(reactor->script, dispatch->envelope, sender, dispatch->defaults, &decided) == SCRIPT_DECIDED)
        decision = decided;
    else
        decision = decision_after_failure(reactor, dispatch);
    if (!decision) {
        result->code = CODE_SCRIPT_FAILED;
        result->text = SLICE("the routing script failed, and the configuration says to drop its envelopes then");
        return;
    }

    struct delivery delivery = {
        .lane = lane, .envelope = dispatch->envelope, .defaults = dispatch->defaults, .sender = dispatch->sender};
    struct delivery_result delivered;
    delivery_carry_out(&delivery, decision, &delivered);
    result->frame = delivered.frame;
    if (delivered.dropped) {
        result->dropped = true;
        result->code = delivered.tell ? CODE_SCRIPT_DROPPED : CODE_OK;
        result->text = delivered.reason;
        return;
    }
    if (lane->undeliverable_first && resolve_undeliverable(reactor, delivered.frame, dispatch->sender))
        delivered.accepted = true;
    if (!delivered.accepted) {
        result->code = delivered.refusal != CODE_OK ? delivered.refusal : CODE_NO_RECIPIENT;
        result->text = refusal_text(result->code);
        return;
    }
    counter_add(&lane->counters.messages_in, 1);
    reactor->pass_messages++;
}
