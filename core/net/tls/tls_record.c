#include "net/tls/tls_record.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define TAG_BYTES 16u
#define EXPLICIT_BYTES 8u
#define SALT_BYTES 4u

/* TLS 1.2 on the wire. */
#define VERSION_MAJOR 3
#define VERSION_MINOR 3

static const EVP_CIPHER *cipher_of(enum tls_aead aead)
{
    switch (aead) {
    case TLS_AES_128_GCM:
        return EVP_aes_128_gcm();
    case TLS_AES_256_GCM:
        return EVP_aes_256_gcm();
    case TLS_CHACHA20_POLY1305:
        break;
    }
    return EVP_chacha20_poly1305();
}

bool tls_record_start(void)
{
    return OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1;
}

size_t tls_key_bytes(enum tls_aead aead)
{
    return aead == TLS_AES_128_GCM ? 16 : 32;
}

size_t tls_nonce_bytes(enum tls_aead aead)
{
    return aead == TLS_CHACHA20_POLY1305 ? TLS_NONCE_BYTES : SALT_BYTES;
}

bool tls_record_begin(struct tls_record_state *state, enum tls_aead aead, enum tls_direction direction,
                      const unsigned char *key, const unsigned char *nonce, uint64_t sequence)
{
    state->sequence = sequence;
    state->explicit_nonce = aead != TLS_CHACHA20_POLY1305;
    memcpy(state->nonce, nonce, tls_nonce_bytes(aead));
    state->cipher = EVP_CIPHER_CTX_new();
    if (state->cipher &&
        EVP_CipherInit_ex2(state->cipher, cipher_of(aead), key, NULL, direction == TLS_SEALS, NULL) == 1)
        return true;
    tls_record_end(state);
    return false;
}

void tls_record_end(struct tls_record_state *state)
{
    EVP_CIPHER_CTX_free(state->cipher); /* which overwrites it */
    OPENSSL_cleanse(state, sizeof *state);
}

size_t tls_record_overhead(const struct tls_record_state *state)
{
    return (state->explicit_nonce ? EXPLICIT_BYTES : 0) + TAG_BYTES;
}

static void put_sequence(unsigned char out[8], uint64_t sequence)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (unsigned char)(sequence >> (56 - 8 * i));
}

/* With the number of the record, which is never used again (RFC 5288 3, RFC 7905 2), or, from a peer, with what it
 * chose. */
static void make_nonce(const struct tls_record_state *state, const unsigned char number[8],
                       unsigned char out[TLS_NONCE_BYTES])
{
    memcpy(out, state->nonce, TLS_NONCE_BYTES);
    for (unsigned i = 0; i < 8; i++)
        out[SALT_BYTES + i] ^= number[i];
}

/* What is authenticated beside the content (RFC 5246 6.2.3.3). */
static bool add_context(struct tls_record_state *state, const unsigned char nonce[TLS_NONCE_BYTES], unsigned char type,
                        size_t length)
{
    unsigned char context[13];
    int ignored;
    put_sequence(context, state->sequence);
    context[8] = type;
    context[9] = VERSION_MAJOR;
    context[10] = VERSION_MINOR;
    context[11] = (unsigned char)(length >> 8);
    context[12] = (unsigned char)length;
    return EVP_CipherInit_ex2(state->cipher, NULL, NULL, nonce, -1, NULL) == 1 &&
           EVP_CipherUpdate(state->cipher, NULL, &ignored, context, sizeof context) == 1;
}

size_t tls_record_seal(struct tls_record_state *state, enum tls_content type, const void *content, size_t length,
                       unsigned char *out)
{
    unsigned char nonce[TLS_NONCE_BYTES], number[8];
    size_t body = length + tls_record_overhead(state);
    unsigned char *sealed = out + TLS_RECORD_HEAD;
    int written = 0, last = 0;
    out[0] = (unsigned char)type;
    out[1] = VERSION_MAJOR;
    out[2] = VERSION_MINOR;
    out[3] = (unsigned char)(body >> 8);
    out[4] = (unsigned char)body;
    put_sequence(number, state->sequence);
    make_nonce(state, number, nonce);
    if (state->explicit_nonce) {
        memcpy(sealed, number, EXPLICIT_BYTES);
        sealed += EXPLICIT_BYTES;
    }
    if (!add_context(state, nonce, (unsigned char)type, length) ||
        EVP_CipherUpdate(state->cipher, sealed, &written, content, (int)length) != 1 ||
        EVP_CipherFinal_ex(state->cipher, sealed + written, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(state->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, sealed + length) != 1)
        return 0;
    state->sequence++;
    return TLS_RECORD_HEAD + body;
}

size_t tls_record_length(const struct tls_record_state *state, const unsigned char head[TLS_RECORD_HEAD])
{
    size_t body = (size_t)head[3] << 8 | head[4], overhead = tls_record_overhead(state);
    if (head[1] != VERSION_MAJOR || head[2] != VERSION_MINOR || body < overhead || body > TLS_RECORD_BYTES + overhead)
        return 0;
    return TLS_RECORD_HEAD + body;
}

long tls_record_open(struct tls_record_state *state, const unsigned char *record, size_t length, unsigned char *out)
{
    unsigned char nonce[TLS_NONCE_BYTES], number[8], tag[TAG_BYTES];
    const unsigned char *sealed = record + TLS_RECORD_HEAD;
    size_t content = length - TLS_RECORD_HEAD - tls_record_overhead(state);
    int written = 0, last = 0;
    if (state->explicit_nonce) {
        memcpy(number, sealed, EXPLICIT_BYTES);
        sealed += EXPLICIT_BYTES;
    } else {
        put_sequence(number, state->sequence);
    }
    make_nonce(state, number, nonce);
    memcpy(tag, sealed + content, TAG_BYTES); /* the library wants it without const */
    if (!add_context(state, nonce, record[0], content) ||
        EVP_CipherUpdate(state->cipher, out, &written, sealed, (int)content) != 1 ||
        EVP_CIPHER_CTX_ctrl(state->cipher, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) != 1 ||
        EVP_CipherFinal_ex(state->cipher, out + written, &last) != 1)
        return -1;
    state->sequence++;
    return (long)content;
}
