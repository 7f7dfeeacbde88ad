/* One timer of the loop, set to the earliest of the script's. */
#include "runtime/work/timers.h"

#include "base/clock.h"
#include "memory/pool.h"
#include "runtime/reactor.h"
#include "runtime/work/waiting.h"
#include "script/wait/timer.h"

/* Those that run in one turn of the loop; then others have theirs. */
#define RUNS_PER_TURN 16

static void ended(struct waiting *waiting, enum script_result result, const struct script_outcome *outcome)
{
    (void)result, (void)outcome;
    pool_release(POOL_ARRAYS, waiting, sizeof *waiting);
}

static void run(struct reactor *reactor)
{
    if (script_run_timer(reactor->script) != SCRIPT_WAITS)
        return;
    struct waiting *waiting = pool_acquire(POOL_ARRAYS, sizeof *waiting);
    if (waiting)
        waiting_start_brief(reactor, reactor->script, waiting, ended);
    else
        script_abandon(reactor->script, script_take_wait(reactor->script), "not enough memory to wait");
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct reactor *reactor = timer->data;
    (void)loop, (void)events;
    reactor_begin_pass(reactor);
    reactor->script_timer_ms = UINT64_MAX;
    uint64_t now_ms = reactor->now_ms; /* one that is set to come at once comes in the next turn */
    for (int i = 0; i < RUNS_PER_TURN && script_next_timer(reactor->script) <= now_ms; i++)
        run(reactor);
    reactor_end_pass(reactor);
}

void timers_prepare(struct reactor *reactor)
{
    ev_init(&reactor->script_timer, on_timer);
    reactor->script_timer.data = reactor;
    reactor->script_timer_ms = UINT64_MAX;
}

void timers_arm(struct reactor *reactor)
{
    uint64_t due_ms = script_next_timer(reactor->script);
    if (__builtin_expect(due_ms == reactor->script_timer_ms, 1))
        return;
    ev_timer_stop(reactor->loop, &reactor->script_timer);
    reactor->script_timer_ms = due_ms;
    if (due_ms == UINT64_MAX)
        return;
    uint64_t now_ms = clock_steady_ns() / 1000000;
    ev_now_update(reactor->loop);
    /* A millisecond more, so that it never comes before the millisecond is over. */
    ev_timer_set(&reactor->script_timer, due_ms > now_ms ? (double)(due_ms - now_ms + 1) / 1000 : 0, 0);
    ev_timer_start(reactor->loop, &reactor->script_timer);
}
