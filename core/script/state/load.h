/* Brings scripts into a fresh state: the mode's module, the sandbox, then each user script. */
#ifndef LUADUCT_SCRIPT_LOAD_H
#define LUADUCT_SCRIPT_LOAD_H

#include <stdbool.h>
#include <stddef.h>

struct script_options;
struct script_state;

/* False: `error` says why in one line, with file:line where there is one. */
bool load_scripts(struct script_state *state, const struct script_options *options, char *error, size_t error_size);

/* Around running the top level of files, in a protected call: `require` may read files, the ceiling holds, and what
 * takes too long is stopped. */
void load_begin(struct script_state *state);
void load_end(struct script_state *state);

/* The folder of a script's file, for `require`; the caller frees it. NULL when memory is out. */
char *load_folder_of(const char *path);

/* Makes one line of an error. */
void load_join_lines(char *error);

/* Makes the coroutine that runs hooks, with its fixed slots. False when memory is out; may be tried again. */
bool load_coroutine(struct script_state *state);

#endif
