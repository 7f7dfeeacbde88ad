/* Those who are counted: an address or a sender, with what it has open and the buckets of its rates. A party is kept
 * while a connection holds it and until its buckets are full again, so that to reconnect gains nothing. Any thread. */
#ifndef LUADUCT_RUNTIME_LIMITS_PARTY_H
#define LUADUCT_RUNTIME_LIMITS_PARTY_H

#include <stdint.h>

#include "base/slice.h"
#include "runtime/limits/peer_address.h"

struct party;

/* What an identity's credential says in the place of the config's limits of one sender; 0: nothing. */
struct own_limits {
    uint32_t connections, messages_per_second, message_burst;
    uint64_t bytes_per_second;
};

/* A reference to the party of that address or sender. NULL: no limit is configured that would need it; every function
 * below takes that as "no limit". An identity's own limits, or none, hold from then on for all its connections. */
struct party *party_of_address(const struct peer_address *address);
struct party *party_of_agent(struct slice client_id);
struct party *party_of_identity(struct slice owner, const struct own_limits *own);
/* An identity's own limits, while a connection of it is there; all 0: it has none. */
struct own_limits party_limits_of_identity(struct slice owner);
struct party *party_retain(struct party *party); /* another reference to it, for the caller */
void party_release(struct party *party);

#endif
