/* Plain data between C and the Lua state in which specs run: JSON, values (workers/value.h), fields of tables. Arrays
 * that are empty are marked by a metatable, as luaduct.array does for scripts; null is the light userdata NULL. */
#ifndef LUADUCT_AUTHOR_PLAIN_H
#define LUADUCT_AUTHOR_PLAIN_H

#include <lua.h>

#include "base/slice.h"
#include "workers/value.h"

/* To the table on top of the stack: encode(value), decode(text), array(table?), null. Before all others. */
void plain_add_functions(lua_State *lua);

/* Each pushes a value; raises for memory, and for what is no JSON. */
void plain_push(lua_State *lua, const struct value *value);
void plain_push_json(lua_State *lua, struct slice json);
void plain_push_text(lua_State *lua, struct slice text);

/* Appends the Lua value at `index` as a value. Raises what is wrong with it; *out is freed then. */
void plain_read(lua_State *lua, int index, struct buffer *out);

/* Sets a field of the table on top of the stack; data NULL: it stays absent. */
void plain_set_text(lua_State *lua, const char *name, struct slice text);

/* Each reads a field of the table at `index`. A text's data is NULL when it is absent, and borrowed from the table.
 * Raises. */
struct slice plain_text(lua_State *lua, int index, const char *name);
double plain_number(lua_State *lua, int index, const char *name, double absent);

#endif
