/* What the files of rules have in common (policy.h, access.h): a sandboxed state of its own for one file, without
 * hooks. */
#ifndef LUADUCT_SCRIPT_RULE_FILE_H
#define LUADUCT_SCRIPT_RULE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "script/hook.h"

struct script_state;

/* Of the options paths[0] (the file), budget_ms, memory_limit, log, log_context and wake_fd count. NULL: no memory. */
struct script_state *rule_file_open(const struct script_options *options);
void rule_file_close(struct script_state *state); /* NULL is fine */

/* In the protected call that reads the file: makes its environment, and pushes its chunk. Between the two, what the
 * file shall find beside the sandbox's own goes into the environment, which is left below the chunk. */
void rule_file_prepare(lua_State *lua, struct script_state *state);
void rule_file_push(lua_State *lua, struct script_state *state);

/* Calls `read(context)` protected, with the bounds in time and memory that hold for loading a script. False: `error` is
 * one line. */
bool rule_file_read(struct script_state *state, lua_CFunction read, void *context, char *error, size_t error_size);

/* What went wrong, as one line, from the top of the state's stack. */
void rule_file_error(struct script_state *state, int status, bool stopped, char *error, size_t size);

#endif
