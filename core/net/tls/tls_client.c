/* mbedtls 2.28 holds a host against the DNS names of a certificate only, so IP addresses are looked for here, in the
 * callback that it makes for each certificate: a mismatch then ends the handshake before the client has shown anything
 * of its own. */
#include "net/tls/tls_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/random.h"
#include "base/system/file.h"
#include "net/tls/tls_cipher.h"
#include "net/tls/tls_session.h"

/* Without any content so much is taken from the socket in one call: a server that sends alerts for ever does not keep
 * the caller from looking at the time. */
#define TURN_BYTES ((size_t)4 * TLS_RECORD_BYTES)

#define FILE_BYTES_MAXIMUM (16u << 20)

struct tls_client {
    mbedtls_ssl_config config;
    int ciphers[TLS_CIPHERS + 1];
    mbedtls_x509_crt authorities, own;
    mbedtls_pk_context key;
    bool shows_certificate;
};

struct tls_stream {
    mbedtls_ssl_context ssl;
    struct tls_client *client;
    int descriptor;
    int system_error; /* of the last call on the socket that failed; negative */
    int failure;      /* what the stream has ended with, once it has; negative */
    size_t turn;      /* bytes that this call took since the last content */
    size_t in_flight; /* bytes of the caller's that are sealed in a record which the socket has not taken whole */
    bool wants_write; /* the last step stopped at a full socket */
    bool is_address;  /* the host is an IP address, these bytes: */
    size_t address_length;
    unsigned char address[16];
    char host[256];
};

static _Thread_local char problem[TLS_ERROR_SIZE];

const char *tls_problem(void)
{
    return problem;
}

