/* The characters that the terminal shows, and how many columns a text takes there. */
#ifndef LUADUCT_CLIENT_CHARSET_H
#define LUADUCT_CLIENT_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* The process's locale for characters (LC_CTYPE) becomes the environment's where that is one of UTF-8, else C.UTF-8:
 * where the environment names none, as in most containers, terminals show UTF-8 all the same. Once, before the others.
 */
void charset_start(void);

/* Bytes of the longest start of the text that takes at most `limit` columns, and how many it takes. The text is UTF-8
 * without control characters. */
size_t charset_fit(struct slice text, size_t limit, size_t *columns);

#endif
