/* Makes JSON strings of text. The text should be UTF-8; bytes that are not are each written as U+FFFD, so that what
 * comes out is always valid JSON. Any thread. */
#ifndef LUADUCT_PROTOCOL_JSON_WRITE_H
#define LUADUCT_PROTOCOL_JSON_WRITE_H

#include <stddef.h>

#include "base/slice.h"
#include "memory/buffer.h"

/* Bytes of the text as a JSON string, quotes included. */
size_t json_string_length(struct slice text);

/* Writes it, quotes included, into at least json_string_length(text) bytes, and returns the end of what was written.
 * Escaped are the quote, the backslash, control characters (the short forms where there are any) and U+007F. */
char *json_write_string(char *out, struct slice text);

/* Appends it, quotes included; memory's end is the buffer's `failed`. */
void buffer_append_json_string(struct buffer *out, struct slice text);

#endif
