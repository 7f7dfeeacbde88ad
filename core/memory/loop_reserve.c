/* The connections are in epoll sets of their own, so a loop knows some listeners, wake-ups and timers, however many
 * agents there are, and its tables stay small. They grow by doubling and are freed when the bridge ends: the reserve
 * only hands out, and what it handed out is never handed out again. */
#include "memory/loop_reserve.h"

#include <ev.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "memory/reserve.h"

/* Each table of each of 64 loops once over would be less. */
#define RESERVE_BYTES (256u << 10)

static _Alignas(RESERVE_ALIGNMENT) char bytes[RESERVE_BYTES];
static struct reserve reserve = {.bytes = bytes, .size = RESERVE_BYTES}; /* taken from with the mutex */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Where the size of each block in the reserve stands. */
struct block {
    _Alignas(RESERVE_ALIGNMENT) size_t size;
};

static bool is_reserved(const void *memory)
{
    return reserve_owns(&reserve, memory);
}

static void *take(size_t size)
{
    pthread_mutex_lock(&mutex);
    struct block *block = reserve_take(&reserve, sizeof *block + size);
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
