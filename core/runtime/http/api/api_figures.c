/* Figures are sums over all lanes and reactors, read without stopping any. The reactors that may be read are those
 * between api_figures_join and api_figures_leave. */
#include <math.h>
#include <pthread.h>

#include "base/version.h"
#include "bridge/delivery/dead_letter.h"
#include "bridge/delivery/dedup.h"
#include "bridge/queue/pending.h"
#include "bridge/state/history.h"
#include "runtime/events/events.h"
#include "runtime/http/api/api_native.h"
#include "runtime/http/api/figures_history.h"
#include "runtime/identity/jwt/verifier.h"
#include "runtime/limits/limit.h"
#include "runtime/pressure/pressure.h"
#include "runtime/pressure/sampler.h"
#include "runtime/process/drain.h"
#include "runtime/process/server.h"
#include "runtime/reactor.h"
#include "runtime/reload/trial/slot.h"
#include "script/state/collect.h"
#include "workers/worker_pool.h"

/* Main looks once a second; a little less, so that none is skipped. */
#define FIGURES_INTERVAL_MS 900u

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below, but last_refusal */
static struct api *apis[LANES_MAXIMUM];                   /* by reactor; NULL: not started, or ended */
static struct {
    uint64_t at_ms, messages;
    double per_second;
} rate;

/* Wall clock in milliseconds and the code in the lowest byte; 0: none yet. */
static atomic_ullong last_refusal;

void api_figures_join(struct api *api)
{
    api->has_processor_clock = pthread_getcpuclockid(pthread_self(), &api->processor_clock) == 0;
    pthread_mutex_lock(&mutex);
    apis[api->reactor->index] = api;
    pthread_mutex_unlock(&mutex);
}

void api_figures_leave(struct api *api)
{
    pthread_mutex_lock(&mutex);
    apis[api->reactor->index] = NULL;
    pthread_mutex_unlock(&mutex);
}

void api_each(void (*visit)(void *context, const struct api *api), void *context)
{
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < LANES_MAXIMUM; i++)
        if (apis[i])
            visit(context, apis[i]);
    pthread_mutex_unlock(&mutex);
}

void api_count_refusal(struct lane *lane, enum code code)
{
    counter_add(&lane->counters.refused[code], 1);
    atomic_store_explicit(&last_refusal, (unsigned long long)lane->wall_ms << 8 | code, memory_order_relaxed);
}

static void set_timestamp(lua_State *L, const char *iso)
{
    lua_pushlstring(L, iso, CLOCK_ISO_LENGTH);
    lua_setfield(L, -2, "timestamp");
}

