#include "workers/value.h"

#include <string.h>

static uint64_t padded(uint64_t bytes)
{
    return (bytes + 7) & ~(uint64_t)7;
}

const struct value *value_member(const struct value *object, struct slice name)
{
    if (object->kind != VALUE_OBJECT)
        return NULL;
    const struct value *found = NULL, *key = value_first(object);
    for (uint32_t i = 0; i < object->count; i++) {
        const struct value *member = value_next(key);
        if (key->count == name.length && memcmp(value_body(key), name.data, name.length) == 0)
            found = member;
        key = value_next(member);
    }
    return found;
}

const char *value_kind_name(const struct value *value)
{
    static const char *const names[] = {"null",     "false",    "true",     "a number",
                                        "a string", "an array", "an array", "an object"};
    return value ? names[value->kind] : "nothing";
}

/* --- Writing ---------------------------------------------------------------------------------------------------- */

static inline char *reserve(struct buffer *out, size_t more)
{
    if (out->capacity - out->length >= more && !out->failed)
        return out->data + out->length;
    return buffer_reserve(out, more);
}

/* Header and body in one piece: where the body begins. */
static char *write_header(struct buffer *out, enum value_kind kind, uint32_t count, uint64_t bytes)
{
    char *at = reserve(out, sizeof(struct value) + bytes);
    if (!at)
        return NULL;
    *(struct value *)(void *)at = (struct value){kind, count, bytes};
    out->length += sizeof(struct value) + bytes;
    return at + sizeof(struct value);
}

void value_write_null(struct buffer *out)
{
    write_header(out, VALUE_NULL, 0, 0);
}

void value_write_boolean(struct buffer *out, bool value)
{
    write_header(out, value ? VALUE_TRUE : VALUE_FALSE, 0, 0);
}

void value_write_number(struct buffer *out, double value)
{
    char *body = write_header(out, VALUE_NUMBER, 0, sizeof value);
    if (body)
        memcpy(body, &value, sizeof value);
}

char *value_write_room(struct buffer *out, size_t length)
{
    if (length > UINT32_MAX) {
        out->failed = true;
        return NULL;
    }
    uint64_t bytes = padded(length);
    char *body = write_header(out, VALUE_STRING, (uint32_t)length, bytes);
    if (body && bytes > 0)
        memset(body + bytes - 8, 0, 8); /* what copies and compares must not meet bytes that nobody wrote */
    return body;
}

void value_write_string(struct buffer *out, struct slice text)
{
    char *body = value_write_room(out, text.length);
    if (body && text.length > 0)
        memcpy(body, text.data, text.length);
}

double *value_write_numbers(struct buffer *out, uint32_t count)
{
    if (count == 0) {
        write_header(out, VALUE_ARRAY, 0, 0);
        return NULL;
    }
    return (double *)(void *)write_header(out, VALUE_NUMBERS, count, (uint64_t)count * sizeof(double));
}

void value_write_copy(struct buffer *out, const struct value *value)
{
    buffer_append(out, value, sizeof *value + value->bytes);
}

size_t value_begin(struct buffer *out, enum value_kind kind)
{
    size_t place = out->length;
    write_header(out, kind, 0, 0);
    return place;
}

/* Moves the numbers of an array together when there is nothing else in it. */
static void pack_numbers(struct buffer *out, struct value *array)
{
    const size_t one = sizeof(struct value) + sizeof(double);
    char *body = (char *)(array + 1);
    if (array->count == 0 || array->bytes != array->count * one)
        return;
    for (uint32_t i = 0; i < array->count; i++)
        if (((const struct value *)(const void *)(body + i * one))->kind != VALUE_NUMBER)
            return; /* so far all were of that size, so this is a header */
    for (uint32_t i = 0; i < array->count; i++)
        memmove(body + i * sizeof(double), body + i * one + sizeof(struct value), sizeof(double));
    array->kind = VALUE_NUMBERS;
    out->length -= array->bytes - array->count * sizeof(double);
    array->bytes = array->count * sizeof(double);
}

void value_end(struct buffer *out, size_t place, uint32_t count)
{
    size_t padding = (size_t)(padded(out->length) - out->length);
    if (padding > 0)
        buffer_append(out, (const char[8]){0}, padding);
    if (out->failed)
        return;
    struct value *value = (struct value *)(void *)(out->data + place);
    value->count = count;
    value->bytes = out->length - place - sizeof *value;
    if (value->kind == VALUE_ARRAY)
        pack_numbers(out, value);
}
