/* The server's side of TLS, on a socket pair. Five bits of the first byte choose:
 *   0 to 15   the rest is what a stranger sends first, in pieces
 *   16 to 23  hands are shaken, then the rest comes where records are expected: nothing of it may be taken for content
 *   24 to 30  hands are shaken by a client whose bytes are changed on their way: the rest is places and what is done
 *             to them
 *   31        the same, for a full handshake with a certificate of the client's, which takes milliseconds
 * Of the others, 32 is a talk in both directions (of warnings alone, with an odd byte) where hands are shaken, up to
 * the end that the client says; 64 a certificate that every client must show; 128 memory that fails, a full socket, or
 * a client that is gone before the first answer. */
#include <stdint.h>

#include "../support/tls_peer.h"
#include "memory.h"
#include "memory/pool.h"
#include "net/tls/tls_session.h"
#include "net/transport.h"
#include "require.h"

/* Two records and a little; what comes later is read like what came before. */
#define INPUT_MOST 40000u

enum extra { TALK = 32, REQUIRED = 64, FAILURE = 128 };

static struct tls_context *context, *strict, *easy;
static struct tls_test_pair authority, server, client_pair;
static mbedtls_ssl_session earlier; /* of a client that shook hands in full */
static char room[256 * 1024];

struct wire {
    struct transport ours;
    struct tls_test_client client;
    int held; /* the client writes here, and what is changed goes on to `real` */
    int real;
};

static void open_wire(struct wire *wire, struct tls_test_pair *own)
{
    int pair[2], detour[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, detour) == 0);
    wire->ours = (struct transport){.fd = pair[0], .tls = tls_session_new(context, 0, pair[0])};
    REQUIRE(wire->ours.tls);
    tls_test_client_open(&wire->client, pair[1], own, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    wire->real = pair[1];
    wire->held = detour[1];
    wire->client.fd = detour[0];
}

/* The client reads from the real socket; only its writing takes the detour. */
static int client_receive(void *context_, unsigned char *bytes, size_t length)
{
    const struct wire *wire = context_;
    ssize_t n = recv(wire->real, bytes, length, 0);
    return n >= 0 ? (int)n : errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : -1;
}

static int client_send(void *context_, const unsigned char *bytes, size_t length)
{
    const struct wire *wire = context_;
    ssize_t n = send(wire->client.fd, bytes, length, MSG_NOSIGNAL);
    return n >= 0 ? (int)n : MBEDTLS_ERR_SSL_WANT_WRITE;
}

static void close_wire(struct wire *wire)
{
    transport_close(&wire->ours);
    tls_test_client_close(&wire->client);
    close(wire->held);
    close(wire->real);
}

/* Each three bytes: where, of all that the client has sent so far, and what is put there. */
struct changes {
    const uint8_t *bytes;
    size_t count;
    size_t passed;
};

static void pass_on(struct wire *wire, struct changes *changes)
{
    unsigned char bytes[4096];
    for (ssize_t n; (n = recv(wire->held, bytes, sizeof bytes, 0)) > 0; changes->passed += (size_t)n) {
        for (size_t i = 0; i < changes->count; i++) {
            size_t place = changes->bytes[i * 3] | (size_t)changes->bytes[i * 3 + 1] << 8;
            if (place >= changes->passed && place < changes->passed + (size_t)n)
                bytes[place - changes->passed] ^= changes->bytes[i * 3 + 2];
        }
        (void)!send(wire->real, bytes, (size_t)n, MSG_NOSIGNAL);
    }
}

static bool shake_hands(struct wire *wire, struct changes *changes)
{
    enum tls_step step = TLS_STEP_WANTS_READ;
    int client = -1;
    mbedtls_ssl_set_bio(&wire->client.ssl, wire, client_send, client_receive, NULL);
    for (int i = 0; i < 12 && (step != TLS_STEP_DONE || client != 0); i++) {
        client = client == 0 ? 0 : mbedtls_ssl_handshake(&wire->client.ssl);
        pass_on(wire, changes);
        step = step == TLS_STEP_DONE ? step : tls_session_handshake(wire->ours.tls);
        if (step == TLS_STEP_FAILED) {
            char why[100];
            REQUIRE(tls_session_failure(wire->ours.tls) != TLS_FAILURE_NONE);
            tls_session_explain(wire->ours.tls, why, 0);
            tls_session_explain(wire->ours.tls, why, sizeof why);
            return false;
        }
    }
    return step == TLS_STEP_DONE;
}

