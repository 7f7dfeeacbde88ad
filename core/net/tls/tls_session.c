/* Receiving reads from the socket once, into the end of the caller's buffer, and lets the library take its records from
 * there: two reads for each record (its head, its body) would else cost more than the record. While hands are shaken
 * the library reads from the socket itself, exactly what it needs, so that nothing is left over when the connection
 * moves to a reactor.
 *
 * The library writes a record when it has encrypted it. What the socket does not take stays in its buffer, and the same
 * call again sends the rest; `in_flight` remembers how much content that is. */
#include "net/tls/tls_session.h"

#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/oid.h>
#include <mbedtls/platform.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_internal.h>
#include <mbedtls/x509_crt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "memory/pool.h"
#include "net/tls/tls_chain.h"
#include "net/transport.h"

/* A record that comes in pieces brings no content for so long, and alerts and refused renegotiations never do: a peer
 * that sends more of them only wants us to compute. */
#define IDLE_BYTES ((size_t)4 * TLS_RECORD_BYTES)

/* What a client has to send for a handshake fits: its hello and its certificates, each a record at most, and little
 * else. Some thousand alerts do too, which cost ten milliseconds. */
#define HANDSHAKE_BYTES ((size_t)3 * TLS_RECORD_BYTES)

struct tls_session {
    mbedtls_ssl_context ssl;
    struct tls_context *context;
    struct tls_peer *peer;
    const mbedtls_x509_crt *signer; /* within judge_certificate: of the next one */
    const unsigned char *ahead;     /* within tls_session_receive: what came from the socket and is not taken yet */
    size_t ahead_left;
    size_t idle_bytes; /* that came since the last content; before the first: for the handshake */
    int fd;
    int error;      /* the library's, of a handshake that failed */
    uint32_t flags; /* of the peer's certificate */
    struct tls_issue issue;
    uint16_t in_flight; /* content of the record that the socket has in part; 0: none */
    uint16_t record;    /* the most content of one record */
    bool receives;      /* the library gets its bytes from `ahead` */
    bool open, resumed; /* the handshake is done; it took up an earlier session */
    bool ended, broken; /* nothing more comes; nothing can be done any more */
    bool said_end;      /* close_notify is out */
    uint8_t failure;    /* enum tls_failure */
};

static _Thread_local bool noted_resumed;
static atomic_uint sessions;

unsigned tls_session_count(void)
{
    return atomic_load_explicit(&sessions, memory_order_relaxed);
}

void tls_session_note_resumed(void)
{
    noted_resumed = true;
}

/* --- What the library calls --- */

