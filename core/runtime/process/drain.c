/* Main decides by the clock and says so in one word that all reactors read when they are woken. Each reactor looks at
 * its connections every few milliseconds then, tells a part of those that may go, and says when none is left. */
#include "runtime/process/drain.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "base/system/service.h"
#include "bridge/registry/attachment.h"
#include "runtime/agent/agent_session.h"
#include "runtime/agent/session.h"
#include "runtime/handover/late.h"
#include "runtime/process/server.h"
#include "runtime/process/supervision.h"
#include "runtime/reactor.h"
#include "runtime/reload/loader.h"
#include "runtime/work/waiting.h"

/* How often a reactor looks, and how many it tells at a time: HTTP goes on in between. */
#define LOOK_SECONDS 0.005
#define TOLD_AT_ONCE 128u
/* What still runs that long after all was cut (a task, a hook) is not waited for. */
#define LEFT_BEHIND_MS 1000u

enum stage { STAGE_NONE, STAGE_ANNOUNCED, STAGE_AGENTS, STAGE_OVER, STAGE_CUT };

atomic_bool drain_begun_flag;

static atomic_bool ends_at_once;
static atomic_uint stage;             /* enum stage; written by main */
static atomic_uint reactors_emptied;  /* whose agents have all gone */
static const struct config *settings; /* the start's */
static uint64_t due_ms, end_ms;

bool drain_begin(const char *why)
{
    if (atomic_exchange_explicit(&drain_begun_flag, true, memory_order_acq_rel))
        return false;
    log_info(SERVER, "stopping", "%s: draining and stopping", why);
    service_stopping("draining");
    supervision_wake();
    return true;
}

bool drain_end(const char *why)
{
    atomic_store_explicit(&ends_at_once, true, memory_order_release);
    return drain_begin(why);
}

/* --- Main --- */

void drain_start(const struct config *config)
{
    settings = config;
}

static void enter(enum stage next)
{
    atomic_store_explicit(&stage, next, memory_order_release);
    for (unsigned i = 0; i < server_reactor_count(); i++)
        reactor_wake(server_reactor(i));
}

/* Whether no agent is left anywhere, or it is time. */
static bool agents_gone(uint64_t now_ms)
{
    if (atomic_load_explicit(&reactors_emptied, memory_order_acquire) >= server_reactor_count())
        return true;
    if (now_ms < end_ms)
        return false;
    log_warn(SERVER, "drain_cut",
             "drain: drain.timeoutMs is over, and not all agents have gone: they are cut off, what waits is kept");
    return true;
}

bool drain_tick(uint64_t now_ms, uint64_t *next_ms)
{
    *next_ms = UINT64_MAX;
    if (!drain_begun())
        return false;
    enum stage now = (enum stage)atomic_load_explicit(&stage, memory_order_relaxed);
    if (now == STAGE_NONE) {
        due_ms = now_ms + settings->drain.delay_ms;
        end_ms = due_ms + settings->drain.timeout_ms;
    }
    if (now < STAGE_OVER && atomic_load_explicit(&ends_at_once, memory_order_acquire)) {
        enter(STAGE_OVER);
        *next_ms = end_ms;
        return true;
    }
    switch (now) {
    case STAGE_NONE:
        enter(STAGE_ANNOUNCED);
        /* fall through */
    case STAGE_ANNOUNCED:
        *next_ms = due_ms;
        if (now_ms < due_ms)
            return false;
        loader_request_stop(); /* what it is busy with ends meanwhile */
        enter(STAGE_AGENTS);
        /* fall through */
    case STAGE_AGENTS:
        *next_ms = end_ms;
        if (!agents_gone(now_ms))
            return false;
        enter(STAGE_OVER);
        /* fall through */
    case STAGE_OVER:
        *next_ms = end_ms;
        if (now_ms < end_ms)
            return true;
        enter(STAGE_CUT);
        /* fall through */
    case STAGE_CUT:
        *next_ms = end_ms + LEFT_BEHIND_MS;
        if (now_ms < *next_ms)
            return true;
        log_warn(SERVER, "drain_cut", "drain: what still runs is left behind");
        log_stop();
        _exit(0);
    }
    return true;
}

/* --- Reactors --- */

/* Nothing waits for it to read, and nothing of its own to be handled. Deliveries to a fresh agent start now. */
static bool may_go(struct connection *connection)
{
    struct endpoint *endpoint = &connection->endpoint;
    if (connection->hook_waits || connection->holds || connection->executing > 0)
        return false;
    if (!connection_registered(connection))
        return true;
    if (late_awaited(endpoint->profile->id))
        return false;
    endpoint->grace_over = true;
    attachment_go_live(endpoint);
    return endpoint->state == ENDPOINT_LIVE && endpoint->outbox.queue.count == 0 && !endpoint->lined_up;
}

static void tell(struct connection *connection)
{
    char reason[96];
    uint32_t retry_ms = settings->drain.retry_ms;
    /* Not all at the same moment. */
    snprintf(reason, sizeof reason, "the bridge is going away; retry in %u ms",
             retry_ms + (unsigned)(random_u64() % (retry_ms + 1u)));
    agent_session_close(connection, WEBSOCKET_GOING_AWAY, slice_from_string(reason));
}

static void tell_agents(struct reactor *reactor)
{
    unsigned told = 0, open = 0;
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        next = connection->next;
        if (!connection->is_websocket || connection->phase == CONNECTION_GONE)
            continue;
        open++;
        if (connection->phase == CONNECTION_WEBSOCKET && told < TOLD_AT_ONCE && may_go(connection)) {
            tell(connection);
            told++;
        }
    }
    if (open > 0)
        return;
    ev_timer_stop(reactor->loop, &reactor->drain.timer);
    reactor->drain.emptied = true;
    atomic_fetch_add_explicit(&reactors_emptied, 1, memory_order_acq_rel);
    supervision_wake();
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct reactor *reactor = timer->data;
    (void)loop, (void)events;
    reactor_begin_pass(reactor);
    tell_agents(reactor);
    reactor_end_pass(reactor);
}

static void cut(struct reactor *reactor)
{
    reactor->drain.is_cut = true;
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        next = connection->next;
        connection_kill(connection);
    }
    waiting_hurry(reactor, NULL, 0);
    session_cancel_executing(reactor);
}

void drain_serve(struct reactor *reactor)
{
    unsigned now = atomic_load_explicit(&stage, memory_order_acquire);
    if (__builtin_expect(now < STAGE_AGENTS, 1))
        return;
    if (now == STAGE_CUT && !reactor->drain.is_cut)
        cut(reactor);
    if (reactor->drain.emptied || ev_is_active(&reactor->drain.timer) || now != STAGE_AGENTS)
        return;
    ev_timer_init(&reactor->drain.timer, on_look, LOOK_SECONDS, LOOK_SECONDS);
    reactor->drain.timer.data = reactor;
    ev_timer_start(reactor->loop, &reactor->drain.timer);
    tell_agents(reactor);
}

void drain_leave(struct reactor *reactor)
{
    if (ev_is_active(&reactor->drain.timer))
        ev_timer_stop(reactor->loop, &reactor->drain.timer);
}
