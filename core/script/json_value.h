/* Lua values from JSON text and back. Arrays are tables with the keys 1 … n; an empty table is an object unless it is
 * marked (luaduct.array), which the reader does with each empty array it meets, so that what was read is written the
 * same. null is luaduct.null. */
#ifndef LUADUCT_SCRIPT_JSON_VALUE_H
#define LUADUCT_SCRIPT_JSON_VALUE_H

#include <stdbool.h>

#include <lua.h>

#include "base/slice.h"

struct script_state;

/* A made value nests at most this deep: below the limits that receivers have (limits.jsonDepth is 128 by default, and
 * an envelope in its message takes two levels). */
#define JSON_VALUE_DEPTH 120

/* Makes the mark for arrays. Raises. */
void json_value_open(lua_State *lua, struct script_state *state);

/* Pushes what the text says, which must be validated JSON. Raises when the state has no room for it. */
void json_value_push(lua_State *lua, struct script_state *state, struct slice json);

enum json_value_want {
    JSON_WANT_ANY,
    JSON_WANT_ARRAY, /* a list; an empty table is one, marked or not */
};

/* The value at that index as JSON text in the arena. Raises, naming `what`, for what JSON cannot say: functions,
 * NaN, a table within itself, mixed keys … */
struct slice json_value_encode(lua_State *lua, struct script_state *state, int index, enum json_value_want want,
                               const char *what);

/* luaduct.array(table?): marks the table as a JSON array and returns it. */
int json_value_array(lua_State *lua);

#endif
