/* Where memory is: pools, heaps of scripts' own pools, luaduct.shared, and what the controller did about it. */
#include <stdio.h>
#include <string.h>

#include "bridge/queue/mailbox.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/websocket/deflate.h"
#include "runtime/http/api/api_native.h"
#include "runtime/pressure/pressure.h"
#include "runtime/pressure/sampler.h"
#include "runtime/reload/trial/slot.h"
#include "script/binding/object_pool.h"
#include "script/shared.h"

/* A table with the figures of one pool, the bridge's or a script's. */
static void push_pool(lua_State *L, const struct pool_statistics *pool)
{
    uint64_t held = figure_minus(pool->acquired, pool->released);
    lua_newtable(L);
    set_number(L, "acquired", (double)pool->acquired);
    set_number(L, "released", (double)(pool->acquired - held));
    set_number(L, "held", (double)held);
    set_number(L, "available", (double)figure_minus(figure_minus(pool->created, pool->destroyed), held));
    set_number(L, "hits", (double)pool->hits);
    set_number(L, "created", (double)pool->created);
    set_number(L, "destroyed", (double)pool->destroyed);
    set_number(L, "warm", (double)pool->warm);
    lua_newtable(L);
    set_number(L, "lru", (double)pool->evicted[POOL_EVICTED_LRU]);
    set_number(L, "ttl", (double)pool->evicted[POOL_EVICTED_TTL]);
    set_number(L, "pressure", (double)pool->evicted[POOL_EVICTED_PRESSURE]);
    lua_setfield(L, -2, "evicted");
}

static void add_figure(uint64_t *sum, const _Atomic uint64_t *figure)
{
    *sum += atomic_load_explicit(figure, memory_order_relaxed);
}

/* Of pools of scripts, by name; those of that name in all states are one. */
struct object_pool_sums {
    unsigned count, capacity;
    struct object_pool_sum {
        char name[OBJECT_POOL_NAME_BYTES];
        struct pool_statistics figures;
    } * sums;
};

static struct object_pool_sum *find_sum(struct object_pool_sums *all, const char *name)
{
    for (unsigned i = 0; i < all->count; i++)
        if (strcmp(all->sums[i].name, name) == 0)
            return &all->sums[i];
    if (all->count == all->capacity)
        return NULL;
    struct object_pool_sum *sum = &all->sums[all->count++];
    *sum = (struct object_pool_sum){0};
    snprintf(sum->name, sizeof sum->name, "%s", name);
    return sum;
}

static void count_object_pools(void *context, const struct script_slot *slot)
{
    const struct object_pool_figures *pools;
    unsigned *count = context;
    *count += script_pool_figures(slot->state, &pools);
}

static void add_object_pools(void *context, const struct script_slot *slot)
{
    const struct object_pool_figures *pools;
    unsigned count = script_pool_figures(slot->state, &pools);
    for (unsigned i = 0; i < count; i++) {
        struct object_pool_sum *sum = find_sum(context, pools[i].name);
        if (!sum)
            continue;
        add_figure(&sum->figures.acquired, &pools[i].acquired);
        add_figure(&sum->figures.released, &pools[i].released);
        add_figure(&sum->figures.hits, &pools[i].hits);
        add_figure(&sum->figures.created, &pools[i].created);
        add_figure(&sum->figures.destroyed, &pools[i].destroyed);
        add_figure(&sum->figures.warm, &pools[i].max_size);
        add_figure(&sum->figures.evicted[POOL_EVICTED_LRU], &pools[i].evicted_lru);
        add_figure(&sum->figures.evicted[POOL_EVICTED_TTL], &pools[i].evicted_ttl);
        add_figure(&sum->figures.evicted[POOL_EVICTED_PRESSURE], &pools[i].evicted_pressure);
    }
}

/* Lua may raise when memory is out, which it must not while slots_each has its lock: so there is room first. A pool
 * that was made in between is shown the next time. */
static void push_object_pools(lua_State *L)
{
    struct object_pool_sums all = {0};
    slots_each(count_object_pools, &all.capacity);
    all.sums = lua_newuserdata(L, all.capacity * sizeof *all.sums);
    slots_each(add_object_pools, &all);
    lua_newtable(L);
    for (unsigned i = 0; i < all.count; i++) {
        push_pool(L, &all.sums[i].figures);
        lua_setfield(L, -2, all.sums[i].name);
    }
    lua_setfield(L, -3, "object_pools");
    lua_pop(L, 1);
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
        push_pool(L, &read);
        set_number(L, "bytes", (double)read.bytes);
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
