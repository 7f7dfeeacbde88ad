/* The sizes that the pools have blocks of. They step by a quarter of a power of two, so at most a fifth of a block is
 * lost to rounding. */
#ifndef LUADUCT_MEMORY_SIZE_CLASS_H
#define LUADUCT_MEMORY_SIZE_CLASS_H

#include <stddef.h>

#define SIZE_CLASS_SMALLEST 64u
#define SIZE_CLASS_LARGEST (64u << 10)
#define SIZE_CLASSES 41 /* 64, 80, 96, 112, 128, 160 … 65536 */

/* The class of the smallest blocks that hold `size` bytes, which are at most SIZE_CLASS_LARGEST. */
static inline unsigned size_class_of(size_t size)
{
    if (size <= SIZE_CLASS_SMALLEST)
        return 0;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(size - 1);
    unsigned quarter = (unsigned)((size - 1) >> (exponent - 2)) & 3u;
    return (exponent - 6) * 4 + quarter + 1;
}

static inline size_t size_class_bytes(unsigned class)
{
    if (class == 0)
        return SIZE_CLASS_SMALLEST;
    unsigned exponent = (class - 1) / 4 + 6, quarter = (class - 1) % 4;
    return ((size_t)1 << exponent) + ((size_t)(quarter + 1) << (exponent - 2));
}

#endif
