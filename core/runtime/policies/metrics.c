/* Counters are kept as they stood at up to 61 moments of the window; a rate is the newest minus the oldest. */
#include "runtime/policies/metrics.h"

#include <math.h>

#include "base/clock.h"
#include "bridge/delivery/lane.h"
#include "bridge/registry/registry.h"
#include "memory/pool.h"
#include "runtime/engines/engines.h"
#include "runtime/http/api/api.h"
#include "runtime/pressure/pressure.h"
#include "runtime/tls/certificates.h"
#include "script/state/collect.h"
#include "workers/worker_pool.h"

struct policy_metric metrics[METRIC_COUNT] = {
#define X(id, text) [METRIC_##id] = {.name = (text), .value = NAN},
    METRICS(X)
#undef X
};

enum counter {
    COLLECTIONS,
    ACQUIRED,
    HITS,
    TASKS_FAILED,
    ACCEPTED,
    REFUSED,
    SLOW,
    UNDELIVERED,
    ERRORS,
    OVERRUNS,
    COUNTERS
};

struct moment {
    uint64_t at_ms;
    uint64_t counters[COUNTERS];
};

#define MOMENTS 61

static struct moment moments[MOMENTS]; /* a ring */
static unsigned first, count;
static uint64_t window_ms;

static uint64_t read_counter(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void read_lanes(uint64_t counters[COUNTERS])
{
    for (unsigned i = 0; i < lanes_count(); i++) {
        const struct lane_counters *lane = &lanes_get(i)->counters;
        counters[ACCEPTED] += read_counter(&lane->messages_in);
        counters[SLOW] += read_counter(&lane->undeliverable[UNDELIVERABLE_SLOW_AGENT]);
        for (unsigned code = CODE_OK + 1; code < CODE_COUNT; code++)
            counters[REFUSED] += read_counter(&lane->refused[code]);
        for (unsigned reason = 0; reason < UNDELIVERABLE_REASONS; reason++)
            counters[UNDELIVERED] += read_counter(&lane->undeliverable[reason]);
    }
}

static void read_pools(uint64_t counters[COUNTERS])
{
    for (unsigned pool = 0; pool < POOL_COUNT; pool++) {
        struct pool_statistics read;
        pool_read_statistics((enum pool)pool, &read);
        counters[ACQUIRED] += read.acquired;
        counters[HITS] += read.hits;
    }
}

/* What the counters brought in the window. */
static void change_in_window(uint64_t now_ms, uint64_t change[COUNTERS])
{
    struct moment now = {.at_ms = now_ms};
    struct script_collections collections = {0};
    struct worker_pool_statistics workers;
    uint64_t scripts, apis;
    api_sum_heaps(&scripts, &apis, &collections);
    api_sum_failures(&now.counters[ERRORS], &now.counters[OVERRUNS]);
    now.counters[COLLECTIONS] = collections.manual + collections.automatic;
    worker_pool_read_statistics(&workers);
    now.counters[TASKS_FAILED] = workers.failed + workers.timeouts;
    read_lanes(now.counters);
    read_pools(now.counters);
    /* The oldest one that is kept lies at the window's beginning or just after it. */
    while (count > 1 && now_ms - moments[(first + 1) % MOMENTS].at_ms >= window_ms) {
        first = (first + 1) % MOMENTS;
        count--;
    }
    const struct moment *oldest = count > 0 ? &moments[first] : &now;
    for (unsigned i = 0; i < COUNTERS; i++) /* the reactors stop: what they counted goes with them */
        change[i] = now.counters[i] > oldest->counters[i] ? now.counters[i] - oldest->counters[i] : 0;
    const struct moment *newest = &moments[(first + count - 1) % MOMENTS];
    if (count > 0 && now_ms - newest->at_ms < window_ms / (MOMENTS - 1))
        return;
    if (count == MOMENTS) {
        first = (first + 1) % MOMENTS;
        count--;
    }
    moments[(first + count++) % MOMENTS] = now;
}

static double share_of(uint64_t part, uint64_t whole, uint64_t least)
{
    return whole >= least && whole > 0 ? (double)part / (double)whole : NAN;
}

void metrics_start(const struct config *config)
{
    window_ms = config->alerts.window_ms;
    first = count = 0;
    /* The first moment, for the first look may come late on a busy machine. */
    change_in_window(clock_steady_ns() / 1000000, (uint64_t[COUNTERS]){0});
}

static void set(enum metric metric, double value)
{
    metrics[metric].value = value;
}

void metrics_look(uint64_t now_ms)
{
    uint64_t change[COUNTERS];
    struct worker_pool_statistics workers;
    struct pressure_figures memory;
    double minutes = (double)window_ms / 60000;
    change_in_window(now_ms, change);
    worker_pool_read_statistics(&workers);
    pressure_read(&memory);
    set(METRIC_GC_FREQUENCY, (double)change[COLLECTIONS] / minutes);
    struct engine_view engines[ENGINE_COUNT];
    engines_read(engines);
    bool pools = engines[ENGINE_POOLS].state == ENGINE_ON;
    set(METRIC_POOL_HIT_RATE, pools ? share_of(change[HITS], change[ACQUIRED], METRICS_POOL_REQUESTS) : NAN);
    set(METRIC_WORKER_UTILIZATION, workers.running ? share_of(workers.busy, workers.workers, 1) : NAN);
    set(METRIC_QUEUE_DEPTH, (double)workers.depth[TASK_HIGH] + workers.depth[TASK_NORMAL] + workers.depth[TASK_LOW]);
    set(METRIC_TASK_FAILURES, (double)change[TASKS_FAILED] / minutes);
    set(METRIC_MESSAGES, (double)change[ACCEPTED] * 1000 / (double)window_ms);
    set(METRIC_ERROR_RATE, share_of(change[REFUSED], change[REFUSED] + change[ACCEPTED], METRICS_MESSAGES));
    set(METRIC_SLOW_AGENTS, (double)change[SLOW] / minutes);
    set(METRIC_UNDELIVERABLE, (double)change[UNDELIVERED] / minutes);
    set(METRIC_SCRIPT_ERRORS, (double)change[ERRORS] / minutes);
    set(METRIC_SCRIPT_OVERRUNS, (double)change[OVERRUNS] / minutes);
    set(METRIC_AGENTS, (double)registry_connected_count());
    set(METRIC_MAILBOX_ENVELOPES, (double)registry_queued_count());
    set(METRIC_MEMORY_SHARE,
        memory.budget == CONFIG_UNLIMITED ? NAN : (double)memory.sample.resident / (double)memory.budget);
    set(METRIC_MEMORY_BUDGET, memory.budget == CONFIG_UNLIMITED ? NAN : (double)memory.budget);
    set(METRIC_CERTIFICATE_EXPIRY, certificates_days_left());
    set(METRIC_MEMORY_TREND, memory.has_trend ? memory.trend : NAN);
}
