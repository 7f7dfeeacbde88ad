/* The lines of admission, in shares of the budget: 0.93 for peers that send much, 0.96 for the others. Between critical
 * (0.9) and the first lie the milliseconds that pausing takes; what is above the second is for what nobody asks for:
 * blocks that malloc rounds up, answers, the Lua heaps between two looks. */
#include "runtime/pressure/pressure.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/system/system.h"
#include "memory/admission.h"
#include "memory/pool.h"
#include "runtime/engines/alert.h"
#include "runtime/events/events.h"
#include "runtime/pressure/shed.h"
#include "runtime/process/server.h"
#include "runtime/reactor.h"

#define LIGHT_LINE 0.96
#define HEAVY_LINE 0.93

/* Under pressure main looks this often at most, whoever calls for it. */
#define ALARM_DISTANCE_MS 10u
/* … and by itself this often at least. */
#define PRESSED_INTERVAL_MS 100u

static const struct config *config;
static void (*wake_main)(void);
static atomic_bool enabled, switched, wanted, step_wanted, alarmed;
static atomic_uint shown_level;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* figures */
static struct pressure_figures figures;

/* Main's own. */
static struct pressure_controller controller;
static uint64_t looked_ms, regular_ms;
static struct {
    bool under_way;
    const char *cause;
    uint64_t heaps_before, began_ms;
} collection;

static uint64_t share_of_budget(double share)
{
    uint64_t budget = config->limits.memory;
    return budget == CONFIG_UNLIMITED || !atomic_load(&enabled) ? UINT64_MAX : (uint64_t)((double)budget * share);
}

static void on_alarm(void)
{
    if (!atomic_exchange_explicit(&alarmed, true, memory_order_relaxed))
        wake_main();
}

static void draw_lines(void)
{
    admission_start(share_of_budget(LIGHT_LINE), share_of_budget(HEAVY_LINE), on_alarm);
}

static void ask_all(unsigned bits)
{
    for (unsigned i = 0; i < server_reactor_count(); i++)
        shed_ask(server_reactor(i), bits);
}

/* --- Starting, switching --- */

void pressure_start(const struct config *from, void (*wake)(void))
{
    config = from;
    wake_main = wake;
    atomic_store(&enabled, from->phase2.gc_optimization.enabled);
    struct pressure_rules rules = {.budget = from->limits.memory,
                                   .threshold = from->phase2.gc_optimization.memory_threshold,
                                   .cooldown_ms = from->phase2.gc_optimization.cooldown_ms,
                                   .horizon_ms = from->phase2.gc_optimization.predict_horizon_ms,
                                   .interval_ms = from->phase2.gc_optimization.sample_interval_ms};
    controller_start(&controller, &rules);
    memset(&figures, 0, sizeof figures);
    memset(&collection, 0, sizeof collection);
    looked_ms = regular_ms = 0;
    atomic_store(&shown_level, PRESSURE_LOW);
    draw_lines();
}

void pressure_stop(void)
{
    admission_start(UINT64_MAX, UINT64_MAX, NULL);
}

void pressure_set_enabled(bool on)
{
    if (atomic_exchange(&enabled, on) == on)
        return;
    atomic_store(&switched, true);
    wake_main();
}

bool pressure_enabled(void)
{
    return atomic_load_explicit(&enabled, memory_order_relaxed);
}

enum pressure_level pressure_level(void)
{
    return (enum pressure_level)atomic_load_explicit(&shown_level, memory_order_relaxed);
}

void pressure_order_collection(void)
{
    atomic_store(&wanted, true);
    wake_main();
}

void pressure_order_step(void)
{
    atomic_store(&step_wanted, true);
    wake_main();
}

uint64_t pressure_script_limit(const struct config *from)
{
    uint64_t limit = from->script.memory_limit, least = 1u << 20;
    if (from->limits.memory == CONFIG_UNLIMITED || from->performance.worker_threads == 0)
        return limit;
    uint64_t share = from->limits.memory / 2 / from->performance.worker_threads;
    share = share > least ? share : least;
    return limit < share ? limit : share;
}

