/* How scripts see an envelope: a handle whose fields are read and assigned. Reading costs what is read: text becomes a
 * Lua string, opaque JSON is decoded at the first touch and kept for that call. Assigning rewrites that field only. */
#ifndef LUADUCT_SCRIPT_BINDING_ENVELOPE_H
#define LUADUCT_SCRIPT_BINDING_ENVELOPE_H

#include <stdbool.h>

#include <lua.h>

#include "protocol/envelope.h"

struct script_state;

/* Sets the metatable of light userdata, which all handles and luaduct.null share, and the cache. Raises. */
void envelope_binding_open(lua_State *lua, struct script_state *state);

/* Forgets the decoded values of the last call. Uses the state's main stack; never raises. */
void envelope_binding_forget(struct script_state *state);

/* Gives the field the value at that index of the stack; nil and luaduct.null: the default again, and false. Opaque
 * values lie in the arena. Raises, with `what` before the field's name. */
bool envelope_binding_set(lua_State *lua, struct script_state *state, struct envelope *envelope, enum field field,
                          int index, const char *what);

#endif
