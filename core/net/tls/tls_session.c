/* While hands are shaken the library reads from the socket itself, exactly what it needs, so that nothing is left over
 * when the connection moves to a reactor. It gives its keys to take_keys, and the numbers of the next records stand in
 * its context: with them the record layer goes on.
 *
 * Receiving reads from the socket once, into the end of the caller's buffer, and opens from there to its beginning. Of
 * a record that has not come whole a copy is kept. So is what the socket does not take of a record: `in_flight`
 * remembers how much content that is. */
#include "net/tls/tls_session.h"

#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/oid.h>
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_internal.h>
#include <mbedtls/x509_crt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "memory/admission.h"
#include "memory/pool.h"
#include "net/tls/tls_chain.h"
#include "net/tls/tls_flight.h"
#include "net/transport.h"

/* Records without content that may follow one another, and renegotiations that are refused in all: a peer that sends
 * more of them only wants us to compute. */
#define IDLE_RECORDS 32u
#define RENEGOTIATIONS 16u

/* What a client has to send for a handshake fits: its hello and its certificates, each a record at most, and little
 * else. Some thousand alerts do too, which cost ten milliseconds. */
#define HANDSHAKE_BYTES ((size_t)3 * TLS_RECORD_BYTES)

/* What is needed until hands are shaken. */
struct shake {
    mbedtls_ssl_context ssl;
    const mbedtls_x509_crt *signer; /* within judge_certificate: of the next one */
    size_t bytes;                   /* that came */
    int error;                      /* the library's, of a handshake that failed */
    struct tls_flight flight;       /* what the library says, until it listens or is done */
    /* Of the key block (RFC 5246 6.3): the client's key, ours, the client's part of the nonce, ours. */
    unsigned char keys[2 * TLS_KEY_BYTES + 2 * TLS_NONCE_BYTES];
    size_t key_bytes, nonce_bytes;
};

/* A record, or the beginning of one, in a block of its length. */
struct held_record {
    unsigned char *bytes;
    uint16_t length, at; /* of the block; up to where it came, or went out */
};

struct tls_session {
    struct tls_record_state opens, seals; /* once open */
    struct held_record came, rest;        /* one that is not whole yet; one that the socket has in part */
    struct shake *shake;                  /* NULL once open */
    struct tls_context *context;
    struct tls_peer *peer;
    int fd;
    uint32_t flags; /* of the peer's certificate */
    struct tls_issue issue;
    unsigned char head[TLS_RECORD_HEAD]; /* of a record whose length has not come; came.at says how much of it has */
    uint16_t in_flight;                  /* content of `rest`; 0: none, or nothing that counts */
    uint16_t record;                     /* the most content of one record */
    bool open, resumed;                  /* the handshake is done; then: it took up an earlier session */
    bool ended, broken;                  /* nothing more comes; nothing can be done any more */
    bool said_end;                       /* close_notify is out */
    uint8_t failure;                     /* enum tls_failure */
    uint8_t idle_records;                /* since the last content */
    uint8_t renegotiations;              /* that were refused */
};

/* The handshake that this thread works on. */
static _Thread_local struct shake *in_hand;
static atomic_uint sessions;

unsigned tls_session_count(void)
{
    return atomic_load_explicit(&sessions, memory_order_relaxed);
}

/* --- What the library calls --- */

static int take_keys(void *unused, const unsigned char *secret, const unsigned char *block, size_t mac_length,
                     size_t key_length, size_t nonce_length)
{
    struct shake *shake = in_hand;
    size_t length = 2 * key_length + 2 * nonce_length;
    (void)unused, (void)secret;
    if (mac_length != 0 || length > sizeof shake->keys)
        return MBEDTLS_ERR_SSL_BAD_CONFIG;
    memcpy(shake->keys, block, length);
    shake->key_bytes = key_length;
    shake->nonce_bytes = nonce_length;
    return 0;
}

void tls_session_take_keys(struct mbedtls_ssl_config *config)
{
    mbedtls_ssl_conf_export_keys_cb(config, take_keys, NULL);
}

