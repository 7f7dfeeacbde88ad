#include "../../support/unit.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include "../../support/tls_peer.h"
#include "net/tls/tls_chain.h"
#include "net/tls/tls_client.h"
#include "net/tls/tls_session.h"
#include "protocol/websocket/outbox.h"

static struct outbox_scratch scratch;
static char room[256 * 1024];

/* A server's session and a client, hands shaken. */
struct wire {
    char folder[32];
    struct tls_test_pair authority, server, client_pair;
    struct tls_context *context;
    struct transport ours;
    struct tls_test_client client;
};

#define NO_NAMES NULL, 0

static void make_context(struct wire *wire, bool clients)
{
    char error[256];
    strcpy(wire->folder, "/tmp/luaduct-unit-XXXXXX");
    CHECK(mkdtemp(wire->folder));
    tls_test_make(&wire->authority, wire->folder, "ca", "CN=Authority", NULL, NO_NAMES);
    tls_test_make(&wire->server, wire->folder, "server", "CN=server", &wire->authority, NO_NAMES);
    struct tls_pair pair = {.certificate = wire->server.cert_path, .key = wire->server.key_path, .label = "tls."};
    struct tls_options options = {
        .pairs = &pair, .pair_count = 1, .client_ca = clients ? wire->authority.cert_path : NULL, .slots = 1};
    wire->context = tls_context_load(&options, error, sizeof error);
    CHECK(wire->context);
}

static bool shake_hands(struct wire *wire)
{
    enum tls_step step = TLS_STEP_WANTS_READ;
    int client = -1;
    for (int i = 0; i < 100 && (step != TLS_STEP_DONE || client != 0); i++) {
        client = client == 0 ? 0 : mbedtls_ssl_handshake(&wire->client.ssl);
        step = step == TLS_STEP_DONE ? step : tls_session_handshake(wire->ours.tls);
        if (step == TLS_STEP_FAILED)
            return false;
    }
    return step == TLS_STEP_DONE && client == 0;
}

static void connect_wire(struct wire *wire, int send_buffer, struct tls_test_pair *own, int fragment_code)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    if (send_buffer > 0)
        CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer) == 0);
    wire->ours = (struct transport){.fd = pair[0], .tls = tls_session_new(wire->context, 0, pair[0])};
    CHECK(wire->ours.tls);
    tls_test_client_open(&wire->client, pair[1], own, fragment_code);
}

