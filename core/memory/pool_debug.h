/* Of pool.c alone: builds that look for misuse have a header before each block, and poison in it while it is unused. In
 * others all of this is nothing. */
#ifndef LUADUCT_MEMORY_POOL_DEBUG_H
#define LUADUCT_MEMORY_POOL_DEBUG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/depot.h"

#if defined(__SANITIZE_ADDRESS__)
#define PLAIN_MALLOC 1 /* so that AddressSanitizer sees every block's own life */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN_MALLOC 1
#endif
#endif
#ifndef PLAIN_MALLOC
#define PLAIN_MALLOC 0
#endif
#if PLAIN_MALLOC || defined(__SANITIZE_THREAD__)
#define LUADUCT_POOL_DEBUG 1
#endif

#ifdef LUADUCT_POOL_DEBUG

#define POISON 0xdb
enum { IN_USE = 0x5a5e0001, UNUSED = 0x5a5e0002 };

struct header {
    uint32_t state, pool;
    uint64_t size; /* pool_usable_size */
};
_Static_assert(sizeof(struct header) == 16, "blocks stay aligned to 16");
#define HEADER_BYTES sizeof(struct header)

static struct header *header_of(void *block)
{
    return (struct header *)block - 1;
}

static _Noreturn void misuse(const char *what, const void *block, const struct header *header)
{
    fprintf(stderr, "pool: %s: block %p of pool %u, %llu bytes\n", what, block, header->pool,
            (unsigned long long)header->size);
    abort();
}

/* What a batch uses of a block in the depot is not poisoned. */
static void poison(void *block, size_t size)
{
    if (!PLAIN_MALLOC && size <= SIZE_CLASS_LARGEST)
        memset((char *)block + sizeof(struct batch), POISON, size - sizeof(struct batch));
}

static void debug_acquired(void *block, enum pool pool, size_t size, bool fresh)
{
    struct header *header = header_of(block);
    if (!fresh) {
        if (header->state != UNUSED)
            misuse("given out twice", block, header);
        for (size_t i = sizeof(struct batch); i < size; i++)
            if (((unsigned char *)block)[i] != POISON)
                misuse("written to after its release", block, header);
    }
    *header = (struct header){IN_USE, pool, size};
}

static void debug_released(void *block, enum pool pool, size_t size)
{
    struct header *header = header_of(block);
    if (header->state == UNUSED)
        misuse("released twice", block, header);
    if (header->state != IN_USE)
        misuse("released, and it is none of the pool's", block, &(struct header){.pool = pool, .size = size});
    if (header->pool != (uint32_t)pool)
        misuse("released to another pool than it came from", block, header);
    if (header->size != pool_usable_size(size))
        misuse("released with another size than it was acquired with", block, header);
    header->state = UNUSED;
    poison(block, header->size);
}

#else
#define HEADER_BYTES 0u
#define debug_acquired(block, pool, size, fresh) ((void)(pool), (void)(size))
#define debug_released(block, pool, size) ((void)(pool))
#endif

#endif
