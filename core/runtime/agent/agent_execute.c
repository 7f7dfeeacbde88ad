/* Work that an agent asks for (bridge.execute): handed to the workers, answered when they have done it. */
#include <stdio.h>

#include "bridge/delivery/delivery.h"
#include "bridge/registry/attachment.h"
#include "memory/pool.h"
#include "runtime/agent/session.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/handover/handover.h"
#include "runtime/handover/late.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"
#include "runtime/work/execute.h"

/* An envelope that asked for work, while the workers have it. */
struct execute_job {
    struct execute_job *next, **previous; /* all of the reactor */
    struct connection *connection;
    struct profile *profile; /* who asked, a reference; NULL: nobody that is registered */
    struct work *work;
    struct frame *asked; /* the envelope as it would go out: its id, task and channel are the answer's */
    uint64_t number;     /* by which another process knows it (runtime/handover/late.h); 0: none does */
    bool traced;
    struct hop hop; /* where it is */
};

static void end_hop(struct reactor *reactor, const struct hop *hop, struct envelope *envelope,
                    const struct envelope_defaults *defaults, enum code code, uint32_t taken)
{
    const struct dispatch as = {.envelope = envelope, .defaults = defaults, .is_message = true};
    hop_end(hop, reactor, &as, &(struct dispatch_result){.code = code, .taken = taken});
}

/* The envelope that asked, from its frame. True: the store is the caller's to free. */
static bool scan_asked(struct reactor *reactor, const struct frame *frame, struct text_store *store,
                       struct envelope *asked)
{
    char error[ERROR_TEXT_BYTES];
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
    rules.lenient = reactor->config->mode == CONFIG_MODE_ORIGINAL;
    if (envelope_scan(frame_envelope(frame), &rules, store, asked, error) == CODE_OK)
        return true;
    text_store_free(store);
    return false;
}

/* `text`: the result as JSON, or what is wrong. The connection hears of failures alone; NULL: there is none. `hop`
 * NULL: it is not traced. */
static void answer(struct reactor *reactor, struct connection *connection, const struct frame *frame, enum code code,
                   struct slice text, const struct hop *hop)
{
    struct envelope asked;
    struct text_store store = {0};
    struct envelope_defaults defaults = {.timestamp = reactor->lane->timestamp};
    uint32_t taken = 0;
    if (!scan_asked(reactor, frame, &store, &asked))
        return;
    if (code == CODE_OK) {
        struct decision reply = {.count = 1, .items = {{.kind = DECISION_REPLY, .payload = text}}};
        struct delivery delivery = {.lane = reactor->lane, .envelope = &asked, .defaults = &defaults};
        delivery.answer_to = envelope_text(&asked, FIELD_FROM, &defaults);
        struct delivery_result delivered;
        if (hop)
            delivery.trace = hop_frame_trace(hop, true);
        delivery_carry_out(&delivery, &reply, &delivered);
        frame_release(delivered.frame);
        taken = delivered.taken;
    } else if (connection && connection->phase == CONNECTION_WEBSOCKET) {
        session_object(connection, code, text, envelope_text(&asked, FIELD_ID, &defaults));
    }
    if (hop)
        end_hop(reactor, hop, &asked, &defaults, code, taken);
    text_store_free(&store);
}

/* Another process answers: what is traced of it ends here. */
static void end_here(struct reactor *reactor, const struct execute_job *job, enum code code)
{
    struct envelope asked;
    struct text_store store = {0};
    struct envelope_defaults defaults = {.timestamp = reactor->lane->timestamp};
    if (!scan_asked(reactor, job->asked, &store, &asked))
        return;
    end_hop(reactor, &job->hop, &asked, &defaults, code, 0);
    text_store_free(&store);
}

/* By the process that has the agent now, where that is another one. */
static void answer_execute(const struct execute_job *job, const struct work *work)
{
    struct buffer result = {0};
    enum code code = work_code(work);
    struct slice text = slice_from_string(work->task.error);
    if (job->traced)
        hop_worked(&job->hop.context, work, code);
    if (code == CODE_OK) {
        execute_append_result(&result, work);
        text = slice_from(result.data, result.length);
    }
    if (result.failed)
        code = CODE_OVERLOADED;
    if (code == CODE_OVERLOADED)
        text = work->task.status == TASK_CANCELLED ? SLICE("the bridge went away before it was done")
                                                   : SLICE("out of memory");
    struct reactor *reactor = connection_reactor(job->connection);
    if (job->number != 0 && handover_done()) {
        late_answer(job->number, code, text);
        if (job->traced)
            end_here(reactor, job, code);
    } else {
        answer(reactor, job->connection, job->asked, code, text, job->traced ? &job->hop : NULL);
    }
    buffer_free(&result);
}

