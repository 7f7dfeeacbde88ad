/* The PROXY protocol, versions 1 and 2 (HAProxy, "The PROXY protocol", 2.1 and 2.2): a header before the first byte of
 * a connection (so before a TLS handshake), in which a proxy says whom it speaks for. A function over the bytes that
 * have come so far; knows no socket. */
#ifndef LUADUCT_PROTOCOL_PROXY_HEADER_H
#define LUADUCT_PROTOCOL_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "net/address.h"

/* A longer one is refused. A v1 line has 107 bytes at most; v2 with all addresses has 232 and may carry extensions
 * (TLVs, 2.2.2), of which proxies send a certificate's names at most. */
#define PROXY_HEADER_MOST 2048u

enum proxy_step {
    PROXY_NEED_BYTES, /* more have to come; never said of PROXY_HEADER_MOST bytes */
    PROXY_DONE,
    PROXY_FAIL, /* no PROXY header: close, what follows cannot be trusted */
};

struct proxy_header {
    size_t length; /* bytes of the header: what follows them is the connection's */
    bool local;    /* the proxy speaks for itself: a health check */
    bool known;    /* it speaks for the peer of this address; else (UNKNOWN, no IP) it does not say whose */
    struct address source;
};

enum proxy_step proxy_header_parse(struct slice bytes, struct proxy_header *out);

#endif
