/* A pool is a userdata; its environment holds the objects: a ring of unused ones, from the coldest to the warmest, and
 * a set of those in use, with weak keys, so that a script that loses one loses nothing else. Objects are tables: only
 * they can be told apart and be emptied. */
#include "script/binding/object_pool.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "script/state/state.h"

#define SIZE_DEFAULT 100u
#define SIZE_MAXIMUM 100000u
#define AGE_DEFAULT_MS 60000u

/* In the environment: the ring at 1 … max_size, and these. */
#define IN_USE (-1)
#define CREATE (-2)
#define RESET (-3)

/* The registry's table of all pools of the state, with weak keys; and their metatable. */
#define POOLS_KEY "luaduct.pools"
#define METATABLE_KEY "luaduct.pool"

struct object_pool {
    struct object_pool_figures *figures, own; /* own: for one that is not shown */
    uint32_t max_size, max_age_ms;
    uint32_t first, count; /* the coldest, and how many lie unused */
    uint32_t put_ms[];     /* of each place; wraps with the clock's 32 bits */
};

static uint32_t now_ms(void)
{
    return (uint32_t)(clock_coarse_ns() / 1000000);
}

static int place_of(const struct object_pool *pool, uint32_t index)
{
    return (int)((pool->first + index) % pool->max_size) + 1;
}

static void add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static struct object_pool *check_pool(lua_State *lua, const char *what)
{
    struct object_pool *pool = lua_touserdata(lua, 1);
    if (pool && lua_type(lua, 1) == LUA_TUSERDATA && lua_getmetatable(lua, 1)) {
        lua_getfield(lua, LUA_REGISTRYINDEX, METATABLE_KEY);
        bool same = lua_rawequal(lua, -1, -2);
        lua_pop(lua, 2);
        if (same)
            return pool;
    }
    luaL_error(lua, "pool:%s: expected a pool before the colon, got %s", what, state_value_name(lua, 1));
    return NULL;
}

/* Takes the coldest out. Environment at `environment`. */
static void evict(lua_State *lua, struct object_pool *pool, int environment, _Atomic uint64_t *cause)
{
    lua_pushboolean(lua, 0);
    lua_rawseti(lua, environment, place_of(pool, 0));
    pool->first = (pool->first + 1) % pool->max_size;
    pool->count--;
    add(&pool->figures->destroyed, 1);
    add(cause, 1);
}

static void evict_aged(lua_State *lua, struct object_pool *pool, int environment)
{
    uint32_t now = now_ms();
    while (pool->count > 0 && now - pool->put_ms[pool->first] >= pool->max_age_ms)
        evict(lua, pool, environment, &pool->figures->evicted_ttl);
}

static void set_in_use(lua_State *lua, int environment, int object, bool in_use)
{
    lua_rawgeti(lua, environment, IN_USE);
    lua_pushvalue(lua, object);
    if (in_use)
        lua_pushboolean(lua, 1);
    else
        lua_pushnil(lua);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
}

/* pool:acquire(): the object that was released last, or a new one. */
static int acquire(lua_State *lua)
{
    struct object_pool *pool = check_pool(lua, "acquire");
    lua_settop(lua, 1);
    lua_getfenv(lua, 1);
    evict_aged(lua, pool, 2);
    if (pool->count > 0) {
        int place = place_of(pool, pool->count - 1);
        lua_rawgeti(lua, 2, place);
        lua_pushboolean(lua, 0);
        lua_rawseti(lua, 2, place);
        pool->count--;
        add(&pool->figures->hits, 1);
    } else {
        lua_rawgeti(lua, 2, CREATE);
        lua_call(lua, 0, 1);
        if (!lua_istable(lua, 3))
            return luaL_error(lua, "pool:acquire: expected create to give a table, got %s", state_value_name(lua, 3));
        add(&pool->figures->created, 1);
    }
    set_in_use(lua, 2, 3, true);
    add(&pool->figures->acquired, 1);
    return 1;
}

