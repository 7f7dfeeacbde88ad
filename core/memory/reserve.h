/* A block that hands out pieces of itself to those who cannot bear an allocator that fails. What it has handed out is
 * never handed out again; it is given back as a whole. Not for several threads at once. */
#ifndef LUADUCT_MEMORY_RESERVE_H
#define LUADUCT_MEMORY_RESERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESERVE_ALIGNMENT 16u

struct reserve {
    char *bytes; /* aligned to RESERVE_ALIGNMENT */
    size_t size, used;
};

/* NULL: not that much is left. */
static inline void *reserve_take(struct reserve *reserve, size_t size)
{
    size_t left = reserve->size - reserve->used;
    if (size > left)
        return NULL;
    void *piece = reserve->bytes + reserve->used;
    size_t whole = (size + RESERVE_ALIGNMENT - 1) / RESERVE_ALIGNMENT * RESERVE_ALIGNMENT;
    reserve->used += whole < left ? whole : left;
    return piece;
}

/* Whether it is a piece of it. */
static inline bool reserve_owns(const struct reserve *reserve, const void *memory)
{
    return (uintptr_t)memory - (uintptr_t)reserve->bytes < reserve->size;
}

#endif
