/* Work that an agent asks for (bridge.execute): handed to the workers, answered when they have done it. */
#include <stdio.h>

#include "bridge/delivery/delivery.h"
#include "bridge/registry/attachment.h"
#include "memory/pool.h"
#include "runtime/agent/session.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"
#include "runtime/work/execute.h"

/* An envelope that asked for work, while the workers have it. */
struct execute_job {
    struct connection *connection;
    struct frame *asked; /* the envelope as it would go out: its id, task and channel are the answer's */
    bool traced;
    struct hop hop; /* where it is */
};

static void end_hop(struct connection *connection, const struct hop *hop, struct envelope *envelope,
                    const struct envelope_defaults *defaults, enum code code, uint32_t taken)
{
    const struct dispatch as = {.envelope = envelope, .defaults = defaults, .is_message = true};
    hop_end(hop, connection_reactor(connection), &as, &(struct dispatch_result){.code = code, .taken = taken});
}

static void answer_execute(struct execute_job *job, const struct work *work)
{
    struct connection *connection = job->connection;
    struct reactor *reactor = connection_reactor(connection);
    struct envelope asked;
    struct text_store store = {0};
    struct buffer result = {0};
    char error[ERROR_TEXT_BYTES];
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
    rules.lenient = reactor->config->mode == CONFIG_MODE_ORIGINAL;
    struct envelope_defaults defaults = {.timestamp = reactor->lane->timestamp};
    if (envelope_scan(frame_envelope(job->asked), &rules, &store, &asked, error) != CODE_OK) {
        text_store_free(&store);
        return;
    }
    enum code code = work_code(work);
    uint32_t taken = 0;
    if (job->traced)
        hop_worked(&job->hop.context, work, code);
    if (code == CODE_OK)
        execute_append_result(&result, work);
    if (code == CODE_OK && result.failed)
        code = CODE_OVERLOADED;
    if (code == CODE_OK) {
        struct decision reply = {
            .count = 1, .items = {{.kind = DECISION_REPLY, .payload = slice_from(result.data, result.length)}}};
        struct delivery delivery = {.lane = reactor->lane, .envelope = &asked, .defaults = &defaults};
        delivery.answer_to = envelope_text(&asked, FIELD_FROM, &defaults);
        struct delivery_result delivered;
        if (job->traced)
            delivery.trace = hop_frame_trace(&job->hop, true);
        delivery_carry_out(&delivery, &reply, &delivered);
        frame_release(delivered.frame);
        taken = delivered.taken;
    } else if (connection->phase == CONNECTION_WEBSOCKET) {
        session_object(connection, code,
                       code == CODE_OVERLOADED ? SLICE("out of memory") : slice_from_string(work->task.error),
                       envelope_text(&asked, FIELD_ID, &defaults));
    }
    if (job->traced)
        end_hop(connection, &job->hop, &asked, &defaults, code, taken);
    buffer_free(&result);
    text_store_free(&store);
}

static void executed(struct work *work)
{
    struct execute_job *job = work->owner;
    execute_finished(work);
    answer_execute(job, work);
    job->connection->executing--;
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

/* `hop` NULL: it is not traced. */
static enum code start_execute(struct connection *connection, struct envelope *envelope,
                               const struct envelope_defaults *defaults, const struct hop *hop,
                               char error[ERROR_TEXT_BYTES])
{
    struct execute_job *job = pool_acquire(POOL_ARRAYS, sizeof *job);
    struct frame *asked = envelope_build(envelope, defaults, FRAME_ENVELOPE);
    struct work *work;
    enum code code = CODE_OVERLOADED;
    snprintf(error, ERROR_TEXT_BYTES, "out of memory");
    if (job && asked) {
        *job = (struct execute_job){.connection = connection, .asked = asked, .traced = hop != NULL};
        if (hop)
            job->hop = *hop;
        code = execute_start(connection_reactor(connection), envelope_json(envelope, FIELD_PAYLOAD, defaults), NULL,
                             executed, job, &work, error);
    }
    if (code == CODE_OK) {
        work->began_ns = hop ? clock_steady_ns() : 0;
        connection->executing++;
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
        end_hop(connection, &hop, envelope, defaults, code, 0);
    if (code != CODE_OK)
        session_object(connection, code, slice_from_string(error), envelope_text(envelope, FIELD_ID, defaults));
    else
        attachment_touch(&connection->endpoint, 1, 0);
}
