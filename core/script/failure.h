/* Says what went wrong in a script: `script.lua:12: message` and a traceback, to the state's log, at most so many a
 * second. */
#ifndef LUADUCT_SCRIPT_FAILURE_H
#define LUADUCT_SCRIPT_FAILURE_H

#include <stdbool.h>

#include <lua.h>

#include "script/hook.h"

struct script_state;

/* The watchdog's debug hook: remembers where it struck the first time, and raises. */
void failure_stop(lua_State *lua, lua_Debug *record);

/* Says what went wrong with a call that is no hook's: the same text, without a name before it. */
void failure_describe(const struct script_state *state, lua_State *lua, bool stopped, char *out, size_t size);

/* Counts and logs a call that raised: the error lies on top of `lua`, whose stack still shows where (a dead coroutine),
 * or is the main stack. `hook_reference`: the function in the registry. `stopped`: by the watchdog. */
void failure_report(struct script_state *state, enum script_hook hook, int hook_reference, lua_State *lua,
                    bool stopped);

/* Counts and logs a call that is ended while it waits; its coroutine's stack shows where. */
void failure_report_waiting(struct script_state *state, enum script_hook hook, int hook_reference, lua_State *coroutine,
                            const char *why);

/* Counts and logs a call that returned nonsense. The function at that index tells the file and line. */
void failure_report_mistake(struct script_state *state, enum script_hook hook, lua_State *lua, int function,
                            const char *mistake);

#endif
