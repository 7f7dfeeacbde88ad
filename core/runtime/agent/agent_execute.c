/* Work that an agent asks for (bridge.execute): handed to the workers, answered when they have done it. */
#include <stdio.h>

#include "bridge/delivery/answer.h"
#include "bridge/delivery/delivery.h"
#include "bridge/registry/attachment.h"
#include "memory/pool.h"
#include "runtime/agent/session.h"
#include "runtime/handover/handover.h"
#include "runtime/reactor.h"
#include "runtime/work/execute.h"

/* An envelope that asked for work, while the workers have it. */
struct execute_job {
    struct execute_job *next, **previous; /* all of the reactor */
    struct connection *connection;
    struct profile *profile; /* who asked, a reference; NULL: nobody that is registered */
    struct work *work;
    struct frame *asked; /* the envelope as it would go out: its id, task and channel are the answer's */
};

/* Where the agent is by now. */
static void object(struct execute_job *job, enum code code, struct slice text, struct slice id)
{
    if (handover_done() && job->profile) {
        struct frame *frame = answer_error(code, text, id);
        if (frame)
            handover_answer_late(job->profile, frame);
        frame_release(frame);
    } else if (job->connection->phase == CONNECTION_WEBSOCKET) {
        session_object(job->connection, code, text, id);
    }
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
        delivery_carry_out(&delivery, &reply, &delivered);
        if (delivered.frame && job->profile)
            handover_answer_late(job->profile, delivered.frame);
        frame_release(delivered.frame);
    } else {
        struct slice id = envelope_text(&asked, FIELD_ID, &defaults), text = slice_from_string(work->task.error);
        if (code == CODE_OVERLOADED)
            text = work->task.status == TASK_CANCELLED ? SLICE("the bridge went away before it was done")
                                                       : SLICE("out of memory");
        object(job, code, text, id);
    }
    buffer_free(&result);
    text_store_free(&store);
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

static enum code start_execute(struct connection *connection, struct envelope *envelope,
                               const struct envelope_defaults *defaults, char error[ERROR_TEXT_BYTES])
{
    struct execute_job *job = pool_acquire(POOL_ARRAYS, sizeof *job);
    struct frame *asked = envelope_build(envelope, defaults, FRAME_ENVELOPE);
    enum code code = CODE_OVERLOADED;
    snprintf(error, ERROR_TEXT_BYTES, "out of memory");
    if (job && asked) {
        *job = (struct execute_job){.connection = connection, .asked = asked};
        code = execute_start(connection_reactor(connection), envelope_json(envelope, FIELD_PAYLOAD, defaults), NULL,
                             executed, job, &job->work, error);
    }
    if (code == CODE_OK) {
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
    enum code code = may_execute(connection) ? start_execute(connection, envelope, defaults, error) : CODE_FORBIDDEN;
    if (code != CODE_OK)
        session_object(connection, code, slice_from_string(error), envelope_text(envelope, FIELD_ID, defaults));
    else
        attachment_touch(&connection->endpoint, 1, 0);
}
