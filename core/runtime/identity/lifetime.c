/* No list of credentials by time is kept: when the first runs out, all connections are looked at, and the next is found
 * on the way. It happens once a second at most. */
#include "runtime/identity/lifetime.h"

#include "runtime/reactor.h"

#define PAUSE_MS 1000    /* between two looks */
#define LONGEST_MS 60000 /* the wall clock may be set meanwhile */

static void arm(struct reactor *reactor)
{
    struct lifetime *lifetime = &reactor->lifetime;
    int64_t delay = lifetime->due_ms - reactor->lane->wall_ms;
    int64_t pause = PAUSE_MS - (int64_t)(reactor->now_ms - lifetime->walked_ms);
    delay = delay < pause ? pause : delay;
    delay = delay < 1 ? 1 : delay > LONGEST_MS ? LONGEST_MS : delay;
    ev_timer_stop(reactor->loop, &lifetime->timer);
    ev_timer_set(&lifetime->timer, (double)delay / 1000, 0);
    ev_timer_start(reactor->loop, &lifetime->timer);
}

static void end_expired(struct reactor *reactor)
{
    struct lifetime *lifetime = &reactor->lifetime;
    lifetime->due_ms = INT64_MAX;
    lifetime->walked_ms = reactor->now_ms;
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        const struct identity *identity = standing_of(connection);
        next = connection->next;
        if (!identity || identity->expires_ms == 0)
            continue;
        if (identity_expired(identity, reactor->lane->wall_ms))
            standing_end(connection);
        else if (identity->expires_ms < lifetime->due_ms)
            lifetime->due_ms = identity->expires_ms;
    }
}

static void on_due(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct reactor *reactor = timer->data;
    (void)loop, (void)events;
    reactor_begin_pass(reactor);
    if (reactor->lane->wall_ms >= reactor->lifetime.due_ms)
        end_expired(reactor);
    if (reactor->lifetime.due_ms != INT64_MAX)
        arm(reactor);
    reactor_end_pass(reactor);
}

void lifetime_prepare(struct reactor *reactor)
{
    ev_timer_init(&reactor->lifetime.timer, on_due, 0, 0);
    reactor->lifetime.timer.data = reactor;
    reactor->lifetime.due_ms = INT64_MAX;
}

void lifetime_watch(struct reactor *reactor, int64_t expires_ms)
{
    if (expires_ms == 0 || expires_ms >= reactor->lifetime.due_ms)
        return;
    reactor->lifetime.due_ms = expires_ms;
    arm(reactor);
}
