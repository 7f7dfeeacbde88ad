/* What the libraries' own primitives allow on this machine: the order of cipher suites and curves follows from it, and
 * neither a handshake nor a record can be faster than what it is made of.
 *
 *     make build/bench/tls_primitives && build/bench/tls_primitives [handshakes] */
#include <mbedtls/cipher.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/entropy.h>
#include <mbedtls/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls/tls_record.h"

#define SECONDS 1.0
#define RECORD 16384

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;

/* Of the processor: others may use the machine too. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(cpu_ns() - start_ns) / 1e9;
}

static void must(int failure, const char *what)
{
    if (failure == 0)
        return;
    fprintf(stderr, "%s: -0x%04x\n", what, (unsigned)-failure);
    exit(1);
}

static void show_records(const char *name, size_t length, uint64_t count, double seconds)
{
    printf("%-30s %6zu B  %8.1f MB/s  %8.2f us a record\n", name, length, (double)(count * length) / seconds / 1e6,
           seconds * 1e6 / (double)count);
}

static void measure_cipher(const char *name, mbedtls_cipher_type_t type, size_t length)
{
    static unsigned char in[RECORD], out[RECORD + 64], key[32], nonce[12], head[13];
    mbedtls_cipher_context_t cipher;
    const mbedtls_cipher_info_t *info = mbedtls_cipher_info_from_type(type);
    mbedtls_cipher_init(&cipher);
    must(mbedtls_cipher_setup(&cipher, info), name);
    must(mbedtls_cipher_setkey(&cipher, key, (int)info->key_bitlen, MBEDTLS_ENCRYPT), name);
    uint64_t start_ns = cpu_ns(), count = 0;
    while (seconds_since(start_ns) < SECONDS) {
        for (unsigned i = 0; i < 100; i++, count++) {
            size_t written;
            memcpy(nonce, &count, sizeof count);
            must(mbedtls_cipher_auth_encrypt_ext(&cipher, nonce, sizeof nonce, head, sizeof head, in, length, out,
                                                 length + 16, &written, 16),
                 name);
        }
    }
    show_records(name, length, count, seconds_since(start_ns));
    mbedtls_cipher_free(&cipher);
}

static void show(const char *name, uint64_t count, double seconds)
{
    printf("%-30s %8.0f /s  %8.3f ms\n", name, (double)count / seconds, seconds * 1e3 / (double)count);
}

/* A server's part of a key exchange: a fresh key, and the secret. */
static void measure_exchange(const char *name, mbedtls_ecp_group_id curve)
{
    mbedtls_ecp_group group;
    mbedtls_mpi own, secret;
    mbedtls_ecp_point mine, theirs;
    mbedtls_ecp_group_init(&group);
    mbedtls_mpi_init(&own);
    mbedtls_mpi_init(&secret);
    mbedtls_ecp_point_init(&mine);
    mbedtls_ecp_point_init(&theirs);
    uint64_t count = 0;
    must(mbedtls_ecp_group_load(&group, curve), name);
    must(mbedtls_ecdh_gen_public(&group, &own, &theirs, mbedtls_ctr_drbg_random, &drbg), name);
    uint64_t start_ns = cpu_ns();
    for (; seconds_since(start_ns) < SECONDS; count++) {
        mbedtls_ecp_group_free(&group); /* as the library does: each handshake loads the curve */
        mbedtls_ecp_group_init(&group);
        must(mbedtls_ecp_group_load(&group, curve), name);
        must(mbedtls_ecdh_gen_public(&group, &own, &mine, mbedtls_ctr_drbg_random, &drbg), name);
        must(mbedtls_ecdh_compute_shared(&group, &secret, &theirs, &own, mbedtls_ctr_drbg_random, &drbg), name);
    }
    show(name, count, seconds_since(start_ns));
    mbedtls_ecp_group_free(&group);
    mbedtls_mpi_free(&own);
    mbedtls_mpi_free(&secret);
    mbedtls_ecp_point_free(&mine);
    mbedtls_ecp_point_free(&theirs);
}

