/* A thread that verifies the signatures of tokens that are too slow for a reactor: an ES256 signature takes mbedtls one
 * and a half milliseconds, in which a reactor would serve nobody. It is one thread of its own and no worker,
 * because nobody's tasks may keep others from logging in, and attempts to log in may not keep tasks waiting.
 *
 * What waits for it is bounded, in all and for each address, so that one peer with many wrong tokens holds up others by
 * a few of its own verifications, and never the reactors. */
#ifndef LUADUCT_RUNTIME_VERIFIER_H
#define LUADUCT_RUNTIME_VERIFIER_H

#include "protocol/jwt/jwt.h"
#include "runtime/identity/authenticate.h"
#include "runtime/identity/jwt/verified.h"
#include "runtime/reactor.h"

/* Three quarters of a second's worth: who waits longer tries again anyway. Of one address a tenth of a second's worth,
 * so that it takes several to keep others out; a machine with many agents has them all in after a few tries. */
#define VERIFIER_WAITING_MOST 512u
#define VERIFIER_WAITING_OF_ADDRESS 64u

/* One token under way. The connection holds it until it has come back, and is not freed before. */
struct verification {
    struct errand errand; /* brings it back; first */
    struct verification *next;
    struct connection *connection;
    struct peer_address address; /* its, for other threads to read */
    struct jwk_set *keys;        /* a reference */
    const struct jwk *key;
    unsigned char digest[VERIFIED_DIGEST_BYTES];
    struct slice signed_text, signature; /* behind */
    bool ended, checked_again;
    enum code code; /* then: CODE_OK, CODE_UNAUTHORIZED or CODE_INTERNAL */
    char bytes[];
};

/* Main. False: *error says why. Stop it when no reactor runs any more. */
bool verifier_start(char *error, size_t size);
void verifier_stop(void);

/* Hands over what jwt_read gave, for connection->verification. When it has come back (`ended`), the connection's
 * request or register message is handled again from its start. On the reactor's thread. False: no memory, or too much
 * waits. */
bool verifier_take(const struct credentials *shown, const struct jwt *jwt, struct jwk_set *keys,
                   const unsigned char digest[VERIFIED_DIGEST_BYTES]);

/* How many were verified, and refused because too many waited. Any thread. */
uint64_t verifier_done(void);
uint64_t verifier_refused(void);

#endif
