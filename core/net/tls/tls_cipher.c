#include "net/tls/tls_cipher.h"

#include <mbedtls/ssl_ciphersuites.h>
#include <stdbool.h>
#include <string.h>
#if defined(__aarch64__) && defined(LUADUCT_LINUX)
#include <sys/auxv.h>
#endif

static const struct tls_cipher ciphers[TLS_CIPHERS] = {
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_AES_256_GCM},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_256_GCM},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
     TLS_CHACHA20_POLY1305},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
     TLS_CHACHA20_POLY1305},
};
#define CHACHA20_FROM 4u

static bool has_aes_instructions(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__) && defined(HWCAP_AES) && defined(HWCAP_PMULL)
    return (getauxval(AT_HWCAP) & (HWCAP_AES | HWCAP_PMULL)) == (HWCAP_AES | HWCAP_PMULL);
#elif defined(__ARM_FEATURE_AES) /* the compiler was told so */
    return true;
#else
    return false;
#endif
}

const struct tls_cipher *tls_cipher_at(size_t index)
{
    if (index >= TLS_CIPHERS)
        return NULL;
    return &ciphers[has_aes_instructions() ? index : (index + CHACHA20_FROM) % TLS_CIPHERS];
}

const struct tls_cipher *tls_cipher_named(const char *name)
{
    for (size_t i = 0; i < TLS_CIPHERS; i++)
        if (strcmp(ciphers[i].name, name) == 0)
            return &ciphers[i];
    return NULL;
}

const struct tls_cipher *tls_cipher_numbered(int id)
{
    for (size_t i = 0; i < TLS_CIPHERS; i++)
        if (ciphers[i].id == id)
            return &ciphers[i];
    return NULL;
}
