/* The connections sit in a set of their own (net/poller.h), on Linux an epoll set that the loop watches as one
 * descriptor: timers, signals between threads and listeners stay libev's, and a connection costs it nothing. While
 * there is traffic a turn of the loop serves the set several times before it looks at the rest. */
#include "runtime/reactor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "bridge/queue/pending.h"
#include "bridge/registry/registry.h"
#include "memory/pool.h"
#include "protocol/websocket/deflate.h"
#include "runtime/agent/agent_session.h"
#include "runtime/config/bundle.h"
#include "runtime/connection/acceptor.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/events/events.h"
#include "runtime/handover/handover.h"
#include "runtime/http/api/api.h"
#include "runtime/http/http_session.h"
#include "runtime/policies/notify.h"
#include "runtime/process/drain.h"
#include "runtime/process/supervision.h"
#include "runtime/work/timers.h"
#include "runtime/work/waiting.h"
#include "script/binding/send.h"
#include "script/wait/timer.h"

#define EVENTS_PER_POLL 256
#define PREFETCH_AHEAD 3
/* Polls of the set in one turn of the loop: enough that libev's share vanishes under load, few enough that a timer is
 * late by a fraction of a millisecond. */
#define POLLS_PER_TURN 8
/* … and not when one of them took this long: then timers, the inbox and new connections are due. */
#define TURN_NS 2000000u
/* How long a closing peer has, and how long a stop waits for all of them. */
#define LINGER_MS 2000u

/* --- Time --- */

void reactor_begin_pass(struct reactor *reactor)
{
    struct lane *lane = reactor->lane;
    reactor->pass_start_ns = clock_steady_ns();
    reactor->now_ms = reactor->pass_start_ns / 1000000;
    int64_t wall_ms = clock_wall_ms();
    if (wall_ms != lane->wall_ms) {
        lane->wall_ms = wall_ms;
        clock_format_iso(wall_ms, lane->timestamp);
    }
}

static void arm_deadline_timer(struct reactor *reactor)
{
    uint64_t earliest = UINT64_MAX;
    for (unsigned kind = 0; kind < DEADLINE_COUNT; kind++)
        if (reactor->deadlines[kind].first && reactor->deadlines[kind].first->due_ms < earliest)
            earliest = reactor->deadlines[kind].first->due_ms;
    if (earliest == UINT64_MAX || (reactor->deadline_timer_ms != 0 && reactor->deadline_timer_ms <= earliest))
        return;
    reactor->deadline_timer_ms = earliest;
    uint64_t now_ms = clock_steady_ns() / 1000000;
    ev_timer_stop(reactor->loop, &reactor->deadline_timer);
    /* A millisecond more, so that it never comes before the millisecond is over. */
    ev_timer_set(&reactor->deadline_timer, earliest > now_ms ? (double)(earliest - now_ms + 1) / 1000 : 0.001, 0);
    ev_now_update(reactor->loop);
    ev_timer_start(reactor->loop, &reactor->deadline_timer);
}

void reactor_end_pass(struct reactor *reactor)
{
    if (shed_asked(&reactor->shed))
        shed_serve(reactor);
    reactor_flush(reactor);
    connection_reap(reactor);
    if (scripts_end_pass(reactor))
        shed_collect_soon(reactor);
    arm_deadline_timer(reactor);
    timers_arm(reactor);
}

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct reactor *reactor = watcher->data;
    (void)loop, (void)events;
    reactor_begin_pass(reactor);
    reactor->deadline_timer_ms = 0;
    for (unsigned kind = 0; kind < DEADLINE_COUNT; kind++) {
        struct connection *connection;
        while ((connection = reactor->deadlines[kind].first) && connection->due_ms <= reactor->now_ms)
            connection_deadline_passed(connection);
    }
    reactor_end_pass(reactor);
}

/* --- Writing --- */

/* With many connections each one's lines have left the cache since its last turn: asked for a few connections ahead,
 * they are there when its turn comes. */
static inline void prefetch_connection(const struct connection *connection)
{
    for (size_t at = 0; at < sizeof *connection; at += 64)
        __builtin_prefetch((const char *)connection + at);
}

