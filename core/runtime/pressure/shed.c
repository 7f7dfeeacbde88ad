/* Who is paused is chosen by a histogram of what each sent lately, in powers of two: from the top bucket down until
 * half of all that came is covered, or a quarter of the connections. No sorting and no memory, which is what is short.
 */
#include "runtime/pressure/shed.h"

#include <lua.h>

#include "base/log.h"
#include "bridge/registry/profile.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "runtime/agent/agent_session.h"
#include "runtime/agent/backlog.h"
#include "runtime/http/api/api.h"
#include "runtime/http/http_exchange.h"
#include "runtime/pressure/pressure.h"
#include "runtime/reactor.h"
#include "script/binding/object_pool.h"
#include "script/state/collect.h"

/* At most this share of the connections is paused in one step: one in … */
#define PAUSE_SHARE 4

/* One step of the last resort closes connections until this share of the budget is freed: one in … */
#define CLOSE_SHARE 128

atomic_ullong shed_history_bytes = UINT64_MAX, shed_history_released;

/* --- Collecting --- */

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct reactor *reactor = watcher->data;
    (void)loop, (void)events;
    reactor_begin_pass(reactor);
    if (reactor->shed.api_collecting)
        reactor->shed.api_collecting = !api_collect_step(reactor->http, COLLECT_STEP_NS);
    if (reactor->shed.api_collecting)
        shed_collect_soon(reactor);
    reactor_end_pass(reactor); /* steps the script's state */
}

void shed_collect_soon(struct reactor *reactor)
{
    if (!ev_is_active(&reactor->shed.timer))
        ev_timer_start(reactor->loop, &reactor->shed.timer);
}

static void collect_state(struct reactor *reactor, struct script_state *state)
{
    script_trim_pools(state);
    script_order_cycle(state, reactor->shed.manually);
}

static void collect(struct reactor *reactor, bool manually)
{
    reactor->shed.manually = manually;
    scripts_each(reactor, collect_state);
    reactor->shed.api_collecting = true;
    shed_collect_soon(reactor);
}

/* --- Holding and sending --- */

/* What the process keeps for this connection alone. */
static uint64_t held_by(const struct connection *connection)
{
    const struct levels *line_up = connection->endpoint.line_up;
    uint64_t bytes = connection->endpoint.outbox.queue.bytes + (line_up ? line_up->bytes : 0) + connection->held_bytes;
    if (connection->is_websocket)
        bytes += connection->websocket.buffer_size + backlog_bytes(connection->backlog);
    else if (connection->http)
        bytes += connection->http->input.capacity + connection->http->output.capacity +
                 connection->http->request.body.capacity;
    return bytes;
}

static uint32_t sent_lately(const struct connection *connection, uint32_t now_second)
{
    uint32_t past = now_second - connection->recent_second;
    return past < 32 ? connection->recent_bytes >> past : 0;
}

static void pause_connection(struct reactor *reactor, struct connection *connection)
{
    connection_read_on(connection, false);
    connection->paused = true;
    atomic_fetch_add_explicit(&reactor->shed.paused_now, 1, memory_order_relaxed);
    counter_add(&reactor->shed.paused, 1);
}

static void resume_connection(struct reactor *reactor, struct connection *connection)
{
    connection->paused = false;
    connection->last_byte_ms = reactor->now_ms; /* its silence was our doing */
    connection->message_began_ms = 0;
    atomic_fetch_sub_explicit(&reactor->shed.paused_now, 1, memory_order_relaxed);
    counter_add(&reactor->shed.resumed, 1);
    /* One whose answers wait is read again when they are written. */
    if (!connection_blocked(connection))
        connection_read_on(connection, true);
}

void shed_forget(struct connection *connection)
{
    if (!connection->paused)
        return;
    connection->paused = false;
    atomic_fetch_sub_explicit(&connection_reactor(connection)->shed.paused_now, 1, memory_order_relaxed);
}

static bool pausable(const struct connection *connection)
{
    return !connection->paused && (connection->phase == CONNECTION_WEBSOCKET || connection->phase == CONNECTION_HTTP);
}

