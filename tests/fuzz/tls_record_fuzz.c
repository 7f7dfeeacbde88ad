/* What a stranger sends first, in records, without the arithmetic that an answer takes: the server's own bytes find no
 * room in the socket, so it stops before its key exchange. tls_fuzz.c goes further, and a thousand times slower. The
 * first byte chooses: 0 to 159 pieces in which the bytes come; 160 to 179 the content of a record, and what is changed
 * of it on its way; 180 to 199 a Certificate message of a client's; 200 and more a certificate in DER, of which we keep
 * the names. */
#include <stdint.h>

#include "../support/tls_peer.h"
#include "memory.h"
#include "memory/pool.h"
#include "net/tls/tls_chain.h"
#include "net/tls/tls_peer.h"
#include "net/tls/tls_session.h"
#include "require.h"

#define INPUT_MOST 20000u
#define RECORD 160
#define CHAIN 180
#define CERTIFICATE 200

static struct tls_context *context;
static int ours, theirs;

static void start(void)
{
    static char folder[] = "/tmp/luaduct-fuzz-XXXXXX";
    static struct tls_test_pair server;
    static const char filler[4096];
    char error[256];
    int pair[2];
    REQUIRE(mkdtemp(folder));
    tls_test_make(&server, folder, "server", "CN=server", NULL, NULL, 0);
    struct tls_pair certificate = {.certificate = server.cert_path, .key = server.key_path, .label = "tls."};
    struct tls_options options = {.pairs = &certificate, .pair_count = 1, .client_ca = server.cert_path, .slots = 1};
    context = tls_context_load(&options, error, sizeof error);
    REQUIRE(context);
    tls_test_free(&server);
    rmdir(folder);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    ours = pair[0], theirs = pair[1];
    while (send(ours, filler, sizeof filler, 0) > 0)
        continue;
    while (send(ours, filler, 1, 0) > 0)
        continue;
}

static void shake_hands(const uint8_t *bytes, size_t length, size_t piece)
{
    static char rest[INPUT_MOST];
    struct tls_session *session = tls_session_new(context, 0, ours);
    enum tls_step step = TLS_STEP_WANTS_READ;
    REQUIRE(session);
    for (size_t at = 0; at < length && step == TLS_STEP_WANTS_READ; at += piece) {
        size_t now = length - at < piece ? length - at : piece;
        REQUIRE(send(theirs, bytes + at, now, MSG_NOSIGNAL) == (ssize_t)now);
        step = tls_session_handshake(session);
        REQUIRE(step != TLS_STEP_DONE && !tls_session_peer(session));
    }
    if (step == TLS_STEP_FAILED) {
        char why[100];
        REQUIRE(tls_session_failure(session) != TLS_FAILURE_NONE);
        tls_session_explain(session, why, sizeof why);
        REQUIRE(why[0] && !memchr(why, '\n', strlen(why)));
        REQUIRE(tls_session_receive(session, rest, sizeof rest) < 0 && tls_session_send(session, "x", 1) < 0);
    }
    tls_session_free(session);
    while (recv(ours, rest, sizeof rest, 0) > 0)
        continue;
}

/* Names that are kept have no control characters in them. */
static void keep_names(const uint8_t *bytes, size_t length, bool scarce)
{
    mbedtls_x509_crt certificate;
    mbedtls_x509_crt_init(&certificate);
    if (mbedtls_x509_crt_parse_der(&certificate, bytes, length) == 0) {
        struct tls_issue issue = tls_issue_of(&certificate, &certificate);
        pool_set_enabled(!scarce);
        memory_fail(scarce);
        struct tls_peer *peer = tls_peer_new(&certificate, &issue);
        REQUIRE((peer == NULL) == memory_failed());
        pool_set_enabled(true);
        for (unsigned i = 0; peer && i < peer->name_count; i++) {
            REQUIRE(peer->names[i].text.length > 0);
            for (size_t at = 0; at < peer->names[i].text.length; at++)
                REQUIRE((unsigned char)peer->names[i].text.data[at] >= ' ');
        }
        REQUIRE(!peer || peer->name_count <= TLS_PEER_NAMES);
        if (peer) {
            pool_set_enabled(!scarce);
            tls_peer_free(peer);
            pool_set_enabled(true);
        }
    }
    mbedtls_x509_crt_free(&certificate);
}

/* What is let through is few certificates and small ones. */
static void check_chain(const uint8_t *bytes, size_t length)
{
    uint8_t *exact = malloc(length ? length : 1);
    size_t count = 0;
    REQUIRE(exact);
    memcpy(exact, bytes, length);
    if (tls_chain_check(exact, length) == 0) {
        size_t at = 3;
        for (; at + 3 <= length; count++)
            at += 3 + ((size_t)exact[at] << 16 | (size_t)exact[at + 1] << 8 | exact[at + 2]);
        REQUIRE(at == length && count <= TLS_CHAIN_CERTIFICATES);
    }
    free(exact);
}

/* A record comes as it was sent, or not at all; its head never announces more than there is room for. */
static void pass_record(uint8_t how, const uint8_t *content, size_t length)
{
    static const uint8_t key[TLS_KEY_BYTES], nonce[TLS_NONCE_BYTES];
    static unsigned char record[TLS_RECORD_MOST], opened[TLS_RECORD_MOST];
    struct tls_record_state seals = {0}, opens = {0};
    enum tls_aead aead = (enum tls_aead)(how % 3);
    length = length > TLS_RECORD_BYTES ? TLS_RECORD_BYTES : length;
    REQUIRE(tls_record_begin(&seals, aead, TLS_SEALS, key, nonce, how));
    REQUIRE(tls_record_begin(&opens, aead, TLS_OPENS, key, nonce, how));
    if (length >= TLS_RECORD_HEAD)
        REQUIRE(tls_record_length(&opens, content) <= TLS_RECORD_MOST);
    size_t bytes = tls_record_seal(&seals, TLS_APPLICATION, content, length, record);
    size_t changed = length > 1 ? (size_t)(content[0] << 8 | content[1]) % bytes : 0;
    bool same = how % 2 == 0 || (changed > 0 && changed < TLS_RECORD_HEAD);
    if (!same)
        record[changed] ^= 1;
    long got = tls_record_open(&opens, record, bytes, opened);
    REQUIRE(same ? got == (long)length && memcmp(opened, content, length) == 0 : got == -1);
    tls_record_end(&seals);
    tls_record_end(&opens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!context)
        start();
    if (size < 2 || size > INPUT_MOST)
        return 0;
    if (data[0] >= CERTIFICATE)
        keep_names(data + 1, size - 1, data[0] & 1);
    else if (data[0] >= CHAIN)
        check_chain(data + 1, size - 1);
    else if (data[0] >= RECORD)
        pass_record(data[0], data + 1, size - 1);
    else
        shake_hands(data + 1, size - 1, 1 + data[0] * 97u);
    return 0;
}
