/* Requests and failures come from any thread and are only noted; main alone starts and stops engines, so no two
 * switches of one engine overlap. */
#include "runtime/engines/engines.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "memory/pool.h"
#include "runtime/config/bundle.h"
#include "runtime/engines/alert.h"
#include "runtime/engines/warmth.h"
#include "runtime/events/events.h"
#include "runtime/pressure/pressure.h"
#include "runtime/process/supervision.h"
#include "script/user_operation.h"
#include "workers/worker_pool.h"

/* Long enough that a fault that lasts does not fill the log, short enough at first that a moment's is hardly felt. */
#define RETRY_FIRST_MS 1000u
#define RETRY_LONGEST_MS 60000u

struct engine_entry {
    const char *name, *alert;
    bool (*start)(char *error, size_t size);
    void (*stop)(void);
    bool wanted;
    enum engine_state state;
    char reason[ENGINE_REASON_BYTES];
    bool failed; /* noted by engines_fail */
    uint32_t retry_after_ms;
    uint64_t retry_at_ms, failures, started_ms;
};

static const struct config *config;
static bool running; /* the start is over */

/* --- Each one's start and stop --- */

static struct warmth warmth[POOL_COUNT];

/* Warm sizes in the config are per reactor. */
static void keep_pools_warm(void)
{
    uint32_t reactors = config->performance.worker_threads;
    const uint32_t configured[POOL_COUNT] = {[POOL_ENVELOPES] = config->phase2.object_pooling.envelope_pool_size,
                                             [POOL_ARRAYS] = config->phase2.object_pooling.array_pool_size,
                                             [POOL_BUFFERS] = config->phase2.object_pooling.buffer_pool_size};
    struct pool_options options = {.max_age_ms = config->phase2.object_pooling.max_age_ms};
    for (unsigned pool = 0; pool < POOL_COUNT; pool++) {
        struct pool_statistics read;
        pool_read_statistics((enum pool)pool, &read);
        warmth_update(&warmth[pool], read.acquired - read.released);
        uint64_t all = (uint64_t)configured[pool] * reactors;
        options.warm[pool] = warmth_blocks(&warmth[pool], all < UINT32_MAX ? (uint32_t)all : UINT32_MAX,
                                           config->phase2.predictive_scaling.enabled);
    }
    pool_configure(&options);
}

static bool start_pools(char *error, size_t size)
{
    (void)error, (void)size;
    keep_pools_warm();
    pool_set_enabled(true);
    return true;
}

static void stop_pools(void)
{
    pool_set_enabled(false);
}

static bool start_collector(char *error, size_t size)
{
    (void)error, (void)size;
    pressure_set_enabled(true);
    return true;
}

static void stop_collector(void)
{
    pressure_set_enabled(false);
}

static void workers_failed(const char *reason)
{
    engines_fail(ENGINE_WORKERS, reason);
}

static const struct worker_host host = {.has = user_operation_exists,
                                        .open = user_operation_open,
                                        .run = user_operation_run,
                                        .interrupt = user_operation_interrupt,
                                        .close = user_operation_close,
                                        .open_bundle = bundle_install};

