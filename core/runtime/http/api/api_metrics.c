/* What /metrics shows beside the figures of api_figures.c: histograms, written as text here because they are most of
 * the answer's lines, and what belongs to one reactor or to the process. */
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "runtime/http/api/api_native.h"
#include "runtime/process/server.h"
#include "runtime/reactor.h"
#include "runtime/reload/loader.h"
#include "runtime/tls/handshakes.h"
#include "runtime/tracing/export.h"
#include "runtime/tracing/hop.h"
#include "workers/worker_pool.h"

/* 10 µs to 10 s; what waits in a mailbox is known to the millisecond, and may wait for a day. */
#define FIRST_EDGE 0u
#define LAST_EDGE 18u
#define MAILBOX_FIRST_EDGE 6u
#define MAILBOX_LAST_EDGE (HISTOGRAM_EDGES - 1u)

/* The series of one family: at most one for each reactor. */
#define SERIES_MAXIMUM LANES_MAXIMUM
_Static_assert(HOOK_COUNT <= SERIES_MAXIMUM && TASK_PRIORITIES <= SERIES_MAXIMUM,
               "hooks and priorities are series too");

struct gathering {
    unsigned count; /* the highest index in use, and one */
    struct histogram_sums series[SERIES_MAXIMUM];
};

struct source {
    const char *name;
    const char *label; /* what the series differ by; NULL: there is one */
    unsigned first_edge, last_edge;
    void (*gather)(struct gathering *out);
    void (*visit)(void *gathering, const struct api *api); /* instead: called for each reactor */
    void (*value)(unsigned index, char *out, size_t size); /* of the label */
};

/* --- What there is --- */

static void add(struct gathering *out, unsigned index, const struct histogram *histogram)
{
    histogram_add(histogram, &out->series[index]);
    if (index >= out->count)
        out->count = index + 1;
}

static void add_messages(void *out, const struct api *api)
{
    add(out, 0, &api->reactor->message_times);
}

static void add_messages_by_reactor(void *out, const struct api *api)
{
    add(out, api->reactor->index, &api->reactor->message_times);
}

static void add_hooks(void *out, const struct api *api)
{
    for (unsigned hook = 0; hook < HOOK_COUNT; hook++)
        add(out, hook, &api->reactor->script_times.hooks[hook]);
}

static void add_hooks_by_reactor(void *out, const struct api *api)
{
    for (unsigned hook = 0; hook < HOOK_COUNT; hook++)
        add(out, api->reactor->index, &api->reactor->script_times.hooks[hook]);
}

static void add_collector(void *out, const struct api *api)
{
    add(out, 0, &api->reactor->script_times.collector);
}

static void add_collector_by_reactor(void *out, const struct api *api)
{
    add(out, api->reactor->index, &api->reactor->script_times.collector);
}

static void add_mailboxes(void *out, const struct api *api)
{
    add(out, 0, &api->reactor->lane->mailbox_waits);
}

static void add_mailboxes_by_reactor(void *out, const struct api *api)
{
    add(out, api->reactor->index, &api->reactor->lane->mailbox_waits);
}

static void gather_task_waits(struct gathering *out)
{
    struct histogram_sums runs = {0};
    worker_pool_add_times(out->series, &runs);
    out->count = TASK_PRIORITIES;
}

static void gather_task_runs(struct gathering *out)
{
    struct histogram_sums waits[TASK_PRIORITIES] = {0};
    worker_pool_add_times(waits, &out->series[0]);
    out->count = 1;
}

static void gather_handshakes(struct gathering *out)
{
    handshakes_add_times(&out->series[0], &out->series[1]);
    out->count = 2;
}

/* --- Values of labels --- */

static void name_reactor(unsigned index, char *out, size_t size)
{
    snprintf(out, size, "%u", index);
}

static void name_hook(unsigned index, char *out, size_t size)
{
    snprintf(out, size, "%s", script_hook_name((enum script_hook)index));
}

static void name_priority(unsigned index, char *out, size_t size)
{
    static const char *const names[TASK_PRIORITIES] = {
        [TASK_HIGH] = "high", [TASK_NORMAL] = "normal", [TASK_LOW] = "low"};
    snprintf(out, size, "%s", names[index]);
}

static void name_handshake(unsigned index, char *out, size_t size)
{
    snprintf(out, size, "%s", index == 0 ? "full" : "resumed");
}

