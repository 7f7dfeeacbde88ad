/* What a server needs for TLS: certificates with their keys, who signs client certificates, cipher suites, tickets. A
 * context is made from files as a whole, never changes afterwards, and is shared by counted reference; each session
 * holds one, so that another context can take over without touching open connections.
 *
 * The library (mbedtls 2.28) keeps tables beside keys while it computes, so two threads must not use one key at the
 * same time: a context has several slots, each with parsed copies of everything, and each thread that shakes hands uses
 * one slot. Tickets and the session cache are shared, with the library's own locks. */
#ifndef LUADUCT_NET_TLS_CONTEXT_H
#define LUADUCT_NET_TLS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/tls/tls_authorities.h"

struct mbedtls_ssl_config;
struct tls_context;

/* A certificate chain (leaf first) and its private key, both files in PEM. */
struct tls_pair {
    const char *certificate, *key;
    const char *const *names; /* server names that it is for; none: those in the certificate */
    size_t name_count;
    const char *label; /* how messages call it: "tls." or "tls.certs[2]." */
};

struct tls_options {
    const struct tls_pair *pairs; /* at least one; the first is for clients that ask for no name, or an unknown one */
    size_t pair_count;
    const char *client_ca; /* a file of certificates in PEM; NULL: clients show none */
    bool require_client_certificate;
    const char *crl;            /* a file of revocation lists in PEM; NULL: none */
    const char *const *ciphers; /* names as tls_cipher.h has them, best first; none: all of them */
    size_t cipher_count;
    unsigned slots; /* at least one */
};

/* Reads and checks everything. NULL: *error says in one line which key is wrong and why. Reads files: not on a reactor.
 */
struct tls_context *tls_context_load(const struct tls_options *options, char *error, size_t size);

/* Any thread. The last release frees it. */
struct tls_context *tls_context_retain(struct tls_context *context);
void tls_context_release(struct tls_context *context);

/* Whether both were made from the same contents and options. */
bool tls_context_equal(const struct tls_context *a, const struct tls_context *b);

/* The library's configuration for one slot. */
const struct mbedtls_ssl_config *tls_context_slot(const struct tls_context *context, unsigned slot);

/* Whether a client certificate is asked for, and whether it may be absent. */
bool tls_context_asks_client(const struct tls_context *context);
bool tls_context_requires_client(const struct tls_context *context);

/* Who signed the certificate, among the client authorities, by name alone: where several have that name, or none, all
 * zero. */
struct tls_issue tls_context_issue(const struct tls_context *context, const struct mbedtls_x509_crt *certificate);

/* Whether a client that was let in by `before` still would be, by what is known of its certificate: its authority and
 * its serial number. With the same authorities and lists it is. `now` may be NULL: nobody is. Any thread. */
bool tls_context_vouches(const struct tls_context *now, const struct tls_context *before,
                         const struct tls_issue *issue);

/* For figures: what runs out some day. Each certificate of our own; of the authorities and of the revocation lists the
 * one that does first. */
struct tls_certificate_view {
    char key[32];        /* of the configuration: "tls.cert", "tls.certs[2].cert", "tls.clientCa", "tls.crl" */
    char name[256];      /* its first name */
    int64_t not_after_s; /* wall clock */
};
size_t tls_context_certificate_count(const struct tls_context *context);
void tls_context_certificate(const struct tls_context *context, size_t index, struct tls_certificate_view *out);

#endif
