#include "runtime/dispatch/dispatch.h"

#include "bridge/registry/profile.h"
#include "memory/pool.h"
#include "runtime/dispatch/trace.h"
#include "runtime/dispatch/undeliverable.h"
#include "runtime/identity/identity.h"
#include "runtime/reload/trial/shadow.h"
#include "runtime/reload/trial/tally.h"
#include "runtime/tracing/hop.h"
#include "runtime/work/asking.h"
#include "runtime/work/waiting.h"
#include "script/binding/send.h"

atomic_uint dispatch_observers;

/* A dispatch whose hook waits: all that it needs, kept. */
struct dispatch_job {
    struct waiting waiting; /* first; of its route */
    struct dispatch dispatch;
    struct envelope envelope;
    struct text_store store;
    struct envelope_defaults defaults;
    char timestamp[CLOCK_ISO_LENGTH];
    struct script_sender who;
    struct profile *profile; /* of who sent it; NULL over HTTP */
    uint64_t began_ns;       /* steady clock, for the trace */
    struct tally tally;
    struct hop hop; /* where dispatch.hop points, unless that is NULL */
    /* Once delivered: on_undeliverable hooks of its own failures that wait, and what holds without them. */
    unsigned unresolved;
    bool accepted, overran;
    enum code refusal;
    struct frame *frame;
    char *text; /* dispatch.text, JSON_SLACK bytes behind it, and what of it came packed */
    size_t text_size;
};

/* --- Jobs --- */

static void free_job(struct dispatch_job *job)
{
    text_store_free(&job->store);
    profile_release(job->profile);
    identity_release(job->dispatch.identity);
    party_release(job->dispatch.payer);
    frame_release(job->frame);
    pool_release(POOL_BUFFERS, job->text, job->text_size);
    pool_release(POOL_ARRAYS, job, sizeof *job);
}

static const struct script_sender *sender_of(const struct dispatch_job *job)
{
    return job->profile || job->dispatch.identity ? &job->who : NULL;
}

/* Keeps what `dispatch` and `sender` point to. NULL: no memory. */
static struct dispatch_job *new_job(const struct dispatch *dispatch, const struct script_sender *sender)
{
    struct dispatch_job *job = pool_acquire(POOL_ARRAYS, sizeof *job);
    size_t size = dispatch->text.length + JSON_SLACK + envelope_packed_length(dispatch->envelope);
    char *text = pool_acquire(POOL_BUFFERS, size);
    if (!job || !text) {
        pool_release(POOL_ARRAYS, job, sizeof *job);
        pool_release(POOL_BUFFERS, text, size);
        return NULL;
    }
    *job = (struct dispatch_job){
        .dispatch = *dispatch, .defaults = *dispatch->defaults, .text = text, .began_ns = clock_steady_ns()};
    job->text_size = size;
    if (dispatch->hop) {
        job->hop = *dispatch->hop;
        job->dispatch.hop = &job->hop;
    }
    memcpy(text, dispatch->text.data, dispatch->text.length);
    memset(text + dispatch->text.length, 0, JSON_SLACK);
    memcpy(job->timestamp, dispatch->defaults->timestamp, sizeof job->timestamp);
    job->defaults.timestamp = job->timestamp;
    envelope_move(&job->envelope, dispatch->envelope, dispatch->text, text, &job->store);
    job->dispatch.text.data = text;
    job->dispatch.envelope = &job->envelope;
    job->dispatch.defaults = &job->defaults;
    if (dispatch->sender && dispatch->sender->profile)
        job->profile = profile_retain(dispatch->sender->profile);
    job->dispatch.identity = identity_retain(dispatch->identity);
    job->dispatch.payer = party_retain(dispatch->payer);
    if (sender)
        job->who = *sender; /* its texts are the profile's, or the identity's */
    return job;
}

