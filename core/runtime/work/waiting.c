#include "runtime/work/waiting.h"

#include <stdio.h>

#include "base/clock.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"
#include "runtime/work/asking.h"
#include "runtime/work/work.h"
#include "script/binding/send.h"

/* Times are of the moment, not of the pass: a hook may have run for a while. */
static uint64_t now_ms(void)
{
    return clock_steady_ns() / 1000000;
}

static void set_timer(struct waiting *waiting)
{
    struct ev_loop *loop = waiting->reactor->loop;
    uint64_t now = now_ms(), due = waiting->due_ms < waiting->until_ms ? waiting->due_ms : waiting->until_ms;
    ev_timer_stop(loop, &waiting->timer);
    ev_now_update(loop);
    ev_timer_set(&waiting->timer, due > now ? (double)(due - now) / 1000 : 0, 0);
    ev_timer_start(loop, &waiting->timer);
}

static void unlink_waiting(struct waiting *waiting)
{
    ev_timer_stop(waiting->reactor->loop, &waiting->timer);
    *waiting->previous = waiting->next;
    if (waiting->next)
        waiting->next->previous = waiting->previous;
}

static void on_work(struct work *work);
static void on_replies(void *owner);

/* What the hook asked for begins. Whatever is refused is told from the loop, so that a hook that asks again and again
 * gives way to others each time. */
static void begin(struct waiting *waiting, struct script_wait *wait)
{
    struct script_request *request = script_wait_request(wait);
    waiting->wait = wait;
    waiting->work = NULL;
    waiting->asking = NULL;
    waiting->refused = CODE_OK;
    waiting->due_ms = now_ms() + request->ms;
    if (request->questions) {
        waiting->asking = asking_start(waiting->reactor, request, waiting->trace, on_replies, waiting);
        if (!waiting->asking) {
            waiting->refused = CODE_OVERLOADED;
            waiting->refusal = SLICE("out of memory");
        }
        waiting->due_ms = waiting->asking ? asking_due(waiting->asking) : 0;
    } else if (request->operation[0]) {
        struct work *work = work_new(waiting->reactor);
        waiting->refused = CODE_OVERLOADED;
        waiting->refusal = SLICE("out of memory");
        if (work) {
            memcpy(work->operation, request->operation, sizeof work->operation);
            work->task.data = request->data;
            request->data = (struct buffer){0};
            work->task.priority = request->priority;
            work->task.timeout_ms = request->ms;
            work->finished = on_work;
            work->owner = waiting;
            work->began_ns = waiting->trace ? clock_steady_ns() : 0;
            waiting->refused = work_submit(work, &waiting->refusal);
        }
        if (waiting->refused == CODE_OK) {
            waiting->work = work;
            waiting->due_ms = UINT64_MAX;
        } else {
            work_free(work);
            waiting->due_ms = 0;
        }
    }
    set_timer(waiting);
}

static void go_on(struct waiting *waiting, const struct script_answer *answer)
{
    struct script_outcome outcome;
    struct asking *asking = waiting->asking;
    waiting->asking = NULL;
    uint64_t began_ns = waiting->payer ? clock_steady_ns() : 0;
    script_set_cause(waiting->script, waiting->trace);
    enum script_result result = script_resume(waiting->script, waiting->wait, answer, &outcome);
    script_set_cause(waiting->script, NULL);
    if (waiting->payer) {
        uint64_t now_ns = clock_steady_ns();
        party_charge_time(waiting->payer, now_ns - began_ns, now_ns);
    }
    asking_end(asking); /* the answer was its own */
    if (result == SCRIPT_WAITS) {
        begin(waiting, script_take_wait(waiting->script));
        return;
    }
    unlink_waiting(waiting);
    waiting->ended(waiting, result, &outcome);
}

static void on_work(struct work *work)
{
    struct waiting *waiting = work->owner;
    struct script_answer answer = {.code = work_code(work)};
    if (answer.code == CODE_OK)
        answer.value = (const struct value *)(const void *)work->task.result.data;
    else
        answer.text = slice_from_string(work->task.error);
    waiting->work = NULL;
    if (waiting->trace)
        hop_worked(waiting->trace, work, answer.code);
    go_on(waiting, &answer);
    work_free(work);
}

static void on_replies(void *owner)
{
    struct waiting *waiting = owner;
    struct script_answer answer;
    asking_answer(waiting->asking, &answer);
    go_on(waiting, &answer);
}