void session_put_executing(struct reactor *reactor, struct frame_writer *writer)
{
    uint64_t number = (uint64_t)(reactor->index + 1) << 32;
    for (struct execute_job *job = reactor->executing; job; job = job->next) {
        if (!job->profile)
            continue; /* nobody could be told */
        job->number = number++;
        late_put_task(writer, job->number, job->profile, job->asked);
    }
}

bool session_answer_late(struct reactor *reactor, const struct late_answer *late)
{
    struct endpoint *endpoint = attachment_find(reactor->lane, late->id, late->owner);
    if (late->code != CODE_OK && !endpoint)
        return false;
    answer(reactor, endpoint ? connection_of(endpoint) : NULL, late->asked, late->code, late->text, NULL);
    return true;
}

static void executed(struct work *work)
{
    struct execute_job *job = work->owner;
    execute_finished(work);
    answer_execute(job, work);
    job->connection->executing--;
    *job->previous = job->next;
    if (job->next)
        job->next->previous = job->previous;
    profile_release(job->profile);
    frame_release(job->asked);
    pool_release(POOL_ARRAYS, job, sizeof *job);
    work_free(work);
}

static bool may_execute(const struct connection *connection)
{
    const struct config_list *roles = &connection_reactor(connection)->config->phase2.worker_pool.allow_roles;
    for (size_t i = 0; i < roles->count && connection_registered(connection); i++)
        if (slice_equal(connection->endpoint.profile->role, slice_from_string(roles->items[i])))
            return true;
    return false;
}

static void join(struct execute_job *job)
{
    struct connection *connection = job->connection;
    struct reactor *reactor = connection_reactor(connection);
    job->profile = connection_registered(connection) ? profile_retain(connection->endpoint.profile) : NULL;
    job->previous = &reactor->executing;
    job->next = reactor->executing;
    if (job->next)
        job->next->previous = &job->next;
    reactor->executing = job;
    connection->executing++;
}

void session_cancel_executing(struct reactor *reactor)
{
    for (struct execute_job *job = reactor->executing; job; job = job->next)
        task_cancel(&job->work->task);
}

/* `hop` NULL: it is not traced. */
static enum code start_execute(struct connection *connection, struct envelope *envelope,
                               const struct envelope_defaults *defaults, const struct hop *hop,
                               char error[ERROR_TEXT_BYTES])
{
    struct execute_job *job = pool_acquire(POOL_ARRAYS, sizeof *job);
    struct frame *asked = envelope_build(envelope, defaults, FRAME_ENVELOPE);
    enum code code = CODE_OVERLOADED;
    snprintf(error, ERROR_TEXT_BYTES, "out of memory");
    if (job && asked) {
        *job = (struct execute_job){.connection = connection, .asked = asked, .traced = hop != NULL};
        if (hop)
            job->hop = *hop;
        code = execute_start(connection_reactor(connection), envelope_json(envelope, FIELD_PAYLOAD, defaults), NULL,
                             executed, job, &job->work, error);
    }
    if (code == CODE_OK) {
        job->work->began_ns = hop ? clock_steady_ns() : 0;
        join(job);
        return code;
    }
    frame_release(asked);
    pool_release(POOL_ARRAYS, job, sizeof *job);
    return code;
}

void session_execute(struct connection *connection, struct envelope *envelope, const struct envelope_defaults *defaults)
{
    char error[ERROR_TEXT_BYTES] = "this role may not ask for work: see phase2.workerPool.allowRoles";
    struct hop hop;
    bool traced = false;
    if (__builtin_expect(tracing_on, 0))
        traced = hop_begin(&hop, connection_reactor(connection),
                           &(struct hop_origin){.envelope = envelope, .share = connection->share});
    enum code code = may_execute(connection)
                         ? start_execute(connection, envelope, defaults, traced ? &hop : NULL, error)
                         : CODE_FORBIDDEN;
    if (code != CODE_OK && traced)
        end_hop(connection_reactor(connection), &hop, envelope, defaults, code, 0);
    if (code != CODE_OK)
        session_object(connection, code, slice_from_string(error), envelope_text(envelope, FIELD_ID, defaults));
    else
        attachment_touch(&connection->endpoint, 1, 0);
}
