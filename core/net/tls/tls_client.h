/* TLS 1.2 as a client (RFC 5246), over mbedtls: what to trust and to show, read once, and any number of connections
 * with it. The server's certificate has to lead to a trusted authority and to be for the host that was asked for, a
 * name or an IP address (RFC 6125; RFC 9110 4.3.5); only ECDHE with AEAD ciphers is offered, and HTTP/1.1 by ALPN.
 * Nothing blocks but the reading of files. One thread for a client and its streams. */
#ifndef LUADUCT_NET_TLS_TLS_CLIENT_H
#define LUADUCT_NET_TLS_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls_client_options {
    const char *ca;         /* PEM file of the authorities to trust; NULL: the system's, see TLS_SYSTEM_STORE */
    const char *cert, *key; /* PEM files, shown where a server asks for them; NULL: none */
    bool insecure;          /* any certificate will do: the connection is then open to whoever is in between */
};

/* Where authorities stand that all programs trust; the environment's SSL_CERT_FILE wins, as it does for OpenSSL. */
#define TLS_SYSTEM_STORE "/etc/ssl/certs/ca-certificates.crt"

#define TLS_ERROR_SIZE 256

struct tls_client;

/* NULL: `error` says in a line which file is wrong, and how. */
struct tls_client *tls_client_new(const struct tls_client_options *options, char error[TLS_ERROR_SIZE]);

void tls_client_free(struct tls_client *client); /* after its streams; wipes the key; NULL is fine */

struct tls_stream; /* one connection: about 40 KiB */

/* A TLS connection over a connected, non-blocking socket, which stays the caller's. `host` is whom the certificate has
 * to be for: a name, or an IP address without brackets. NULL: out of memory. */
struct tls_stream *tls_stream_new(struct tls_client *client, const char *host, int descriptor);

/* Each goes on with the handshake first, as far as it gets, and gives a negative errno when the connection has failed:
 * -EPROTO, with tls_problem() saying why, where TLS itself is the reason. */

/* 1: the handshake is over. 0: not yet; wait for the socket (tls_stream_wants_write says for what). */
int tls_stream_handshake(struct tls_stream *stream);

/* How many bytes were taken; 0: none now. After that the next call must begin with the same bytes. */
ssize_t tls_stream_write(struct tls_stream *stream, const void *data, size_t length);

#define TLS_RECORD_MAXIMUM 16384 /* bytes of data in a record, RFC 5246 6.2.1 */

/* How many bytes came; 0: none now. With less room than a record's there may be more, of which the socket knows
 * nothing. -ECONNRESET: the server has said that it is done. */
ssize_t tls_stream_read(struct tls_stream *stream, void *data, size_t capacity);

/* Whether it cannot go on before the socket is writable. Else it waits for bytes to read, or for the caller. */
bool tls_stream_wants_write(const struct tls_stream *stream);

/* Says goodbye, if the socket takes it at once. NULL is fine. */
void tls_stream_free(struct tls_stream *stream);

/* Why a stream of this thread failed last. */
const char *tls_problem(void);

#endif