/* Only what was accepted is remembered: a retry of the rest passes. */
static void settle_id(const struct dispatch *dispatch, const struct dispatch_result *result)
{
    if (dispatch->dedup.number && (result->dropped || result->code != CODE_OK))
        dedup_forget(dispatch->dedup);
}

static void count_refusal(const struct tally *tally, struct reactor *reactor, const struct dispatch_result *result)
{
    if (result->code != CODE_OK && !result->dropped)
        tally_refused(tally, reactor);
}

static void end_job(struct reactor *reactor, struct dispatch_job *job, struct dispatch_result *result)
{
    settle_id(&job->dispatch, result);
    count_refusal(&job->tally, reactor, result);
    if (job->dispatch.hop)
        hop_end(job->dispatch.hop, reactor, &job->dispatch, result);
    result->id = envelope_text(&job->envelope, FIELD_ID, &job->defaults);
    result->sender = job->profile ? job->profile->id : slice_from(NULL, 0);
    if (job->dispatch.done)
        job->dispatch.done(job->dispatch.context, result);
    else
        frame_release(result->frame);
    free_job(job);
}

void dispatch_forget(struct dispatch_job *job)
{
    job->dispatch.done = NULL;
}

/* The connection may have left while a hook waited; what it sent is its agent's all the same. */
static void look_after_sender(struct dispatch *dispatch, const struct profile *profile)
{
    if (!dispatch->sender || dispatch->sender->state == ENDPOINT_HOLDING || dispatch->sender->state == ENDPOINT_LIVE)
        return;
    dispatch->sender = NULL;
    if (profile)
        dispatch->sender_id = profile->id;
}

bool dispatch_scan(const struct dispatch *dispatch, const struct config *config, struct text_store *store,
                   struct message *message)
{
    struct message_rules rules = {
        .depth = config->limits.json_depth, .lenient = config->mode == CONFIG_MODE_ORIGINAL, .utf8_checked = true};
    char error[ERROR_TEXT_BYTES];
    if (!dispatch->is_message)
        return envelope_scan(dispatch->text, &rules, store, &message->envelope, error) == CODE_OK;
    return message_scan((char *)dispatch->text.data, dispatch->text.length, &rules, store, message) == CODE_OK;
}

/* In the place of what the script has made of it. */
static bool scan_again(struct reactor *reactor, const struct dispatch *dispatch)
{
    struct envelope *envelope = dispatch->envelope;
    uint32_t packed_sent = envelope->packed_sent;
    struct slice packed[FIELD_OPAQUE_COUNT];
    struct message message;
    memcpy(packed, envelope->packed, sizeof packed);
    if (!dispatch_scan(dispatch, reactor->config, envelope->store, &message))
        return false;
    *envelope = message.envelope;
    for (uint32_t rest = packed_sent; rest; rest &= rest - 1) {
        unsigned field = (unsigned)__builtin_ctz(rest);
        envelope_keep_packed(envelope, (enum field)field, packed[field - FIELD_TEXT_COUNT]);
    }
    return true;
}

/* The decision of a `route` that failed, by script.onError; NULL: the envelope is dropped. */
static const struct decision *decision_after_failure(struct reactor *reactor, const struct dispatch *dispatch)
{
    static const struct decision by_default = {.count = 1, .items = {{.kind = DECISION_DEFAULT}}};
    if (reactor->config->script.on_error == CONFIG_ON_ERROR_DROP || !scan_again(reactor, dispatch))
        return NULL;
    return &by_default;
}

/* --- What scripts send themselves --- */