static int take_ahead(struct tls_session *session, unsigned char *buffer, size_t length)
{
    if (session->ahead_left == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (length > session->ahead_left)
        length = session->ahead_left;
    memcpy(buffer, session->ahead, length);
    session->ahead += length;
    session->ahead_left -= length;
    return (int)length;
}

static int take_bytes(void *context, unsigned char *buffer, size_t length)
{
    struct tls_session *session = context;
    if (session->receives)
        return take_ahead(session, buffer, length);
    if (session->idle_bytes >= HANDSHAKE_BYTES)
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    ssize_t n;
    do
        n = recv(session->fd, buffer, length, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        session->idle_bytes += (size_t)n;
    if (n >= 0)
        return (int)n; /* 0: the library says MBEDTLS_ERR_SSL_CONN_EOF */
    return errno == EAGAIN || errno == EWOULDBLOCK ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_NET_CONN_RESET;
}

static int give_bytes(void *context, const unsigned char *bytes, size_t length)
{
    const struct tls_session *session = context;
    ssize_t n;
    do
        n = send(session->fd, bytes, length, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return (int)n;
    return errno == EAGAIN || errno == EWOULDBLOCK ? MBEDTLS_ERR_SSL_WANT_WRITE : MBEDTLS_ERR_NET_CONN_RESET;
}

/* Where a certificate may be absent the library would go on with a bad one too: nobody is served as if he had shown
 * nothing when he showed something wrong. What the library looks at only afterwards is judged here as well. */
static int judge_certificate(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    struct tls_session *session = context;
    if (depth == 0 && session->signer)
        session->issue = tls_issue_of(certificate, session->signer);
    session->signer = depth == 1 ? certificate : NULL; /* the library goes down the chain */
    if (depth == 0 && mbedtls_x509_crt_check_extended_key_usage(certificate, MBEDTLS_OID_CLIENT_AUTH,
                                                                MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH)) != 0)
        *flags |= MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
    if (depth == 0 && mbedtls_x509_crt_check_key_usage(certificate, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0)
        *flags |= MBEDTLS_X509_BADCERT_KEY_USAGE;
    session->flags |= *flags;
    return *flags != 0 && !tls_context_requires_client(session->context) ? MBEDTLS_ERR_X509_FATAL_ERROR : 0;
}

/* --- Life --- */

struct tls_session *tls_session_new(struct tls_context *context, unsigned slot, int fd)
{
    struct tls_session *session = pool_acquire(POOL_ARRAYS, sizeof *session);
    if (!session)
        return NULL;
    memset(session, 0, sizeof *session);
    atomic_fetch_add_explicit(&sessions, 1, memory_order_relaxed);
    session->fd = fd;
    session->context = tls_context_retain(context);
    mbedtls_ssl_init(&session->ssl);
    if (mbedtls_ssl_setup(&session->ssl, tls_context_slot(context, slot)) != 0) {
        tls_session_free(session);
        return NULL;
    }
    mbedtls_ssl_set_bio(&session->ssl, session, give_bytes, take_bytes, NULL);
    if (tls_context_asks_client(context))
        mbedtls_ssl_set_verify(&session->ssl, judge_certificate, session);
    return session;
}

void tls_session_free(struct tls_session *session)
{
    if (!session)
        return;
    atomic_fetch_sub_explicit(&sessions, 1, memory_order_relaxed);
    mbedtls_ssl_free(&session->ssl);
    tls_peer_free(session->peer);
    tls_context_release(session->context);
    pool_release(POOL_ARRAYS, session, sizeof *session);
}

/* --- Shaking hands --- */

static enum tls_failure failure_of(int error)
{
    switch (error) {
    case MBEDTLS_ERR_SSL_CONN_EOF:
    case MBEDTLS_ERR_NET_CONN_RESET:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return TLS_FAILURE_CLOSED;
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return TLS_FAILURE_ALERT;
    case MBEDTLS_ERR_SSL_BAD_HS_PROTOCOL_VERSION:
        return TLS_FAILURE_VERSION;
    case MBEDTLS_ERR_SSL_NO_CIPHER_CHOSEN:
    case MBEDTLS_ERR_SSL_NO_USABLE_CIPHERSUITE:
        return TLS_FAILURE_CIPHER;
    case MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE:
    case MBEDTLS_ERR_SSL_PEER_VERIFY_FAILED:
    case MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE:
    case MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE_VERIFY:
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
    case MBEDTLS_ERR_X509_FATAL_ERROR:
        return TLS_FAILURE_CERTIFICATE;
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
    case MBEDTLS_ERR_X509_ALLOC_FAILED:
    case MBEDTLS_ERR_MPI_ALLOC_FAILED:
        return TLS_FAILURE_MEMORY;
    default:
        return TLS_FAILURE_PROTOCOL;
    }
}

static enum tls_step fail(struct tls_session *session, int error, enum tls_failure failure)
{
    /* The one failure that the library tells nobody of. */
    if (error == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE)
        mbedtls_ssl_send_alert_message(&session->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                       MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
    session->error = error;
    session->failure = (uint8_t)failure;
    session->broken = true;
    return TLS_STEP_FAILED;
}

/* What the peer showed, in our own short form; the library's parsed copy of it goes. */
static bool keep_peer(struct tls_session *session)
{
    mbedtls_ssl_session *own = session->ssl.session;
    if (!own->peer_cert)
        return !tls_context_requires_client(session->context);
    /* A session that is taken up again was verified when it began: since then the certificate may have run out. */
    session->flags |= own->verify_result;
    if (mbedtls_x509_time_is_past(&own->peer_cert->valid_to))
        session->flags |= MBEDTLS_X509_BADCERT_EXPIRED;
    if (session->flags != 0)
        return false;
    if (session->resumed) /* who signed it was not looked at again */
        session->issue = tls_context_issue(session->context, own->peer_cert);
    session->peer = tls_peer_new(own->peer_cert, &session->issue);
    if (!session->peer)
        return false;
    mbedtls_x509_crt_free(own->peer_cert);
    mbedtls_free(own->peer_cert);
    own->peer_cert = NULL;
    return true;
}

static enum tls_step finish(struct tls_session *session)
{
    int record = mbedtls_ssl_get_max_out_record_payload(&session->ssl);
    if (record <= 0)
        return fail(session, record, TLS_FAILURE_PROTOCOL);
    session->record = (uint16_t)((unsigned)record < TLS_RECORD_BYTES ? (unsigned)record : TLS_RECORD_BYTES);
    if (!keep_peer(session)) {
        mbedtls_ssl_send_alert_message(&session->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                       MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
        return fail(session, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED,
                    session->flags ? TLS_FAILURE_CERTIFICATE : TLS_FAILURE_MEMORY);
    }
    session->idle_bytes = 0;
    session->open = true;
    return TLS_STEP_DONE;
}

/* Reads the client's certificates ahead of the library, which then finds them as the current message. 0: go on. */
static int look_ahead(struct tls_session *session)
{
    mbedtls_ssl_context *ssl = &session->ssl;
    int result = mbedtls_ssl_flush_output(ssl);
    if (result == 0)
        result = mbedtls_ssl_read_record(ssl, 1);
    if (result != 0)
        return result;
    ssl->keep_current_message = 1;
    if (ssl->in_msgtype != MBEDTLS_SSL_MSG_HANDSHAKE || ssl->in_msg[0] != MBEDTLS_SSL_HS_CERTIFICATE)
        return 0; /* the library says what is wrong with it */
    size_t head = mbedtls_ssl_hs_hdr_len(ssl);
    result = tls_chain_check(ssl->in_msg + head, ssl->in_hslen - head);
    if (result == 0)
        return 0;
    if (result == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
        session->flags |= MBEDTLS_X509_BADCERT_BAD_KEY;
    mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
    return result;
}

static int shake_hands(struct tls_session *session)
{
    int result = 0;
    while (result == 0 && session->ssl.state != MBEDTLS_SSL_HANDSHAKE_OVER) {
        if (session->ssl.state == MBEDTLS_SSL_CLIENT_CERTIFICATE && tls_context_asks_client(session->context) &&
            !session->ssl.keep_current_message)
            result = look_ahead(session);
        if (result == 0)
            result = mbedtls_ssl_handshake_step(&session->ssl);
    }
    return result;
}

enum tls_step tls_session_handshake(struct tls_session *session)
{
    noted_resumed = false;
    int result = shake_hands(session);
    session->resumed |= noted_resumed;
    if (result == 0)
        return finish(session);
    if (result == MBEDTLS_ERR_SSL_WANT_READ)
        return TLS_STEP_WANTS_READ;
    if (result == MBEDTLS_ERR_SSL_WANT_WRITE)
        return TLS_STEP_WANTS_WRITE;
    return fail(session, result, failure_of(result));
}

enum tls_failure tls_session_failure(const struct tls_session *session)
{
    return (enum tls_failure)session->failure;
}

void tls_session_explain(const struct tls_session *session, char *out, size_t size)
{
    if (size == 0)
        return;
    if (session->failure == TLS_FAILURE_CERTIFICATE && session->flags != 0)
        mbedtls_x509_crt_verify_info(out, size, "", session->flags);
    else if (session->failure == TLS_FAILURE_ALERT && session->ssl.in_msg)
        snprintf(out, size, "the peer sent alert %u (RFC 5246 7.2)", session->ssl.in_msg[1]);
    else
        mbedtls_strerror(session->error, out, size);
    out[size - 1] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

bool tls_session_resumed(const struct tls_session *session)
{
    return session->resumed;
}

const struct tls_peer *tls_session_peer(const struct tls_session *session)
{
    return session->peer;
}

bool tls_session_stands(const struct tls_session *session, const struct tls_context *now)
{
    return !session->peer || tls_context_vouches(now, session->context, &session->peer->issue);
}

/* --- Receiving --- */

/* After a close_notify only the socket's end may follow. Shutting it for reading makes epoll tell of it for as long as
 * nobody has taken note. */
static void note_end(struct tls_session *session, int result)
{
    if (result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        session->ended = true;
        shutdown(session->fd, SHUT_RD);
    } else {
        session->broken = true;
        shutdown(session->fd, SHUT_RD);
    }
}

/* Decrypts what was read; gives the bytes of content. */
static size_t decrypt(struct tls_session *session, char *out, size_t size)
{
    size_t length = 0;
    while (length < size) {
        int n = mbedtls_ssl_read(&session->ssl, (unsigned char *)out + length, size - length);
        if (n > 0) {
            length += (size_t)n;
            continue;
        }
        /* WANT_WRITE: it wants to refuse a renegotiation, to a peer that reads nothing. */
        if (n != MBEDTLS_ERR_SSL_WANT_READ || session->ahead_left > 0)
            note_end(session, n);
        break;
    }
    return length;
}

long tls_session_receive(struct tls_session *session, char *buffer, size_t size)
{
    if (session->broken || size < TLS_RECEIVE_LEAST)
        return TRANSPORT_BROKEN;
    if (session->ended)
        return 0;
    /* What is read means no more than it is long, and the rest of a record that came before. */
    size_t most = (size - TLS_RECORD_BYTES) / 2;
    char *from = buffer + size - most;
    ssize_t n;
    do
        n = recv(session->fd, from, most, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? TRANSPORT_BLOCKED : TRANSPORT_BROKEN;
    if (n == 0) /* without a close_notify: what was sent may have been cut off by anybody */
        return TRANSPORT_BROKEN;
    session->receives = true;
    session->ahead = (const unsigned char *)from;
    session->ahead_left = (size_t)n;
    size_t length = decrypt(session, buffer, size - most);
    session->ahead = NULL;
    session->ahead_left = 0;
    session->idle_bytes = length > 0 ? 0 : session->idle_bytes + (size_t)n;
    if (length > 0)
        return (long)length;
    if (session->idle_bytes > IDLE_BYTES)
        session->broken = true;
    return session->broken ? TRANSPORT_BROKEN : session->ended ? 0 : TRANSPORT_BLOCKED;
}

/* --- Sending --- */

static long write_record(struct tls_session *session, const char *data, size_t length)
{
    int n = mbedtls_ssl_write(&session->ssl, (const unsigned char *)data, length);
    if (n > 0) {
        session->in_flight = 0;
        return n;
    }
    if (n != MBEDTLS_ERR_SSL_WANT_WRITE) {
        session->broken = true;
        return TRANSPORT_BROKEN;
    }
    session->in_flight = (uint16_t)length;
    return TRANSPORT_BLOCKED;
}

long tls_session_send(struct tls_session *session, const char *data, size_t length)
{
    size_t sent = 0;
    if (session->broken)
        return TRANSPORT_BROKEN;
    while (sent < length) {
        size_t left = length - sent;
        size_t content = session->in_flight ? session->in_flight : left < session->record ? left : session->record;
        long n = write_record(session, data + sent, content);
        if (n < 0)
            return sent > 0 && n == TRANSPORT_BLOCKED ? (long)sent : n;
        sent += (size_t)n;
    }
    return (long)sent;
}

long tls_session_send_rest(struct tls_session *session)
{
    static const char nothing[1]; /* the library looks at the length alone: the record is made */
    if (session->broken)
        return TRANSPORT_BROKEN;
    return session->in_flight ? write_record(session, nothing, session->in_flight) : 0;
}

bool tls_session_in_flight(const struct tls_session *session)
{
    return session->in_flight > 0;
}

size_t tls_session_record_bytes(const struct tls_session *session)
{
    return session->record;
}

void tls_session_end_sending(struct tls_session *session)
{
    if (session->broken || !session->open || session->in_flight || session->said_end)
        return;
    session->said_end = true;
    mbedtls_ssl_close_notify(&session->ssl);
}
