#include "../../support/unit.h"

#include "net/tls/tls_record.h"

static const unsigned char key[TLS_KEY_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8};
static const unsigned char nonce[TLS_NONCE_BYTES] = {9, 8, 7, 6, 5, 4, 3, 2, 1};
static const enum tls_aead all[] = {TLS_AES_128_GCM, TLS_AES_256_GCM, TLS_CHACHA20_POLY1305};

static unsigned char record[TLS_RECORD_MOST], text[TLS_RECORD_BYTES], got[TLS_RECORD_MOST];

static void begin(struct tls_record_state *seals, struct tls_record_state *opens, enum tls_aead aead, uint64_t number)
{
    memset(seals, 0, sizeof *seals);
    memset(opens, 0, sizeof *opens);
    CHECK(tls_record_begin(seals, aead, TLS_SEALS, key, nonce, number));
    CHECK(tls_record_begin(opens, aead, TLS_OPENS, key, nonce, number));
}

static size_t from_hex(const char *hex, unsigned char *out)
{
    size_t length = 0;
    for (unsigned byte; sscanf(hex + 2 * length, "%2x", &byte) == 1; length++)
        out[length] = (unsigned char)byte;
    return length;
}

TEST("TLS records: what is sealed is opened, of every length, by every cipher")
{
    struct tls_record_state seals, opens;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i * 31);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        begin(&seals, &opens, all[i], UINT32_MAX - 3u); /* across 2^32 */
        for (size_t length = 0; length <= sizeof text; length = length < 40 ? length + 1 : length * 2 + 1) {
            size_t bytes = tls_record_seal(&seals, TLS_APPLICATION, text, length, record);
            CHECK(bytes == TLS_RECORD_HEAD + tls_record_overhead(&seals) + length);
            CHECK(record[0] == TLS_APPLICATION && tls_record_length(&opens, record) == bytes);
            CHECK(tls_record_open(&opens, record, bytes, got) == (long)length && memcmp(got, text, length) == 0);
        }
        CHECK(tls_record_seal(&seals, TLS_APPLICATION, text, sizeof text, record) <= TLS_RECORD_MOST);
        tls_record_end(&seals);
        tls_record_end(&opens);
    }
}

TEST("TLS records: one that was changed, left out, repeated or moved is refused")
{
    struct tls_record_state seals, opens;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        begin(&seals, &opens, all[i], 1);
        size_t bytes = tls_record_seal(&seals, TLS_APPLICATION, "hello", 5, record);
        for (size_t at = 0; at < bytes; at++) {
            if (at >= 1 && at < TLS_RECORD_HEAD)
                continue; /* version and length: the head is judged by itself */
            record[at] ^= 0x10;
            CHECK(tls_record_open(&opens, record, bytes, got) == -1);
            record[at] ^= 0x10;
        }
        CHECK(tls_record_open(&opens, record, bytes, got) == 5);
        CHECK(tls_record_open(&opens, record, bytes, got) == -1); /* again */
        tls_record_seal(&seals, TLS_APPLICATION, "lost!", 5, record);
        bytes = tls_record_seal(&seals, TLS_APPLICATION, "after", 5, record);
        CHECK(tls_record_open(&opens, record, bytes, got) == -1);
        tls_record_end(&seals);
        tls_record_end(&opens);
    }
}

TEST("TLS records: a head that announces too much, too little or another version is none")
{
    struct tls_record_state opens = {0};
    CHECK(tls_record_begin(&opens, TLS_AES_128_GCM, TLS_OPENS, key, nonce, 0));
    const struct {
        unsigned char head[TLS_RECORD_HEAD];
        size_t length;
    } cases[] = {
        {{23, 3, 3, 0, 24}, 29},   {{23, 3, 3, 0, 23}, 0},    {{23, 3, 3, 0, 0}, 0},   {{23, 3, 1, 0, 24}, 0},
        {{23, 2, 3, 0, 24}, 0},    {{23, 3, 4, 0, 24}, 0},    {{22, 3, 3, 1, 0}, 261}, {{23, 3, 3, 0x40, 24}, 16413},
        {{23, 3, 3, 0x40, 25}, 0}, {{23, 3, 3, 255, 255}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK(tls_record_length(&opens, cases[i].head) == cases[i].length);
    tls_record_end(&opens);
}

/* Made outside of this project (Node's crypto), nonces and what is authenticated put together as the RFCs say. */
TEST("TLS records: are those that others make")
{
    static const struct {
        enum tls_aead aead;
        const char *record;
    } cases[] = {
        {TLS_AES_128_GCM, "170303001d01020304050607084d524000ee3649a0d1dbb8c2aeed24f7230c82a7eb"},
        {TLS_AES_256_GCM, "170303001d0102030405060708a1efbbaf5ff657311b16e8839ee09619a38fe7c1c0"},
        {TLS_CHACHA20_POLY1305, "17030300150b200fe6f0130a93e9d75f94714ce070bd152ae5c4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tls_record_state seals, opens;
        unsigned char expected[100];
        begin(&seals, &opens, cases[i].aead, 0x0102030405060708);
        size_t bytes = from_hex(cases[i].record, expected);
        CHECK(tls_record_seal(&seals, TLS_APPLICATION, "hello", 5, record) == bytes);
        CHECK(memcmp(record, expected, bytes) == 0);
        CHECK(tls_record_open(&opens, expected, bytes, got) == 5);
        tls_record_end(&seals);
        tls_record_end(&opens);
    }
}