static unsigned long long read_counter(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* --- Messages --- */

struct traffic {
    uint64_t messages_in, messages_out, bytes_in, bytes_out, dropped, lost;
    uint64_t refused[CODE_COUNT], undeliverable[UNDELIVERABLE_REASONS];
};

static struct traffic sum_traffic(void)
{
    struct traffic sum = {0};
    for (unsigned i = 0; i < lanes_count(); i++) {
        const struct lane_counters *counters = &lanes_get(i)->counters;
        sum.messages_in += read_counter(&counters->messages_in);
        sum.messages_out += read_counter(&counters->messages_out);
        sum.bytes_in += read_counter(&counters->bytes_in);
        sum.bytes_out += read_counter(&counters->bytes_out);
        sum.dropped += read_counter(&counters->dropped_by_script);
        sum.lost += read_counter(&counters->lost_without_memory);
        for (unsigned code = 0; code < CODE_COUNT; code++)
            sum.refused[code] += read_counter(&counters->refused[code]);
        for (unsigned reason = 0; reason < UNDELIVERABLE_REASONS; reason++)
            sum.undeliverable[reason] += read_counter(&counters->undeliverable[reason]);
    }
    return sum;
}

/* Since somebody last asked, at least a second ago; before that since the start. Mutex held. */
static double messages_per_second(uint64_t messages, uint64_t now_ms)
{
    if (rate.at_ms == 0)
        rate.at_ms = server_started_ms();
    if (now_ms > rate.at_ms && now_ms - rate.at_ms >= 1000) {
        rate.per_second = (double)(messages - rate.messages) * 1000 / (double)(now_ms - rate.at_ms);
        rate.at_ms = now_ms;
        rate.messages = messages;
    }
    return rate.per_second;
}

static void push_traffic(lua_State *L, uint64_t now_ms)
{
    struct traffic sum = sum_traffic();
    uint64_t errors = 0;
    lua_newtable(L);
    set_number(L, "in_count", (double)sum.messages_in);
    set_number(L, "out_count", (double)sum.messages_out);
    set_number(L, "bytes_in", (double)sum.bytes_in);
    set_number(L, "bytes_out", (double)sum.bytes_out);
    set_number(L, "dropped", (double)sum.dropped);
    set_number(L, "lost", (double)sum.lost);
    lua_newtable(L);
    for (unsigned code = CODE_OK + 1; code < CODE_COUNT; code++) {
        errors += sum.refused[code];
        set_number(L, code_name(code), (double)sum.refused[code]);
    }
    lua_setfield(L, -2, "refused");
    lua_newtable(L);
    for (unsigned kind = 0; kind < ACCESS_REFUSALS; kind++)
        set_number(L, access_refusal_name((enum access_refusal)kind),
                   (double)access_refused_count((enum access_refusal)kind));
    lua_setfield(L, -2, "denied");
    lua_newtable(L);
    set_number(L, "verified", (double)verifier_done());
    set_number(L, "refused", (double)verifier_refused());
    lua_setfield(L, -2, "slow_signatures");
    set_number(L, "errors", (double)errors);
    lua_newtable(L);
    for (unsigned limit = LIMIT_NONE + 1; limit < LIMIT_COUNT; limit++)
        set_number(L, limit_name((enum limit)limit), (double)limit_counted((enum limit)limit));
    lua_setfield(L, -2, "limited");
    lua_newtable(L);
    for (unsigned reason = 0; reason < UNDELIVERABLE_REASONS; reason++)
        set_number(L, undeliverable_reason_name(reason), (double)sum.undeliverable[reason]);
    lua_setfield(L, -2, "undeliverable");
    pthread_mutex_lock(&mutex);
    double per_second = messages_per_second(sum.messages_in, now_ms);
    pthread_mutex_unlock(&mutex);
    set_number(L, "per_second", per_second);
    lua_setfield(L, -2, "messages");

    unsigned long long last = read_counter(&last_refusal);
    if (last != 0) {
        char timestamp[CLOCK_ISO_LENGTH];
        const char *name = code_name((enum code)(last & 0xff));
        clock_format_iso((int64_t)(last >> 8), timestamp);
        lua_newtable(L);
        set_text(L, "code", name);
        set_timestamp(L, timestamp);
        lua_setfield(L, -2, "last_error");
    }
}

/* --- Reactors --- */

struct reactor_sums {
    uint64_t latency[LATENCY_BUCKETS];
    uint64_t api_heaps;
    unsigned connections;
    struct script_totals scripts;
};

static struct reactor_sums sum_reactors(void)
{
    struct reactor_sums sum = {0};
    slots_sum(NULL, &sum.scripts);
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < LANES_MAXIMUM; i++) {
        if (!apis[i])
            continue;
        const struct reactor *reactor = apis[i]->reactor;
        sum.api_heaps += read_counter(&apis[i]->heap_bytes);
        sum.connections += atomic_load_explicit(&reactor->connection_count, memory_order_relaxed);
        latency_add(&reactor->latency, sum.latency);
    }
    pthread_mutex_unlock(&mutex);
    return sum;
}

void api_sum_heaps(uint64_t *scripts, uint64_t *heaps, struct script_collections *collections)
{
    struct script_totals totals;
    slots_sum(NULL, &totals);
    *scripts = figure_minus(totals.heap_bytes, totals.route_cache.bytes);
    *collections = totals.collections;
    *heaps = 0;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < LANES_MAXIMUM; i++)
        if (apis[i])
            *heaps += read_counter(&apis[i]->heap_bytes);
    pthread_mutex_unlock(&mutex);
}

void api_sum_failures(uint64_t *errors, uint64_t *overruns)
{
    struct script_totals totals;
    slots_sum(NULL, &totals);
    *errors = *overruns = 0;
    for (unsigned hook = 0; hook < HOOK_COUNT; hook++) {
        *errors += totals.hooks[hook].errors;
        *overruns += totals.hooks[hook].overruns;
    }
}

