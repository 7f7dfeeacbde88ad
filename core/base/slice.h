/* A borrowed run of bytes. Owns nothing; whoever hands one out says how long it stays valid. Not NUL-terminated. */
#ifndef LUADUCT_BASE_SLICE_H
#define LUADUCT_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *data;
    size_t length;
};

struct slice_list {
    const struct slice *items;
    uint32_t count;
};

/* From a string literal, at compile time. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_from(const char *data, size_t length)
{
    return (struct slice){data, length};
}

static inline struct slice slice_from_string(const char *string)
{
    return (struct slice){string, strlen(string)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* Without the white space of JSON (RFC 8259 2) around it. */
static inline struct slice slice_trim_space(struct slice text)
{
    while (text.length > 0 && memchr(" \t\r\n", text.data[0], 4))
        text = slice_from(text.data + 1, text.length - 1);
    while (text.length > 0 && memchr(" \t\r\n", text.data[text.length - 1], 4))
        text.length--;
    return text;
}

/* ASCII only, as HTTP header names and tokens need it (RFC 9110 5.1). */
static inline bool slice_equal_ignoring_case(struct slice a, struct slice b)
{
    if (a.length != b.length)
        return false;
    for (size_t i = 0; i < a.length; i++) {
        unsigned char x = (unsigned char)a.data[i], y = (unsigned char)b.data[i];
        if (x >= 'A' && x <= 'Z')
            x |= 0x20;
        if (y >= 'A' && y <= 'Z')
            y |= 0x20;
        if (x != y)
            return false;
    }
    return true;
}

#endif
