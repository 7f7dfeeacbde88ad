/* IP addresses and ranges of them, IPv4 mapped into IPv6 (RFC 4291 2.5.5.2), so that there is one kind. */
#ifndef LUADUCT_NET_ADDRESS_H
#define LUADUCT_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/slice.h"

struct address {
    unsigned char bytes[16];
};

struct address_range {
    struct address first;
    unsigned char bits; /* that count; 96 more than IPv4 says */
};

struct address_ranges {
    struct address_range *items;
    size_t count;
};

/* All zero for what is no IP address. */
struct address address_of(const struct sockaddr_storage *from);

/* "192.0.2.1", "2001:db8::1", and with `suffixes` as proxies write it: "192.0.2.1:4711", "[2001:db8::1]",
 * "[2001:db8::1]:4711". No zone, nothing around it. */
bool address_parse(struct slice text, bool suffixes, struct address *out);

/* An address, or "192.0.2.0/24", "2001:db8::/32" (RFC 4632 3.1, RFC 4291 2.3). Bits past the length must be 0. */
bool address_range_parse(struct slice text, struct address_range *out);

bool address_in_any(const struct address *address, const struct address_ranges *ranges);

#endif
