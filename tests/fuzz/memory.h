/* Memory that runs out where a fuzz target wants it: malloc, calloc and realloc of everything that is linked into the
 * target count down. */
#ifndef LUADUCT_FUZZ_MEMORY_H
#define LUADUCT_FUZZ_MEMORY_H

#include <stdbool.h>

/* The n-th allocation from here on fails, and no other; 0: none does. */
void memory_fail(unsigned n);

/* Ends that. Whether one has failed. */
bool memory_failed(void);

#endif