static int kernel_random(void *context, unsigned char *out, size_t length)
{
    (void)context;
    return random_kernel_bytes(out, length) ? 0 : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

/* ---- what to trust, and to show ---- */

/* The reason of mbedtls, without its "MODULE - " in front. */
static const char *reason_of(int code, char *text, size_t size)
{
    mbedtls_strerror(code, text, size);
    const char *dash = strstr(text, " - ");
    return dash ? dash + 3 : text;
}

static bool fail_file(char error[TLS_ERROR_SIZE], const char *path, const char *why)
{
    snprintf(error, TLS_ERROR_SIZE, "%.120s: %.120s", path, why);
    return false;
}

static bool fail_parse(char error[TLS_ERROR_SIZE], const char *path, int code)
{
    char reason[128];
    return fail_file(error, path,
                     code > 0 ? "a certificate in it cannot be read" : reason_of(code, reason, sizeof reason));
}

/* The parsers of mbedtls want the zero behind PEM counted, and not behind DER. */
static bool read_file(const char *path, char **bytes, size_t *length, char error[TLS_ERROR_SIZE])
{
    const char *why;
    if (!file_read(path, FILE_BYTES_MAXIMUM, bytes, length, &why))
        return fail_file(error, path, why);
    if (*length == 0) {
        free(*bytes);
        return fail_file(error, path, "the file is empty");
    }
    if (strstr(*bytes, "-----BEGIN "))
        (*length)++;
    return true;
}

/* Of a list `all` or (the system's) any may be of a kind that mbedtls does not know: those are not trusted. */
static bool read_certificates(mbedtls_x509_crt *out, const char *path, bool all, char error[TLS_ERROR_SIZE])
{
    char *bytes;
    size_t length;
    if (!read_file(path, &bytes, &length, error))
        return false;
    int code = mbedtls_x509_crt_parse(out, (const unsigned char *)bytes, length);
    bool text = memmem(bytes, length, "-----BEGIN ", 11) != NULL;
    free(bytes);
    if (code < 0 && !text)
        return fail_file(error, path, "no certificate is in it");
    return code == 0 || (code > 0 && !all) || fail_parse(error, path, code);
}

static bool trust(struct tls_client *client, const char *ca, char error[TLS_ERROR_SIZE])
{
    if (ca)
        return read_certificates(&client->authorities, ca, true, error);
    const char *store = getenv("SSL_CERT_FILE");
    if (!store || !*store)
        store = TLS_SYSTEM_STORE;
    return read_certificates(&client->authorities, store, false, error);
}

static bool show(struct tls_client *client, const char *cert, const char *key, char error[TLS_ERROR_SIZE])
{
    char *bytes;
    size_t length;
    if (!read_certificates(&client->own, cert, true, error) || !read_file(key, &bytes, &length, error))
        return false;
    int code = mbedtls_pk_parse_key(&client->key, (const unsigned char *)bytes, length, NULL, 0);
    explicit_bzero(bytes, length);
    free(bytes);
    if (code != 0)
        return fail_parse(error, key, code);
    if (mbedtls_pk_check_pair(&client->own.pk, &client->key) != 0) {
        snprintf(error, TLS_ERROR_SIZE, "%.100s is not the key of %.100s", key, cert);
        return false;
    }
    client->shows_certificate = true;
    return mbedtls_ssl_conf_own_cert(&client->config, &client->own, &client->key) == 0;
}

static bool set_up(struct tls_client *client, const struct tls_client_options *options, char error[TLS_ERROR_SIZE])
{
    static const char *protocols[] = {"http/1.1", NULL};
    mbedtls_ssl_config *config = &client->config;
    snprintf(error, TLS_ERROR_SIZE, "out of memory");
    if (mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return false;
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    for (unsigned i = 0; i < TLS_CIPHERS; i++)
        client->ciphers[i] = tls_cipher_at(i)->id;
    mbedtls_ssl_conf_ciphersuites(config, client->ciphers);
    mbedtls_ssl_conf_rng(config, kernel_random, NULL);
    if (mbedtls_ssl_conf_alpn_protocols(config, protocols) != 0)
        return false;
    mbedtls_ssl_conf_authmode(config, options->insecure ? MBEDTLS_SSL_VERIFY_NONE : MBEDTLS_SSL_VERIFY_REQUIRED);
    if (!options->insecure && !trust(client, options->ca, error))
        return false;
    mbedtls_ssl_conf_ca_chain(config, &client->authorities, NULL);
    return !options->cert || show(client, options->cert, options->key, error);
}

struct tls_client *tls_client_new(const struct tls_client_options *options, char error[TLS_ERROR_SIZE])
{
    struct tls_client *client = calloc(1, sizeof *client);
    snprintf(error, TLS_ERROR_SIZE, "out of memory");
    if (!client)
        return NULL;
    mbedtls_ssl_config_init(&client->config);
    mbedtls_x509_crt_init(&client->authorities);
    mbedtls_x509_crt_init(&client->own);
    mbedtls_pk_init(&client->key);
    if (set_up(client, options, error))
        return client;
    tls_client_free(client);
    return NULL;
}

void tls_client_free(struct tls_client *client)
{
    if (!client)
        return;
    mbedtls_ssl_config_free(&client->config);
    mbedtls_x509_crt_free(&client->authorities);
    mbedtls_x509_crt_free(&client->own);
    mbedtls_pk_free(&client->key);
    free(client);
}

/* ---- the socket ---- */

static int send_bytes(void *context, const unsigned char *data, size_t length)
{
    struct tls_stream *stream = context;
    ssize_t sent = send(stream->descriptor, data, length, MSG_NOSIGNAL);
    if (sent >= 0)
        return (int)sent;
    if (errno == EAGAIN || errno == EINTR)
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    stream->system_error = -errno;
    return MBEDTLS_ERR_NET_SEND_FAILED;
}

static int receive_bytes(void *context, unsigned char *data, size_t length)
{
    struct tls_stream *stream = context;
    if (stream->turn >= TURN_BYTES)
        return MBEDTLS_ERR_SSL_WANT_READ;
    ssize_t got = recv(stream->descriptor, data, length, 0);
    if (got >= 0) {
        stream->turn += (size_t)got;
        return (int)got;
    }
    if (errno == EAGAIN || errno == EINTR)
        return MBEDTLS_ERR_SSL_WANT_READ;
    stream->system_error = -errno;
    return MBEDTLS_ERR_NET_RECV_FAILED;
}

/* ---- whom the certificate is for ---- */

static bool has_address(const struct tls_stream *stream, const mbedtls_x509_crt *certificate)
{
    for (const mbedtls_x509_sequence *name = &certificate->subject_alt_names; name; name = name->next)
        if (name->buf.tag == (MBEDTLS_ASN1_CONTEXT_SPECIFIC | 7) && name->buf.len == stream->address_length &&
            memcmp(name->buf.p, stream->address, stream->address_length) == 0) /* iPAddress, RFC 5280 4.2.1.6 */
            return true;
    return false;
}

static int check_certificate(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    const struct tls_stream *stream = context;
    if (depth == 0 && stream->is_address && !has_address(stream, certificate))
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    return 0;
}

/* The name for SNI and for mbedtls's own check. An address is no name there (RFC 6066 3). */
static int set_host(struct tls_stream *stream, const char *host)
{
    snprintf(stream->host, sizeof stream->host, "%s", host);
    stream->address_length = inet_pton(AF_INET, host, stream->address) == 1    ? 4
                             : inet_pton(AF_INET6, host, stream->address) == 1 ? 16
                                                                               : 0;
    stream->is_address = stream->address_length > 0;
    return mbedtls_ssl_set_hostname(&stream->ssl, stream->is_address ? NULL : host);
}

struct tls_stream *tls_stream_new(struct tls_client *client, const char *host, int descriptor)
{
    struct tls_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->client = client;
    stream->descriptor = descriptor;
    mbedtls_ssl_init(&stream->ssl);
    if (mbedtls_ssl_setup(&stream->ssl, &client->config) != 0 || set_host(stream, host) != 0) {
        mbedtls_ssl_free(&stream->ssl);
        free(stream);
        return NULL;
    }
    mbedtls_ssl_set_verify(&stream->ssl, check_certificate, stream);
    mbedtls_ssl_set_bio(&stream->ssl, stream, send_bytes, receive_bytes, NULL);
    return stream;
}

void tls_stream_free(struct tls_stream *stream)
{
    if (!stream)
        return;
    if (stream->failure == 0 && stream->in_flight == 0 && stream->ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER)
        mbedtls_ssl_close_notify(&stream->ssl);
    mbedtls_ssl_free(&stream->ssl);
    free(stream);
}

/* ---- why it failed ---- */

static void explain_certificate(const struct tls_stream *stream)
{
    uint32_t flags = mbedtls_ssl_get_verify_result(&stream->ssl);
    const char *what = "is not to be trusted";
    if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
        what = "is not signed by an authority that is trusted here";
    else if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
        what = "has expired";
    else if (flags & MBEDTLS_X509_BADCERT_FUTURE)
        what = "is not valid yet";
    else if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
        what = NULL;
    else if (flags & (MBEDTLS_X509_BADCERT_EXT_KEY_USAGE | MBEDTLS_X509_BADCERT_KEY_USAGE))
        what = "is not for servers";
    else if (flags & (MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY))
        what = "is signed in a way that is too weak";
    if (what)
        snprintf(problem, sizeof problem, "the server's certificate %s", what);
    else
        snprintf(problem, sizeof problem, "the server's certificate is not for %.180s", stream->host);
}

static const char *alert_name(unsigned alert)
{
    static const struct {
        unsigned alert;
        const char *name;
    } names[] = {
        {40, "no common way to encrypt"}, {42, "bad certificate"},     {43, "unsupported certificate"},
        {44, "certificate revoked"},      {45, "certificate expired"}, {46, "certificate unknown"},
        {48, "unknown authority"},        {49, "access denied"},       {70, "protocol version"},
        {80, "internal error"},           {112, "unknown name"},       {116, "certificate required"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].alert == alert)
            return names[i].name;
    return NULL;
}

static void explain_alert(const struct tls_stream *stream)
{
    unsigned alert = stream->ssl.in_msg[1];
    const char *name = alert_name(alert);
    const char *of = stream->ssl.client_auth && stream->client->shows_certificate ? " this client's certificate" : "";
    if (name)
        snprintf(problem, sizeof problem, "the server refused%s: %s", of, name);
    else
        snprintf(problem, sizeof problem, "the server refused%s: alert %u", of, alert);
}

/* The negative errno that stands for a failure of mbedtls, with the words for -EPROTO. */
static int explain(struct tls_stream *stream, int code)
{
    char reason[128];
    bool shaking = stream->ssl.state != MBEDTLS_SSL_HANDSHAKE_OVER;
    bool gone =
        code == MBEDTLS_ERR_SSL_CONN_EOF || code == MBEDTLS_ERR_NET_RECV_FAILED || code == MBEDTLS_ERR_NET_SEND_FAILED;
    if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY && !shaking)
        return -ECONNRESET;
    if (code == MBEDTLS_ERR_SSL_ALLOC_FAILED)
        return -ENOMEM;
    if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
        explain_certificate(stream);
    else if (shaking && stream->ssl.client_auth && !stream->client->shows_certificate &&
             (gone || code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE))
        snprintf(problem, sizeof problem, "the server wants a client certificate");
    else if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        explain_alert(stream);
    else if (shaking && stream->ssl.state <= MBEDTLS_SSL_SERVER_HELLO &&
             (gone || code == MBEDTLS_ERR_SSL_INVALID_RECORD))
        snprintf(problem, sizeof problem, "what answers there does not speak TLS");
    else if (shaking && gone) /* its alert may have been lost with the connection */
        snprintf(problem, sizeof problem, "the server broke the handshake off%s",
                 stream->ssl.client_auth ? ", perhaps for this client's certificate" : "");
    else if (gone)
        return stream->system_error ? stream->system_error : -ECONNABORTED; /* an end without goodbye may be a cut */
    else
        snprintf(problem, sizeof problem, "%s", reason_of(code, reason, sizeof reason));
    return -EPROTO;
}

/* ---- the connection ---- */

/* What a step gave: 0 to wait, or the failure, which is kept. */
static int settle(struct tls_stream *stream, int code)
{
    stream->wants_write = code == MBEDTLS_ERR_SSL_WANT_WRITE;
    if (stream->wants_write || code == MBEDTLS_ERR_SSL_WANT_READ)
        return 0;
    stream->failure = explain(stream, code);
    return stream->failure;
}

int tls_stream_handshake(struct tls_stream *stream)
{
    if (stream->failure != 0)
        return stream->failure;
    stream->turn = 0;
    if (stream->ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER)
        return 1;
    int code = mbedtls_ssl_handshake(&stream->ssl);
    if (code != 0)
        return settle(stream, code);
    stream->wants_write = false;
    return 1;
}

ssize_t tls_stream_write(struct tls_stream *stream, const void *data, size_t length)
{
    int ready = tls_stream_handshake(stream);
    if (ready != 1)
        return ready;
    const unsigned char *bytes = data;
    size_t taken = 0;
    while (taken < length) {
        size_t ask = stream->in_flight > 0 ? stream->in_flight : length - taken;
        int code = mbedtls_ssl_write(&stream->ssl, bytes + taken, ask);
        if (code == MBEDTLS_ERR_SSL_WANT_WRITE && stream->in_flight == 0)
            stream->in_flight = ask < TLS_RECORD_BYTES ? ask : TLS_RECORD_BYTES;
        if (code < 0) {
            int result = settle(stream, code);
            return taken > 0 ? (ssize_t)taken : result;
        }
        taken += (size_t)code;
        stream->in_flight = 0;
        stream->wants_write = false;
    }
    return (ssize_t)taken;
}

ssize_t tls_stream_read(struct tls_stream *stream, void *data, size_t capacity)
{
    int ready = tls_stream_handshake(stream);
    if (ready != 1)
        return ready;
    unsigned char *bytes = data;
    size_t got = 0;
    do {
        int code = mbedtls_ssl_read(&stream->ssl, bytes + got, capacity - got);
        if (code == 0) /* the end of the stream, in 2.28's way */
            code = MBEDTLS_ERR_SSL_CONN_EOF;
        if (code == MBEDTLS_ERR_SSL_WANT_READ || code == MBEDTLS_ERR_SSL_WANT_WRITE)
            break;
        if (code < 0) {
            stream->failure = explain(stream, code);
            return got > 0 ? (ssize_t)got : stream->failure; /* else told at the next call */
        }
        got += (size_t)code;
        stream->turn = 0;
    } while (capacity - got >= TLS_RECORD_BYTES); /* so that none stays behind in part, where no poll sees it */
    return (ssize_t)got;
}

bool tls_stream_wants_write(const struct tls_stream *stream)
{
    return stream->wants_write;
}