static void carry_out_send(struct reactor *reactor, const struct script_send *send)
{
    struct lane *lane = reactor->lane;
    struct envelope envelope;
    struct text_store store = {0};
    struct envelope_defaults defaults = {.timestamp = lane->timestamp};
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
    char error[ERROR_TEXT_BYTES];
    struct decision decision = {.count = 1,
                                .items = {{.kind = DECISION_TO, .ids = send->agents, .id_count = send->agent_count}}};
    /* A script that sends again what nobody took would never end. */
    struct delivery delivery = {.lane = lane, .envelope = &envelope, .defaults = &defaults, .telling = TELL_LOSSES};
    struct delivery_result result;
    struct hop hop;
    char trace[TRACE_MEMBER_BYTES];
    if (envelope_scan(frame_envelope(send->frame), &rules, &store, &envelope, error) == CODE_OK) {
        hop_drop_empty(&envelope);
        bool traced = tracing_on && hop_begin_send(&hop, &envelope, send->caused ? &send->cause : NULL);
        if (traced) {
            delivery.trace = hop_frame_trace(&hop, true);
            hop_tell_recipients(&hop, &envelope, trace);
        }
        delivery_carry_out(&delivery, &decision, &result);
        if (traced)
            hop_sent(&hop, reactor, &envelope, &defaults, result.taken);
        frame_release(result.frame);
    }
    text_store_free(&store);
}

static void send_all(struct reactor *reactor, struct script_state *script)
{
    struct script_send *send;
    while ((send = script_take_send(script))) {
        carry_out_send(reactor, send);
        script_send_free(send);
    }
}

void dispatch_undeliverable(struct reactor *reactor)
{
    struct resolving none = {0};
    undeliverable_resolve(reactor, &none);
}

void dispatch_sends(struct reactor *reactor)
{
    send_all(reactor, reactor->script);
    if (__builtin_expect(reactor->scripts.several, 0))
        scripts_each(reactor, send_all);
}

/* --- The way of one envelope --- */

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

static void finish_dispatch(struct reactor *reactor, bool accepted, enum code refusal, struct dispatch_result *result)
{
    if (!accepted) {
        result->code = refusal != CODE_OK ? refusal : CODE_NO_RECIPIENT;
        result->text = refusal_text(result->code);
        return;
    }
    counter_add(&reactor->lane->counters.messages_in, 1);
    reactor->pass_messages++;
}

struct dispatch_job *dispatch_keep(const struct dispatch *dispatch)
{
    return new_job(dispatch, NULL);
}

void dispatch_await(struct dispatch_job *job)
{
    job->unresolved++;
}

const struct dispatch *dispatch_of(struct dispatch_job *job)
{
    look_after_sender(&job->dispatch, job->profile);
    return &job->dispatch;
}

void dispatch_resolved(struct reactor *reactor, struct dispatch_job *job, bool taken, bool overran)
{
    job->accepted = job->accepted || taken;
    job->overran = job->overran || overran;
    if (--job->unresolved > 0)
        return;
    struct dispatch_result answer = {.frame = job->frame, .overran = job->overran};
    job->frame = NULL;
    finish_dispatch(reactor, job->accepted, job->refusal, &answer);
    end_job(reactor, job, &answer);
}

/* After route. `job`: NULL while nothing of this dispatch has waited. NULL: it is over. */
static struct dispatch_job *deliver(struct reactor *reactor, const struct dispatch *dispatch, struct dispatch_job *job,
                                    const struct decision *decision, struct dispatch_result *result)
{
    struct lane *lane = reactor->lane;
    if (!decision) {
        result->code = CODE_SCRIPT_FAILED;
        result->text = SLICE("the routing script failed, and the configuration says to drop its envelopes then");
        return NULL;
    }
    struct delivery delivery = {.lane = lane,
                                .envelope = dispatch->envelope,
                                .defaults = dispatch->defaults,
                                .sender = dispatch->sender,
                                .share = dispatch->share,
                                .sender_id = dispatch->sender_id};
    struct delivery_result delivered;
    char trace[TRACE_MEMBER_BYTES];
    if (__builtin_expect(dispatch->hop != NULL, 0)) {
        delivery.trace = hop_frame_trace(dispatch->hop, false);
        hop_tell_recipients(dispatch->hop, dispatch->envelope, trace);
    }
    delivery_carry_out(&delivery, decision, &delivered);
    if (__builtin_expect(dispatch->hop != NULL, 0))
        hop_take_back(dispatch->envelope, trace);
    result->frame = delivered.frame;
    result->taken = delivered.taken;
    if (delivered.dropped) {
        result->dropped = true;
        result->code = delivered.tell ? CODE_SCRIPT_DROPPED : CODE_OK;
        result->text = delivered.reason;
        return NULL;
    }
    if (__builtin_expect(lane->undeliverable_first != NULL, 0)) {
        struct resolving own = {.dispatch = dispatch, .frame = delivered.frame, .job = job};
        undeliverable_resolve(reactor, &own);
        delivered.accepted = delivered.accepted || own.taken;
        result->overran = result->overran || own.overran;
        if (own.job && own.job->unresolved > 0) {
            own.job->accepted = delivered.accepted;
            own.job->overran = result->overran;
            own.job->refusal = delivered.refusal;
            own.job->frame = delivered.frame;
            result->frame = NULL;
            return own.job;
        }
    }
    finish_dispatch(reactor, delivered.accepted, delivered.refusal, result);
    if (__builtin_expect(result->code != CODE_OK, 0) && delivered.reason.data)
        result->text = delivered.reason;
    return NULL;
}

