/* What specs drive scripts with: the Lua module luaduct.test.room, a thin face of the script room and of the bridge's
 * delivery. lua/luaduct/test/ makes of it what authors see. One Lua state, one thread, the main one. */
#ifndef LUADUCT_AUTHOR_ROOM_H
#define LUADUCT_AUTHOR_ROOM_H

#include <stdbool.h>

#include <lua.h>

#include "base/slice.h"
#include "bridge/delivery/delivery.h"

/* Pushes the module. Raises. */
int room_open(lua_State *lua);

/* Begins to watch over scripts; before each that room_watch names. False: there is no thread for it; errno says why. */
bool room_supervise(void);

/* Ends what watches over scripts, after the Lua state is closed. */
void room_stop(void);

/* --- Inside of the room --- */

struct agent_view;
struct log_line;
struct script_state;
struct room {
    struct script_state *state; /* NULL: closed */
    struct log_line *log, **log_end;
};

/* The one at that index of the stack. Raises. */
struct room *room_check(lua_State *lua, int index);

/* A hook of this state is about to run; NULL: it has ended. */
void room_watch(struct script_state *state);

/* --- The fake agents (agents.c): endpoints of a lane without sockets --- */

/* reset(); join(agent), texts and JSON lists in a table; leave(id). To the table on top. */
void agents_add_functions(lua_State *lua);

/* Takes an agent away and gives what a hook is told of it. False: there is none of that id. */
bool agents_take(struct slice id, struct agent_view *view);

/* Carries the decision out and sets in the table on top: recipients (a list of {id =, envelope = JSON}), undeliverable
 * (a list of {reason =, recipient =}), accepted, refusal. `sender` is the id that a reply goes to. */
void agents_deliver(lua_State *lua, struct envelope *envelope, const struct envelope_defaults *defaults,
                    struct slice sender, const struct decision *decision);

/* Frees all. */
void agents_stop(void);

#endif
