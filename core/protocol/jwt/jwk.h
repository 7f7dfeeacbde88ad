/* The keys that tokens are verified with: from a JWK set (RFC 7517, 7518), a public key in PEM, or a shared secret. A
 * set is built by one thread and does not change afterwards; any number of threads may then verify with it.
 *
 * A key is for one algorithm, by what it is: an RSA key for RS256, a P-256 key for ES256, a secret for HS256. So a
 * token cannot choose how its key is used (RFC 8725 3.1). */
#ifndef LUADUCT_PROTOCOL_JWK_H
#define LUADUCT_PROTOCOL_JWK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "protocol/code.h"

enum jwt_algorithm { JWT_HS256, JWT_RS256, JWT_ES256, JWT_ALGORITHM_COUNT };

const char *jwt_algorithm_name(enum jwt_algorithm algorithm);

/* False: it is none of the three, and *why says more of "none" and EdDSA. Static text; `why` may be NULL. */
bool jwt_algorithm_find(struct slice name, enum jwt_algorithm *algorithm, const char **why);

/* RSA keys: below, they can be broken (RFC 7518 3.3); above, a verification takes longer than a reactor may be kept. */
#define JWK_RSA_BITS_LEAST 2048
#define JWK_RSA_BITS_MOST 4096
/* A secret for HS256 has the hash's size at least (RFC 7518 3.2). */
#define JWK_SECRET_BYTES_LEAST 32
#define JWK_SECRET_BYTES_MOST 1024

#define JWK_ID_BYTES_MAXIMUM 256
#define JWK_SET_KEYS_MAXIMUM 64
#define JWK_ERROR_BYTES 256

/* The signature of the largest key. */
#define JWT_SIGNATURE_BYTES_MOST (JWK_RSA_BITS_MOST / 8)

struct jwk;
struct jwk_set;

struct jwk_set *jwk_set_new(void); /* one reference; NULL: no memory */
struct jwk_set *jwk_set_retain(struct jwk_set *set);
void jwk_set_release(struct jwk_set *set); /* NULL is fine; secrets are wiped */

/* Add keys; before others see the set. False: *error says which key is wrong and why, and the set is of no more use.
 * Of a JWK set, keys are left out that are not for us: for encryption, or of a kind or algorithm that we do not have
 * (RFC 7517 5); one that is for us must be right. A PEM text may hold one public key, and no certificate. */
bool jwk_set_add_jwks(struct jwk_set *set, struct slice text, char error[JWK_ERROR_BYTES]);
bool jwk_set_add_pem(struct jwk_set *set, struct slice text, char error[JWK_ERROR_BYTES]);
bool jwk_set_add_secret(struct jwk_set *set, struct slice secret, char error[JWK_ERROR_BYTES]);

/* By what the keys are known: two sets that were built of the same texts have the same fingerprint, and no others. */
#define JWK_FINGERPRINT_BYTES 32
const unsigned char *jwk_set_fingerprint(const struct jwk_set *set);

/* Keys for this algorithm. */
size_t jwk_set_count(const struct jwk_set *set, enum jwt_algorithm algorithm);

/* The one key for a token of this algorithm and `kid` (length 0: it names none): the key of that kid, else the only key
 * that has none; without a kid, the only key. NULL: *why says why not (static text). */
const struct jwk *jwk_set_find(const struct jwk_set *set, enum jwt_algorithm algorithm, struct slice kid,
                               const char **why);

/* Whether the signature is the key's: CODE_OK, CODE_UNAUTHORIZED, or CODE_INTERNAL when memory is out. RS256 and HS256
 * take tens of microseconds; ES256 takes two milliseconds, too long for a reactor. */
enum code jwk_verify(const struct jwk *key, struct slice text, struct slice signature);
bool jwk_is_slow(const struct jwk *key);
bool jwk_is_quick(const struct jwk *key); /* no dearer than a hash of the token */

#endif
