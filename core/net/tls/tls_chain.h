/* What a client may send as its certificate, looked at before any of it is verified: the library tries every
 * certificate of a chain that has the right name as the signer of every other, and each try is a computation with a key
 * that the client chose. */
#ifndef LUADUCT_NET_TLS_CHAIN_H
#define LUADUCT_NET_TLS_CHAIN_H

#include <stddef.h>

/* The leaf, and what leads from it to an authority. */
#define TLS_CHAIN_CERTIFICATES 5

/* The largest keys in it: their signatures cost some milliseconds at most. */
#define TLS_CHAIN_RSA_BITS 4096
#define TLS_CHAIN_RSA_EXPONENT_BITS 32
#define TLS_CHAIN_CURVE_BITS 384

/* A Certificate message (RFC 5246 7.4.2) without its head of four bytes. 0, or one of the library's errors:
 * MBEDTLS_ERR_X509_CERT_VERIFY_FAILED where it is more or larger than this. */
int tls_chain_check(const unsigned char *message, size_t length);

#endif