static double milliseconds(uint64_t nanoseconds)
{
    return round((double)nanoseconds / 1000) / 1000;
}

/* Percentiles in milliseconds. */
static void push_latency(lua_State *L, const uint64_t sums[LATENCY_BUCKETS])
{
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    uint64_t count = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        count += sums[i];
    lua_newtable(L);
    for (unsigned i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        set_number(L, percentiles[i].name, milliseconds(latency_percentile(sums, percentiles[i].share)));
    set_number(L, "count", (double)count);
    lua_setfield(L, -2, "latency");
}

/* Of lengths of time: their number, and percentiles in milliseconds. */
static void push_pauses(lua_State *L, const char *name, const struct pause_sums *sums)
{
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}};
    lua_newtable(L);
    for (unsigned i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        set_number(L, percentiles[i].name, milliseconds(pause_percentile(sums, percentiles[i].share)));
    set_number(L, "count", (double)sums->count);
    set_number(L, "max", milliseconds(sums->longest_ns));
    lua_setfield(L, -2, name);
}

static void push_collections(lua_State *L, const struct script_collections *sum)
{
    uint64_t count = sum->manual + sum->automatic;
    lua_newtable(L);
    set_number(L, "count", (double)count);
    set_number(L, "manual", (double)sum->manual);
    set_number(L, "automatic", (double)sum->automatic);
    set_number(L, "average_ms", count > 0 ? milliseconds(sum->cycle_ns / count) : 0);
    set_number(L, "longest_ms", milliseconds(sum->longest_cycle_ns));
    set_number(L, "reclaimed", (double)sum->reclaimed);
    set_number(L, "under_way", sum->under_way);
    if (sum->last_ns > 0)
        set_number(L, "since_last_ms", milliseconds(figure_minus(clock_steady_ns(), sum->last_ns)));
    push_pauses(L, "pauses", &sum->pauses);
    push_pauses(L, "hook_times", &sum->hook_times);
    lua_setfield(L, -2, "collections");
}

static void push_reactors(lua_State *L)
{
    struct reactor_sums sum = sum_reactors();
    push_latency(L, sum.latency);
    set_number(L, "connections", sum.connections);
    lua_newtable(L);
    set_number(L, "heap_bytes", (double)sum.scripts.heap_bytes);
    set_number(L, "api_heap_bytes", (double)sum.api_heaps);
    set_number(L, "full_collections", (double)sum.scripts.full_collections);
    set_number(L, "longest_collect_ms", milliseconds(sum.scripts.longest_collect_ns));
    lua_newtable(L);
    for (unsigned hook = 0; hook < HOOK_COUNT; hook++) {
        lua_newtable(L);
        set_number(L, "calls", (double)sum.scripts.hooks[hook].calls);
        set_number(L, "errors", (double)sum.scripts.hooks[hook].errors);
        set_number(L, "overruns", (double)sum.scripts.hooks[hook].overruns);
        set_number(L, "skipped", (double)sum.scripts.hooks[hook].skipped);
        set_number(L, "trips", (double)sum.scripts.hooks[hook].trips);
        lua_setfield(L, -2, script_hook_name(hook));
    }
    lua_setfield(L, -2, "hooks");
    push_collections(L, &sum.scripts.collections);
    const struct route_cache_statistics *cache = &sum.scripts.route_cache;
    lua_newtable(L);
    set_number(L, "hits", (double)cache->hits);
    set_number(L, "misses", (double)cache->misses);
    set_number(L, "uncached", (double)cache->uncached);
    set_number(L, "evicted", (double)cache->evicted);
    set_number(L, "outdated", (double)cache->outdated);
    set_number(L, "entries", (double)cache->entries);
    set_number(L, "bytes", (double)cache->bytes);
    lua_setfield(L, -2, "route_cache");
    lua_setfield(L, -2, "scripts");
}

/* --- Delivery: what its limits kept back --- */