static void measure_ecdsa(const char *name, mbedtls_ecp_group_id curve)
{
    mbedtls_ecdsa_context key;
    unsigned char hash[32] = {1}, signature[MBEDTLS_ECDSA_MAX_LEN];
    size_t length;
    uint64_t count = 0;
    mbedtls_ecdsa_init(&key);
    must(mbedtls_ecdsa_genkey(&key, curve, mbedtls_ctr_drbg_random, &drbg), name);
    uint64_t start_ns = cpu_ns();
    for (; seconds_since(start_ns) < SECONDS; count++)
        must(mbedtls_ecdsa_write_signature(&key, MBEDTLS_MD_SHA256, hash, sizeof hash, signature, &length,
                                           mbedtls_ctr_drbg_random, &drbg),
             name);
    show(name, count, seconds_since(start_ns));
    mbedtls_ecdsa_free(&key);
}

static void measure_rsa(void)
{
    mbedtls_rsa_context key;
    unsigned char hash[32] = {1}, signature[256];
    uint64_t count = 0;
    mbedtls_rsa_init(&key, MBEDTLS_RSA_PKCS_V15, 0);
    must(mbedtls_rsa_gen_key(&key, mbedtls_ctr_drbg_random, &drbg, 2048, 65537), "RSA key");
    uint64_t start_ns = cpu_ns();
    for (; seconds_since(start_ns) < SECONDS; count++)
        must(mbedtls_rsa_pkcs1_sign(&key, mbedtls_ctr_drbg_random, &drbg, MBEDTLS_RSA_PRIVATE, MBEDTLS_MD_SHA256, 32,
                                    hash, signature),
             "RSA signature");
    show("RSA-2048 sign", count, seconds_since(start_ns));
    mbedtls_rsa_free(&key);
}

/* As connections have them: the record layer over libcrypto. */
static void measure_record(const char *name, enum tls_aead aead, size_t length)
{
    static unsigned char record[TLS_RECORD_MOST], content[TLS_RECORD_BYTES];
    static const unsigned char key[TLS_KEY_BYTES], nonce[TLS_NONCE_BYTES];
    struct tls_record_state seals = {0};
    uint64_t count = 0;
    must(tls_record_begin(&seals, aead, TLS_SEALS, key, nonce, 0) ? 0 : -1, name);
    uint64_t start_ns = cpu_ns();
    while (seconds_since(start_ns) < SECONDS)
        for (unsigned i = 0; i < 100; i++, count++)
            must(tls_record_seal(&seals, TLS_APPLICATION, content, length, record) > 0 ? 0 : -1, name);
    show_records(name, length, count, seconds_since(start_ns));
    tls_record_end(&seals);
}

static void measure_records(void)
{
    static const size_t lengths[] = {256, RECORD};
    for (unsigned i = 0; i < 2; i++) {
        measure_cipher("mbedtls AES-128-GCM", MBEDTLS_CIPHER_AES_128_GCM, lengths[i]);
        measure_cipher("mbedtls AES-256-GCM", MBEDTLS_CIPHER_AES_256_GCM, lengths[i]);
        measure_cipher("mbedtls ChaCha20-Poly1305", MBEDTLS_CIPHER_CHACHA20_POLY1305, lengths[i]);
        measure_record("libcrypto AES-128-GCM", TLS_AES_128_GCM, lengths[i]);
        measure_record("libcrypto AES-256-GCM", TLS_AES_256_GCM, lengths[i]);
        measure_record("libcrypto ChaCha20-Poly1305", TLS_CHACHA20_POLY1305, lengths[i]);
    }
}

int main(int count, char **arguments)
{
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    must(mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0), "seed");
    if (count < 2 || strcmp(arguments[1], "handshakes") != 0)
        measure_records();
    measure_exchange("X25519", MBEDTLS_ECP_DP_CURVE25519);
    measure_exchange("P-256", MBEDTLS_ECP_DP_SECP256R1);
    measure_exchange("P-384", MBEDTLS_ECP_DP_SECP384R1);
    measure_ecdsa("ECDSA P-256 sign", MBEDTLS_ECP_DP_SECP256R1);
    measure_rsa();
    mbedtls_ctr_drbg_free(&drbg);
    mbedtls_entropy_free(&entropy);
    return 0;
}