void reactor_flush(struct reactor *reactor)
{
    struct lane *lane = reactor->lane;
    /* Flushing may mark others (a mailbox moves on, a hook redirects), so go on until none is left. */
    for (;;) {
        dispatch_sends(reactor);
        while (lane->dirty) {
            struct endpoint *endpoint = lane->dirty;
            lane->dirty = endpoint->next_dirty;
            if (lane->dirty)
                prefetch_connection(connection_of(lane->dirty));
            endpoint->dirty = false;
            connection_flush(connection_of(endpoint));
        }
        if (!lane->undeliverable_first && !lane->room && !scripts_have_sends(&reactor->scripts, reactor->script))
            break;
        dispatch_undeliverable(reactor);
        if (lane->room)
            pending_tend(lane);
    }
    lane->pass_bytes = 0;
    lane_wake_others(lane);
    if (reactor->pass_messages > 0) {
        uint64_t took_ns = clock_steady_ns() - reactor->pass_start_ns;
        latency_record(&reactor->latency, took_ns, reactor->pass_messages);
        histogram_record(&reactor->message_times, took_ns, reactor->pass_messages);
        reactor->pass_messages = 0;
    }
}

void reactor_answer(struct connection *connection, struct frame *frame)
{
    if (connection->phase == CONNECTION_GONE) {
        frame_release(frame);
        return;
    }
    uint32_t length = frame ? frame->length : 0;
    if (!frame || !outbox_push(&connection->endpoint.outbox, frame)) {
        frame_release(frame);
        connection_kill(connection);
        return;
    }
    connection->answer_bytes += length;
    connection->endpoint.lane->pass_bytes += length;
    lane_mark_dirty(connection->endpoint.lane, &connection->endpoint);
}

/* --- Reading --- */

static void on_connections(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct reactor *reactor = watcher->data;
    struct poller_event events[EVENTS_PER_POLL];
    poller_renew(loop, watcher, revents);
    for (int turn = 0; turn < POLLS_PER_TURN; turn++) {
        int count = poller_take(&reactor->poller, events, EVENTS_PER_POLL);
        if (count <= 0)
            break;
        reactor_begin_pass(reactor);
        for (int i = 0; i < PREFETCH_AHEAD && i < count; i++)
            prefetch_connection(poller_owner(&events[i]));
        for (int i = 0; i < count; i++) {
            struct connection *connection = poller_owner(&events[i]);
            if (i + PREFETCH_AHEAD < count)
                prefetch_connection(poller_owner(&events[i + PREFETCH_AHEAD]));
            if (connection->phase == CONNECTION_GONE)
                continue;
            if (events[i].events & POLLER_WRITE)
                connection_writable(connection);
            if (events[i].events & (POLLER_READ | POLLER_PEER_ENDED))
                connection_readable(connection);
            else if (events[i].events & POLLER_FAILED)
                connection_kill(connection);
            if (reactor->lane->pass_bytes > REACTOR_PASS_BYTES)
                reactor_flush(reactor);
        }
        reactor_end_pass(reactor);
        if (count < EVENTS_PER_POLL / 16 || clock_steady_ns() - reactor->pass_start_ns > TURN_NS)
            break;
    }
    arm_deadline_timer(reactor);
}

/* --- Taking turns --- */

/* The clock is looked at after so many small things done, or one large one, and the coarse clock, which costs nothing,
 * after each. */
#define EVENTS_PER_LOOK 8u
#define BYTES_OF_EVENT (REACTOR_SHARE_BYTES / EVENTS_PER_LOOK)

void reactor_begin_turn(struct reactor *reactor)
{
    reactor->turn_start_ns = 0;
    reactor->turn_events = 0;
}

