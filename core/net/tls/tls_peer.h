/* Who the other side is, by its verified certificate: what identities are made of. */
#ifndef LUADUCT_NET_TLS_PEER_H
#define LUADUCT_NET_TLS_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/tls/tls_authorities.h"

struct mbedtls_x509_crt;

#define TLS_FINGERPRINT_BYTES 32

/* More names than this are not kept. */
#define TLS_PEER_NAMES 64

enum tls_name_kind { TLS_NAME_DNS, TLS_NAME_URI };

/* A subject alternative name (RFC 5280 4.2.1.6), without control characters. */
struct tls_name {
    enum tls_name_kind kind;
    struct slice text;
};

struct tls_peer {
    struct slice common_name;                         /* of the subject; empty: none, several, or not plain text */
    unsigned char fingerprint[TLS_FINGERPRINT_BYTES]; /* SHA-256 of the certificate */
    struct tls_issue issue;
    int64_t not_after_s; /* wall clock */
    size_t bytes;        /* of the block */
    unsigned name_count;
    struct tls_name names[];
};

/* A copy of what the certificate says, in one block. NULL: no memory. */
struct tls_peer *tls_peer_new(const struct mbedtls_x509_crt *certificate, const struct tls_issue *issue);
void tls_peer_free(struct tls_peer *peer);

#endif
