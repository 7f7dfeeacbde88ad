/* A sender is slowed by a hook that waits for nothing but time: what it sends meanwhile joins the backlog. */
#include <ev.h>

#include "bridge/registry/profile.h"
#include "memory/pool.h"
#include "runtime/agent/session.h"
#include "runtime/dispatch/slowdown.h"
#include "runtime/reactor.h"

/* With so many in a reactor no more are slowed: the loop's table of timers has no end otherwise, and libev ends the
 * process when it cannot have a larger one. */
#define PAUSES_MAXIMUM 4096u

struct pause {
    ev_timer timer;
    struct connection *connection;
};

static void pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct pause *pause = timer->data;
    struct connection *connection = pause->connection;
    struct reactor *reactor = connection_reactor(connection);
    (void)loop, (void)events;
    connection->pause = NULL;
    reactor->pauses--;
    pool_release(POOL_ARRAYS, pause, sizeof *pause);
    reactor_begin_pass(reactor);
    connection->last_byte_ms = reactor->now_ms; /* its silence was our doing */
    connection->message_began_ms = 0;
    session_hook_ended(connection);
    reactor_end_pass(reactor);
}

/* Where there is no memory or no place, or the bridge stops, it is not slowed. */
void session_pause(struct connection *connection, uint32_t ms)
{
    struct reactor *reactor = connection_reactor(connection);
    if (ms == 0 || reactor->draining || connection->hook_waits || connection->phase != CONNECTION_WEBSOCKET)
        return;
    struct pause *pause = reactor->pauses < PAUSES_MAXIMUM ? pool_acquire(POOL_ARRAYS, sizeof *pause) : NULL;
    if (!pause)
        return;
    pause->connection = connection;
    ev_timer_init(&pause->timer, pause_over, ms / 1000.0, 0);
    pause->timer.data = pause;
    ev_now_update(reactor->loop); /* the loop's clock stood still while the hook overran */
    ev_timer_start(reactor->loop, &pause->timer);
    reactor->pauses++;
    connection->pause = pause;
    connection->hook_waits = true;
}

uint32_t session_pause_left(const struct connection *connection)
{
    const struct pause *pause = connection->pause;
    double left = pause ? ev_timer_remaining(connection_reactor(connection)->loop, (ev_timer *)&pause->timer) : 0;
    return left > 0 ? (uint32_t)(left * 1000) + 1 : pause ? 1 : 0;
}

void session_forget_pause(struct connection *connection)
{
    struct pause *pause = connection->pause;
    if (!pause)
        return;
    ev_timer_stop(connection_reactor(connection)->loop, &pause->timer);
    connection_reactor(connection)->pauses--;
    pool_release(POOL_ARRAYS, pause, sizeof *pause);
    connection->pause = NULL;
    connection->hook_waits = false;
}

void session_slow_down(struct connection *connection, struct slice sender)
{
    session_pause(connection, slowdown_strike(slowdown_key(connection->identity, sender, &connection->address),
                                              connection_reactor(connection)->config->script.budget_ms,
                                              clock_steady_ns() / 1000000));
}

void session_still_slow(struct connection *connection)
{
    session_pause(connection, slowdown_left(slowdown_key(connection->identity, connection->endpoint.profile->id,
                                                         &connection->address),
                                            clock_steady_ns() / 1000000));
}