/* Whether the version in use may decide in the place of this state, which has failed, of one that is or was on trial:
 * nobody's envelope suffers from a trial. */
static bool may_ask_again(struct reactor *reactor, const struct script_state *failed, const struct dispatch *dispatch)
{
    return failed != reactor->script && !reactor->draining && scripts_slot_of(&reactor->scripts, failed)->on_trial &&
           scan_again(reactor, dispatch);
}

static unsigned version_of(const struct reactor *reactor, const struct script_state *script)
{
    return scripts_slot_of(&reactor->scripts, script)->version->number;
}

/* Those who watch, and the envelope's spans where it has some. */
static void tell_routed(struct reactor *reactor, struct trace *trace, const struct trace_record *record)
{
    if (trace_wanted(reactor))
        trace_begin(trace, reactor, record);
    if (record->dispatch->hop)
        hop_routed(record->dispatch->hop, record);
}

static void routed_later(struct waiting *waiting, enum script_result routed, const struct script_outcome *outcome);

static const struct trace_context *trace_of(const struct dispatch_job *job)
{
    return job->dispatch.hop ? &job->hop.context : NULL;
}

static void start_waiting(struct reactor *reactor, struct script_state *script, struct dispatch_job *job)
{
    waiting_start_traced(reactor, script, &job->waiting, trace_of(job), routed_later);
    job->waiting.payer = job->dispatch.payer;
}

static void routed_later(struct waiting *waiting, enum script_result routed, const struct script_outcome *outcome)
{
    struct dispatch_job *job = (struct dispatch_job *)waiting;
    struct reactor *reactor = waiting->reactor;
    struct script_state *script = waiting->script;
    struct dispatch_result result = {0};
    struct decision *decided = outcome->decision;
    struct trace trace = {0};
    look_after_sender(&job->dispatch, job->profile);
    if (routed == SCRIPT_FAILED && may_ask_again(reactor, script, &job->dispatch)) {
        script_take_overrun(script); /* a trial's fault is nobody's else */
        tally_failed(&job->tally, reactor);
        script = reactor->script;
        job->tally = tally_begin(reactor, script);
        routed = script_route(script, &job->envelope, sender_of(job), &job->defaults, &decided);
        if (routed == SCRIPT_WAITS) {
            start_waiting(reactor, script, job);
            return;
        }
    }
    if (routed == SCRIPT_FAILED)
        tally_failed(&job->tally, reactor);
    result.overran = routed == SCRIPT_FAILED && script_take_overrun(script);
    const struct decision *decision =
        routed == SCRIPT_DECIDED ? decided : decision_after_failure(reactor, &job->dispatch);
    tell_routed(reactor, &trace,
                &(struct trace_record){.dispatch = &job->dispatch,
                                       .sender = sender_of(job),
                                       .version = version_of(reactor, script),
                                       .hook = "route",
                                       .decision = decision,
                                       .failed = routed != SCRIPT_DECIDED,
                                       .waited = true,
                                       .cached = routed == SCRIPT_DECIDED && script_from_cache(script),
                                       .took_ns = clock_steady_ns() - job->began_ns});
    tally_decided(&job->tally, reactor, decision);
    bool over = !deliver(reactor, &job->dispatch, job, decision, &result);
    trace_end(&trace, &result);
    if (over)
        end_job(reactor, job, &result);
}