static const struct source sources[] = {
    {.name = "message_latency", .first_edge = FIRST_EDGE, .last_edge = LAST_EDGE, .visit = add_messages},
    {"reactor_message_latency", "reactor", FIRST_EDGE, LAST_EDGE, NULL, add_messages_by_reactor, name_reactor},
    {"script_run", "hook", FIRST_EDGE, LAST_EDGE, NULL, add_hooks, name_hook},
    {"reactor_script_run", "reactor", FIRST_EDGE, LAST_EDGE, NULL, add_hooks_by_reactor, name_reactor},
    {.name = "gc_pause", .first_edge = FIRST_EDGE, .last_edge = LAST_EDGE, .visit = add_collector},
    {"reactor_gc_pause", "reactor", FIRST_EDGE, LAST_EDGE, NULL, add_collector_by_reactor, name_reactor},
    {.name = "mailbox_wait", .first_edge = MAILBOX_FIRST_EDGE, .last_edge = MAILBOX_LAST_EDGE, .visit = add_mailboxes},
    {"reactor_mailbox_wait", "reactor", MAILBOX_FIRST_EDGE, MAILBOX_LAST_EDGE, NULL, add_mailboxes_by_reactor,
     name_reactor},
    {"task_wait", "priority", FIRST_EDGE, LAST_EDGE, gather_task_waits, NULL, name_priority},
    {.name = "task_run", .first_edge = FIRST_EDGE, .last_edge = LAST_EDGE, .gather = gather_task_runs},
    {"tls_handshake", "kind", FIRST_EDGE, LAST_EDGE, gather_handshakes, NULL, name_handshake},
};

/* --- Text --- */

/* `exemplar` (OpenMetrics 1.0.0, "Exemplars"): of a bucket alone; NULL: none. */
static void write_sample(struct buffer *out, const char *name, const char *suffix, const char *labels, const char *edge,
                         double value, const struct exemplar *exemplar)
{
    buffer_append_slice(out, slice_from_string(name));
    buffer_append_slice(out, slice_from_string(suffix));
    if (edge)
        buffer_append_format(out, "{%s%sle=\"%s\"} %.15g", labels, labels[0] ? "," : "", edge, value);
    else if (labels[0])
        buffer_append_format(out, "{%s} %.15g", labels, value);
    else
        buffer_append_format(out, " %.15g", value);
    if (exemplar)
        buffer_append_format(out, " # {trace_id=\"%s\"} %.9f %.3f", exemplar->trace_id, exemplar->seconds,
                             (double)exemplar->wall_ms / 1000);
    buffer_append_slice(out, SLICE("\n"));
}

/* `exemplar`: NULL: there is none, or the format has no place for it. It stands at the first bucket that it is in. */
static void write_series(struct buffer *out, const char *name, const struct source *source, const char *labels,
                         const struct histogram_sums *sums, const struct exemplar *exemplar)
{
    uint64_t within = 0;
    for (unsigned edge = 0; edge <= source->last_edge; edge++) {
        within += sums->buckets[edge];
        if (edge < source->first_edge)
            continue;
        bool has_it = exemplar && exemplar->seconds * 1e9 <= (double)histogram_edge_ns(edge);
        write_sample(out, name, "_bucket", labels, histogram_edge_name(edge), (double)within, has_it ? exemplar : NULL);
        exemplar = has_it ? NULL : exemplar;
    }
    write_sample(out, name, "_bucket", labels, "+Inf", (double)sums->count, exemplar);
    write_sample(out, name, "_count", labels, NULL, (double)sums->count, NULL);
    write_sample(out, name, "_sum", labels, NULL, (double)sums->total_ns / 1e9, NULL);
}

/* write_histogram(source, name, open_metrics): the samples of a family. */
static int native_write_histogram(lua_State *L)
{
    const char *wanted = luaL_checkstring(L, 1), *name = luaL_checkstring(L, 2);
    struct buffer *out = &api_of(L)->call->content;
    struct gathering gathering = {0};
    const struct source *source = sources;
    while (source < sources + sizeof sources / sizeof *sources && strcmp(source->name, wanted) != 0)
        source++;
    luaL_argcheck(L, source < sources + sizeof sources / sizeof *sources, 1, "no such histogram");
    if (source->visit)
        api_each(source->visit, &gathering);
    else
        source->gather(&gathering);
    struct exemplar exemplar; /* traces measure the same way of an envelope */
    bool has_exemplar = source->visit == add_messages && lua_toboolean(L, 3) && tracing_read_exemplar(&exemplar);
    for (unsigned i = 0; i < gathering.count; i++) {
        char value[32], labels[80] = "";
        if (source->label) {
            source->value(i, value, sizeof value);
            snprintf(labels, sizeof labels, "%s=\"%s\"", source->label, value);
        }
        write_series(out, name, source, labels, &gathering.series[i], has_exemplar ? &exemplar : NULL);
    }
    return 0;
}