/* pool:release(object) */
static int release(lua_State *lua)
{
    struct object_pool *pool = check_pool(lua, "release");
    lua_settop(lua, 2);
    lua_getfenv(lua, 1);
    lua_rawgeti(lua, 3, IN_USE);
    if (lua_istable(lua, 2)) {
        lua_pushvalue(lua, 2);
        lua_rawget(lua, 4);
    } else {
        lua_pushnil(lua);
    }
    if (!lua_toboolean(lua, 5))
        return luaL_error(lua,
                          "pool:release: expected an object that was acquired from this pool and not released, got %s",
                          lua_istable(lua, 2) ? "another table" : state_value_name(lua, 2));
    lua_settop(lua, 3);
    set_in_use(lua, 3, 2, false);
    add(&pool->figures->released, 1);
    lua_rawgeti(lua, 3, RESET);
    if (!lua_isnil(lua, 4)) {
        lua_pushvalue(lua, 2);
        if (lua_pcall(lua, 1, 0, 0) != 0) { /* what it left behind is not used again */
            add(&pool->figures->destroyed, 1);
            return lua_error(lua);
        }
    }
    evict_aged(lua, pool, 3);
    if (pool->max_size == 0) {
        add(&pool->figures->destroyed, 1);
        add(&pool->figures->evicted_lru, 1);
        return 0;
    }
    if (pool->count == pool->max_size)
        evict(lua, pool, 3, &pool->figures->evicted_lru);
    int place = place_of(pool, pool->count);
    lua_pushvalue(lua, 2);
    lua_rawseti(lua, 3, place);
    pool->put_ms[place - 1] = now_ms();
    pool->count++;
    return 0;
}

static void set_figure(lua_State *lua, const char *name, const _Atomic uint64_t *figure)
{
    lua_pushnumber(lua, (double)atomic_load_explicit(figure, memory_order_relaxed));
    lua_setfield(lua, -2, name);
}

/* pool:stats() */
static int stats(lua_State *lua)
{
    struct object_pool *pool = check_pool(lua, "stats");
    const struct object_pool_figures *figures = pool->figures;
    lua_settop(lua, 1);
    lua_getfenv(lua, 1);
    evict_aged(lua, pool, 2);
    uint64_t acquired = atomic_load(&figures->acquired), hits = atomic_load(&figures->hits);
    lua_createtable(lua, 0, 10);
    set_figure(lua, "acquired", &figures->acquired);
    set_figure(lua, "released", &figures->released);
    set_figure(lua, "created", &figures->created);
    set_figure(lua, "destroyed", &figures->destroyed);
    lua_pushnumber(lua, (double)(acquired - atomic_load(&figures->released)));
    lua_setfield(lua, -2, "held");
    lua_pushnumber(lua, pool->count);
    lua_setfield(lua, -2, "available");
    lua_pushnumber(lua, acquired > 0 ? (double)hits / (double)acquired : 0);
    lua_setfield(lua, -2, "hitRate");
    lua_createtable(lua, 0, 3);
    set_figure(lua, "lru", &figures->evicted_lru);
    set_figure(lua, "ttl", &figures->evicted_ttl);
    set_figure(lua, "pressure", &figures->evicted_pressure);
    lua_setfield(lua, -2, "evicted");
    return 1;
}

/* --- Making one --------------------------------------------------------------------------------------------------- */

#define MAKE "luaduct.pool"

static uint32_t read_count(lua_State *lua, const char *name, uint32_t fallback, uint32_t most)
{
    lua_getfield(lua, 1, name);
    double number = lua_isnil(lua, -1) ? fallback : lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : -1;
    if (!(number >= 0 && number <= most) || number != floor(number))
        luaL_error(lua, MAKE ": %s: expected a whole number from 0 to %d, got %s", name, (int)most,
                   lua_type(lua, -1) == LUA_TNUMBER ? "another number" : state_value_name(lua, -1));
    lua_pop(lua, 1);
    return (uint32_t)number;
}

static void check_options(lua_State *lua)
{
    static const char *const names[] = {"create", "reset", "maxSize", "maxAgeMs", "name", NULL};
    if (!lua_istable(lua, 1))
        luaL_error(lua, MAKE ": expected a table with create, got %s", state_value_name(lua, 1));
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : state_value_name(lua, -2);
        unsigned known = 0;
        while (names[known] && strcmp(names[known], key) != 0)
            known++;
        if (!names[known])
            luaL_error(lua, MAKE ": expected create, reset, maxSize, maxAgeMs or name as a key, got %s", key);
        lua_pop(lua, 1);
    }
    lua_getfield(lua, 1, "create");
    if (!lua_isfunction(lua, -1))
        luaL_error(lua, MAKE ": create: expected a function, got %s", state_value_name(lua, -1));
    lua_getfield(lua, 1, "reset");
    if (!lua_isnil(lua, -1) && !lua_isfunction(lua, -1))
        luaL_error(lua, MAKE ": reset: expected a function, got %s", state_value_name(lua, -1));
    lua_getfield(lua, 1, "name");
    if (!lua_isnil(lua, -1) && (lua_type(lua, -1) != LUA_TSTRING || lua_objlen(lua, -1) >= OBJECT_POOL_NAME_BYTES))
        luaL_error(lua, MAKE ": name: expected a string of at most %d bytes, got %s", OBJECT_POOL_NAME_BYTES - 1,
                   lua_type(lua, -1) == LUA_TSTRING ? "a longer one" : state_value_name(lua, -1));
    lua_settop(lua, 1);
}