static void open_wire(struct wire *wire, int send_buffer)
{
    make_context(wire, false);
    connect_wire(wire, send_buffer, NULL, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    CHECK(shake_hands(wire));
    wire->client.records = 0;
}

static void close_wire(struct wire *wire)
{
    transport_close(&wire->ours);
    tls_test_client_close(&wire->client);
    tls_context_release(wire->context);
    tls_test_free(&wire->authority);
    tls_test_free(&wire->server);
    rmdir(wire->folder);
}

static void push_filled(struct outbox *outbox, size_t length, char with)
{
    struct frame *frame = frame_new(FRAME_ENVELOPE, 1, length);
    memset(frame_payload(frame), with, length);
    CHECK(outbox_push(outbox, frame));
}

/* What is there for the client. */
static size_t client_read(struct wire *wire, unsigned char *out, size_t size)
{
    size_t length = 0;
    int n;
    while (length < size && (n = mbedtls_ssl_read(&wire->client.ssl, out + length, size - length)) > 0)
        length += (size_t)n;
    return length;
}

TEST("hands are shaken with a chain of certificates that neither a flight nor the socket holds at once")
{
    struct wire wire;
    char error[256], pem[4096];
    make_context(&wire, false);
    FILE *file = fopen(wire.authority.cert_path, "r");
    CHECK(file);
    pem[fread(pem, 1, sizeof pem - 1, file)] = '\0';
    fclose(file);
    file = fopen(wire.server.cert_path, "a");
    for (unsigned i = 0; i < 30; i++)
        CHECK(file && fputs(pem, file) >= 0);
    fclose(file);
    struct tls_pair pair = {.certificate = wire.server.cert_path, .key = wire.server.key_path, .label = "tls."};
    tls_context_release(wire.context);
    wire.context =
        tls_context_load(&(struct tls_options){.pairs = &pair, .pair_count = 1, .slots = 1}, error, sizeof error);
    CHECK(wire.context);
    connect_wire(&wire, 2048, NULL, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    CHECK(mbedtls_ssl_handshake(&wire.client.ssl) == MBEDTLS_ERR_SSL_WANT_READ);
    CHECK(tls_session_handshake(wire.ours.tls) == TLS_STEP_WANTS_WRITE);
    CHECK(tls_session_handshake(wire.ours.tls) == TLS_STEP_WANTS_WRITE); /* the client has read nothing */
    CHECK(shake_hands(&wire));
    CHECK(transport_send(&wire.ours, "hello", 5) == 5);
    CHECK(client_read(&wire, (unsigned char *)room, 5) == 5 && memcmp(room, "hello", 5) == 0);
    close_wire(&wire);
}

TEST("frames that wait share records of TLS, whole, up to 16 KiB")
{
    struct wire wire;
    struct outbox outbox = {0};
    uint64_t bytes = 0, frames = 0;
    static unsigned char got[40000];
    open_wire(&wire, 1 << 20);
    for (unsigned i = 0; i < 200; i++)
        push_filled(&outbox, 98, (char)i);
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_EMPTY);
    CHECK(frames == 200 && bytes == 20000);
    CHECK(client_read(&wire, got, sizeof got) == 20000);
    CHECK(wire.client.records == 2); /* 163 frames and 37 */
    for (unsigned i = 0; i < 200; i++)
        CHECK(got[i * 100 + 2] == (unsigned char)i && got[i * 100 + 99] == (unsigned char)i);
    close_wire(&wire);
}

TEST("a frame larger than a record goes in pieces, in its order among small ones")
{
    struct wire wire;
    struct outbox outbox = {0};
    uint64_t bytes = 0, frames = 0;
    static unsigned char got[200000];
    open_wire(&wire, 1 << 20);
    push_filled(&outbox, 100, 'a');
    push_filled(&outbox, 5000, 'b');
    push_filled(&outbox, 70000, 'c');
    push_filled(&outbox, 20, 'd');
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_EMPTY);
    CHECK(frames == 4 && bytes == 102 + 5004 + 70010 + 22);
    CHECK(client_read(&wire, got, sizeof got) == bytes);
    CHECK(wire.client.records == 1 + 5 + 1);
    CHECK(got[2] == 'a' && got[102 + 4] == 'b' && got[102 + 5004 + 10] == 'c' && got[bytes - 1] == 'd');
    close_wire(&wire);
}

TEST("what the kernel has in part is neither counted, nor dropped, nor sent twice")
{
    struct wire wire;
    struct outbox outbox = {0};
    uint64_t bytes = 0, frames = 0;
    static unsigned char got[400000];
    open_wire(&wire, 4096);
    size_t length = 0;
    for (unsigned i = 0; i < 300; i++)
        push_filled(&outbox, 998, (char)i);
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_BLOCKED);
    CHECK(outbox.in_flight && outbox.covered == 16 && frames % 16 == 0);
    unsigned first = (unsigned)frames;
    /* The oldest of which nothing is on its way: 16 frames of 1002 bytes are. */
    struct frame *oldest = outbox_take_oldest(&outbox);
    CHECK((unsigned char)*frame_payload(oldest) == (unsigned char)(first + 16));
    frame_release(oldest);
    for (;;) {
        enum outbox_result result = outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames);
        CHECK(result != OUTBOX_BROKEN);
        length += client_read(&wire, got + length, 3000);
        if (result == OUTBOX_EMPTY && length == bytes)
            break;
    }
    CHECK(frames == 299 && length == 299 * 1002);
    for (unsigned i = 0; i < 299; i++)
        CHECK(got[i * 1002 + 4] == (unsigned char)(i < first + 16 ? i : i + 1));
    close_wire(&wire);
}

