#include "runtime/dispatch/undeliverable.h"

#include "bridge/delivery/dead_letter.h"
#include "bridge/registry/profile.h"
#include "bridge/registry/registry.h"
#include "memory/pool.h"
#include "protocol/msgpack/msgpack_frame.h"
#include "protocol/registration.h"
#include "runtime/work/waiting.h"

/* A failed delivery whose on_undeliverable is asked. */
struct resolution {
    struct waiting waiting; /* first */
    struct undeliverable *failure;
    struct dispatch_job *job; /* whose failure it is; NULL: of none that is under way */
    struct endpoint *sender;  /* of that dispatch, or: */
    struct slice sender_id;   /* the job's dispatch.sender_id */
    struct envelope envelope;
    struct text_store store;
    struct envelope_defaults defaults;
    char timestamp[CLOCK_ISO_LENGTH];
};

/* Gives whether somebody took it. */
static bool carry_out_decision(struct reactor *reactor, struct resolution *resolution, const struct decision *decision)
{
    struct lane *lane = reactor->lane;
    if (!decision)
        return false;
    /* Once is the rule, and what it pushes out of a mailbox would come back here without end. */
    struct delivery delivery = {.lane = lane,
                                .envelope = &resolution->envelope,
                                .defaults = &resolution->defaults,
                                .sender = resolution->sender,
                                .sender_id = resolution->sender_id,
                                .telling = TELL_NOTHING,
                                .dead_letter = resolution->failure->frame->dead_letter,
                                .share = resolution->failure->frame->share,
                                .again = true};
    struct slice from = envelope_text(&resolution->envelope, FIELD_FROM, &resolution->defaults);
    if (!client_id_reserved(from))
        delivery.answer_to = from;
    struct delivery_result result;
    delivery_carry_out(&delivery, decision, &result);
    frame_release(result.frame);
    return result.accepted;
}

/* The same; what nobody took may become a dead letter. */
static bool carry_out_again(struct reactor *reactor, struct resolution *resolution, const struct decision *decision)
{
    bool taken = carry_out_decision(reactor, resolution, decision);
    if (!taken && resolution->failure->letter)
        dead_letter_send(reactor->lane, resolution->failure);
    return taken;
}

static void free_resolution(struct resolution *resolution)
{
    text_store_free(&resolution->store);
    undeliverable_free(resolution->failure);
    pool_release(POOL_ARRAYS, resolution, sizeof *resolution);
}

static void resolved_later(struct waiting *waiting, enum script_result result, const struct script_outcome *outcome)
{
    struct resolution *resolution = (struct resolution *)waiting;
    struct reactor *reactor = waiting->reactor;
    struct dispatch_job *job = resolution->job;
    if (job) {
        const struct dispatch *dispatch = dispatch_of(job);
        resolution->sender = dispatch->sender;
        resolution->sender_id = dispatch->sender_id;
    }
    bool overran =
        result == SCRIPT_FAILED && script_take_overrun(waiting->script) && waiting->script == reactor->script;
    bool taken = carry_out_again(reactor, resolution, result == SCRIPT_DECIDED ? outcome->decision : NULL);
    free_resolution(resolution);
    if (job)
        dispatch_resolved(reactor, job, taken, overran);
}

/* As for its route: by who sent it, who may have left since. */
static struct script_state *pick_script(struct reactor *reactor, struct resolution *resolution)
{
    const struct endpoint *sender = resolution->sender;
    if (sender && sender->profile)
        return scripts_pick(&reactor->scripts, sender->profile->id, sender->profile->labels);
    struct slice from = resolution->sender_id.data
                            ? resolution->sender_id
                            : envelope_text(&resolution->envelope, FIELD_FROM, &resolution->defaults);
    struct agent_view view;
    if (!registry_find(from, &view))
        return scripts_pick(&reactor->scripts, from, SLICE("[]"));
    struct script_state *script = scripts_pick(&reactor->scripts, from, view.profile->labels);
    agent_view_release(&view);
    return script;
}

static void resolve_one(struct reactor *reactor, struct undeliverable *failure, struct resolving *of)
{
    struct lane *lane = reactor->lane;
    struct resolution *resolution = failure->tell ? pool_acquire(POOL_ARRAYS, sizeof *resolution) : NULL;
    if (!resolution) {
        if (failure->letter)
            dead_letter_send(lane, failure);
        undeliverable_free(failure);
        return;
    }
    *resolution = (struct resolution){.failure = failure};
    memcpy(resolution->timestamp, lane->timestamp, sizeof resolution->timestamp);
    resolution->defaults.timestamp = resolution->timestamp;
    bool own = of->frame && failure->frame == of->frame;
    if (own) {
        resolution->sender = of->dispatch->sender;
        resolution->sender_id = of->dispatch->sender_id;
    }
    char error[ERROR_TEXT_BYTES];
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
    rules.lenient = reactor->config->mode == CONFIG_MODE_ORIGINAL;
    struct decision *decision = NULL;
    struct script_state *script = reactor->script;
    enum script_result result = SCRIPT_FAILED;
    if (envelope_scan(frame_envelope(failure->frame), &rules, &resolution->store, &resolution->envelope, error) ==
        CODE_OK) {
        if (reactor->scripts.trial)
            script = pick_script(reactor, resolution);
        msgpack_keep_twin(&resolution->envelope, failure->frame);
        result = script_on_undeliverable(
            script, &resolution->envelope, NULL, &resolution->defaults,
            slice_from_string(undeliverable_reason_name(failure->reason)),
            slice_from(failure->recipient_length ? failure->recipient : NULL, failure->recipient_length), &decision);
    }
    if (result == SCRIPT_WAITS) {
        /* Where the dispatch finds no memory to wait too, its sender is told what holds now. */
        if (own && (of->job || (of->job = dispatch_keep(of->dispatch)))) {
            resolution->job = of->job;
            dispatch_await(of->job);
        } else {
            resolution->sender = NULL;
            resolution->sender_id = slice_from(NULL, 0);
        }
        waiting_start(reactor, script, &resolution->waiting, resolved_later);
        resolution->waiting.payer = resolution->job ? dispatch_of(resolution->job)->payer : NULL;
        return;
    }
    bool overran = result == SCRIPT_FAILED && script_take_overrun(script);
    bool taken = carry_out_again(reactor, resolution, decision);
    of->taken = of->taken || (own && taken);
    if (overran && own && script == reactor->script)
        of->overran = true;
    free_resolution(resolution);
}

void undeliverable_resolve(struct reactor *reactor, struct resolving *of)
{
    struct undeliverable *failure;
    while ((failure = lane_take_undeliverable(reactor->lane)))
        resolve_one(reactor, failure, of);
}
