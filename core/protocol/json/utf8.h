/* Is this text UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF)? For a whole text at once, and
 * for one that arrives in pieces. Both skip ASCII a vector at a time. Any thread. */
#ifndef LUADUCT_PROTOCOL_UTF8_H
#define LUADUCT_PROTOCOL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Reads exactly data[0..length). */
bool utf8_valid(const char *data, size_t length);

/* The longest well-formed start of the text, in bytes: its length when all of it is valid, else the offset of the first
 * byte of the first sequence that is broken or cut short. */
size_t utf8_valid_length(const char *data, size_t length);

/* How far a text that arrives in pieces has come. All zero is the start (so `stream = (struct utf8_stream){0}` begins
 * anew); 4 bytes, so that a connection can keep one between fragments. */
struct utf8_stream {
    uint8_t missing; /* continuation bytes that the character begun still needs: 0 to 3 */
    uint8_t low;     /* the next byte must lie in low..high while missing > 0 */
    uint8_t high;
    uint8_t failed; /* a byte was impossible; stays so */
};

/* Takes the next piece. False as soon as a byte in it can begin or continue no character (RFC 6455 8.1: fail fast); a
 * character cut off at the end of the piece is fine so far. */
bool utf8_stream_feed(struct utf8_stream *stream, const char *data, size_t length);

/* True when the text may end here: nothing failed and no character is half there. */
static inline bool utf8_stream_complete(const struct utf8_stream *stream)
{
    return stream->missing == 0 && stream->failed == 0;
}

/* True for text that is safe in a log, a metric or a terminal: valid UTF-8 without control characters (U+0000 to
 * U+001F, U+007F to U+009F). */
bool utf8_printable(struct slice text);

/* Writes one code point (0 to 0x10FFFF, no surrogate) in 1 to 4 bytes and returns how many. */
unsigned utf8_encode(uint32_t code_point, char out[4]);

#endif
