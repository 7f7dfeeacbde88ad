#include "memory/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#include "memory/admission.h"
#include "memory/pool.h"

#define FIRST_CAPACITY 512u

char *buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed)
        return NULL;
    if (buffer->capacity - buffer->length >= more && buffer->data)
        return buffer->data + buffer->length;
    size_t wanted = buffer->length + more, capacity = buffer->capacity ? buffer->capacity * 2 : FIRST_CAPACITY;
    if (capacity < wanted)
        capacity = wanted;
    capacity = pool_usable_size(capacity);
    char *data =
        capacity <= ADMISSION_SMALL_BYTES || admission_take(capacity) ? pool_acquire(POOL_BUFFERS, capacity) : NULL;
    if (!data) {
        buffer->failed = true;
        return NULL;
    }
    if (buffer->data)
        memcpy(data, buffer->data, buffer->length);
    pool_release(POOL_BUFFERS, buffer->data, buffer->capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return data + buffer->length;
}

void buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (length == 0)
        return;
    char *to = buffer_reserve(buffer, length);
    if (!to)
        return;
    memcpy(to, data, length);
    buffer->length += length;
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        buffer_append(buffer, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

void buffer_consume(struct buffer *buffer, size_t count)
{
    buffer->length -= count;
    if (buffer->length == 0)
        buffer_free(buffer);
    else
        memmove(buffer->data, buffer->data + count, buffer->length);
}

void buffer_free(struct buffer *buffer)
{
    pool_release(POOL_BUFFERS, buffer->data, buffer->capacity);
    *buffer = (struct buffer){0};
}