static bool start_workers(char *error, size_t size)
{
    struct worker_pool_options options = {
        .min_workers = config->phase2.worker_pool.min_workers,
        .max_workers = config->phase2.worker_pool.max_workers,
        .task_timeout_ms = config->phase2.worker_pool.task_timeout_ms,
        .queue_limit = config->phase2.worker_pool.queue_limit,
        .idle_timeout_ms = config->phase2.worker_pool.idle_timeout_ms,
        .predictive = config->phase2.predictive_scaling.enabled,
        .host = host,
        .failed = workers_failed,
    };
    return worker_pool_start(&options, error, size);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* the entries; not held over start and stop */
static struct engine_entry engines[ENGINE_COUNT] = {
    [ENGINE_POOLS] = {.name = "objectPooling", .alert = "objectPooling.degraded", start_pools, stop_pools},
    [ENGINE_COLLECTOR] = {.name = "gcOptimization",
                          .alert = "gcOptimization.degraded",
                          start_collector,
                          stop_collector},
    [ENGINE_WORKERS] = {.name = "workerPool", .alert = "workerPool.degraded", start_workers, worker_pool_stop},
};

/* --- Switching, on main --- */

static void tell(const struct engine_entry *engine, struct slice state, const char *reason)
{
    events_tell(EVENT_ENGINE, (struct event_field[]){EVENT_TEXT("engine", slice_from_string(engine->name)),
                                                     EVENT_TEXT("state", state),
                                                     EVENT_TEXT("reason", slice_from_string(reason)),
                                                     {0}});
}

static void degrade(struct engine_entry *engine, const char *reason, uint64_t now_ms)
{
    pthread_mutex_lock(&mutex);
    /* One that ran well for long begins with short pauses again. */
    bool ran_well = engine->state == ENGINE_ON && now_ms - engine->started_ms > RETRY_LONGEST_MS;
    uint32_t pause = engine->retry_after_ms == 0 || ran_well ? RETRY_FIRST_MS : engine->retry_after_ms * 2;
    engine->retry_after_ms = pause < RETRY_LONGEST_MS ? pause : RETRY_LONGEST_MS;
    engine->retry_at_ms = now_ms + engine->retry_after_ms;
    engine->state = ENGINE_DEGRADED;
    engine->failures++;
    engine->failed = false;
    snprintf(engine->reason, sizeof engine->reason, "%s", reason);
    pause = engine->retry_after_ms;
    pthread_mutex_unlock(&mutex);
    tell(engine, SLICE("degraded"), reason);
    alert_raise(engine->alert, "%s is off: %s; the bridge goes on without it and tries again in %u ms", engine->name,
                reason, pause);
}

static void set_state(struct engine_entry *engine, enum engine_state state, uint64_t now_ms)
{
    pthread_mutex_lock(&mutex);
    engine->state = state;
    engine->failed = false;
    engine->reason[0] = '\0';
    engine->started_ms = now_ms;
    if (state == ENGINE_OFF)
        engine->retry_after_ms = 0;
    pthread_mutex_unlock(&mutex);
    tell(engine, state == ENGINE_ON ? SLICE("on") : SLICE("off"), "");
    alert_resolve(engine->alert);
}

static void switch_on(struct engine_entry *engine, uint64_t now_ms)
{
    char error[ENGINE_REASON_BYTES] = "";
    bool again = engine->state == ENGINE_DEGRADED, at_start = !again && !running;
    if (engine->start(error, sizeof error)) {
        set_state(engine, ENGINE_ON, now_ms);
        if (!at_start)
            log_info(ENGINE, "on", "%s is %s", engine->name, again ? "on again" : "switched on");
    } else {
        degrade(engine, error, now_ms);
    }
}

static void step(struct engine_entry *engine, uint64_t now_ms)
{
    pthread_mutex_lock(&mutex);
    bool wanted = engine->wanted, failed = engine->failed && engine->state == ENGINE_ON;
    enum engine_state state = engine->state;
    char reason[ENGINE_REASON_BYTES];
    memcpy(reason, engine->reason, sizeof reason);
    bool due = state == ENGINE_OFF || (state == ENGINE_DEGRADED && now_ms >= engine->retry_at_ms);
    pthread_mutex_unlock(&mutex);
    if (failed) {
        engine->stop();
        degrade(engine, reason, now_ms);
    } else if (!wanted && state != ENGINE_OFF) {
        if (state == ENGINE_ON)
            engine->stop();
        set_state(engine, ENGINE_OFF, now_ms);
        log_info(ENGINE, "off", "%s is switched off", engine->name);
    } else if (wanted && due) {
        switch_on(engine, now_ms);
    }
}

void engines_start(const struct config *from)
{
    config = from;
    worker_pool_set_host(&host);
    const bool wanted[ENGINE_COUNT] = {[ENGINE_POOLS] = config->phase2.object_pooling.enabled,
                                       [ENGINE_COLLECTOR] = config->phase2.gc_optimization.enabled,
                                       [ENGINE_WORKERS] = config->phase2.worker_pool.enabled};
    uint64_t now_ms = clock_steady_ns() / 1000000;
    for (unsigned i = 0; i < ENGINE_COUNT; i++) {
        engines[i].wanted = wanted[i];
        if (wanted[i])
            switch_on(&engines[i], now_ms);
        else
            engines[i].stop();
    }
    running = true;
}

/* Once a second: what has been unused for long goes. */
static uint64_t care_for_pools(uint64_t now_ms)
{
    static uint64_t next_ms;
    if (now_ms < next_ms)
        return next_ms;
    next_ms = now_ms + 1000;
    if (pool_take_failure())
        engines_fail(ENGINE_POOLS, "a thread found no memory for its magazines");
    keep_pools_warm();
    pool_age(now_ms);
    return next_ms;
}

uint64_t engines_tick(uint64_t now_ms)
{
    uint64_t next = care_for_pools(now_ms);
    for (unsigned i = 0; i < ENGINE_COUNT; i++) {
        step(&engines[i], now_ms);
        pthread_mutex_lock(&mutex);
        if (engines[i].wanted && engines[i].state == ENGINE_DEGRADED && engines[i].retry_at_ms < next)
            next = engines[i].retry_at_ms;
        pthread_mutex_unlock(&mutex);
    }
    return next;
}

void engines_stop(void)
{
    worker_pool_stop();
}

/* --- From any thread --- */

void engines_want(enum engine engine, bool on)
{
    pthread_mutex_lock(&mutex);
    engines[engine].wanted = on;
    if (on)
        engines[engine].retry_at_ms = 0;
    pthread_mutex_unlock(&mutex);
    supervision_wake();
}

void engines_fail(enum engine engine, const char *reason)
{
    pthread_mutex_lock(&mutex);
    engines[engine].failed = true;
    snprintf(engines[engine].reason, sizeof engines[engine].reason, "%s", reason);
    pthread_mutex_unlock(&mutex);
    supervision_wake();
}

enum engine engines_find(const char *name)
{
    unsigned engine = 0;
    while (engine < ENGINE_COUNT && strcmp(engines[engine].name, name) != 0)
        engine++;
    return (enum engine)engine;
}

void engines_read(struct engine_view out[ENGINE_COUNT])
{
    uint64_t now_ms = clock_steady_ns() / 1000000;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < ENGINE_COUNT; i++) {
        const struct engine_entry *engine = &engines[i];
        out[i] = (struct engine_view){
            .name = engine->name, .wanted = engine->wanted, .state = engine->state, .failures = engine->failures};
        memcpy(out[i].reason, engine->reason, sizeof out[i].reason);
        if (engine->state == ENGINE_DEGRADED && engine->retry_at_ms > now_ms)
            out[i].retry_in_ms = (double)(engine->retry_at_ms - now_ms);
    }
    pthread_mutex_unlock(&mutex);
}
