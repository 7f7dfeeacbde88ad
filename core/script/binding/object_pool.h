/* luaduct.pool: tables that a script uses again instead of making garbage. By the same rules as the bridge's own pools
 * (memory/pool.h): the newest first, a bound with the coldest going first, an age, and all of it when memory is short.
 */
#ifndef LUADUCT_SCRIPT_BINDING_OBJECT_POOL_H
#define LUADUCT_SCRIPT_BINDING_OBJECT_POOL_H

#include <stdatomic.h>
#include <stdint.h>

#include <lua.h>

struct script_state;

/* Pools of one state that are shown; further ones work and are not. */
#define OBJECT_POOLS_SHOWN 16
#define OBJECT_POOL_NAME_BYTES 48

/* Written by the state's thread, read by all. created - destroyed = available + (acquired - released). */
struct object_pool_figures {
    char name[OBJECT_POOL_NAME_BYTES];
    _Atomic uint64_t acquired, released, hits, created, destroyed;
    _Atomic uint64_t evicted_lru, evicted_ttl, evicted_pressure;
    _Atomic uint64_t max_size;
};

/* luaduct.pool{create =, reset =, maxSize =, maxAgeMs =, name =}. */
int object_pool_make(lua_State *lua);

/* Keeps the methods for object_pool_make. Raises. */
void object_pool_open(lua_State *lua, struct script_state *state);

/* Memory is short: what lies unused in every pool of the state goes. On its thread, outside of hooks. */
void script_trim_pools(struct script_state *state);

/* The figures of the state's pools, valid as long as it; gives how many. Any thread. */
unsigned script_pool_figures(const struct script_state *state, const struct object_pool_figures **out);

#endif
