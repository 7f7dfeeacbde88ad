/* Limits that hold across reactors and reconnects: of the whole bridge, of one address, of one sender (its identity, or
 * without one its clientId). Any thread, unless said otherwise. */
#ifndef LUADUCT_RUNTIME_LIMITS_LIMITS_H
#define LUADUCT_RUNTIME_LIMITS_LIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/config/config.h"
#include "runtime/limits/limit.h"
#include "runtime/limits/party.h"
#include "runtime/limits/peer_address.h"

/* Main thread, before the reactors. False: no memory. */
bool limits_start(const struct config *config);
void limits_stop(void);

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

#endif
