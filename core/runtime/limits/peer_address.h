/* Whom an address stands for: who owns an IPv6 network has all addresses of it. */
#ifndef LUADUCT_RUNTIME_LIMITS_PEER_ADDRESS_H
#define LUADUCT_RUNTIME_LIMITS_PEER_ADDRESS_H

#include <netinet/in.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/address.h"

/* An address as limits see it: IPv4 mapped into IPv6, IPv6 by its /64 (loopback whole). */
struct peer_address {
    unsigned char bytes[16];
};

/* The address as limits see it. */
struct peer_address peer_address_of(const struct address *address);

/* An IPv4 address, or the /64 of an IPv6 one, in `out`. */
struct slice peer_address_text(const struct peer_address *address, char out[INET6_ADDRSTRLEN]);

/* By which tables know it: its bytes, and their hash. */
static inline struct slice peer_address_key(const struct peer_address *address)
{
    return slice_from((const char *)address->bytes, sizeof address->bytes);
}
uint64_t peer_address_hash(const struct peer_address *address);

#endif
