/* Where memory is: pools, heaps of scripts' own pools, luaduct.shared, and what the controller did about it. */
#include "bridge/queue/mailbox.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/websocket/deflate.h"
#include "runtime/http/api_native.h"
#include "runtime/pressure/pressure.h"
#include "runtime/pressure/sampler.h"
#include "runtime/reload/trial/slot.h"
#include "script/binding/object_pool.h"
#include "script/shared.h"

static void add_figure(lua_State *L, const char *name, const _Atomic uint64_t *figure)
{
    lua_getfield(L, -1, name);
    double sum = lua_tonumber(L, -1) + (double)atomic_load_explicit(figure, memory_order_relaxed);
    lua_pop(L, 1);
    set_number(L, name, sum);
}

static void add_object_pools(void *context, const struct script_slot *slot)
{
    lua_State *L = context;
    const struct object_pool_figures *pools;
    unsigned count = script_pool_figures(slot->state, &pools);
    for (unsigned j = 0; j < count; j++) {
        lua_getfield(L, -1, pools[j].name);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_setfield(L, -3, pools[j].name);
        }
        add_figure(L, "acquired", &pools[j].acquired);
        add_figure(L, "released", &pools[j].released);
        add_figure(L, "hits", &pools[j].hits);
        add_figure(L, "created", &pools[j].created);
        add_figure(L, "destroyed", &pools[j].destroyed);
        add_figure(L, "warm", &pools[j].max_size);
        add_figure(L, "lru", &pools[j].evicted_lru);
        add_figure(L, "ttl", &pools[j].evicted_ttl);
        add_figure(L, "pressure", &pools[j].evicted_pressure);
        lua_pop(L, 1);
    }
}

/* The pools of scripts, by name; those of that name in all states are one. */
static void push_object_pools(lua_State *L)
{
    lua_newtable(L);
    slots_each(add_object_pools, L);
    lua_setfield(L, -2, "object_pools");
}

/* luaduct.shared */
static void push_shared(lua_State *L)
{
    struct shared_figures figures;
    shared_read_figures(&figures);
    lua_newtable(L);
    set_number(L, "entries", (double)figures.entries);
    set_number(L, "bytes", (double)figures.bytes);
    set_number(L, "limit", (double)figures.limit);
    set_number(L, "hits", (double)figures.hits);
    set_number(L, "misses", (double)figures.misses);
    set_number(L, "evicted", (double)figures.evicted);
    set_number(L, "expired", (double)figures.expired);
    lua_setfield(L, -2, "shared");
}

static uint64_t push_pools(lua_State *L)
{
    static const char *const names[POOL_COUNT] = {
        [POOL_ENVELOPES] = "envelopes", [POOL_ARRAYS] = "arrays", [POOL_BUFFERS] = "buffers"};
    uint64_t bytes = 0;
    lua_newtable(L);
    for (unsigned pool = 0; pool < POOL_COUNT; pool++) {
        struct pool_statistics read;
        pool_read_statistics(pool, &read);
        uint64_t held = figure_minus(read.acquired, read.released);
        lua_newtable(L);
        set_number(L, "acquired", (double)read.acquired);
        set_number(L, "released", (double)(read.acquired - held));
        set_number(L, "held", (double)held);
        set_number(L, "available", (double)figure_minus(figure_minus(read.created, read.destroyed), held));
        set_number(L, "hits", (double)read.hits);
        set_number(L, "created", (double)read.created);
        set_number(L, "destroyed", (double)read.destroyed);
        set_number(L, "bytes", (double)read.bytes);
        set_number(L, "warm", (double)read.warm);
        lua_newtable(L);
        set_number(L, "lru", (double)read.evicted[POOL_EVICTED_LRU]);
        set_number(L, "ttl", (double)read.evicted[POOL_EVICTED_TTL]);
        set_number(L, "pressure", (double)read.evicted[POOL_EVICTED_PRESSURE]);
        lua_setfield(L, -2, "evicted");
        lua_setfield(L, -2, names[pool]);
        bytes += read.bytes;
    }
    lua_setfield(L, -2, "pools");
    return bytes;
}

static void push_shed(lua_State *L, const struct pressure_figures *figures)
{
    lua_newtable(L);
    set_number(L, "trims", (double)figures->trims);
    set_number(L, "trimmed_bytes", (double)figures->trimmed_bytes);
    set_number(L, "history_bytes", (double)figures->history_bytes_shed);
    set_number(L, "paused", (double)figures->paused);
    set_number(L, "resumed", (double)figures->resumed);
    set_number(L, "closed", (double)figures->closed);
    set_number(L, "refused_connections", (double)figures->refused_connections);
    set_number(L, "refused_requests", (double)figures->refused_requests);
    set_number(L, "refused_growth", (double)figures->refused_growth);
    lua_setfield(L, -2, "shed");
}

static void push_surroundings(lua_State *L, const struct memory_surroundings *around)
{
    if (around->cgroup_used != UINT64_MAX)
        set_number(L, "cgroup_used", (double)around->cgroup_used);
    if (around->cgroup_limit != UINT64_MAX)
        set_number(L, "cgroup_limit", (double)around->cgroup_limit);
    if (around->has_stall) {
        set_number(L, "stall_some", around->stall_some);
        set_number(L, "stall_full", around->stall_full);
    }
}

static void push_memory(lua_State *L, const struct config *config)
{
    struct pressure_figures figures;
    uint64_t pools = push_pools(L);
    const char *level = pressure_level_name(pressure_level());
    pressure_read(&figures);
    lua_newtable(L);
    set_boolean(L, "enabled", figures.enabled);
    set_number(L, "resident", (double)sampler_read_used());
    if (config->limits.memory != CONFIG_UNLIMITED)
        set_number(L, "budget", (double)config->limits.memory);
    set_text(L, "level", level);
    set_number(L, "level_number", pressure_level());
    set_number(L, "pools", (double)pools);
    set_number(L, "compression", (double)deflate_state_bytes());
    set_number(L, "mailboxes", (double)mailbox_bytes_in_all());
    set_number(L, "history", (double)history_bytes());
    set_number(L, "history_share", figures.history_share);
    if (figures.has_trend) {
        set_number(L, "trend", figures.trend);
        set_number(L, "trend_fit", figures.fit);
    }
    if (figures.seconds_to_threshold >= 0)
        set_number(L, "seconds_to_threshold", figures.seconds_to_threshold);
    set_number(L, "leak_alerts", (double)figures.leak_alerts);
    set_number(L, "pressure_alerts", (double)figures.pressure_alerts);
    set_number(L, "threshold", config->phase2.gc_optimization.memory_threshold);
    set_number(L, "cooldown_ms", config->phase2.gc_optimization.cooldown_ms);
    set_number(L, "sample_interval_ms", config->phase2.gc_optimization.sample_interval_ms);
    set_number(L, "predict_horizon_ms", config->phase2.gc_optimization.predict_horizon_ms);
    push_surroundings(L, &figures.surroundings);
    push_shed(L, &figures);
    lua_setfield(L, -2, "memory");
}

void api_memory_push(lua_State *L, const struct config *config)
{
    push_object_pools(L);
    push_shared(L);
    push_memory(L, config);
}