/* The turn's own start is taken at the first look in a pass that has become long: in a short one nobody asks. */
bool reactor_turn_over(struct reactor *reactor, size_t bytes)
{
    uint64_t due_ns = reactor->pass_start_ns + REACTOR_TURN_NS;
    unsigned looks = reactor->turn_events / EVENTS_PER_LOOK;
    reactor->turn_events += 1 + (unsigned)(bytes / BYTES_OF_EVENT);
    if (reactor->turn_events / EVENTS_PER_LOOK == looks && clock_coarse_ns() <= due_ns)
        return false;
    uint64_t now_ns = clock_steady_ns();
    if (now_ns <= due_ns)
        return false;
    if (reactor->turn_start_ns == 0)
        reactor->turn_start_ns = now_ns;
    return bytes >= REACTOR_SHARE_BYTES || now_ns > reactor->turn_start_ns + REACTOR_SHARE_NS;
}

static void line_up(struct reactor *reactor, struct held_bytes *held)
{
    struct connection *connection = held->connection;
    held->next = NULL;
    connection->held_bytes = (uint32_t)(sizeof *held + held->length);
    *reactor->held_last = held;
    reactor->held_last = &held->next;
    connection_read_on(connection, false);
    connection->holds = true;
    if (!ev_is_active(&reactor->held_timer))
        ev_timer_start(reactor->loop, &reactor->held_timer);
}

static void free_held(struct held_bytes *held)
{
    pool_release(POOL_BUFFERS, held, sizeof *held + held->length + WEBSOCKET_SLACK);
}

bool reactor_hold(struct connection *connection, const char *bytes, size_t length)
{
    struct reactor *reactor = connection_reactor(connection);
    struct held_bytes *held = reactor->turn;
    if (held && length > 0 && bytes + length == held->bytes + held->length) { /* what is left of the turn's own */
        reactor->turn = NULL;
        held->at = held->length - length;
        line_up(reactor, held);
        return true;
    }
    size_t size = sizeof *held + length + WEBSOCKET_SLACK;
    bool admitted = size <= ADMISSION_SMALL_BYTES || admission_take(size);
    held = admitted ? pool_acquire(POOL_BUFFERS, size) : NULL;
    if (!held)
        return false;
    *held = (struct held_bytes){.connection = connection, .length = length};
    if (length > 0)
        memcpy(held->bytes, bytes, length);
    line_up(reactor, held);
    return true;
}

static void take_held(struct reactor *reactor, struct held_bytes **place)
{
    struct held_bytes *held = *place;
    *place = held->next;
    if (!held->next)
        reactor->held_last = place;
    held->connection->holds = false;
    held->connection->held_bytes = 0;
}

void reactor_forget_held(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    for (struct held_bytes **place = &reactor->held; connection->holds && *place; place = &(*place)->next) {
        struct held_bytes *held = *place;
        if (held->connection != connection)
            continue;
        take_held(reactor, place);
        free_held(held);
        return;
    }
}

static void take_turn(struct reactor *reactor)
{
    struct held_bytes *held = reactor->held;
    struct connection *connection = held->connection;
    take_held(reactor, &reactor->held);
    reactor_begin_pass(reactor);
    connection_read_on(connection, true);
    shed_count_received(connection, connection_second(reactor->now_ms), 0);
    reactor->turn = held;
    if (connection->is_websocket)
        agent_session_turn(connection, held->bytes + held->at, held->length - held->at);
    else
        connection_flush(connection);
    if (reactor->turn == held) /* it was not held again */
        free_held(held);
    reactor->turn = NULL;
    reactor_flush(reactor);
}

void reactor_take_turns(struct reactor *reactor)
{
    unsigned count = 0;
    for (const struct held_bytes *held = reactor->held; held; held = held->next)
        count++;
    for (; reactor->held && count > 0; count--)
        take_turn(reactor);
}

/* One turn after the other, first in, first out, for as long as one turn of the loop may take: then those come who ask
 * for little, and it goes on. However many want much, nobody else waits for more than that. */
static void on_held(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct reactor *reactor = watcher->data;
    uint64_t till_ns = clock_steady_ns() + REACTOR_TURN_NS;
    (void)loop, (void)events;
    reactor_begin_pass(reactor); /* those that held bytes may all be gone */
    while (reactor->held && clock_steady_ns() < till_ns)
        take_turn(reactor);
    reactor_end_pass(reactor);
    if (reactor->held && !ev_is_active(&reactor->held_timer))
        ev_timer_start(reactor->loop, &reactor->held_timer);
    arm_deadline_timer(reactor);
}