static struct dispatch_job *wait_for_route(struct reactor *reactor, struct script_state *script,
                                           const struct dispatch *dispatch, const struct script_sender *sender,
                                           struct dispatch_result *result)
{
    struct dispatch_job *job = new_job(dispatch, sender);
    if (!job) {
        script_abandon(script, script_take_wait(script), "not enough memory to wait");
        result->code = CODE_OVERLOADED;
        result->text = refusal_text(CODE_OVERLOADED);
        return NULL;
    }
    script_move_taken(script, &job->envelope, sender ? &job->who : NULL, &job->defaults);
    start_waiting(reactor, script, job);
    return job;
}

/* The way while a version is on trial, or somebody traces, or the envelope has spans. */
static struct dispatch_job *dispatch_observed(struct reactor *reactor, const struct dispatch *dispatch,
                                              const struct script_sender *sender, struct dispatch_result *result)
{
    struct slice from =
        sender && sender->id.data ? sender->id : envelope_text(dispatch->envelope, FIELD_FROM, dispatch->defaults);
    struct slice labels = sender ? sender->labels : SLICE("[]");
    struct script_state *script = scripts_pick(&reactor->scripts, from, labels);
    bool shadowed = scripts_shadow(&reactor->scripts, from, labels);
    struct decision *decided = NULL;
    uint64_t began_ns = clock_steady_ns();
    struct tally tally = tally_begin(reactor, script);
    enum script_result routed = script_route(script, dispatch->envelope, sender, dispatch->defaults, &decided);
    if (routed == SCRIPT_FAILED && may_ask_again(reactor, script, dispatch)) {
        script_take_overrun(script); /* a trial's fault is nobody's else */
        tally_failed(&tally, reactor);
        script = reactor->script;
        tally = tally_begin(reactor, script);
        routed = script_route(script, dispatch->envelope, sender, dispatch->defaults, &decided);
    }
    struct dispatch_job *job;
    if (routed == SCRIPT_WAITS) {
        job = wait_for_route(reactor, script, dispatch, sender, result);
        if (job)
            job->tally = tally;
        return job;
    }
    if (routed == SCRIPT_FAILED)
        tally_failed(&tally, reactor);
    result->overran = routed == SCRIPT_FAILED && script_take_overrun(script);
    uint64_t took_ns = clock_steady_ns() - began_ns;
    const struct decision *decision = routed == SCRIPT_DECIDED ? decided : decision_after_failure(reactor, dispatch);
    if (decision && shadowed)
        shadow_compare(reactor, dispatch, sender, decision);
    struct trace trace = {0};
    tell_routed(reactor, &trace,
                &(struct trace_record){.dispatch = dispatch,
                                       .sender = sender,
                                       .version = version_of(reactor, script),
                                       .hook = "route",
                                       .decision = decision,
                                       .failed = routed != SCRIPT_DECIDED,
                                       .cached = routed == SCRIPT_DECIDED && script_from_cache(script),
                                       .took_ns = took_ns});
    tally_decided(&tally, reactor, decision); /* before delivering: on_undeliverable takes the decision's texts away */
    job = deliver(reactor, dispatch, NULL, decision, result);
    if (job)
        job->tally = tally;
    else
        count_refusal(&tally, reactor, result);
    trace_end(&trace, result);
    return job;
}

