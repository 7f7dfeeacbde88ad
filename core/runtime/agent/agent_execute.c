/* Work that an agent asks for (bridge.execute): handed to the workers, answered when they have done it. */
#include <stdio.h>

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

/* `text`: the result as JSON, or what is wrong. The connection hears of failures alone; NULL: there is none. */
static void answer(struct reactor *reactor, struct connection *connection, const struct frame *frame, enum code code,
                   struct slice text)
{
    struct envelope asked;
    struct text_store store = {0};
    char error[ERROR_TEXT_BYTES];
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
    rules.lenient = reactor->config->mode == CONFIG_MODE_ORIGINAL;
    struct envelope_defaults defaults = {.timestamp = reactor->lane->timestamp};
    if (envelope_scan(frame_envelope(frame), &rules, &store, &asked, error) != CODE_OK) {
        text_store_free(&store);
        return;
    }
    if (code == CODE_OK) {
        struct decision reply = {.count = 1, .items = {{.kind = DECISION_REPLY, .payload = text}}};
        struct delivery delivery = {.lane = reactor->lane, .envelope = &asked, .defaults = &defaults};
        delivery.answer_to = envelope_text(&asked, FIELD_FROM, &defaults);
        struct delivery_result delivered;
        delivery_carry_out(&delivery, &reply, &delivered);
        frame_release(delivered.frame);
    } else if (connection && connection->phase == CONNECTION_WEBSOCKET) {
        session_object(connection, code, text, envelope_text(&asked, FIELD_ID, &defaults));
    }
    text_store_free(&store);
}

/* By the process that has the agent now, where that is another one. */
static void answer_execute(const struct execute_job *job, const struct work *work)
{
    struct buffer result = {0};
    enum code code = work_code(work);
    struct slice text = slice_from_string(work->task.error);
    if (code == CODE_OK) {
        execute_append_result(&result, work);
        text = slice_from(result.data, result.length);
    }
    if (result.failed)
        code = CODE_OVERLOADED;
    if (code == CODE_OVERLOADED)
        text = work->task.status == TASK_CANCELLED ? SLICE("the bridge went away before it was done")
                                                   : SLICE("out of memory");
    if (!job->profile || !handover_answer_late(job->profile, job->asked, code, text))
        answer(connection_reactor(job->connection), job->connection, job->asked, code, text);
    buffer_free(&result);
}

bool session_answer_late(struct reactor *reactor, const struct late_answer *late)
{
    struct endpoint *endpoint = attachment_find(reactor->lane, late->id, late->owner);
    if (late->code != CODE_OK && !endpoint)
        return false;
    answer(reactor, endpoint ? connection_of(endpoint) : NULL, late->asked, late->code, late->text);
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
