/* A list of chunks, the newest first; texts are cut from the newest and never move. A text too big for an ordinary
 * chunk gets one of its own. */
#include "protocol/json/text_store.h"

#include <stdint.h>
#include <stdlib.h>

/* Holds the handful of ids and names that one envelope carries escaped. */
#define CHUNK_BYTES 2048

struct text_chunk {
    struct text_chunk *next;
    size_t capacity, used;
    char data[];
};

char *text_store_take(struct text_store *store, size_t length)
{
    struct text_chunk *chunk = store->chunks;
    if (!chunk || chunk->capacity - chunk->used < length) {
        size_t capacity = length > CHUNK_BYTES ? length : CHUNK_BYTES;
        if (capacity > SIZE_MAX - sizeof *chunk)
            return NULL;
        chunk = malloc(sizeof *chunk + capacity);
        if (!chunk)
            return NULL;
        chunk->next = store->chunks;
        chunk->capacity = capacity;
        chunk->used = 0;
        store->chunks = chunk;
    }
    char *text = chunk->data + chunk->used;
    chunk->used += length;
    return text;
}

void text_store_reset(struct text_store *store)
{
    struct text_chunk *kept = NULL;
    for (struct text_chunk *chunk = store->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        if (!kept && chunk->capacity == CHUNK_BYTES) {
            kept = chunk;
            kept->used = 0;
        } else {
            free(chunk);
        }
    }
    if (kept)
        kept->next = NULL;
    store->chunks = kept;
}

void text_store_free(struct text_store *store)
{
    for (struct text_chunk *chunk = store->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    store->chunks = NULL;
}