TEST("a large frame that the kernel has in part goes on where it stopped")
{
    struct wire wire;
    struct outbox outbox = {0};
    uint64_t bytes = 0, frames = 0;
    static unsigned char got[600000];
    size_t length = 0;
    open_wire(&wire, 4096);
    push_filled(&outbox, 500000, 'x');
    push_filled(&outbox, 100, 'y');
    for (;;) {
        enum outbox_result result = outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames);
        CHECK(result != OUTBOX_BROKEN);
        length += client_read(&wire, got + length, 5000);
        if (result == OUTBOX_EMPTY && length == bytes)
            break;
    }
    CHECK(frames == 2 && length == 500010 + 102);
    for (size_t i = 10; i < 500010; i++)
        CHECK(got[i] == 'x');
    CHECK(got[length - 1] == 'y');
    close_wire(&wire);
}

TEST("frames in a record that the kernel has in part go home, and nothing follows on that connection")
{
    struct wire wire;
    struct outbox outbox = {0};
    struct frame_queue unsent = {0};
    uint64_t bytes = 0, frames = 0;
    open_wire(&wire, 4096);
    for (unsigned i = 0; i < 100; i++)
        push_filled(&outbox, 998, (char)i);
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_BLOCKED);
    CHECK(outbox_take_unsent(&outbox, &unsent) == 0);
    CHECK(outbox.cut && unsent.count == 100 - frames);
    CHECK((unsigned char)*frame_payload(frame_queue_at(&unsent, 0)) == (unsigned char)frames);
    frame_queue_clear(&unsent);
    close_wire(&wire);
}

TEST("a batch is one message over TLS too")
{
    struct wire wire;
    struct outbox outbox = {.batches = true};
    uint64_t bytes = 0, frames = 0;
    static unsigned char got[4000];
    open_wire(&wire, 1 << 20);
    for (unsigned i = 0; i < 3; i++)
        CHECK(outbox_push(&outbox,
                          frame_from(FRAME_ENVELOPE, 1, slice_from_string("{\"type\":\"envelope\",\"envelope\":{}}"))));
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_EMPTY);
    CHECK(frames == 3 && client_read(&wire, got, sizeof got) == bytes && wire.client.records == 1);
    CHECK(memmem(got, bytes, "{\"type\":\"batch\",\"envelopes\":[", 29));
    close_wire(&wire);
}

TEST("a peer that takes small records alone gets small ones")
{
    struct wire wire;
    struct outbox outbox = {0};
    uint64_t bytes = 0, frames = 0;
    static unsigned char got[10000];
    make_context(&wire, false);
    connect_wire(&wire, 1 << 20, NULL, MBEDTLS_SSL_MAX_FRAG_LEN_512);
    CHECK(shake_hands(&wire));
    wire.client.records = 0;
    CHECK(transport_record_bytes(&wire.ours) == 512);
    for (unsigned i = 0; i < 10; i++)
        push_filled(&outbox, 98, (char)i);
    push_filled(&outbox, 1000, 'x');
    CHECK(outbox_flush(&outbox, &wire.ours, &scratch, &bytes, &frames) == OUTBOX_EMPTY);
    CHECK(frames == 11 && client_read(&wire, got, sizeof got) == bytes && wire.client.records == 2 + 2);
    close_wire(&wire);
}

TEST("one receive gives all that came, however many records it was")
{
    struct wire wire;
    static unsigned char sent[30000];
    size_t length = 0, received = 0;
    open_wire(&wire, 1 << 20);
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (unsigned char)(i * 7);
    for (size_t piece = 1; length + piece <= sizeof sent; piece = piece % 977 + 13) {
        CHECK(mbedtls_ssl_write(&wire.client.ssl, sent + length, piece) == (int)piece);
        length += piece;
    }
    /* As the header says. */
    CHECK(transport_receive(&wire.ours, room, TRANSPORT_RECEIVE_LEAST - 1) == TRANSPORT_BROKEN);
    for (long n; (n = transport_receive(&wire.ours, room, sizeof room)) > 0; received += (size_t)n)
        CHECK(memcmp(room, sent + received, (size_t)n) == 0);
    CHECK(received == length);
    close_wire(&wire);
}

