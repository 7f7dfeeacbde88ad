/* Values (value.h) from Lua's and back. Tables with the keys 1 … n are arrays; an empty one is an object unless it has
 * `array_metatable`. null is the light userdata NULL, as lua-cjson has it. */
#ifndef LUADUCT_WORKERS_VALUE_LUA_H
#define LUADUCT_WORKERS_VALUE_LUA_H

#include <lua.h>

#include "workers/value.h"

/* Appends the Lua value at `index`. Raises a Lua error that says what cannot be passed ("cannot pass a function to a
 * worker", a table within itself or deeper than VALUE_DEPTH_MAXIMUM, mixed keys, memory); the caller frees *out.
 * array_metatable: lua_topointer of the metatable that marks empty arrays, or NULL. `stop`, when not NULL, is looked at
 * every few thousand elements, so that a huge table does not hold up whoever passes it: set, "stopped" is raised. */
void value_from_lua(lua_State *lua, int index, struct buffer *out, const void *array_metatable,
                    const atomic_bool *stop);

/* The same for another receiver, whom the errors name, and at most so many bytes, whatever *out holds before. */
void value_from_lua_for(lua_State *lua, int index, struct buffer *out, const void *array_metatable,
                        const atomic_bool *stop, const char *receiver, size_t most);

/* Pushes the value. Empty arrays get the table at array_metatable_index (an absolute stack index, 0: none) as their
 * metatable. Raises Lua's memory error. */
void value_to_lua(lua_State *lua, const struct value *value, int array_metatable_index);

#endif