static void give_up(struct waiting *waiting, bool for_upgrade)
{
    struct reactor *reactor = waiting->reactor;
    struct script_outcome outcome = {.reason = SLICE("the bridge's script failed")};
    char why[96];
    waiting->cut = true;
    if (reactor->draining) {
        snprintf(why, sizeof why, "stopped: it waits, and the bridge is going away");
    } else if (for_upgrade) {
        snprintf(why, sizeof why, "stopped: it waits, and another process takes over");
    } else if (!scripts_in_use(&reactor->scripts, waiting->script)) {
        snprintf(why, sizeof why, "stopped: it waits, and a newer version of the scripts is in use");
    } else {
        waiting->cut = false;
        snprintf(why, sizeof why, "stopped: it waited longer than %u ms (script.suspendMs)",
                 reactor->config->script.suspend_ms);
    }
    if (waiting->work)
        work_forget(waiting->work, work_free);
    asking_end(waiting->asking);
    unlink_waiting(waiting);
    script_abandon(waiting->script, waiting->wait, why);
    waiting->ended(waiting, SCRIPT_FAILED, &outcome);
}

void waiting_give_up(struct reactor *reactor)
{
    give_up(reactor->waiting, true);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct waiting *waiting = timer->data;
    struct reactor *reactor = waiting->reactor;
    (void)loop, (void)events;
    reactor_begin_pass(reactor);
    uint64_t now = now_ms();
    if (waiting->asking && waiting->due_ms > 0 && waiting->due_ms <= now) {
        asking_tick(waiting->asking, now);
        waiting->due_ms = asking_due(waiting->asking);
    }
    if (waiting->asking && waiting->due_ms == 0) {
        on_replies(waiting);
    } else if (!waiting->asking && waiting->due_ms <= waiting->until_ms && waiting->due_ms <= now) {
        struct script_answer answer = {.code = waiting->refused, .text = waiting->refusal};
        go_on(waiting, &answer);
    } else if (waiting->until_ms <= now) {
        give_up(waiting, false);
    } else {
        set_timer(waiting); /* the loop's clock was a little ahead, or there is more to ask */
    }
    reactor_end_pass(reactor);
}

void waiting_start_traced(struct reactor *reactor, struct script_state *script, struct waiting *waiting,
                          const struct trace_context *trace,
                          void (*ended)(struct waiting *, enum script_result, const struct script_outcome *))
{
    waiting->reactor = reactor;
    waiting->trace = trace;
    waiting->script = script;
    waiting->ended = ended;
    waiting->until_ms = now_ms() + reactor->config->script.suspend_ms;
    if (reactor->draining && waiting->until_ms > reactor->drain_started_ms + REACTOR_DRAIN_HOOKS_MS)
        waiting->until_ms = reactor->drain_started_ms + REACTOR_DRAIN_HOOKS_MS;
    waiting->brief = false;
    waiting->cut = false;
    waiting->payer = NULL;
    ev_init(&waiting->timer, on_timer);
    waiting->timer.data = waiting;
    waiting->next = reactor->waiting;
    waiting->previous = &reactor->waiting;
    if (waiting->next)
        waiting->next->previous = &waiting->next;
    reactor->waiting = waiting;
    begin(waiting, script_take_wait(script));
}

void waiting_start(struct reactor *reactor, struct script_state *script, struct waiting *waiting,
                   void (*ended)(struct waiting *, enum script_result, const struct script_outcome *))
{
    waiting_start_traced(reactor, script, waiting, NULL, ended);
}

void waiting_start_brief(struct reactor *reactor, struct script_state *script, struct waiting *waiting,
                         void (*ended)(struct waiting *, enum script_result, const struct script_outcome *))
{
    waiting_start(reactor, script, waiting, ended);
    waiting->brief = true;
    if (reactor->draining)
        waiting_hurry(reactor, NULL, UINT32_MAX);
}

void waiting_hurry(struct reactor *reactor, const struct script_state *script, uint32_t ms)
{
    uint64_t now = now_ms();
    for (struct waiting *waiting = reactor->waiting; waiting; waiting = waiting->next) {
        uint64_t latest = waiting->brief && reactor->draining ? now : now + ms;
        if ((!script || waiting->script == script) && waiting->until_ms > latest) {
            waiting->until_ms = latest;
            set_timer(waiting);
        }
    }
}
