/* Whom client authorities and their revocation lists stand for, in a form that is quick to ask: a connection that
 * outlives a change of either is held against the new ones on its reactor, where verifying its certificate again would
 * take too long. */
#ifndef LUADUCT_NET_TLS_AUTHORITIES_H
#define LUADUCT_NET_TLS_AUTHORITIES_H

#include <stdbool.h>

struct mbedtls_x509_crl;
struct mbedtls_x509_crt;
struct tls_authorities;

#define TLS_ISSUE_BYTES 32

/* Who signed a certificate, and its number there; SHA-256 of each. All zero: not known. */
struct tls_issue {
    unsigned char authority[TLS_ISSUE_BYTES]; /* of its name and key: stays when its own certificate is renewed */
    unsigned char serial[TLS_ISSUE_BYTES];    /* of that and the serial number */
};

/* That `authority` signed `certificate` is for the caller to know. */
struct tls_issue tls_issue_of(const struct mbedtls_x509_crt *certificate, const struct mbedtls_x509_crt *authority);

/* Both are lists; `revoked` may be NULL. The result holds nothing of them. NULL: no memory. */
struct tls_authorities *tls_authorities_new(const struct mbedtls_x509_crt *authorities,
                                            const struct mbedtls_x509_crl *revoked);
void tls_authorities_free(struct tls_authorities *authorities); /* NULL is fine */

/* Whether one of them signed it and its list does not have it. What an intermediate authority signed, which clients
 * send along, is not known here. Any thread. */
bool tls_authorities_vouch(const struct tls_authorities *authorities, const struct tls_issue *issue);

#endif
