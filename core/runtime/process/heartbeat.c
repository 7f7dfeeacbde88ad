#include "runtime/process/heartbeat.h"

#include "base/system/service.h"
#include "runtime/process/server.h"
#include "runtime/reactor.h"

static struct errand questions[LANES_MAXIMUM];
static atomic_uint answers;
static unsigned asked;
static uint64_t due_ms;

static void answer(struct reactor *reactor, struct errand *errand)
{
    (void)reactor, (void)errand;
    atomic_fetch_add_explicit(&answers, 1, memory_order_release); /* the errand is main's again */
}

uint64_t heartbeat_tick(uint64_t now_ms)
{
    uint32_t interval_ms = service_alive_interval_ms();
    if (interval_ms == 0)
        return UINT64_MAX;
    if (now_ms < due_ms)
        return due_ms;
    due_ms = now_ms + (interval_ms > 1 ? interval_ms / 2 : 1); /* one that is late once is no reason to start again */
    if (atomic_load_explicit(&answers, memory_order_acquire) < asked)
        return due_ms;
    if (asked > 0)
        service_alive();
    atomic_store_explicit(&answers, 0, memory_order_relaxed);
    asked = server_reactor_count();
    for (unsigned i = 0; i < asked; i++) {
        questions[i].run = answer;
        reactor_post(server_reactor(i), &questions[i]);
    }
    return due_ms;
}
