/* Limits that hold across reactors and reconnects: of the whole bridge, of one address, of one sender (its identity, or
 * without one its clientId). Those who are counted are parties: an address or a sender, with what it has open and the
 * buckets of its rates. A party is kept while a connection holds it and until its buckets are full again, so that to
 * reconnect gains nothing. Any thread, unless said otherwise. */
#ifndef LUADUCT_RUNTIME_LIMITS_H
#define LUADUCT_RUNTIME_LIMITS_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rate.h"
#include "base/slice.h"
#include "net/address.h"
#include "protocol/code.h"
#include "runtime/config/config.h"

/* An address as limits see it: IPv4 mapped into IPv6, IPv6 by its /64 (loopback whole). */
struct peer_address {
    unsigned char bytes[16];
};

/* The address as limits see it. */
struct peer_address peer_address_of(const struct address *address);

/* An IPv4 address, or the /64 of an IPv6 one, in `out`. */
struct slice peer_address_text(const struct peer_address *address, char out[INET6_ADDRSTRLEN]);

/* By which tables know it. */
uint64_t peer_address_hash(const struct peer_address *address);

/* What refused. Each is a figure on /metrics: luaduct_limited. */
enum limit {
    LIMIT_NONE,
    LIMIT_CONNECTIONS,
    LIMIT_CONNECTIONS_PER_ADDRESS,
    LIMIT_CONNECTIONS_PER_IDENTITY,
    LIMIT_HANDSHAKES,
    LIMIT_HANDSHAKES_PER_ADDRESS,
    LIMIT_AGENTS,
    LIMIT_AGENTS_PER_ADDRESS,
    LIMIT_AGENTS_PER_IDENTITY,
    LIMIT_MESSAGES,
    LIMIT_MESSAGES_PER_ADDRESS,
    LIMIT_MESSAGES_TOTAL,
    LIMIT_BYTES,
    LIMIT_BYTES_PER_ADDRESS,
    LIMIT_BYTES_TOTAL,
    LIMIT_REQUESTS,
    LIMIT_SCRIPT_TIME,
    LIMIT_MAILBOX_PER_SENDER,
    LIMIT_MESSAGE_TIME,
    LIMIT_COSTLY,
    LIMIT_PINGS,
    LIMIT_PROXY_HEADER,
    LIMIT_CREDENTIALS,
    LIMIT_COUNT,
};

enum code limit_code(enum limit limit);   /* rate_limited where it is a matter of time, else overloaded */
const char *limit_name(enum limit limit); /* "connections", "connections_per_address" … */
void limit_count(enum limit limit);
uint64_t limit_counted(enum limit limit);

/* Main thread, before the reactors. False: no memory. */
bool limits_start(const struct config *config);
void limits_stop(void);

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
struct own_limits limits_of_identity(struct slice owner);
struct party *party_retain(struct party *party); /* another reference to it, for the caller */
void party_release(struct party *party);

/* --- Connections --- */

/* One more of the whole bridge, or of that party; LIMIT_NONE: taken, and to be dropped once. */
enum limit limits_take_connection(uint64_t now_ns);
void limits_drop_connection(void);

/* Gives back what the connection took of limits.handshakesPerSecond: it was refused for its address's sake, and one
 * address is not to use up what all may. */
void limits_return_handshake(void);
enum limit party_take_connection(struct party *party, uint64_t now_ns);
void party_drop_connection(struct party *party);

/* A connection that another process of this bridge had counted already: no limit is in its way. `whole`: among those of
 * the whole bridge; the party may be NULL. To be dropped as the others. */
void limits_restore_connection(bool whole, struct party *party);
/* A connection that is open already, and its agent, are that party's from now on: counted, but not refused. */
void party_join(struct party *party, bool with_agent);

/* Who is at the other end. */
enum peer_kind {
    PEER_DIRECT,
    PEER_PROXY,     /* one of limits.trustedProxies: who is behind it, its requests say */
    PEER_FORWARDED, /* a proxy's header has said who */
    PEER_ADMIN,     /* the administration socket: no limit is in its way */
};

/* An accepted connection and its place among the counted, until it is open. */
struct arrival {
    struct peer_address address;
    struct party *party; /* of the address, a reference, and one of its connections; NULL: it needs none */
    uint8_t kind;        /* enum peer_kind */
    bool counted;        /* by limits_take_connection */
};

/* It does not become a connection: gives its place up. */
void arrival_leave(struct arrival *arrival);

/* --- Agents --- */

/* `returns`: an agent of that id is connected, and is about to be replaced: it counts, but is not refused. */
enum limit limits_take_agent(struct party *sender, struct party *address, bool returns);
void limits_drop_agent(struct party *sender, struct party *address);

/* --- Messages --- */

/* Whether one message of that many bytes may pass: takes it from all buckets, or from none. */
extern atomic_bool limits_messages_bounded;
enum limit limits_take_message_bounded(struct party *sender, struct party *address, uint64_t bytes, uint64_t now_ns);
static inline enum limit limits_take_message(struct party *sender, struct party *address, uint64_t bytes,
                                             uint64_t now_ns)
{
    return __builtin_expect(!atomic_load_explicit(&limits_messages_bounded, memory_order_relaxed), 1)
               ? LIMIT_NONE
               : limits_take_message_bounded(sender, address, bytes, now_ns);
}

/* Whether time spent on its messages is counted, and nothing is left of it now. */
bool party_counts_time(const struct party *party);
bool party_out_of_time(const struct party *party, uint64_t now_ns);
void party_charge_time(struct party *party, uint64_t took_ns, uint64_t now_ns);

/* --- HTTP --- */

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