TEST("a record that comes in pieces is given when it is whole")
{
    struct wire wire;
    int pair[2];
    char sealed[600];
    open_wire(&wire, 1 << 20);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    int real = wire.client.fd;
    wire.client.fd = pair[0]; /* what it writes is held up here */
    CHECK(mbedtls_ssl_write(&wire.client.ssl, (const unsigned char *)"hello", 5) == 5);
    ssize_t length = read(pair[1], sealed, sizeof sealed);
    for (ssize_t i = 0; i < length; i++) {
        CHECK(transport_receive(&wire.ours, room, sizeof room) == TRANSPORT_BLOCKED);
        CHECK(write(real, sealed + i, 1) == 1);
    }
    CHECK(transport_receive(&wire.ours, room, sizeof room) == 5 && memcmp(room, "hello", 5) == 0);
    wire.client.fd = real;
    close(pair[0]);
    close(pair[1]);
    close_wire(&wire);
}

TEST("the end is an end only when the peer says so, and what came before it is given")
{
    struct wire wire;
    open_wire(&wire, 1 << 20);
    CHECK(mbedtls_ssl_write(&wire.client.ssl, (const unsigned char *)"last", 4) == 4);
    CHECK(mbedtls_ssl_close_notify(&wire.client.ssl) == 0);
    CHECK(transport_receive(&wire.ours, room, sizeof room) == 4);
    CHECK(transport_receive(&wire.ours, room, sizeof room) == 0);
    CHECK(transport_receive(&wire.ours, room, sizeof room) == 0);
    CHECK(transport_send(&wire.ours, "still", 5) == 5); /* the other way it goes on */
    close_wire(&wire);

    open_wire(&wire, 1 << 20);
    CHECK(mbedtls_ssl_write(&wire.client.ssl, (const unsigned char *)"last", 4) == 4);
    CHECK(shutdown(wire.client.fd, SHUT_WR) == 0);
    CHECK(transport_receive(&wire.ours, room, sizeof room) == 4);
    CHECK(transport_receive(&wire.ours, room, sizeof room) == TRANSPORT_BROKEN);
    close_wire(&wire);
}

TEST("closing says so to the peer")
{
    struct wire wire;
    unsigned char got[10];
    open_wire(&wire, 1 << 20);
    CHECK(transport_end_sending(&wire.ours));
    CHECK(mbedtls_ssl_read(&wire.client.ssl, got, sizeof got) == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY);
    close_wire(&wire);
}

TEST("a record that was changed on its way breaks the connection")
{
    struct wire wire;
    int pair[2];
    char sealed[600];
    open_wire(&wire, 1 << 20);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    int real = wire.client.fd;
    wire.client.fd = pair[0];
    CHECK(mbedtls_ssl_write(&wire.client.ssl, (const unsigned char *)"hello", 5) == 5);
    ssize_t length = read(pair[1], sealed, sizeof sealed);
    sealed[length - 1] ^= 1;
    CHECK(write(real, sealed, (size_t)length) == length);
    CHECK(transport_receive(&wire.ours, room, sizeof room) == TRANSPORT_BROKEN);
    CHECK(transport_send(&wire.ours, "x", 1) == TRANSPORT_BROKEN);
    wire.client.fd = real;
    close(pair[0]);
    close(pair[1]);
    close_wire(&wire);
}

TEST("a renegotiation is refused, and the connection goes on")
{
    struct wire wire;
    unsigned char got[10];
    open_wire(&wire, 1 << 20);
    CHECK(mbedtls_ssl_renegotiate(&wire.client.ssl) == MBEDTLS_ERR_SSL_WANT_READ);
    CHECK(transport_receive(&wire.ours, room, sizeof room) == TRANSPORT_BLOCKED);
    CHECK(transport_send(&wire.ours, "hello", 5) == 5);
    CHECK(mbedtls_ssl_read(&wire.client.ssl, got, sizeof got) < 0); /* "no renegotiation": this client gives up */
    close_wire(&wire);
}

TEST("a peer that sends nothing but alerts is not listened to for long")
{
    struct wire wire;
    unsigned alerts = 0;
    open_wire(&wire, 1 << 20);
    while (alerts < 10000 && transport_receive(&wire.ours, room, sizeof room) == TRANSPORT_BLOCKED)
        for (unsigned i = 0; i < 20; i++, alerts++)
            TLS_MUST(mbedtls_ssl_send_alert_message(&wire.client.ssl, MBEDTLS_SSL_ALERT_LEVEL_WARNING,
                                                    MBEDTLS_SSL_ALERT_MSG_USER_CANCELED));
    CHECK(alerts > 32 && alerts < 80);
    CHECK(transport_send(&wire.ours, "x", 1) == TRANSPORT_BROKEN);
    close_wire(&wire);
}