static void start(void)
{
    static char folder[] = "/tmp/luaduct-fuzz-XXXXXX";
    unsigned char names[256], *at = names + sizeof names;
    char error[256];
    struct wire wire;
    REQUIRE(mkdtemp(folder));
    tls_test_make(&authority, folder, "ca", "CN=Authority", NULL, NULL, 0);
    tls_test_make(&server, folder, "server", "CN=server", &authority, NULL, 0);
    tls_test_name(&at, names, 0x82, "agent.example", 13);
    tls_test_name(&at, names, 0x86, "urn:agent:1", 11);
    tls_test_name(&at, names, 0x82, "a\nb", 3);
    size_t length = (size_t)(names + sizeof names - at);
    REQUIRE(mbedtls_asn1_write_len(&at, names, length) > 0 && mbedtls_asn1_write_tag(&at, names, 0x30) > 0);
    tls_test_make(&client_pair, folder, "client", "CN=client", &authority, at, (size_t)(names + sizeof names - at));
    struct tls_pair pair = {.certificate = server.cert_path, .key = server.key_path, .label = "tls."};
    struct tls_options options = {.pairs = &pair, .pair_count = 1, .client_ca = authority.cert_path, .slots = 1};
    context = easy = tls_context_load(&options, error, sizeof error);
    options.require_client_certificate = true;
    strict = tls_context_load(&options, error, sizeof error);
    REQUIRE(easy && strict);
    unlink(authority.cert_path), unlink(authority.key_path);
    unlink(server.cert_path), unlink(server.key_path);
    unlink(client_pair.cert_path), unlink(client_pair.key_path);
    rmdir(folder);
    open_wire(&wire, NULL);
    REQUIRE(shake_hands(&wire, &(struct changes){0}));
    mbedtls_ssl_session_init(&earlier);
    REQUIRE(mbedtls_ssl_get_session(&wire.client.ssl, &earlier) == 0);
    close_wire(&wire);
}

/* Everything that a stranger sends: no handshake comes of it. */
static void be_a_stranger(const uint8_t *bytes, size_t length)
{
    struct wire wire;
    open_wire(&wire, NULL);
    size_t piece = length > 0 ? 1 + bytes[0] * 7u : 1;
    enum tls_step step = TLS_STEP_WANTS_READ;
    for (size_t at = 0; at < length && step != TLS_STEP_FAILED; at += piece) {
        size_t now = length - at < piece ? length - at : piece;
        if (send(wire.real, bytes + at, now, MSG_NOSIGNAL) != (ssize_t)now)
            break;
        step = tls_session_handshake(wire.ours.tls);
        REQUIRE(step != TLS_STEP_DONE);
    }
    close_wire(&wire);
}

/* In place of records that the peer has sealed. */
static void forge_records(const uint8_t *bytes, size_t length)
{
    struct wire wire;
    open_wire(&wire, NULL);
    REQUIRE(mbedtls_ssl_set_session(&wire.client.ssl, &earlier) == 0);
    if (!shake_hands(&wire, &(struct changes){0})) {
        REQUIRE(context == strict && tls_session_failure(wire.ours.tls) != TLS_FAILURE_NONE);
        close_wire(&wire);
        return;
    }
    REQUIRE(transport_receive(&wire.ours, room, sizeof room) == TRANSPORT_BLOCKED);
    size_t piece = length > 0 ? 1 + bytes[0] * 31u : 1;
    for (size_t at = 0; at < length; at += piece) {
        size_t now = length - at < piece ? length - at : piece;
        if (send(wire.real, bytes + at, now, MSG_NOSIGNAL) != (ssize_t)now)
            break;
        long n = transport_receive(&wire.ours, room, sizeof room);
        REQUIRE(n == TRANSPORT_BLOCKED || n == TRANSPORT_BROKEN);
        if (n == TRANSPORT_BROKEN)
            break;
    }
    if (tls_session_count() == 1 && length % 2 == 0) {
        shutdown(wire.real, SHUT_RDWR); /* gone without a word: what had come may have been cut off */
        REQUIRE(transport_receive(&wire.ours, room, sizeof room) == TRANSPORT_BROKEN);
        REQUIRE(transport_send(&wire.ours, "x", 1) == TRANSPORT_BROKEN);
        REQUIRE(transport_send(&wire.ours, "x", 1) == TRANSPORT_BROKEN);
        REQUIRE(transport_send_rest(&wire.ours) == TRANSPORT_BROKEN);
    }
    close_wire(&wire);
}