/* --- Acting --- */

static void trim(struct memory_sample *sample, const char *cause)
{
    struct memory_sample before = *sample;
    pool_reclaim(SIZE_MAX);
    system_trim_heap();
    sampler_read(sample);
    uint64_t reclaimed = before.resident > sample->resident ? before.resident - sample->resident : 0;
    pthread_mutex_lock(&mutex);
    figures.trims++;
    figures.trimmed_bytes += reclaimed;
    pthread_mutex_unlock(&mutex);
    if (reclaimed > 0)
        log_info(MEMORY, "trimmed", "memory: gave back %" PRIu64 " KiB of unused memory (%s)", reclaimed >> 10, cause);
}

/* What the scripts kept when it was last called a leak; the alert is over when a collection leaves well less. */
static uint64_t leak_heaps;

static void collect(const struct memory_sample *sample, const char *cause, bool manually)
{
    collection.under_way = true;
    collection.cause = cause;
    collection.heaps_before = sample->script_heaps + sample->api_heaps;
    collection.began_ms = clock_steady_ns() / 1000000;
    ask_all(SHED_COLLECT | (manually ? SHED_MANUALLY : 0));
}

static bool collection_waits(void)
{
    for (unsigned i = 0; i < server_reactor_count(); i++)
        if (atomic_load_explicit(&server_reactor(i)->shed.asked, memory_order_relaxed) & SHED_COLLECT)
            return true;
    return false;
}

/* When an ordered collection is over: says what it brought, and gives it back. */
static void finish_collection(struct memory_sample *sample)
{
    uint64_t now_ms = clock_steady_ns() / 1000000;
    /* A reactor takes the order a moment before its state shows it. */
    if (!collection.under_way || sample->collections_under_way > 0 || collection_waits() ||
        now_ms - collection.began_ms < ALARM_DISTANCE_MS)
        return;
    uint64_t heaps = sample->script_heaps + sample->api_heaps;
    if (leak_heaps > 0 && sample->script_heaps < leak_heaps / 4 * 3) {
        leak_heaps = 0;
        alert_resolve("memory.leak");
    }
    uint64_t reclaimed = collection.heaps_before > heaps ? collection.heaps_before - heaps : 0;
    collection.under_way = false;
    log_info(MEMORY, "collected",
             "memory: a full collection of all Lua states (%s) reclaimed %" PRIu64 " KiB in %" PRIu64 " ms",
             collection.cause, reclaimed >> 10, now_ms - collection.began_ms);
    if (reclaimed > 0 || strcmp(collection.cause, "asked for") == 0)
        trim(sample, collection.cause);
}

/* The reactor whose largest connection holds most. */
static void close_largest(void)
{
    struct reactor *chosen = NULL;
    uint64_t most = SHED_CLOSE_BYTES;
    for (unsigned i = 0; i < server_reactor_count(); i++) {
        struct reactor *reactor = server_reactor(i);
        uint64_t held = atomic_load_explicit(&reactor->shed.most_held, memory_order_relaxed);
        if (held >= most) {
            chosen = reactor;
            most = held;
        }
    }
    if (chosen)
        shed_ask(chosen, SHED_CLOSE);
}

/* Only those that have paused somebody are woken. */
static void ask_paused_to_resume(void)
{
    for (unsigned i = 0; i < server_reactor_count(); i++)
        if (atomic_load_explicit(&server_reactor(i)->shed.paused_now, memory_order_relaxed) > 0)
            shed_ask(server_reactor(i), SHED_RESUME);
}