/* Where it is shown: under its name, else by the place where it was made. */
static void choose_figures(lua_State *lua, struct script_state *state, struct object_pool *pool)
{
    unsigned shown = atomic_load_explicit(&state->object_pool_count, memory_order_relaxed);
    if (shown == OBJECT_POOLS_SHOWN)
        return;
    pool->figures = &state->object_pools[shown];
    lua_getfield(lua, 1, "name");
    if (lua_isnil(lua, -1)) {
        luaL_where(lua, 1);
        const char *where = lua_tostring(lua, -1), *slash = strrchr(where, '/');
        snprintf(pool->figures->name, sizeof pool->figures->name, "%s", slash ? slash + 1 : where);
        char *end = strstr(pool->figures->name, ": ");
        if (end)
            *end = '\0';
        lua_pop(lua, 1);
    } else {
        snprintf(pool->figures->name, sizeof pool->figures->name, "%s", lua_tostring(lua, -1));
    }
    lua_pop(lua, 1);
    atomic_store_explicit(&pool->figures->max_size, pool->max_size, memory_order_relaxed);
    atomic_store_explicit(&state->object_pool_count, shown + 1, memory_order_release);
}

int object_pool_make(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    lua_settop(lua, 1);
    check_options(lua);
    uint32_t max_size = read_count(lua, "maxSize", SIZE_DEFAULT, SIZE_MAXIMUM);
    uint32_t max_age_ms = read_count(lua, "maxAgeMs", AGE_DEFAULT_MS, INT32_MAX);
    struct object_pool *pool = lua_newuserdata(lua, sizeof *pool + max_size * sizeof pool->put_ms[0]);
    memset(pool, 0, sizeof *pool);
    pool->figures = &pool->own;
    pool->max_size = max_size;
    pool->max_age_ms = max_age_ms;

    lua_createtable(lua, (int)(max_size < 1000 ? max_size : 1000), 3);
    int environment = lua_gettop(lua);
    lua_newtable(lua); /* in use, with weak keys */
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "k");
    lua_setfield(lua, -2, "__mode");
    lua_setmetatable(lua, -2);
    lua_rawseti(lua, environment, IN_USE);
    lua_getfield(lua, 1, "create");
    lua_rawseti(lua, environment, CREATE);
    lua_getfield(lua, 1, "reset");
    lua_rawseti(lua, environment, RESET);
    lua_setfenv(lua, 2);

    lua_getfield(lua, LUA_REGISTRYINDEX, POOLS_KEY);
    lua_pushvalue(lua, 2);
    lua_pushboolean(lua, 1);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
    lua_getfield(lua, LUA_REGISTRYINDEX, METATABLE_KEY);
    lua_setmetatable(lua, 2);
    choose_figures(lua, state, pool);
    return 1;
}

void object_pool_open(lua_State *lua, struct script_state *state)
{
    static const luaL_Reg methods[] = {{"acquire", acquire}, {"release", release}, {"stats", stats}, {NULL, NULL}};
    (void)state;
    lua_newtable(lua);
    lua_newtable(lua);
    luaL_register(lua, NULL, methods);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setfield(lua, LUA_REGISTRYINDEX, METATABLE_KEY);
    lua_newtable(lua);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "k");
    lua_setfield(lua, -2, "__mode");
    lua_setmetatable(lua, -2);
    lua_setfield(lua, LUA_REGISTRYINDEX, POOLS_KEY);
}

static int trim_all(lua_State *lua)
{
    luaL_checkstack(lua, 10, NULL);
    lua_getfield(lua, LUA_REGISTRYINDEX, POOLS_KEY);
    if (!lua_istable(lua, -1))
        return 0;
    int pools = lua_gettop(lua);
    lua_pushnil(lua);
    while (lua_next(lua, pools)) {
        lua_pop(lua, 1);
        struct object_pool *pool = lua_touserdata(lua, -1);
        lua_getfenv(lua, -1);
        while (pool->count > 0)
            evict(lua, pool, lua_gettop(lua), &pool->figures->evicted_pressure);
        lua_pop(lua, 1);
    }
    return 0;
}

void script_trim_pools(struct script_state *state)
{
    if (lua_cpcall(state->lua, trim_all, NULL) != 0)
        lua_settop(state->lua, 0);
}

unsigned script_pool_figures(const struct script_state *state, const struct object_pool_figures **out)
{
    *out = state->object_pools;
    return atomic_load_explicit(&state->object_pool_count, memory_order_acquire);
}