/* Warning alerts in plain text, as they come before hands are shaken. */
static size_t pump_alerts(int fd, size_t most)
{
    static const char alert[7] = {21, 3, 3, 0, 2, 1, 90};
    size_t sent = 0;
    while (sent < most && send(fd, alert, sizeof alert, MSG_NOSIGNAL) == (ssize_t)sizeof alert)
        sent += sizeof alert;
    return sent;
}

TEST("a client that sends nothing but alerts while hands are shaken is not listened to for long")
{
    struct wire wire;
    size_t sent = 0;
    make_context(&wire, false);
    connect_wire(&wire, 0, NULL, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    CHECK(mbedtls_ssl_handshake(&wire.client.ssl) == MBEDTLS_ERR_SSL_WANT_READ);
    enum tls_step step = tls_session_handshake(wire.ours.tls);
    for (; step == TLS_STEP_WANTS_READ && sent < 1000000; step = tls_session_handshake(wire.ours.tls))
        sent += pump_alerts(wire.client.fd, 7000);
    CHECK(step == TLS_STEP_FAILED && tls_session_failure(wire.ours.tls) == TLS_FAILURE_PROTOCOL);
    CHECK(sent < 65536);
    close_wire(&wire);
}

TEST("a server that sends nothing but alerts lets the client look up from time to time")
{
    char error[TLS_ERROR_SIZE];
    int pair[2], left = 0, most = 4 << 20;
    struct tls_client *client = tls_client_new(&(struct tls_client_options){.insecure = true}, error);
    CHECK(client && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &most, sizeof most) == 0);
    struct tls_stream *stream = tls_stream_new(client, "localhost", pair[0]);
    CHECK(stream && tls_stream_handshake(stream) == 0); /* its hello is out */
    static char alerts[7 * 14000];
    for (size_t i = 0; i < sizeof alerts; i += 7)
        memcpy(alerts + i, "\25\3\3\0\2\1\132", 7);
    ssize_t sent = write(pair[1], alerts, sizeof alerts);
    CHECK(sent == (ssize_t)sizeof alerts);
    CHECK(tls_stream_handshake(stream) == 0);
    CHECK(ioctl(pair[0], FIONREAD, &left) == 0 && left > 0 && left < (int)sizeof alerts);
    tls_stream_free(stream);
    tls_client_free(client);
    close(pair[0]);
    close(pair[1]);
}

/* One more certificate for the client to send, with an RSA key of that size; whether hands are shaken then. */
static bool sends_along(unsigned bits, unsigned exponent_bits, unsigned times)
{
    struct wire wire;
    unsigned char pem[8192], modulus[1024], exponent[8] = {0};
    mbedtls_x509write_cert cert;
    mbedtls_pk_context key;
    mbedtls_mpi serial;
    make_context(&wire, true);
    tls_test_make(&wire.client_pair, wire.folder, "agent", "CN=agent", &wire.authority, NO_NAMES);
    memset(modulus, 0xc5, sizeof modulus);
    exponent[7 - (exponent_bits - 1) / 8] = (unsigned char)(1 << (exponent_bits - 1) % 8);
    exponent[7] |= 1;
    mbedtls_pk_init(&key);
    mbedtls_mpi_init(&serial);
    mbedtls_x509write_crt_init(&cert);
    TLS_MUST(mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA)));
    TLS_MUST(mbedtls_rsa_import_raw(mbedtls_pk_rsa(key), modulus, bits / 8, NULL, 0, NULL, 0, NULL, 0, exponent, 8));
    TLS_MUST(mbedtls_rsa_complete(mbedtls_pk_rsa(key)));
    TLS_MUST(mbedtls_mpi_lset(&serial, 3));
    mbedtls_x509write_crt_set_version(&cert, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&cert, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&cert, &key);
    mbedtls_x509write_crt_set_issuer_key(&cert, &wire.authority.key);
    TLS_MUST(mbedtls_x509write_crt_set_subject_name(&cert, "CN=Beside"));
    TLS_MUST(mbedtls_x509write_crt_set_issuer_name(&cert, "CN=Authority"));
    TLS_MUST(mbedtls_x509write_crt_set_serial(&cert, &serial));
    TLS_MUST(mbedtls_x509write_crt_set_validity(&cert, "20200101000000", "20490101000000"));
    TLS_MUST(mbedtls_x509write_crt_pem(&cert, pem, sizeof pem, tls_test_random, NULL));
    for (unsigned i = 0; i < times; i++)
        TLS_MUST(mbedtls_x509_crt_parse(&wire.client_pair.cert, pem, strlen((const char *)pem) + 1));
    mbedtls_x509write_crt_free(&cert);
    mbedtls_mpi_free(&serial);
    mbedtls_pk_free(&key);
    connect_wire(&wire, 0, &wire.client_pair, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    bool good = shake_hands(&wire);
    if (!good) {
        char why[100];
        CHECK(tls_session_failure(wire.ours.tls) == TLS_FAILURE_CERTIFICATE);
        tls_session_explain(wire.ours.tls, why, sizeof why);
        CHECK(strstr(why, "unacceptable key"));
    }
    tls_test_free(&wire.client_pair);
    close_wire(&wire);
    return good;
}