static void push_delivery(lua_State *L)
{
    struct pending_figures pending;
    struct dedup_figures dedup;
    struct dead_letter_figures letters;
    dead_letter_read(&letters);
    pending_read(&pending);
    dedup_read(&dedup);
    lua_newtable(L);
    set_number(L, "waiting", (double)pending.waiting);
    set_number(L, "waited", (double)pending.queued_in_all);
    set_number(L, "waiting_refused", (double)pending.refused);
    set_number(L, "waiting_expired", (double)pending.expired);
    set_number(L, "dedup_ids", (double)dedup.remembered);
    set_number(L, "dedup_evicted", (double)dedup.evicted);
    set_number(L, "dead_letters", (double)letters.sent);
    set_number(L, "dead_letters_lost", (double)letters.lost);
    lua_setfield(L, -2, "delivery");
}

/* --- Workers --- */

static void push_workers(lua_State *L)
{
    struct worker_pool_statistics read;
    worker_pool_read_statistics(&read);
    double ran = (double)(read.completed + read.failed), taken = (double)read.queued_in_all;
    lua_newtable(L);
    set_number(L, "workers", read.workers);
    set_number(L, "busy", read.busy);
    set_number(L, "most", read.most_workers);
    set_number(L, "created", (double)read.created);
    set_number(L, "destroyed", (double)read.destroyed);
    set_number(L, "replaced", (double)read.replaced);
    set_number(L, "queued_in_all", taken);
    set_number(L, "completed", (double)read.completed);
    set_number(L, "failed", (double)read.failed);
    set_number(L, "timeouts", (double)read.timeouts);
    set_number(L, "cancelled", (double)read.cancelled);
    set_number(L, "refused", (double)read.refused);
    set_number(L, "average_ms", ran > 0 ? (double)read.total_run_ns / 1e6 / ran : 0);
    set_number(L, "longest_ms", milliseconds(read.longest_run_ns));
    set_number(L, "average_wait_ms", taken > 0 ? (double)read.total_wait_ns / 1e6 / taken : 0);
    set_number(L, "longest_wait_ms", milliseconds(read.longest_wait_ns));
    set_number(L, "forecast", read.forecast);
    lua_newtable(L);
    set_number(L, "high", read.depth[TASK_HIGH]);
    set_number(L, "normal", read.depth[TASK_NORMAL]);
    set_number(L, "low", read.depth[TASK_LOW]);
    lua_setfield(L, -2, "depth");
    lua_setfield(L, -2, "workers");
}

/* --- All of it --- */

static void push_identity(lua_State *L, const struct api *api)
{
    const struct config *config = api->reactor->config;
    set_text(L, "version", LUADUCT_VERSION);
    set_text(L, "environment", config->environment);
    set_timestamp(L, api->reactor->lane->timestamp);
    struct version *script = versions_current();
    if (script) {
        set_text(L, "script_hash", script->hash);
        set_number(L, "script_number", script->number);
    }
    version_release(script);
    set_boolean(L, "enhanced", config->mode == CONFIG_MODE_ENHANCED);
    set_boolean(L, "draining", drain_begun() || api->reactor->draining);
    set_number(L, "uptime_ms", (double)figure_minus(api->reactor->now_ms, server_started_ms()));
    set_number(L, "ws_port", server_ws_port());
    set_number(L, "http_port", server_http_port());
    set_number(L, "reactors", server_reactor_count());
    set_number(L, "script_memory_limit", (double)pressure_script_limit(config));
}

/* summary(): identity, counts and messages. */
static int native_summary(lua_State *L)
{
    struct api *api = api_of(L);
    lua_newtable(L);
    push_identity(L, api);
    set_number(L, "agents", (double)registry_connected_count());
    set_number(L, "queued", (double)registry_queued_count());
    set_number(L, "history", history_count());
    set_number(L, "history_limit", history_limit());
    push_traffic(L, api->reactor->now_ms);
    return 1;
}

/* figures(): the same with latency, scripts, pools and memory. */
static int native_figures(lua_State *L)
{
    native_summary(L);
    push_reactors(L);
    push_delivery(L);
    push_workers(L);
    api_memory_push(L, api_of(L)->reactor->config);
    return 1;
}

/* memory_level(): "low", "moderate", "high" or "critical". */
static int native_memory_level(lua_State *L)
{
    lua_pushstring(L, pressure_level_name(pressure_level()));
    return 1;
}