/* --- Other threads --- */

void reactor_wake(struct reactor *reactor)
{
    ev_async_send(reactor->loop, &reactor->wake_watcher);
}

void reactor_post(struct reactor *reactor, struct errand *errand)
{
    errand->next = NULL;
    pthread_mutex_lock(&reactor->errands.mutex);
    *reactor->errands.last = errand;
    reactor->errands.last = &errand->next;
    pthread_mutex_unlock(&reactor->errands.mutex);
    reactor_wake(reactor);
}

static void run_errands(struct reactor *reactor)
{
    pthread_mutex_lock(&reactor->errands.mutex);
    struct errand *errand = reactor->errands.first;
    reactor->errands.first = NULL;
    reactor->errands.last = &reactor->errands.first;
    pthread_mutex_unlock(&reactor->errands.mutex);
    for (struct errand *next; errand; errand = next) {
        next = errand->next;
        errand->run(reactor, errand);
    }
}

void reactor_begin_stop(struct reactor *reactor)
{
    reactor->draining = true;
    reactor->drain_started_ms = reactor->now_ms;
    acceptor_stop(reactor);
    proxied_stop(reactor);
    script_stop_timers(reactor->script);
    waiting_hurry(reactor, NULL, REACTOR_DRAIN_HOOKS_MS);
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        next = connection->next;
        if (connection->is_websocket)
            agent_session_close(connection, WEBSOCKET_GOING_AWAY, SLICE("the bridge is going away"));
        else if (!connection->http)
            connection_kill(connection);
        else {
            http_session_end_stream(connection);
            connection_wait_for(connection, DEADLINE_LINGER);
        }
    }
}

static void on_wake(struct ev_loop *loop, ev_async *watcher, int events)
{
    struct reactor *reactor = watcher->data;
    (void)loop, (void)events;
    reactor_begin_pass(reactor);
    while (lane_drain(reactor->lane))
        reactor_flush(reactor);
    work_take_back(reactor);
    run_errands(reactor);
    events_serve(reactor);
    notify_serve(reactor);
    drain_serve(reactor);
    if (atomic_load_explicit(&reactor->stop_requested, memory_order_acquire) && !reactor->draining)
        reactor_begin_stop(reactor);
    reactor_end_pass(reactor);
}

static void on_cleanup(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct reactor *reactor = watcher->data;
    (void)loop, (void)events;
    reactor_begin_pass(reactor);
    registry_expire_mailboxes(reactor->lane, reactor->lane->wall_ms);
    pending_tend(reactor->lane);
    pool_age_thread();
    reactor_end_pass(reactor);
}

void reactor_request_stop(struct reactor *reactor)
{
    atomic_store_explicit(&reactor->stop_requested, true, memory_order_release);
    reactor_wake(reactor);
}

/* --- Life --- */

static void start_timer(struct reactor *reactor, ev_timer *timer, void (*callback)(struct ev_loop *, ev_timer *, int),
                        double seconds)
{
    ev_init(timer, callback);
    timer->data = reactor;
    if (seconds > 0) {
        ev_timer_set(timer, seconds, seconds);
        ev_timer_start(reactor->loop, timer);
    }
}

static void on_probe(struct ev_loop *loop, ev_async *watcher, int events)
{
    (void)loop, (void)events;
    *(bool *)watcher->data = true;
}

/* libev does not say when the descriptor that wakes a loop cannot be watched, and a loop without it sleeps on. */
static bool wakes_up(struct ev_loop *loop)
{
    ev_async probe;
    bool woken = false;
    ev_async_init(&probe, on_probe);
    probe.data = &woken;
    ev_async_start(loop, &probe);
    ev_run(loop, EVRUN_NOWAIT); /* from here on the descriptor is watched */
    ev_async_send(loop, &probe);
    ev_run(loop, EVRUN_NOWAIT);
    ev_async_stop(loop, &probe);
    return woken;
}

