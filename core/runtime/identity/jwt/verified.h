/* Signatures that were found good, so that a token that is shown again (by each HTTP request, or after a reconnect)
 * costs a hash and not another verification. Remembered is only that the signature is good: the claims, and with them
 * the dates, are judged each time. With a key more or less than before nothing of it counts. */
#ifndef LUADUCT_RUNTIME_VERIFIED_H
#define LUADUCT_RUNTIME_VERIFIED_H

#include <stdbool.h>

#include "base/slice.h"
#include "protocol/jwt/jwk.h"

#define VERIFIED_DIGEST_BYTES 32

/* Of a token under these keys. */
void verified_digest(const struct jwk_set *keys, struct slice token, unsigned char out[VERIFIED_DIGEST_BYTES]);

/* Any reactor. */
bool verified_knows(const unsigned char digest[VERIFIED_DIGEST_BYTES]);
void verified_add(const unsigned char digest[VERIFIED_DIGEST_BYTES]);

#endif
