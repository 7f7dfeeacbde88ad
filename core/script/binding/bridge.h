/* The `bridge` that scripts see: constructors of decisions, and a look at who is there. */
#ifndef LUADUCT_SCRIPT_BINDING_BRIDGE_H
#define LUADUCT_SCRIPT_BINDING_BRIDGE_H

#include <stdbool.h>

#include <lua.h>

#include "bridge/delivery/decision.h"

struct agent_view;
struct script_state;

/* Pushes a table with the functions. Raises. */
void bridge_binding_push(lua_State *lua);

/* Pushes a table that describes the agent, as bridge.agent(id) gives it. Raises. */
void bridge_push_agent(lua_State *lua, struct script_state *state, const struct agent_view *view);

/* Reads what a hook returned at that index: a decision of this call, or a list of them. NULL: nil was returned and
 * *mistake is empty, or it is nonsense and *mistake says why. Never raises and allocates nothing. */
struct decision *bridge_read_decision(lua_State *lua, struct script_state *state, int index, char *mistake,
                                      size_t mistake_size);

/* Gives back agent views that a call held when it raised. */
void bridge_release_views(struct script_state *state);

#endif