/* collect(): orders a full collection of every Lua state. False: the caller is no administrator. */
static int native_collect(lua_State *L)
{
    bool admin = api_of(L)->call->admin;
    if (admin)
        pressure_order_collection();
    else
        access_refused(REFUSED_ADMIN, api_of(L)->call->identity, SLICE("/admin/gc"));
    lua_pushboolean(L, admin);
    return 1;
}

/* recent_latency(): {count, p50, p90, p99, p999} in milliseconds of what passed before the newest sample and after the
 * one before. */
static int native_recent_latency(lua_State *L)
{
    struct figures_sample sample = {0};
    figures_history_last(&sample);
    lua_newtable(L);
    set_number(L, "p50", sample.p50);
    set_number(L, "p90", sample.p90);
    set_number(L, "p99", sample.p99);
    set_number(L, "p999", sample.p999);
    set_number(L, "count", (double)sample.latency_count);
    return 1;
}

/* --- Once a second --- */

/* Main's. */
static void sample_latency(const uint64_t sums[LATENCY_BUCKETS], struct figures_sample *sample)
{
    static uint64_t before[LATENCY_BUCKETS];
    uint64_t recent[LATENCY_BUCKETS];
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        recent[i] = figure_minus(sums[i], before[i]);
        before[i] = sums[i];
        sample->latency_count += recent[i];
    }
    sample->p50 = milliseconds(latency_percentile(recent, 0.5));
    sample->p90 = milliseconds(latency_percentile(recent, 0.9));
    sample->p99 = milliseconds(latency_percentile(recent, 0.99));
    sample->p999 = milliseconds(latency_percentile(recent, 0.999));
}

static void take_sample(void)
{
    struct traffic traffic = sum_traffic();
    struct reactor_sums reactors = sum_reactors();
    struct worker_pool_statistics workers;
    worker_pool_read_statistics(&workers);
    struct figures_sample sample = {
        .wall_ms = clock_wall_ms(),
        .accepted = traffic.messages_in,
        .delivered = traffic.messages_out,
        .bytes_in = traffic.bytes_in,
        .bytes_out = traffic.bytes_out,
        .tasks_completed = workers.completed,
        .collections = reactors.scripts.collections.manual + reactors.scripts.collections.automatic,
        .memory = sampler_read_used(),
        .heaps = reactors.scripts.heap_bytes + reactors.api_heaps,
        .agents = registry_connected_count(),
        .connections = reactors.connections,
        .queued = registry_queued_count(),
        .workers = workers.workers,
        .busy_workers = workers.busy,
        .forecast_workers = workers.forecast,
        .queued_tasks = workers.depth[TASK_HIGH] + workers.depth[TASK_NORMAL] + workers.depth[TASK_LOW],
    };
    for (unsigned code = CODE_OK + 1; code < CODE_COUNT; code++)
        sample.refused += traffic.refused[code];
    sample_latency(reactors.latency, &sample);
    figures_history_add(&sample);
}

static atomic_bool telling;

static void tell(struct reactor *reactor, struct errand *errand)
{
    (void)errand;
    atomic_store_explicit(&telling, false, memory_order_release);
    api_publish_figures(reactor->http);
}

void api_tell_figures(uint64_t now_ms)
{
    static struct errand errand = {.run = tell};
    static uint64_t due_ms; /* main's */
    if (now_ms < due_ms)
        return;
    due_ms = now_ms + FIGURES_INTERVAL_MS;
    take_sample();
    if (!events_wanted(EVENT_FIGURES) || atomic_load_explicit(&telling, memory_order_acquire))
        return;
    pthread_mutex_lock(&mutex);
    unsigned i = 0;
    while (i < LANES_MAXIMUM && !apis[i])
        i++;
    if (i < LANES_MAXIMUM) {
        atomic_store_explicit(&telling, true, memory_order_release);
        reactor_post(apis[i]->reactor, &errand);
    }
    pthread_mutex_unlock(&mutex);
}

/* draining() */
static int native_draining(lua_State *L)
{
    lua_pushboolean(L, drain_begun() || api_of(L)->reactor->draining);
    return 1;
}

const luaL_Reg api_figures_functions[] = {
    {"summary", native_summary},
    {"figures", native_figures},
    {"memory_level", native_memory_level},
    {"collect", native_collect},
    {"draining", native_draining},
    {"recent_latency", native_recent_latency},
    {NULL, NULL},
};