static struct dispatch_job *route(struct reactor *reactor, struct dispatch *dispatch, struct dispatch_result *result)
{
    if (__builtin_expect(atomic_load_explicit(&asking_out, memory_order_relaxed) != 0, 0) &&
        asking_take_reply(reactor, dispatch, result))
        return NULL;
    struct script_sender who, *sender = NULL;
    if (dispatch->sender && dispatch->sender->profile) {
        const struct profile *profile = dispatch->sender->profile;
        who = (struct script_sender){.id = profile->id, .role = profile->role, .labels = profile->labels};
        if (profile->owner.length > 0)
            who.identity = profile->owner;
        sender = &who;
    } else if (dispatch->identity) {
        who = (struct script_sender){.labels = SLICE("[]"), .identity = dispatch->identity->owner};
        sender = &who;
    }
    if (__builtin_expect(atomic_load_explicit(&dispatch_observers, memory_order_relaxed) > 0, 0) ||
        __builtin_expect(events_wanted(EVENT_TRACE), 0) || __builtin_expect(dispatch->hop != NULL, 0))
        return dispatch_observed(reactor, dispatch, sender, result);
    struct decision *decided = NULL;
    switch (script_route(reactor->script, dispatch->envelope, sender, dispatch->defaults, &decided)) {
    case SCRIPT_DECIDED:
        return deliver(reactor, dispatch, NULL, decided, result);
    case SCRIPT_WAITS:
        return wait_for_route(reactor, reactor->script, dispatch, sender, result);
    default:
        result->overran = script_take_overrun(reactor->script);
        return deliver(reactor, dispatch, NULL, decision_after_failure(reactor, dispatch), result);
    }
}

/* Before the script sees it: a retry is not routed twice. From here on the id counts as accepted, until settle_id knows
 * better, so that of two at the same time on two reactors one passes. */
static bool remember_id(struct reactor *reactor, struct dispatch *dispatch)
{
    struct envelope *envelope = dispatch->envelope;
    if (!envelope_has(envelope, FIELD_ID))
        return true; /* the bridge makes one */
    struct slice sender = dispatch->sender && dispatch->sender->profile
                              ? dispatch->sender->profile->id
                              : envelope_text(envelope, FIELD_FROM, dispatch->defaults);
    dispatch->dedup = dedup_take(dedup_key(sender, envelope_sent_text(envelope, FIELD_ID)), reactor->now_ms);
    return dispatch->dedup.number != 0;
}

static struct dispatch_job *route_once(struct reactor *reactor, struct dispatch *dispatch,
                                       struct dispatch_result *result)
{
    if (!remember_id(reactor, dispatch)) {
        result->code = CODE_DUPLICATE;
        result->text = SLICE("an envelope with this id from this sender was taken already, a short time ago");
        return NULL;
    }
    struct dispatch_job *job = route(reactor, dispatch, result);
    if (!job)
        settle_id(dispatch, result);
    return job;
}

static struct dispatch_job *dispatch_traced(struct reactor *reactor, struct dispatch *dispatch,
                                            struct dispatch_result *result)
{
    struct hop hop;
    const struct hop_origin origin = {
        .envelope = dispatch->envelope, .inherited = dispatch->inherited, .share = dispatch->share};
    if (hop_begin(&hop, reactor, &origin))
        dispatch->hop = &hop;
    struct dispatch_job *job = (dedup_on ? route_once : route)(reactor, dispatch, result);
    if (!job && dispatch->hop)
        hop_end(&hop, reactor, dispatch, result);
    dispatch->hop = NULL;
    return job;
}

struct dispatch_job *dispatch_envelope(struct reactor *reactor, struct dispatch *dispatch,
                                       struct dispatch_result *result)
{
    *result = (struct dispatch_result){0};
    if (__builtin_expect(tracing_on, 0))
        return dispatch_traced(reactor, dispatch, result);
    return __builtin_expect(dedup_on, 0) ? route_once(reactor, dispatch, result) : route(reactor, dispatch, result);
}