static int take_bytes(void *context, unsigned char *buffer, size_t length)
{
    struct tls_session *session = context;
    if (session->shake->bytes >= HANDSHAKE_BYTES)
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    int result = tls_flight_send(&session->shake->flight, session->fd);
    if (result != 0)
        return result;
    ssize_t n;
    do
        n = recv(session->fd, buffer, length, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        session->shake->bytes += (size_t)n;
    if (n >= 0)
        return (int)n; /* 0: the library says MBEDTLS_ERR_SSL_CONN_EOF */
    return errno == EAGAIN || errno == EWOULDBLOCK ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_NET_CONN_RESET;
}

static int give_bytes(void *context, const unsigned char *bytes, size_t length)
{
    const struct tls_session *session = context;
    struct tls_flight *flight = &session->shake->flight;
    size_t taken = tls_flight_add(flight, bytes, length);
    if (taken > 0)
        return (int)taken;
    int result = tls_flight_send(flight, session->fd);
    return result == 0 ? (int)tls_flight_add(flight, bytes, length) : result;
}

/* Where a certificate may be absent the library would go on with a bad one too: nobody is served as if he had shown
 * nothing when he showed something wrong. What the library looks at only afterwards is judged here as well. */
static int judge_certificate(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    struct tls_session *session = context;
    struct shake *shake = session->shake;
    if (depth == 0 && shake->signer)
        session->issue = tls_issue_of(certificate, shake->signer);
    shake->signer = depth == 1 ? certificate : NULL; /* the library goes down the chain */
    if (depth == 0 && mbedtls_x509_crt_check_extended_key_usage(certificate, MBEDTLS_OID_CLIENT_AUTH,
                                                                MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH)) != 0)
        *flags |= MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
    if (depth == 0 && mbedtls_x509_crt_check_key_usage(certificate, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0)
        *flags |= MBEDTLS_X509_BADCERT_KEY_USAGE;
    session->flags |= *flags;
    return *flags != 0 && !tls_context_requires_client(session->context) ? MBEDTLS_ERR_X509_FATAL_ERROR : 0;
}

/* --- Life --- */

static void end_shake(struct tls_session *session)
{
    struct shake *shake = session->shake;
    if (!shake)
        return;
    session->shake = NULL;
    mbedtls_ssl_free(&shake->ssl);
    mbedtls_platform_zeroize(shake->keys, sizeof shake->keys);
    pool_release(POOL_ARRAYS, shake, sizeof *shake);
}

struct tls_session *tls_session_new(struct tls_context *context, unsigned slot, int fd)
{
    struct tls_session *session = pool_acquire(POOL_ARRAYS, sizeof *session);
    if (!session)
        return NULL;
    memset(session, 0, sizeof *session);
    atomic_fetch_add_explicit(&sessions, 1, memory_order_relaxed);
    session->fd = fd;
    session->resumed = true; /* until it turns out otherwise */
    session->context = tls_context_retain(context);
    struct shake *shake = session->shake = pool_acquire(POOL_ARRAYS, sizeof *session->shake);
    if (shake) {
        memset(shake, 0, sizeof *shake);
        mbedtls_ssl_init(&shake->ssl);
    }
    if (!shake || mbedtls_ssl_setup(&shake->ssl, tls_context_slot(context, slot)) != 0) {
        tls_session_free(session);
        return NULL;
    }
    mbedtls_ssl_set_bio(&shake->ssl, session, give_bytes, take_bytes, NULL);
    if (tls_context_asks_client(context))
        mbedtls_ssl_set_verify(&shake->ssl, judge_certificate, session);
    return session;
}

static void drop_record(struct held_record *held)
{
    if (held->bytes)
        pool_release(POOL_BUFFERS, held->bytes, held->length);
    *held = (struct held_record){0};
}

void tls_session_free(struct tls_session *session)
{
    if (!session)
        return;
    atomic_fetch_sub_explicit(&sessions, 1, memory_order_relaxed);
    end_shake(session);
    drop_record(&session->came);
    drop_record(&session->rest);
    tls_record_end(&session->opens);
    tls_record_end(&session->seals);
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
        mbedtls_ssl_send_alert_message(&session->shake->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                       MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
    tls_flight_send(&session->shake->flight, session->fd); /* an alert, as far as the socket takes it */
    session->shake->error = error;
    session->failure = (uint8_t)failure;
    session->broken = true;
    return TLS_STEP_FAILED;
}

/* What the peer showed, in our own short form; the library's parsed copy of it goes. */
static bool keep_peer(struct tls_session *session)
{
    mbedtls_ssl_session *own = session->shake->ssl.session;
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

static uint64_t number_in(const unsigned char bytes[8])
{
    uint64_t number = 0;
    for (unsigned i = 0; i < 8; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* The library's last record was a Finished message each way; the record layer goes on behind it. */
static bool take_over(struct tls_session *session)
{
    struct shake *shake = session->shake;
    const mbedtls_ssl_context *ssl = &shake->ssl;
    const struct tls_cipher *cipher = tls_cipher_numbered(ssl->session->ciphersuite);
    /* Ours is the one behind the Finished message, the client's too but for warnings: a library laid out otherwise than
     * its headers say is found out before a number is used twice. */
    uint64_t opens = number_in(ssl->in_ctr), seals = number_in(ssl->cur_out_ctr);
    if (seals != 1 || opens < 1 || opens > 64)
        return false;
    if (!cipher || shake->key_bytes != tls_key_bytes(cipher->aead) ||
        shake->nonce_bytes != tls_nonce_bytes(cipher->aead))
        return false;
    const unsigned char *client_key = shake->keys, *our_key = client_key + shake->key_bytes;
    const unsigned char *client_nonce = our_key + shake->key_bytes, *our_nonce = client_nonce + shake->nonce_bytes;
    return tls_record_begin(&session->opens, cipher->aead, TLS_OPENS, client_key, client_nonce, opens) &&
           tls_record_begin(&session->seals, cipher->aead, TLS_SEALS, our_key, our_nonce, number_in(ssl->cur_out_ctr));
}

static enum tls_step finish(struct tls_session *session)
{
    mbedtls_ssl_context *ssl = &session->shake->ssl;
    int record = mbedtls_ssl_get_max_out_record_payload(ssl);
    if (record <= 0)
        return fail(session, record, TLS_FAILURE_PROTOCOL);
    session->record = (uint16_t)((unsigned)record < TLS_RECORD_BYTES ? (unsigned)record : TLS_RECORD_BYTES);
    if (!keep_peer(session)) {
        mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
        return fail(session, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED,
                    session->flags ? TLS_FAILURE_CERTIFICATE : TLS_FAILURE_MEMORY);
    }
    if (mbedtls_ssl_check_pending(ssl)) { /* more in the record of the Finished message than that */
        mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE);
        return fail(session, MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, TLS_FAILURE_PROTOCOL);
    }
    /* From here on the library seals nothing: its next number is ours. */
    if (!take_over(session))
        return fail(session, MBEDTLS_ERR_SSL_ALLOC_FAILED, TLS_FAILURE_MEMORY);
    end_shake(session);
    session->open = true;
    return TLS_STEP_DONE;
}

/* Reads the client's certificates ahead of the library, which then finds them as the current message. 0: go on. */
static int look_ahead(struct tls_session *session)
{
    mbedtls_ssl_context *ssl = &session->shake->ssl;
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
    mbedtls_ssl_context *ssl = &session->shake->ssl;
    int result = 0;
    while (result == 0 && ssl->state != MBEDTLS_SSL_HANDSHAKE_OVER) {
        /* Only a whole handshake comes here (RFC 5246 7.3). A session that was found need not be one that fits: its
         * suite may not be on offer any more. */
        if (ssl->state == MBEDTLS_SSL_SERVER_CERTIFICATE)
            session->resumed = false;
        if (ssl->state == MBEDTLS_SSL_CLIENT_CERTIFICATE && tls_context_asks_client(session->context) &&
            !ssl->keep_current_message)
            result = look_ahead(session);
        /* Now it computes for more than half of the handshake: the client looks at our certificates meanwhile. */
        if (ssl->state == MBEDTLS_SSL_SERVER_KEY_EXCHANGE)
            result = tls_flight_send(&session->shake->flight, session->fd);
        if (result == 0)
            result = mbedtls_ssl_handshake_step(ssl);
    }
    return result == 0 ? tls_flight_send(&session->shake->flight, session->fd) : result;
}

enum tls_step tls_session_handshake(struct tls_session *session)
{
    in_hand = session->shake;
    int result = shake_hands(session);
    in_hand = NULL;
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
    const struct shake *shake = session->shake;
    if (size == 0)
        return;
    if (session->failure == TLS_FAILURE_CERTIFICATE && session->flags != 0)
        mbedtls_x509_crt_verify_info(out, size, "", session->flags);
    else if (session->failure == TLS_FAILURE_ALERT && shake->ssl.in_msg)
        snprintf(out, size, "the peer sent alert %u (RFC 5246 7.2)", shake->ssl.in_msg[1]);
    else
        mbedtls_strerror(shake ? shake->error : 0, out, size);
    out[size - 1] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

bool tls_session_resumed(const struct tls_session *session)
{
    return session->open && session->resumed;
}

const struct tls_peer *tls_session_peer(const struct tls_session *session)
{
    return session->peer;
}

bool tls_session_stands(const struct tls_session *session, const struct tls_context *now)
{
    return !session->peer || tls_context_vouches(now, session->context, &session->peer->issue);
}

/* --- Sending --- */

/* Of a record that is sealed. The rest of one that the socket took in part is kept. */
static long send_sealed(struct tls_session *session, const unsigned char *record, size_t length)
{
    ssize_t n;
    do
        n = send(session->fd, record, length, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return TRANSPORT_BROKEN;
    size_t sent = n > 0 ? (size_t)n : 0;
    if (sent == length)
        return (long)length;
    struct held_record rest = {pool_acquire(POOL_BUFFERS, length - sent), (uint16_t)(length - sent), 0};
    if (!rest.bytes)
        return TRANSPORT_BROKEN;
    memcpy(rest.bytes, record + sent, length - sent);
    session->rest = rest;
    return TRANSPORT_BLOCKED;
}

static long send_rest(struct tls_session *session)
{
    struct held_record *rest = &session->rest;
    while (rest->at < rest->length) {
        ssize_t n = send(session->fd, rest->bytes + rest->at, (size_t)(rest->length - rest->at), MSG_NOSIGNAL);
        if (n > 0)
            rest->at = (uint16_t)(rest->at + n);
        else if (errno != EINTR)
            return errno == EAGAIN || errno == EWOULDBLOCK ? TRANSPORT_BLOCKED : TRANSPORT_BROKEN;
    }
    drop_record(rest);
    return 0;
}

/* One record, or the rest of the one in flight, whose content is `length` bytes then. Gives them once the kernel has
 * it. */
static long write_record(struct tls_session *session, const char *data, size_t length)
{
    static _Thread_local unsigned char sealed[TLS_RECORD_MOST];
    long n;
    if (session->rest.bytes) {
        n = send_rest(session);
    } else {
        size_t bytes = tls_record_seal(&session->seals, TLS_APPLICATION, data, length, sealed);
        n = bytes > 0 ? send_sealed(session, sealed, bytes) : TRANSPORT_BROKEN;
    }
    session->in_flight = n == TRANSPORT_BLOCKED ? (uint16_t)length : 0;
    session->broken |= n == TRANSPORT_BROKEN;
    return n < 0 ? n : (long)length;
}

long tls_session_send(struct tls_session *session, const char *data, size_t length)
{
    size_t sent = 0;
    if (session->broken || !session->open || (session->said_end && !session->in_flight))
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
    if (session->broken)
        return TRANSPORT_BROKEN;
    return session->in_flight ? write_record(session, NULL, session->in_flight) : 0;
}

bool tls_session_in_flight(const struct tls_session *session)
{
    return session->in_flight > 0;
}

size_t tls_session_record_bytes(const struct tls_session *session)
{
    return session->record;
}

/* If the socket takes it whole, now (RFC 5246 7.2). */
static bool send_alert(struct tls_session *session, unsigned char level, unsigned char description)
{
    unsigned char sealed[TLS_RECORD_HEAD + 8 + 2 + 16];
    const unsigned char alert[2] = {level, description};
    if (session->rest.bytes)
        return false;
    size_t length = tls_record_seal(&session->seals, TLS_ALERT, alert, sizeof alert, sealed);
    return length > 0 && send(session->fd, sealed, length, MSG_NOSIGNAL) == (ssize_t)length;
}

void tls_session_end_sending(struct tls_session *session)
{
    if (session->broken || !session->open || session->said_end)
        return;
    session->said_end = true;
    send_alert(session, MBEDTLS_SSL_ALERT_LEVEL_WARNING, MBEDTLS_SSL_ALERT_MSG_CLOSE_NOTIFY);
}

/* --- Receiving --- */

/* After this only the socket's end may follow. Shutting it for reading makes epoll tell of it for as long as nobody has
 * taken note. */
static void note_end(struct tls_session *session, bool *how)
{
    *how = true;
    shutdown(session->fd, SHUT_RD);
}

static void break_off(struct tls_session *session, unsigned char description)
{
    send_alert(session, MBEDTLS_SSL_ALERT_LEVEL_FATAL, description);
    note_end(session, &session->broken);
}

static void take_alert(struct tls_session *session, const unsigned char *alert, size_t length)
{
    if (length != 2)
        break_off(session, MBEDTLS_SSL_ALERT_MSG_DECODE_ERROR);
    else if (alert[1] == MBEDTLS_SSL_ALERT_MSG_CLOSE_NOTIFY)
        note_end(session, &session->ended);
    else if (alert[0] != MBEDTLS_SSL_ALERT_LEVEL_WARNING)
        note_end(session, &session->broken);
}

/* Gives the bytes of content in `out`, where nothing counts before it is known to be the peer's. */
static size_t take_record(struct tls_session *session, const unsigned char *record, size_t length, unsigned char *out)
{
    long content = tls_record_open(&session->opens, record, length, out);
    if (content < 0) {
        break_off(session, MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC);
        return 0;
    }
    session->idle_records = record[0] == TLS_APPLICATION && content > 0 ? 0 : (uint8_t)(session->idle_records + 1);
    if (session->idle_records > IDLE_RECORDS) {
        break_off(session, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE);
        return 0;
    }
    switch (record[0]) {
    case TLS_APPLICATION:
        return (size_t)content;
    case TLS_ALERT:
        take_alert(session, out, (size_t)content);
        return 0;
    case TLS_HANDSHAKE: /* it wants to begin anew; whoever does not take the answer reads nothing */
        if (++session->renegotiations > RENEGOTIATIONS || content == 0)
            break_off(session, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE);
        else if (!send_alert(session, MBEDTLS_SSL_ALERT_LEVEL_WARNING, MBEDTLS_SSL_ALERT_MSG_NO_RENEGOTIATION))
            note_end(session, &session->broken);
        return 0;
    default:
        break_off(session, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE);
        return 0;
    }
}

/* Adds to the record that is not whole. Gives how many of the bytes it took. */
static size_t hold(struct tls_session *session, const unsigned char *bytes, size_t length)
{
    struct held_record *came = &session->came;
    size_t took = 0;
    if (!came->bytes) {
        while (came->at < TLS_RECORD_HEAD && took < length)
            session->head[came->at++] = bytes[took++];
        if (came->at < TLS_RECORD_HEAD)
            return took;
        size_t record = tls_record_length(&session->opens, session->head);
        if (record == 0) {
            break_off(session, MBEDTLS_SSL_ALERT_MSG_RECORD_OVERFLOW);
            return took;
        }
        if (record <= ADMISSION_SMALL_BYTES || admission_take(record))
            came->bytes = pool_acquire(POOL_BUFFERS, record);
        if (!came->bytes) {
            break_off(session, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR);
            return took;
        }
        came->length = (uint16_t)record;
        memcpy(came->bytes, session->head, TLS_RECORD_HEAD);
    }
    size_t left = (size_t)(came->length - came->at);
    if (left > length - took)
        left = length - took;
    memcpy(came->bytes + came->at, bytes + took, left);
    came->at = (uint16_t)(came->at + left);
    return took + left;
}

/* Opens what was read; gives the bytes of content. */
static size_t open_records(struct tls_session *session, const unsigned char *at, size_t left, unsigned char *out)
{
    size_t content = 0;
    while (left > 0 && !session->ended && !session->broken) {
        struct held_record *came = &session->came;
        size_t record = came->at == 0 && left >= TLS_RECORD_HEAD ? tls_record_length(&session->opens, at) : 0;
        if (record > 0 && record <= left) {
            content += take_record(session, at, record, out + content);
            at += record;
            left -= record;
            continue;
        }
        size_t took = hold(session, at, left);
        at += took;
        left -= took;
        if (came->bytes && came->at == came->length) {
            content += take_record(session, came->bytes, came->length, out + content);
            drop_record(came);
        }
    }
    return content;
}

long tls_session_receive(struct tls_session *session, char *buffer, size_t size)
{
    if (session->broken || !session->open || size < TLS_RECEIVE_LEAST)
        return TRANSPORT_BROKEN;
    if (session->ended)
        return 0;
    /* What is read means no more than it is long, and the rest of a record that came before. */
    size_t most = (size - TLS_RECORD_MOST) / 2;
    unsigned char *from = (unsigned char *)buffer + size - most;
    ssize_t n;
    do
        n = recv(session->fd, from, most, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? TRANSPORT_BLOCKED : TRANSPORT_BROKEN;
    if (n == 0) /* without a close_notify: what was sent may have been cut off by anybody */
        return TRANSPORT_BROKEN;
    size_t length = open_records(session, from, (size_t)n, (unsigned char *)buffer);
    if (length > 0)
        return (long)length;
    return session->broken ? TRANSPORT_BROKEN : session->ended ? 0 : TRANSPORT_BLOCKED;
}