/* More than the socket takes, and all of it comes; then the client says that it ends. */
static void talk(struct wire *wire)
{
    static char long_text[3u << 20], got[65536];
    size_t sent = 0, received = 0;
    for (unsigned round = 0; received < sizeof long_text && round < 1000; round++) {
        long n = transport_in_flight(&wire->ours) ? transport_send_rest(&wire->ours) : 0;
        REQUIRE(n >= 0 || n == TRANSPORT_BLOCKED);
        sent += n > 0 ? (size_t)n : 0;
        while (sent < sizeof long_text &&
               (n = transport_send(&wire->ours, long_text + sent, sizeof long_text - sent)) > 0)
            sent += (size_t)n;
        while ((n = mbedtls_ssl_read(&wire->client.ssl, (unsigned char *)got, sizeof got)) > 0)
            received += (size_t)n;
        REQUIRE(n == MBEDTLS_ERR_SSL_WANT_READ);
    }
    REQUIRE(received == sizeof long_text && transport_record_bytes(&wire->ours) > 0);
    mbedtls_ssl_close_notify(&wire->client.ssl);
    pass_on(wire, &(struct changes){0});
    REQUIRE(transport_receive(&wire->ours, room, sizeof room) == 0);
    REQUIRE(transport_receive(&wire->ours, room, sizeof room) == 0);
    REQUIRE(transport_receive(&wire->ours, room, 100) == TRANSPORT_BROKEN);
    transport_end_sending(&wire->ours);
    transport_end_sending(&wire->ours);
}

/* A peer that says nothing but warnings is not listened to for ever. */
static void warn(struct wire *wire)
{
    long n = TRANSPORT_BLOCKED;
    for (unsigned i = 0; i < 10000 && n == TRANSPORT_BLOCKED; i++) {
        mbedtls_ssl_send_alert_message(&wire->client.ssl, MBEDTLS_SSL_ALERT_LEVEL_WARNING,
                                       MBEDTLS_SSL_ALERT_MSG_USER_CANCELED);
        pass_on(wire, &(struct changes){0});
        n = transport_receive(&wire->ours, room, sizeof room);
    }
    REQUIRE(n == TRANSPORT_BROKEN);
}

/* The session that there is no memory for is none; one that gets no memory on the way fails. */
static void run_out_of_memory(unsigned n)
{
    int pair[2];
    pool_set_enabled(false);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    memory_fail(n);
    struct tls_session *session = tls_session_new(context, 0, pair[0]);
    if (session) {
        close(pair[1]);
        pair[1] = -1;
        REQUIRE(tls_session_handshake(session) == TLS_STEP_FAILED && !tls_session_resumed(session));
        REQUIRE(tls_session_failure(session) == TLS_FAILURE_CLOSED);
    }
    (void)memory_failed();
    tls_session_free(session);
    pool_set_enabled(true);
    close(pair[0]);
    if (pair[1] >= 0)
        close(pair[1]);
}

/* What the client sent is changed somewhere: whatever comes of it, content is what the client wrote. */
static void change_bytes(const uint8_t *bytes, size_t length, bool full, unsigned extra)
{
    struct wire wire;
    struct changes changes = {.bytes = bytes, .count = length / 3 < 32 ? length / 3 : 32};
    open_wire(&wire, full ? &client_pair : NULL);
    if (!full)
        REQUIRE(mbedtls_ssl_set_session(&wire.client.ssl, &earlier) == 0);
    pool_set_enabled(!(extra & FAILURE)); /* the one block of ours is for what the certificate says */
    memory_fail(extra & FAILURE && full);
    if (extra & FAILURE) /* and the socket takes little at once */
        REQUIRE(setsockopt(wire.ours.fd, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)) == 0);
    while (extra & FAILURE && extra & REQUIRED && send(wire.ours.fd, room, 1, MSG_NOSIGNAL) > 0)
        continue; /* or nothing, and what comes first is no record */
    bool shaken = shake_hands(&wire, &changes);
    REQUIRE(tls_session_stands(wire.ours.tls, context));
    REQUIRE(!memory_failed() || !shaken);
    if (shaken) {
        mbedtls_ssl_write(&wire.client.ssl, (const unsigned char *)"content", 7);
        pass_on(&wire, &changes);
        long n = transport_receive(&wire.ours, room, sizeof room);
        REQUIRE(n <= 0 || (n == 7 && memcmp(room, "content", 7) == 0));
        REQUIRE(!full || !transport_peer_certificate(&wire.ours) ||
                transport_peer_certificate(&wire.ours)->common_name.length == 6);
        if (n == 7 && extra & TALK)
            (extra & 1 ? warn : talk)(&wire);
    }
    close_wire(&wire);
    pool_set_enabled(true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!context)
        start();
    if (size < 2 || size > INPUT_MOST)
        return 0;
    unsigned choice = data[0] & 31, extra = data[0];
    if (extra & FAILURE)
        run_out_of_memory(size % 3);
    context = extra & REQUIRED && choice > 16 ? strict : easy;
    if (choice < 16)
        be_a_stranger(data + 1, size - 1);
    else if (choice < 24)
        forge_records(data + 1, size - 1);
    else
        change_bytes(data + 1, size - 1, choice == 31, extra);
    return 0;
}
