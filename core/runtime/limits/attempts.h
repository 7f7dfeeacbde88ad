/* What one address may try in a window of time (http.rateMax, http.rateWindowMs): requests, and credentials that are
 * wrong. Any thread. */
#ifndef LUADUCT_RUNTIME_LIMITS_ATTEMPTS_H
#define LUADUCT_RUNTIME_LIMITS_ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/limits/peer_address.h"

/* Counts one request of the address. 0: go on; else the seconds after which it may ask again. */
unsigned limits_http_request(const struct peer_address *address, uint64_t now_ms);

/* The same for requests that were refused for their Origin or Host. They count apart from the others, so that a web
 * page cannot use up what its user may ask from the same machine. */
unsigned limits_foreign_request(const struct peer_address *address, uint64_t now_ms);

/* The same for credentials that were wrong in an upgrade or a `register`, as many as requests may be. They count apart
 * from requests, so that who asks a lot may still log in. To be asked before a credential is looked at. */
unsigned limits_credential(const struct peer_address *address, uint64_t now_ms);
void limits_credential_wrong(const struct peer_address *address, uint64_t now_ms);

/* Whether another slow signature that this address shows is to be verified: not after many wrong ones in a short time.
 * Counts apart from all else, and whatever http.rateMax says, for each one costs much. */
bool limits_signature(const struct peer_address *address, uint64_t now_ns);
void limits_signature_wrong(const struct peer_address *address, uint64_t now_ns);

#endif