/* --- One reactor, the process --- */

static double seconds_of(clockid_t clock)
{
    struct timespec time;
    return clock_gettime(clock, &time) == 0 ? (double)time.tv_sec + (double)time.tv_nsec / 1e9 : 0;
}

struct reactor_figures {
    unsigned count;
    struct {
        double index, connections, messages, seconds;
    } list[LANES_MAXIMUM];
};

static void add_reactor(void *context, const struct api *api)
{
    struct reactor_figures *figures = context;
    const struct reactor *reactor = api->reactor;
    unsigned i = figures->count++;
    figures->list[i].index = reactor->index;
    figures->list[i].connections = atomic_load_explicit(&reactor->connection_count, memory_order_relaxed);
    figures->list[i].messages =
        (double)atomic_load_explicit(&reactor->lane->counters.messages_in, memory_order_relaxed);
    figures->list[i].seconds = api->has_processor_clock ? seconds_of(api->processor_clock) : 0;
}

/* reactor_figures(): a list of {index, connections, messages, seconds}: processor time of the thread. */
static int native_reactor_figures(lua_State *L)
{
    struct reactor_figures figures = {0};
    api_each(add_reactor, &figures);
    lua_newtable(L);
    for (unsigned i = 0; i < figures.count; i++) {
        lua_newtable(L);
        set_number(L, "index", figures.list[i].index);
        set_number(L, "connections", figures.list[i].connections);
        set_number(L, "messages", figures.list[i].messages);
        set_number(L, "seconds", figures.list[i].seconds);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* The wall clock's seconds at the start: of each scrape the same, so that a change means another process. */
static double start_time(uint64_t now_ms)
{
    static atomic_llong started_ms;
    long long none = 0, now = clock_wall_ms() - (long long)(now_ms - server_started_ms());
    if (atomic_compare_exchange_strong(&started_ms, &none, now))
        none = now;
    return (double)none / 1e3;
}

/* process_figures(): {seconds, started, log_lines_lost, connections_limit}: processor time of all threads; wall clock
 * in seconds; connections that may be open, nil: any number. */
static int native_process_figures(lua_State *L)
{
    const struct reactor *reactor = api_of(L)->reactor;
    lua_newtable(L);
    set_number(L, "seconds", seconds_of(CLOCK_PROCESS_CPUTIME_ID));
    set_number(L, "started", start_time(reactor->now_ms));
    set_number(L, "log_lines_lost", (double)log_lost());
    if (reactor->config->limits.connections != UINT32_MAX)
        set_number(L, "connections_limit", reactor->config->limits.connections);
    return 1;
}

/* reload_figures(): {done, refused}, and whether the last one was good. */
static int native_reload_figures(lua_State *L)
{
    struct reload_figures figures;
    loader_read_figures(&figures);
    lua_newtable(L);
    set_number(L, "done", (double)figures.done);
    set_number(L, "refused", (double)figures.refused);
    lua_pushboolean(L, figures.last_good);
    return 2;
}

/* tracing_figures(): {exported, lost, rejected, dropped}, and the sampled flags that were not followed; nil while
 * nothing is traced. */
static int native_tracing_figures(lua_State *L)
{
    struct span_figures spans;
    struct export_figures exports;
    if (!tracing_on)
        return 0;
    spans_read_figures(&spans);
    export_read_figures(&exports);
    lua_newtable(L);
    set_number(L, "exported", (double)exports.exported);
    set_number(L, "lost", (double)exports.lost);
    set_number(L, "rejected", (double)exports.rejected);
    set_number(L, "dropped", (double)spans.dropped);
    lua_pushnumber(L, (double)tracing_unforced());
    return 2;
}

const luaL_Reg api_metrics_functions[] = {
    {"reload_figures", native_reload_figures},   {"tracing_figures", native_tracing_figures},
    {"write_histogram", native_write_histogram}, {"reactor_figures", native_reactor_figures},
    {"process_figures", native_process_figures}, {NULL, NULL},
};