/* Stops reading from those who sent most lately, and notes how much the largest holder holds. */
static void pause_most(struct reactor *reactor)
{
    struct {
        uint64_t bytes;
        unsigned count;
    } buckets[33] = {0};
    uint32_t now_second = connection_second(reactor->now_ms);
    uint64_t all = 0, covered = 0, most_held = 0;
    unsigned connections = 0, chosen = 0;
    for (struct connection *connection = reactor->connections; connection; connection = connection->next) {
        uint64_t held = held_by(connection);
        most_held = held > most_held ? held : most_held;
        if (connection->paused)
            connection->last_byte_ms = reactor->now_ms;
        if (!pausable(connection))
            continue;
        uint32_t sent = sent_lately(connection, now_second);
        connections++;
        all += sent;
        if (sent <= SHED_LIGHT_BYTES)
            continue;
        unsigned bucket = 32u - (unsigned)__builtin_clz(sent);
        buckets[bucket].bytes += sent;
        buckets[bucket].count++;
    }
    atomic_store_explicit(&reactor->shed.most_held, most_held, memory_order_relaxed);
    unsigned most = connections / PAUSE_SHARE + 1;
    for (unsigned bucket = 32; bucket > 16 && covered * 2 <= all && chosen < most; bucket--) {
        if (buckets[bucket].count == 0)
            continue;
        for (struct connection *connection = reactor->connections; connection && chosen < most;
             connection = connection->next) {
            uint32_t sent = pausable(connection) ? sent_lately(connection, now_second) : 0;
            if (sent <= SHED_LIGHT_BYTES || 32u - (unsigned)__builtin_clz(sent) != bucket)
                continue;
            pause_connection(reactor, connection);
            covered += sent;
            chosen++;
        }
    }
}

static void resume_some(struct reactor *reactor)
{
    unsigned many = (atomic_load_explicit(&reactor->shed.paused_now, memory_order_relaxed) + 1) / 2;
    for (struct connection *connection = reactor->connections; connection; connection = connection->next) {
        if (!connection->paused)
            continue;
        connection->last_byte_ms = reactor->now_ms;
        if (many > 0) {
            resume_connection(reactor, connection);
            many--;
        }
    }
}

static void close_connection(struct reactor *reactor, struct connection *connection, uint64_t held)
{
    const struct profile *profile = connection->endpoint.profile;
    log_warn(MEMORY, "connection_closed", "memory: closing the connection that holds most, %llu bytes%s%.*s",
             (unsigned long long)held, profile ? ", of agent " : "", profile ? (int)profile->id.length : 0,
             profile ? profile->id.data : "");
    counter_add(&reactor->shed.closed, 1);
    if (connection->is_websocket) {
        agent_session_end_with(connection, CODE_OVERLOADED, WEBSOCKET_TRY_LATER,
                               SLICE("the bridge is short of memory"));
    } else {
        connection_kill(connection);
    }
}

/* The one that holds most, and the next ones while they are small: a flood of small ones ends in finite time too. */
static void close_largest(struct reactor *reactor)
{
    uint64_t wanted = reactor->config->limits.memory / CLOSE_SHARE;
    for (uint64_t freed = 0; freed < wanted;) {
        struct connection *largest = NULL;
        uint64_t most = SHED_CLOSE_BYTES;
        for (struct connection *connection = reactor->connections; connection; connection = connection->next) {
            uint64_t held = held_by(connection);
            bool open = connection->phase == CONNECTION_WEBSOCKET || connection->phase == CONNECTION_HTTP;
            if (open && held >= most) {
                largest = connection;
                most = held;
            }
        }
        if (!largest)
            return;
        close_connection(reactor, largest, most);
        freed += most;
    }
}

/* --- What main asks for --- */

void shed_ask(struct reactor *reactor, unsigned bits)
{
    atomic_fetch_or_explicit(&reactor->shed.asked, bits, memory_order_release);
    ev_async_send(reactor->loop, &reactor->wake_watcher);
}

static void step_state(struct reactor *reactor, struct script_state *state)
{
    (void)reactor;
    script_step_between(state, pressure_enabled());
}

void shed_serve(struct reactor *reactor)
{
    unsigned asked = atomic_exchange_explicit(&reactor->shed.asked, 0, memory_order_acquire);
    if (reactor->draining)
        asked &= SHED_RESUME;
    if (asked & SHED_MODE)
        scripts_each(reactor, step_state);
    if (asked & SHED_HISTORY) {
        uint64_t bytes = atomic_load_explicit(&shed_history_bytes, memory_order_relaxed);
        counter_add(&shed_history_released, history_set_bytes(bytes));
    }
    if (asked & SHED_RESUME)
        resume_some(reactor);
    else if (asked & SHED_PAUSE)
        pause_most(reactor);
    if (asked & SHED_CLOSE)
        close_largest(reactor);
    if (asked & (SHED_PAUSE | SHED_COLLECT))
        pool_flush_thread(); /* what lies unused in the depots main can give back */
    if (asked & SHED_COLLECT)
        collect(reactor, asked & SHED_MANUALLY);
}

/* --- Life --- */

void shed_start(struct reactor *reactor)
{
    ev_init(&reactor->shed.timer, on_timer);
    reactor->shed.timer.data = reactor;
}

void shed_stop(struct reactor *reactor)
{
    ev_timer_stop(reactor->loop, &reactor->shed.timer);
}