static void say_level(enum pressure_level before, const struct memory_sample *sample, bool rose)
{
    log_info(MEMORY, "level_changed", "memory: %s (was %s): %" PRIu64 " of %" PRIu64 " KiB in use",
             pressure_level_name(controller.level), pressure_level_name(before), sample->resident >> 10,
             config->limits.memory >> 10);
    events_tell(EVENT_MEMORY,
                (struct event_field[]){EVENT_TEXT("level", slice_from_string(pressure_level_name(controller.level))),
                                       EVENT_TEXT("was", slice_from_string(pressure_level_name(before))),
                                       EVENT_NUMBER("used", (double)sample->resident),
                                       EVENT_NUMBER("budget", (double)config->limits.memory),
                                       {0}});
    if (controller.level < PRESSURE_HIGH) {
        alert_resolve("memory.pressure");
        return;
    }
    alert_raise("memory.pressure", "%s: %" PRIu64 " of %" PRIu64 " KiB in use", pressure_level_name(controller.level),
                sample->resident >> 10, config->limits.memory >> 10);
    if (rose) {
        pthread_mutex_lock(&mutex);
        figures.pressure_alerts++;
        pthread_mutex_unlock(&mutex);
    }
}

static void carry_out(const struct pressure_orders *orders, struct memory_sample *sample)
{
    const char *cause = orders->cause == PRESSURE_BY_TREND ? "the trend reaches the threshold" : "above the threshold";
    if (orders->trim)
        trim(sample, cause);
    if (orders->collect) {
        pthread_mutex_lock(&mutex);
        figures.orders++;
        pthread_mutex_unlock(&mutex);
        collect(sample, cause, false);
    }
    if (orders->set_history) {
        uint64_t bytes = (uint64_t)((double)config->history.bytes * controller.history_share);
        atomic_store(&shed_history_bytes, controller.history_share == 1 ? UINT64_MAX : bytes);
        shed_ask(server_reactor(0), SHED_HISTORY);
        log_info(MEMORY, "history_bounded", "memory: the history may hold %.0f %% of its bytes (%s)",
                 controller.history_share * 100, orders->cause == PRESSURE_NO_CAUSE ? "the pressure is over" : cause);
    }
    if (orders->pause)
        ask_all(SHED_PAUSE);
    if (orders->resume)
        ask_paused_to_resume();
    if (orders->close)
        close_largest();
    if (orders->leaking) {
        pthread_mutex_lock(&mutex);
        figures.leak_alerts++;
        pthread_mutex_unlock(&mutex);
        leak_heaps = sample->script_heaps;
        alert_raise("memory.leak", "scripts keep more after each of the last %d collections: now %" PRIu64 " KiB",
                    LEAK_COLLECTIONS, sample->script_heaps >> 10);
    }
}

/* --- Looking --- */

/* Control groups are searched for at this distance: it takes some reading of /proc. */
#define SURROUNDINGS_MS 10000u

static void show(const struct memory_sample *sample, bool regular, uint64_t now_ms)
{
    static uint64_t surroundings_ms;
    struct memory_surroundings surroundings;
    bool around = regular && (surroundings_ms == 0 || now_ms - surroundings_ms >= SURROUNDINGS_MS);
    if (around) {
        sampler_read_surroundings(&surroundings);
        surroundings_ms = now_ms;
    }
    pthread_mutex_lock(&mutex);
    figures.sample = *sample;
    if (around)
        figures.surroundings = surroundings;
    figures.has_trend = controller.has_line;
    figures.trend = controller.line.slope;
    figures.fit = controller.line.fit;
    figures.seconds_to_threshold = controller.seconds_to_threshold;
    figures.history_share = controller.history_share;
    pthread_mutex_unlock(&mutex);
}