bool reactor_prepare(struct reactor *reactor, unsigned index, const struct config *config, char *error, size_t size)
{
    memset(reactor, 0, sizeof *reactor);
    reactor->index = index;
    reactor->config = config;
    reactor->lane = lanes_get(index);
    reactor->lane->owner = reactor;
    work_inbox_start(&reactor->work);
    pthread_mutex_init(&reactor->errands.mutex, NULL);
    reactor->errands.last = &reactor->errands.first;
    poller_clear(&reactor->poller);
    poller_clear(&reactor->proxied.poller);
    reactor->read_buffer = aligned_alloc(64, REACTOR_READ_BYTES + WEBSOCKET_SLACK);
    reactor->loop = poller_loop_new();
    if (!reactor->read_buffer || !reactor->loop ||
        !poller_open(&reactor->poller, reactor->loop, on_connections, reactor) || !proxied_prepare(reactor)) {
        snprintf(error, size, "cannot start reactor %u: %s", index, strerror(errno));
        return false;
    }
    if (!wakes_up(reactor->loop)) { /* before there is anything else that could be due in its turns */
        snprintf(error, size, "cannot start reactor %u: its loop cannot be woken", index);
        return false;
    }
    const uint32_t after_ms[DEADLINE_COUNT] = {
        [DEADLINE_HEADER] = config->http.header_timeout_ms,       [DEADLINE_BODY] = config->http.body_timeout_ms,
        [DEADLINE_REGISTER] = config->agents.register_timeout_ms, [DEADLINE_GRACE] = config->agents.register_grace_ms,
        [DEADLINE_IDLE] = config->agents.ping_interval_ms,        [DEADLINE_LINGER] = LINGER_MS};
    for (unsigned kind = 0; kind < DEADLINE_COUNT; kind++) {
        reactor->deadlines[kind].last = &reactor->deadlines[kind].first;
        /* At least one: a deadline that is set again when it passes must lie ahead. */
        reactor->deadlines[kind].after_ms = after_ms[kind] > 0 ? after_ms[kind] : 1;
    }
    ev_async_init(&reactor->wake_watcher, on_wake);
    reactor->wake_watcher.data = reactor;
    ev_async_start(reactor->loop, &reactor->wake_watcher);
    start_timer(reactor, &reactor->deadline_timer, on_deadline, 0);
    timers_prepare(reactor);
    lifetime_prepare(reactor);
    start_timer(reactor, &reactor->held_timer, on_held, 0); /* of no time: due in the loop's next turn, … */
    ev_set_priority(&reactor->held_timer, EV_MINPRI);       /* … after all else that is due in it */
    reactor->held_last = &reactor->held;
    start_timer(reactor, &reactor->cleanup_timer, on_cleanup, config->agents.cleanup_interval_ms / 1000.0);
    return true;
}

void *reactor_run(void *argument)
{
    struct reactor *reactor = argument;
    char name[16];
    snprintf(name, sizeof name, "reactor %u", reactor->index);
    log_name_thread(name);
    reactor_begin_pass(reactor);
    scripts_begin(reactor);
    reactor->http = api_open(reactor);
    supervision_report_ready(reactor, reactor->http != NULL);
    if (reactor->http) {
        shed_start(reactor);
        if (!handover_take(reactor))
            pause(); /* another process has the connections: main ends this one */
        acceptor_start(reactor);
        script_start_timers(reactor->script);
        timers_arm(reactor);
        while (!(reactor->draining && !reactor->connections && !reactor->waiting && reactor->work.out == 0))
            ev_run(reactor->loop, EVRUN_ONCE);
        shed_stop(reactor);
        drain_leave(reactor);
    }
    api_close(reactor->http); /* before the scripts: until then others read their figures */
    scripts_end(reactor);
    text_store_free(&reactor->store);
    buffer_free(&reactor->unpacked);
    deflate_leave_thread();
    pool_leave_thread();
    supervision_report_ended();
    return NULL;
}

void reactor_release(struct reactor *reactor)
{
    if (reactor->loop)
        ev_loop_destroy(reactor->loop);
    poller_close(&reactor->poller);
    proxied_release(reactor);
    free(reactor->read_buffer);
}
