/* base64url without padding (RFC 4648 5, RFC 7515 2), read strictly: one text for each run of bytes, so that a token
 * cannot be spelled in two ways. Any thread. */
#ifndef LUADUCT_PROTOCOL_BASE64URL_H
#define LUADUCT_PROTOCOL_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Bytes that so many characters decode to at most. */
#define BASE64URL_DECODED(characters) ((characters) / 4 * 3 + 2)

/* False: a character outside the alphabet (padding is one), a length that no bytes have, bits behind the last byte that
 * are not zero, or more than `capacity` bytes. */
bool base64url_decode(struct slice text, unsigned char *out, size_t capacity, size_t *length);

#endif
