/* Keyed hashing of text that peers choose: the seed is random per process, so that nobody outside can aim for one
 * bucket. XXH3 (libxxhash, header-only use). */
#ifndef LUADUCT_BASE_HASH_H
#define LUADUCT_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

/* Draws the seed. Call once, before any other thread starts. */
void hash_start(void);

/* Any thread, after hash_start. */
uint64_t hash_slice(struct slice text);

#endif
