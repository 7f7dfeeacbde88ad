/* A strict RFC 8259 scanner. It judges text in one pass, without building anything: grammar, UTF-8 and depth. What it
 * has accepted can then be walked and unescaped by the readers below, which need no checks of their own.
 *
 * The scanner exists three times over the same source: plain C, SSE2 (the x86-64 baseline) and AVX2, chosen once by
 * what the processor has; they give the same answers. */
#ifndef LUADUCT_PROTOCOL_JSON_H
#define LUADUCT_PROTOCOL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/code.h"

/* Bytes behind a text that a scan in place may read (not use): one vector and a few bytes of key. */
#define JSON_SLACK 64

/* The deepest nesting a caller may allow; the scanner keeps one bit a level on the stack. */
#define JSON_DEPTH_MAXIMUM 1024

enum json_kind {
    JSON_NONE, /* no value: the slice is empty */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* Judged by the first byte: enough for text that was validated. */
enum json_kind json_kind(struct slice value);

/* With its article, for error texts: "a number", "null", "nothing". */
const char *json_kind_name(enum json_kind kind);

/* Where a message says why a text was refused; always NUL-terminated, cut where it is full. */
#define ERROR_TEXT_BYTES 160

/* Validates one JSON value with white space around it, for a text that may be read-only and has no slack. depth: the
 * nesting allowed, 1 to JSON_DEPTH_MAXIMUM (a scalar needs none). Gives CODE_OK, CODE_BAD_JSON, CODE_TOO_DEEP, or
 * CODE_INTERNAL when memory is out (texts over 4 KiB are copied once); `error`, when not NULL, then says where:
 * "not JSON: … at byte 17", counted from 0. Any thread. */
enum code json_validate(struct slice text, unsigned depth, char error[ERROR_TEXT_BYTES]);

/* --- Readers of validated text ---------------------------------------------------------------------------------- */

/* Walks an object or array: `rest` starts as its text and is what is left of it afterwards. False at the end. The key
 * is the inside of its quotes, still escaped; values have no white space around them. */
bool json_next_member(struct slice *rest, struct slice *key, struct slice *value);
bool json_next_element(struct slice *rest, struct slice *value);

/* White space between tokens. */
static inline bool json_is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* The inside of a string value's quotes, still escaped. */
static inline struct slice json_string_inside(struct slice value)
{
    return slice_from(value.data + 1, value.length - 2);
}

static inline bool json_has_escape(struct slice text)
{
    return text.length > 0 && memchr(text.data, '\\', text.length) != NULL;
}

/* Unescapes the inside of a string's quotes into out, which has at least inside.length bytes (the result is never
 * longer), and returns the length. A surrogate escape without its partner becomes U+FFFD and sets *lone_surrogate
 * (which may be NULL; it is not cleared). No NUL is added. */
size_t json_unescape(struct slice inside, char *out, bool *lone_surrogate);

/* True when the inside of a string's quotes means exactly this text. */
bool json_inside_equals(struct slice inside, struct slice text);

#endif
