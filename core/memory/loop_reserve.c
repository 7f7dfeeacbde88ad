/* On Linux the connections are in epoll sets of their own, so a loop knows some listeners, wake-ups and timers, however
 * many agents there are, and its tables stay small. They grow by doubling and are freed when the bridge ends: the
 * reserve only hands out, and what it handed out is never handed out again. */
#include "memory/loop_reserve.h"

#include <ev.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory/reserve.h"

/* Each table of each of 64 loops once over would be less. */
#define RESERVE_BYTES (256u << 10)

static _Alignas(RESERVE_ALIGNMENT) char bytes[RESERVE_BYTES];
static struct reserve reserve = {.bytes = bytes, .size = RESERVE_BYTES}; /* taken from with the mutex */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* In front of each block, from malloc or the reserve: libev does not say how long what it gives back is. */
struct block {
    _Alignas(RESERVE_ALIGNMENT) size_t size;
};

static bool is_reserved(const void *memory)
{
    return reserve_owns(&reserve, memory);
}

static struct block *take(size_t size)
{
    pthread_mutex_lock(&mutex);
    struct block *block = reserve_take(&reserve, size);
    pthread_mutex_unlock(&mutex);
    return block;
}

static void *grow(void *memory, long size)
{
    struct block *old = memory ? (struct block *)memory - 1 : NULL;
    bool reserved = old && is_reserved(memory);
    if (size <= 0) {
        if (!reserved)
            free(old);
        return NULL;
    }
    size_t needed = sizeof *old + (size_t)size;
    struct block *grown = reserved ? NULL : realloc(old, needed);
    if (!grown && (grown = take(needed)) && old) {
        memcpy(grown + 1, memory, old->size < (size_t)size ? old->size : (size_t)size);
        if (!reserved)
            free(old);
    }
    if (!grown)
        return NULL;
    grown->size = (size_t)size;
    return grown + 1;
}

void loop_reserve_install(void)
{
    ev_set_allocator(grow);
}
