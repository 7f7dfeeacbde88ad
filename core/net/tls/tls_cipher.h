/* The cipher suites there are: TLS 1.2, forward secrecy (ECDHE), authenticated encryption. */
#ifndef LUADUCT_NET_TLS_CIPHER_H
#define LUADUCT_NET_TLS_CIPHER_H

#include <stddef.h>

#define TLS_CIPHERS 6

enum tls_aead { TLS_AES_128_GCM, TLS_AES_256_GCM, TLS_CHACHA20_POLY1305 };

struct tls_cipher {
    const char *name; /* as the IANA registry has it */
    int id;           /* as the registry and the library number it */
    enum tls_aead aead;
};

/* By speed, best first: AES where the processor has instructions for it, else ChaCha20. NULL past the last. */
const struct tls_cipher *tls_cipher_at(size_t index);

/* NULL: there is none. */
const struct tls_cipher *tls_cipher_named(const char *name);
const struct tls_cipher *tls_cipher_numbered(int id);

#endif
