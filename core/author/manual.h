/* What is made of the commands' --help and of the config's schema: completions for shells, manual pages, a page of the
 * docs (lua/luaduct/manual/). */
#ifndef LUADUCT_AUTHOR_MANUAL_H
#define LUADUCT_AUTHOR_MANUAL_H

#include <stddef.h>

struct manual_command {
    const char *name, *summary;
    char *help; /* what --help prints */
};

/* Prints one to standard output: "bash", "zsh", "luaduct.1", "luaduct.lua.5" or "command-line.md". Gives the exit code,
 * after a line on standard error where it did not work. */
int manual_print(const char *page, const struct manual_command *commands, size_t count);

#endif
