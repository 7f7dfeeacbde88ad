/* A borrowed run of bytes. Owns nothing; whoever hands one out says how long it stays valid. Not NUL-terminated. */
#ifndef LUADUCT_BASE_SLICE_H
#define LUADUCT_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *data;
    size_t length;
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