static void look(uint64_t now_ms, bool regular)
{
    bool on = pressure_enabled();
    struct memory_sample sample;
    sampler_read(&sample);
    struct pressure_look seen = {.now_ms = now_ms,
                                 .used = sample.resident,
                                 .heaps = sample.script_heaps,
                                 .collections = sample.collections,
                                 .regular = regular,
                                 .enabled = on};
    enum pressure_level before = controller.level;
    struct pressure_orders orders = controller_decide(&controller, &seen);
    atomic_store_explicit(&shown_level, controller.level, memory_order_relaxed);
    enum admission admission = on && controller.level == PRESSURE_CRITICAL ? ADMISSION_TIGHT : ADMISSION_OPEN;
    if (orders.rose || orders.fell)
        say_level(before, &sample, orders.rose);
    /* First the gate, then what takes time. */
    admission_update(sample.resident, sample.pools, admission);
    carry_out(&orders, &sample);
    finish_collection(&sample);
    admission_update(sample.resident, sample.pools, admission);
    show(&sample, regular, now_ms);
}

int pressure_tick(void)
{
    uint64_t now_ms = clock_steady_ns() / 1000000;
    uint64_t interval = controller.rules.interval_ms;
    if (atomic_exchange(&switched, false)) {
        draw_lines();
        ask_all(SHED_MODE);
        log_info(MEMORY, "engine_switched", "memory: the engine gcOptimization is %s",
                 pressure_enabled() ? "on" : "off");
        looked_ms = 0;
    }
    if (atomic_exchange(&wanted, false)) {
        struct memory_sample sample;
        sampler_read(&sample);
        collect(&sample, "asked for", true);
    }
    if (atomic_exchange(&step_wanted, false) && pressure_enabled()) {
        struct memory_sample sample;
        sampler_read(&sample);
        trim(&sample, "an alert");
        collect(&sample, "an alert", false);
        ask_all(SHED_PAUSE);
    }
    bool regular = regular_ms == 0 || now_ms - regular_ms >= interval;
    bool pressed = controller.level >= PRESSURE_HIGH || collection.under_way ||
                   atomic_load_explicit(&admission_state, memory_order_relaxed) != ADMISSION_OPEN;
    uint64_t distance = pressed && interval > PRESSED_INTERVAL_MS ? PRESSED_INTERVAL_MS : interval;
    if (atomic_load_explicit(&alarmed, memory_order_relaxed) || collection.under_way)
        distance = distance < ALARM_DISTANCE_MS ? distance : ALARM_DISTANCE_MS;
    if (regular || looked_ms == 0 || now_ms - looked_ms >= distance) {
        atomic_store_explicit(&alarmed, false, memory_order_relaxed);
        if (regular)
            regular_ms = now_ms;
        look(now_ms, regular);
        looked_ms = now_ms = clock_steady_ns() / 1000000;
        distance = collection.under_way ? ALARM_DISTANCE_MS : interval;
        if (controller.level >= PRESSURE_HIGH && distance > PRESSED_INTERVAL_MS)
            distance = PRESSED_INTERVAL_MS;
    }
    uint64_t next = looked_ms + distance, next_regular = regular_ms + interval;
    next = next < next_regular ? next : next_regular;
    return next > now_ms ? (int)(next - now_ms) : 0;
}

/* --- Showing --- */

void pressure_read(struct pressure_figures *out)
{
    pthread_mutex_lock(&mutex);
    *out = figures;
    pthread_mutex_unlock(&mutex);
    out->enabled = pressure_enabled();
    out->level = pressure_level();
    out->budget = config ? config->limits.memory : CONFIG_UNLIMITED;
    out->history_bytes_shed = atomic_load_explicit(&shed_history_released, memory_order_relaxed);
    out->refused_growth = admission_refusals();
    for (unsigned i = 0; i < server_reactor_count(); i++) {
        const struct shed *shed = &server_reactor(i)->shed;
        out->paused += atomic_load_explicit(&shed->paused, memory_order_relaxed);
        out->resumed += atomic_load_explicit(&shed->resumed, memory_order_relaxed);
        out->closed += atomic_load_explicit(&shed->closed, memory_order_relaxed);
        out->refused_connections += atomic_load_explicit(&shed->refused_connections, memory_order_relaxed);
        out->refused_requests += atomic_load_explicit(&shed->refused_requests, memory_order_relaxed);
    }
}