TEST("a client sends five certificates at most, and no keys that take long to compute with")
{
    CHECK(sends_along(4096, 32, 4));
    CHECK(!sends_along(2048, 17, 5));
    CHECK(!sends_along(4104, 17, 1));
    CHECK(!sends_along(2048, 33, 1));
}

TEST("a client certificate gives its names, also later by its session, and none that could be read in two ways")
{
    struct wire wire;
    unsigned char names[300], *at = names + sizeof names;
    make_context(&wire, true);
    tls_test_name(&at, names, 0x82, "agent.example", 13);
    tls_test_name(&at, names, 0x86, "urn:agent:1\0evil", 16);
    tls_test_name(&at, names, 0x82, "a\nb", 3);
    tls_test_name(&at, names, 0x86, "urn:agent:7", 11);
    tls_test_name(&at, names, 0x81, "mail@agent.example", 18);
    size_t length = (size_t)(names + sizeof names - at);
    CHECK(mbedtls_asn1_write_len(&at, names, length) > 0 && mbedtls_asn1_write_tag(&at, names, 0x30) > 0);
    tls_test_make(&wire.client_pair, wire.folder, "agent", "CN=agent-7,O=Test", &wire.authority, at,
                  (size_t)(names + sizeof names - at));
    connect_wire(&wire, 1 << 20, &wire.client_pair, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    CHECK(shake_hands(&wire));
    const struct tls_peer *peer = transport_peer_certificate(&wire.ours);
    CHECK(peer && peer->name_count == 2);
    CHECK_TEXT(peer->common_name.data, peer->common_name.length, "agent-7");
    CHECK(peer->names[0].kind == TLS_NAME_URI && peer->names[1].kind == TLS_NAME_DNS);
    CHECK_TEXT(peer->names[0].text.data, peer->names[0].text.length, "urn:agent:7");
    CHECK_TEXT(peer->names[1].text.data, peer->names[1].text.length, "agent.example");
    CHECK(peer->not_after_s == 2493072000); /* date -u -d 2049-01-01 +%s */
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    CHECK(mbedtls_ssl_get_session(&wire.client.ssl, &session) == 0 && !tls_session_resumed(wire.ours.tls));
    transport_close(&wire.ours);
    tls_test_client_close(&wire.client);
    connect_wire(&wire, 1 << 20, NULL, MBEDTLS_SSL_MAX_FRAG_LEN_NONE); /* by the session alone */
    CHECK(mbedtls_ssl_set_session(&wire.client.ssl, &session) == 0);
    CHECK(shake_hands(&wire) && tls_session_resumed(wire.ours.tls));
    peer = transport_peer_certificate(&wire.ours);
    CHECK(peer && peer->name_count == 2);
    CHECK_TEXT(peer->common_name.data, peer->common_name.length, "agent-7");
    mbedtls_ssl_session_free(&session);
    tls_test_free(&wire.client_pair);
    close_wire(&wire);
}

/* A second handshake with the first one's session, by its id, and that suite. */
static bool resumes_with(int suite)
{
    struct wire wire;
    const int suites[] = {suite, 0};
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    make_context(&wire, false);
    connect_wire(&wire, 1 << 20, NULL, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    mbedtls_ssl_conf_session_tickets(&wire.client.config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    mbedtls_ssl_conf_ciphersuites(&wire.client.config,
                                  (const int[]){MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0});
    CHECK(shake_hands(&wire) && !tls_session_resumed(wire.ours.tls));
    CHECK(mbedtls_ssl_get_session(&wire.client.ssl, &session) == 0);
    transport_close(&wire.ours);
    tls_test_client_close(&wire.client);
    connect_wire(&wire, 1 << 20, NULL, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    mbedtls_ssl_conf_session_tickets(&wire.client.config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    mbedtls_ssl_conf_ciphersuites(&wire.client.config, suites);
    CHECK(mbedtls_ssl_set_session(&wire.client.ssl, &session) == 0);
    CHECK(shake_hands(&wire));
    bool resumed = tls_session_resumed(wire.ours.tls);
    mbedtls_ssl_session_free(&session);
    close_wire(&wire);
    return resumed;
}

TEST("a session that is found, but whose suite is not on offer any more, is not taken up, nor said to be")
{
    CHECK(resumes_with(MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256));
    CHECK(!resumes_with(MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384));
}

TEST("no client certificate, no names; and with none asked for there are none either")
{
    struct wire wire;
    make_context(&wire, true);
    connect_wire(&wire, 1 << 20, NULL, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    CHECK(shake_hands(&wire) && !transport_peer_certificate(&wire.ours));
    close_wire(&wire);
    make_context(&wire, false);
    tls_test_make(&wire.client_pair, wire.folder, "agent", "CN=agent", &wire.authority, NO_NAMES);
    connect_wire(&wire, 1 << 20, &wire.client_pair, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    CHECK(shake_hands(&wire) && !transport_peer_certificate(&wire.ours));
    tls_test_free(&wire.client_pair);
    close_wire(&wire);
}

TEST("a client certificate that nobody vouches for fails the handshake")
{
    struct wire wire;
    make_context(&wire, true);
    tls_test_make(&wire.client_pair, wire.folder, "agent", "CN=agent", NULL, NO_NAMES);
    connect_wire(&wire, 1 << 20, &wire.client_pair, MBEDTLS_SSL_MAX_FRAG_LEN_NONE);
    CHECK(!shake_hands(&wire));
    CHECK(tls_session_failure(wire.ours.tls) == TLS_FAILURE_CERTIFICATE);
    char why[100];
    tls_session_explain(wire.ours.tls, why, sizeof why);
    CHECK(strstr(why, "not correctly signed by the trusted CA"));
    tls_test_free(&wire.client_pair);
    close_wire(&wire);
}

TEST("contexts of the same contents are equal, others are not")
{
    struct wire one, two;
    char error[256];
    make_context(&one, true);
    make_context(&two, true);
    CHECK(tls_context_equal(one.context, one.context) && !tls_context_equal(one.context, two.context));
    struct tls_pair pair = {.certificate = one.server.cert_path, .key = one.server.key_path, .label = "tls."};
    struct tls_options options = {.pairs = &pair, .pair_count = 1, .client_ca = one.authority.cert_path, .slots = 3};
    struct tls_context *same = tls_context_load(&options, error, sizeof error);
    CHECK(tls_context_equal(one.context, same));
    options.require_client_certificate = true;
    struct tls_context *other = tls_context_load(&options, error, sizeof error);
    CHECK(!tls_context_equal(same, other) && !tls_context_equal(NULL, same) && tls_context_equal(NULL, NULL));
    tls_context_release(same);
    tls_context_release(other);
    for (struct wire *each = &one; each; each = each == &one ? &two : NULL) {
        tls_context_release(each->context);
        tls_test_free(&each->authority);
        tls_test_free(&each->server);
        rmdir(each->folder);
    }
}

TEST("bytes behind the last certificate of a chain are refused, and nothing behind them is read")
{
    static const unsigned char one[] = {0, 0, 1, 0}, two[] = {0, 0, 2, 0, 0}, three[] = {0, 0, 3, 0, 0, 0};
    CHECK(tls_chain_check(one, sizeof one) == MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE);
    CHECK(tls_chain_check(two, sizeof two) == MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE);
    CHECK(tls_chain_check(three, sizeof three) == MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE);
}
