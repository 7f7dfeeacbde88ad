/* Routes that say what they depend on: `return {route = …, cache = {"to", "intent"}}`. While such a route runs, what
 * would make it depend on more, or do more than decide, raises. What such a route has decided can then be kept
 * (route_cache.h). Inside of the script room. */
#ifndef LUADUCT_SCRIPT_PURE_DECLARATION_H
#define LUADUCT_SCRIPT_PURE_DECLARATION_H

#include "script/state/state.h"

/* Reads `cache` of the table of hooks on top of the stack, which stays there. Raises `file:line: …` when it names what
 * no decision can be kept by. */
void declaration_read(lua_State *lua, struct script_state *state, struct script *script);

/* Around the call of a route that has a declaration. */
static inline void declaration_enter(struct script_state *state, const struct script *script)
{
    state->pure = script;
    state->undeclared = ~script->declared;
    state->asked_agents = false;
}
static inline void declaration_leave(struct script_state *state)
{
    state->pure = NULL;
    state->undeclared = 0;
}

/* Raises: `what` is not for such a route. */
int declaration_refuse(lua_State *lua, const struct script_state *state, const char *what);
static inline void declaration_check(lua_State *lua, const char *what)
{
    const struct script_state *state = state_of(lua);
    if (__builtin_expect(state->pure != NULL, 0))
        declaration_refuse(lua, state, what);
}

/* Raises: the field of that name, or `sender`, is not declared, or was assigned. */
int declaration_refuse_field(lua_State *lua, const struct script_state *state, const char *name, bool assigned);

/* To the table of an agent on top of the stack, in place of what changes with every message: reading that raises. */
void declaration_hide_counts(lua_State *lua);

/* math.random of a script, as it stands: random numbers are no function of a field. And whether it was used since. */
void declaration_mark_random(const struct script *script, struct random_mark *mark);
bool declaration_random_used(const struct script *script, const struct random_mark *mark);

#endif
