/* One TLS connection, the server's side, on a non-blocking socket that belongs to somebody else. It begins on a thread
 * that shakes hands and goes on, when that is done, on a reactor's; one thread at a time.
 *
 *   shaking hands ──► open ──► ended (the peer said that it sends no more) or broken
 *
 * While hands are shaken the library (mbedtls 2.28) takes 37 KB for each: two buffers of a record. Then its part is
 * done, and what goes to and fro is sealed and opened here (tls_record.h): buffers only for what is under way. */
#ifndef LUADUCT_NET_TLS_SESSION_H
#define LUADUCT_NET_TLS_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "net/tls/tls_context.h"
#include "net/tls/tls_peer.h"
#include "net/tls/tls_record.h"

struct mbedtls_ssl_config;
struct tls_session;

/* What a receive needs beside twice the bytes that it takes from the socket: see tls_session_receive. */
#define TLS_RECEIVE_LEAST ((size_t)4 * TLS_RECORD_BYTES)

enum tls_step { TLS_STEP_DONE, TLS_STEP_WANTS_READ, TLS_STEP_WANTS_WRITE, TLS_STEP_FAILED };

/* Why a handshake failed. */
enum tls_failure {
    TLS_FAILURE_NONE,
    TLS_FAILURE_CLOSED,      /* the peer went away */
    TLS_FAILURE_ALERT,       /* the peer gave up, for instance because it does not trust our certificate */
    TLS_FAILURE_VERSION,     /* the peer speaks nothing as new as TLS 1.2 */
    TLS_FAILURE_CIPHER,      /* no cipher suite, curve or signature that both have */
    TLS_FAILURE_CERTIFICATE, /* the peer's certificate is absent or not good enough */
    TLS_FAILURE_MEMORY,
    TLS_FAILURE_PROTOCOL, /* anything else that is not TLS as we speak it */
    TLS_FAILURE_COUNT,
};

/* Takes a reference of the context, not the socket. Only one thread may use a slot. NULL: no memory. */
struct tls_session *tls_session_new(struct tls_context *context, unsigned slot, int fd);

/* Goes on with the handshake as far as the socket allows. After TLS_STEP_FAILED the session can only be freed. */
enum tls_step tls_session_handshake(struct tls_session *session);
enum tls_failure tls_session_failure(const struct tls_session *session);

/* In words, for the log: "the certificate has been revoked". At most `size` bytes with the NUL. */
void tls_session_explain(const struct tls_session *session, char *out, size_t size);

/* Whether the peer took up an earlier session; once done. */
bool tls_session_resumed(const struct tls_session *session);

/* What the peer's certificate says, verified; NULL: it showed none. Lives with the session. */
const struct tls_peer *tls_session_peer(const struct tls_session *session);

/* Whether a client with that certificate, or with none, would still be let in by these authorities and revocation lists
 * (tls_context_vouches); `now` may be NULL. */
bool tls_session_stands(const struct tls_session *session, const struct tls_context *now);

/* Decrypted bytes, 0 at the peer's end, TRANSPORT_BLOCKED or TRANSPORT_BROKEN. `size` is at least TLS_RECEIVE_LEAST:
 * the end of the buffer takes what comes from the socket, its beginning what it means. Whatever was read from the
 * socket is given, but for the beginning of a record: so epoll tells of everything that is left. */
long tls_session_receive(struct tls_session *session, char *buffer, size_t size);

/* Seals and sends. Gives the bytes whose records the kernel has whole; a record that it took in part is *in flight*:
 * its bytes do not count yet, and nothing else can be sent before tls_session_send is called again with the same bytes
 * (or more of the same), or tls_session_send_rest. */
long tls_session_send(struct tls_session *session, const char *data, size_t length);

/* Goes on with the record in flight: its length in bytes of content once the kernel has it, or one of transport.h's
 * answers. 0: none is in flight. */
long tls_session_send_rest(struct tls_session *session);
bool tls_session_in_flight(const struct tls_session *session);

/* The most content for one record to this peer. */
size_t tls_session_record_bytes(const struct tls_session *session);

/* Says that we send no more (close_notify), if the socket takes it. */
void tls_session_end_sending(struct tls_session *session);

/* NULL is fine. */
void tls_session_free(struct tls_session *session);

/* How many there are in the process, those that shake hands included. Any thread. */
unsigned tls_session_count(void);

/* For tls_context.c: its sessions give their keys to this module. */
void tls_session_take_keys(struct mbedtls_ssl_config *config);

#endif
