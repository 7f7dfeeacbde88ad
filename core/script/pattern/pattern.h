/* Lua patterns (reference manual 5.1, 5.4.1) that can be stopped. The stock string.find, match, gmatch and gsub are C
 * code that no hook reaches, so that one bad pattern in a script would hold a thread for hours; these give the same
 * results and messages, look at a flag as they go, and never run out of the thread's stack. */
#ifndef LUADUCT_SCRIPT_PATTERN_H
#define LUADUCT_SCRIPT_PATTERN_H

#include <stdatomic.h>
#include <stdint.h>

#include <lua.h>

/* The error message that a stopped pattern raises, behind luaL_error's position. */
#define PATTERN_STOPPED "stopped while matching a pattern"

/* Replaces find, match, gmatch and gsub in the table at that index (the `string` table or a sandbox's copy of it). The
 * functions run on the state's own thread; *stop may be set by any thread or by a signal handler, must outlive the
 * state, and is only read. While it is true, a pattern raises PATTERN_STOPPED within some 1,024 steps; the caller sets
 * it back. Raises a Lua error when memory is out. */
void pattern_install(lua_State *L, int string_table_index, const atomic_bool *stop);

/* The same for all patterns that the calling thread runs once that time of clock_steady_ns() has come, for what nobody
 * supervises: files while they are loaded. 0: no time. */
void pattern_stop_at(uint64_t deadline_ns);

#endif
