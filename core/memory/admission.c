#include "memory/admission.h"

#include "memory/pool.h"

/* What a thread gets at a time: small beside any budget that makes sense with that many threads, large enough that
 * adding up the pools' counters for it does not show. */
#define GRANT_BYTES (64u << 10)

/* With no line at all nobody needs to ask again soon; bounded so that a line drawn later is noticed. */
#define GRANT_UNLIMITED (16u << 20)

/* By this share of the light line the estimate may move away from what was measured: one in … */
#define MEASURE_SHARE 32

atomic_uint admission_state;
_Thread_local bool admission_heavy;
_Thread_local int64_t admission_credit;

static atomic_ullong light_line = UINT64_MAX, heavy_line = UINT64_MAX;
static atomic_ullong measured_used, measured_pools;
static atomic_ullong refusals;
static _Atomic(void (*)(void)) alarm_function;

void admission_start(uint64_t light, uint64_t heavy, void (*alarm)(void))
{
    atomic_store_explicit(&alarm_function, alarm, memory_order_relaxed);
    atomic_store_explicit(&light_line, light, memory_order_relaxed);
    atomic_store_explicit(&heavy_line, heavy, memory_order_relaxed);
    if (light == UINT64_MAX)
        atomic_store_explicit(&admission_state, ADMISSION_OPEN, memory_order_relaxed);
}

static uint64_t estimate(void)
{
    uint64_t bytes = atomic_load_explicit(&measured_used, memory_order_relaxed);
    for (unsigned pool = 0; pool < POOL_COUNT; pool++) {
        struct pool_statistics statistics;
        pool_read_statistics((enum pool)pool, &statistics);
        bytes += statistics.bytes;
    }
    uint64_t pools_then = atomic_load_explicit(&measured_pools, memory_order_relaxed);
    return bytes > pools_then ? bytes - pools_then : 0;
}

void admission_update(uint64_t used, uint64_t pools, enum admission state)
{
    atomic_store_explicit(&measured_pools, pools, memory_order_relaxed);
    atomic_store_explicit(&measured_used, used, memory_order_relaxed);
    uint64_t line = atomic_load_explicit(&light_line, memory_order_relaxed);
    if (line != UINT64_MAX && estimate() + GRANT_BYTES > line)
        state = ADMISSION_CLOSED;
    atomic_store_explicit(&admission_state, state, memory_order_relaxed);
}

static void sound_alarm(void)
{
    void (*alarm)(void) = atomic_load_explicit(&alarm_function, memory_order_relaxed);
    if (alarm)
        alarm();
}

bool admission_ask(size_t size)
{
    uint64_t heavy = atomic_load_explicit(&heavy_line, memory_order_relaxed);
    uint64_t light = atomic_load_explicit(&light_line, memory_order_relaxed);
    if (light == UINT64_MAX) {
        admission_credit = GRANT_UNLIMITED;
        return true;
    }
    uint64_t now = estimate();
    if (now > atomic_load_explicit(&measured_used, memory_order_relaxed) + light / MEASURE_SHARE)
        sound_alarm(); /* malloc's own share of it is not known */
    if (now + size + GRANT_BYTES <= heavy) {
        admission_credit = GRANT_BYTES;
        return true;
    }
    /* Near the line: no more than what was asked for, so that nobody lives on another's permission. */
    admission_credit = 0;
    sound_alarm();
    if (now + size <= (admission_heavy ? heavy : light))
        return true;
    atomic_fetch_add_explicit(&refusals, 1, memory_order_relaxed);
    if (!admission_heavy)
        atomic_store_explicit(&admission_state, ADMISSION_CLOSED, memory_order_relaxed);
    return false;
}

uint64_t admission_refusals(void)
{
    return atomic_load_explicit(&refusals, memory_order_relaxed);
}
