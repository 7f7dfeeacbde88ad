/* The connections are in epoll sets of their own, so a loop knows some listeners, wake-ups and timers, however many
 * agents there are, and its tables stay small. They grow by doubling and are freed when the bridge ends: the reserve
 * only hands out, and what it handed out is never handed out again. */
#include "memory/loop_reserve.h"

#include <ev.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Each table of each of 64 loops once over would be less. */
#define RESERVE_BYTES (256u << 10)
#define ALIGNMENT 16u

static _Alignas(ALIGNMENT) char reserve[RESERVE_BYTES];
static size_t used; /* with the mutex */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Where the size of each block in the reserve stands. */
struct block {
    _Alignas(ALIGNMENT) size_t size;
};

static int is_reserved(const void *memory)
{
    return (uintptr_t)memory - (uintptr_t)reserve < RESERVE_BYTES;
}

static void *take(size_t size)
{
    struct block *block = NULL;
    size_t whole = sizeof *block + (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    pthread_mutex_lock(&mutex);
    if (whole <= RESERVE_BYTES - used) {
        block = (struct block *)(void *)(reserve + used);
        used += whole;
    }
    pthread_mutex_unlock(&mutex);
    if (!block)
        return NULL;
    block->size = size;
    return block + 1;
}

static void *grow(void *memory, long size)
{
    if (size <= 0) {
        if (memory && !is_reserved(memory))
            free(memory);
        return NULL;
    }
    if (!memory || !is_reserved(memory)) {
        void *grown = realloc(memory, (size_t)size);
        if (grown)
            return grown;
    }
    void *reserved = take((size_t)size);
    if (reserved && memory) {
        size_t old = is_reserved(memory) ? ((struct block *)memory)[-1].size : malloc_usable_size(memory);
        memcpy(reserved, memory, old < (size_t)size ? old : (size_t)size);
        if (!is_reserved(memory))
            free(memory);
    }
    return reserved;
}

void loop_reserve_install(void)
{
    ev_set_allocator(grow);
}
