/* JSON Web Tokens (RFC 7519) as compact JWS (RFC 7515), read as RFC 8725 advises: the reader, never the token, says
 * which algorithms, keys, issuer and audience count. Pure: the same token, keys, rules and time give the same answer.
 *
 * Reading and verifying are two steps, because the second may be too slow for a reactor (jwk_is_slow). Nothing that the
 * first one gives may be believed before the second one said CODE_OK. */
#ifndef LUADUCT_PROTOCOL_JWT_H
#define LUADUCT_PROTOCOL_JWT_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/json/json.h"
#include "protocol/jwt/base64url.h"
#include "protocol/jwt/jwk.h"

/* Tokens with many claims have two or three. */
#define JWT_BYTES_MAXIMUM 8192

struct jwt_rules {
    unsigned algorithms;   /* 1 << enum jwt_algorithm for each that is allowed */
    struct slice issuer;   /* what `iss` must be; length 0: not looked at */
    struct slice audience; /* what `aud` must name; length 0: a token must have no `aud` (RFC 7519 4.1.3) */
    uint32_t leeway_ms;    /* by how much clocks may differ */
};

struct jwt {
    const struct jwk *key;
    struct slice signed_text; /* in the token */
    struct slice signature;   /* decoded */
    struct slice claims;      /* a JSON object with unique names; not to be believed before jwt_verify */
    int64_t expires_ms;       /* wall clock; the leeway is not added */
    size_t decoded_bytes;
    char decoded[BASE64URL_DECODED(JWT_BYTES_MAXIMUM)]; /* header, claims and signature */
};

/* Reads a token and judges all but its signature. CODE_OK, CODE_UNAUTHORIZED with the reason in *why (static text, for
 * the log: it tells of the configuration), or CODE_INTERNAL when memory is out. *out points into itself and into the
 * token. Any thread. */
enum code jwt_read(struct jwt *out, struct slice token, const struct jwk_set *keys, const struct jwt_rules *rules,
                   int64_t wall_ms, const char **why);

/* Whether the signature is good, with codes as above. Any thread. */
enum code jwt_verify(const struct jwt *jwt, const char **why);

/* A claim by its way through objects, e.g. "realm_access", "roles": its value as JSON; length 0: there is none. */
struct slice jwt_claim(const struct jwt *jwt, const char *const *path, size_t steps);

#endif
