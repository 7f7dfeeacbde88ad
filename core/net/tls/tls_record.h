/* Records of TLS 1.2 (RFC 5246 6.2) under an AEAD: AES-GCM (RFC 5288) or ChaCha20-Poly1305 (RFC 7905), one direction of
 * one connection. Hands are shaken by mbedtls, which gives away the keys (tls_session.c); from then on libcrypto seals
 * and opens, a record at a time and into the caller's buffers: many times as fast, and a connection that says nothing
 * holds no buffers. */
#ifndef LUADUCT_NET_TLS_RECORD_H
#define LUADUCT_NET_TLS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/tls/tls_cipher.h"

/* The largest content of a record (RFC 5246 6.2.1). */
#define TLS_RECORD_BYTES 16384u

/* What stands before the sealed content: type, version, length. */
#define TLS_RECORD_HEAD 5u

/* The longest record. */
#define TLS_RECORD_MOST (TLS_RECORD_HEAD + 8 + TLS_RECORD_BYTES + 16)

#define TLS_KEY_BYTES 32
#define TLS_NONCE_BYTES 12

enum tls_content { TLS_CHANGE_CIPHER = 20, TLS_ALERT = 21, TLS_HANDSHAKE = 22, TLS_APPLICATION = 23 };

enum tls_direction { TLS_OPENS, TLS_SEALS };

/* One direction: a key, and the number of the next record. */
struct tls_record_state {
    struct evp_cipher_ctx_st *cipher;
    uint64_t sequence;
    unsigned char nonce[TLS_NONCE_BYTES]; /* that the handshake gave; of AES-GCM only the first four */
    bool explicit_nonce;                  /* its other eight bytes travel in each record */
};

/* Once, or more often, before anything else here: libcrypto reads no configuration files. False: it does not start. */
bool tls_record_start(void);

/* Bytes of a key, and of what the handshake gives of the nonce (RFC 5246 6.3). */
size_t tls_key_bytes(enum tls_aead aead);
size_t tls_nonce_bytes(enum tls_aead aead);

/* The next record is number `sequence`. The state is all zero before. False: no memory. */
bool tls_record_begin(struct tls_record_state *state, enum tls_aead aead, enum tls_direction direction,
                      const unsigned char *key, const unsigned char *nonce, uint64_t sequence);

/* Overwrites the key. All zero is fine. */
void tls_record_end(struct tls_record_state *state);

/* Writes the whole record to `out`, which has room for TLS_RECORD_HEAD + tls_record_overhead + length. `length` is at
 * most TLS_RECORD_BYTES. Gives its bytes; 0: the library failed, and nothing more can be sent. */
size_t tls_record_seal(struct tls_record_state *state, enum tls_content type, const void *content, size_t length,
                       unsigned char *out);

/* The length that the head of a record announces, head included; 0: it is none that we take. The type is the caller's
 * to judge once it is opened. */
size_t tls_record_length(const struct tls_record_state *state, const unsigned char head[TLS_RECORD_HEAD]);

/* Opens a whole record of `length` (tls_record_length) bytes into `out`, which may not overlap, and has room for its
 * content: never more bytes than the record. Gives the bytes of content; -1: somebody changed it, nothing in `out`
 * counts. */
long tls_record_open(struct tls_record_state *state, const unsigned char *record, size_t length, unsigned char *out);

/* Bytes that sealing adds to the content, beside the head. */
size_t tls_record_overhead(const struct tls_record_state *state);

#endif
