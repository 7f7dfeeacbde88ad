/* The linker sends malloc and its like here (--wrap), and those here to the library's. */
#include "memory.h"

#include <stddef.h>

static unsigned left;
static bool failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

void memory_fail(unsigned n)
{
    left = n;
    failed = false;
}

bool memory_failed(void)
{
    left = 0;
    return failed;
}

static bool fails(void)
{
    bool now = left > 0 && --left == 0;
    failed |= now;
    return now;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}
