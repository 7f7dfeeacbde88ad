/* A growing run of bytes from the pool: the one way to collect bytes whose number is not known before. All zero is an
 * empty one that owns nothing. */
#ifndef LUADUCT_MEMORY_BUFFER_H
#define LUADUCT_MEMORY_BUFFER_H

#include <stdbool.h>

#include "base/slice.h"

struct buffer {
    char *data;
    size_t length, capacity;
    bool failed; /* memory ran out: later appends do nothing, so that a writer checks once at its end */
};

/* Room for `more` bytes behind length; NULL (and failed) when memory is out. The caller adds to length what it used. */
char *buffer_reserve(struct buffer *buffer, size_t more);

void buffer_append(struct buffer *buffer, const void *data, size_t length);

static inline void buffer_append_slice(struct buffer *buffer, struct slice text)
{
    buffer_append(buffer, text.data, text.length);
}

/* Formatted text of at most 255 bytes. */
__attribute__((format(printf, 2, 3))) void buffer_append_format(struct buffer *buffer, const char *format, ...);

/* Drops `count` bytes from the front; an empty buffer gives its block back. */
void buffer_consume(struct buffer *buffer, size_t count);

/* Gives the block back; the buffer is empty and may be used again. */
void buffer_free(struct buffer *buffer);

#endif
