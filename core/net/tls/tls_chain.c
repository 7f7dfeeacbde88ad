#include "net/tls/tls_chain.h"

#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <stdbool.h>
#include <stdint.h>

/* The library passes it over. */
#define UNKNOWN_SIGNATURE (MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG + MBEDTLS_ERR_OID_NOT_FOUND)

static bool key_is_small(const mbedtls_pk_context *key)
{
    if (mbedtls_pk_can_do(key, MBEDTLS_PK_RSA))
        return mbedtls_pk_get_bitlen(key) <= TLS_CHAIN_RSA_BITS &&
               mbedtls_mpi_bitlen(&mbedtls_pk_rsa(*key)->E) <= TLS_CHAIN_RSA_EXPONENT_BITS;
    return mbedtls_pk_get_bitlen(key) <= TLS_CHAIN_CURVE_BITS;
}

static int check_one(const unsigned char *der, size_t length)
{
    mbedtls_x509_crt certificate;
    mbedtls_x509_crt_init(&certificate);
    int result = mbedtls_x509_crt_parse_der_nocopy(&certificate, der, length);
    if (result == UNKNOWN_SIGNATURE)
        result = 0;
    else if (result == 0 && !key_is_small(&certificate.pk))
        result = MBEDTLS_ERR_X509_CERT_VERIFY_FAILED;
    mbedtls_x509_crt_free(&certificate);
    return result;
}

static size_t read_length(const unsigned char *at)
{
    return (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
}

int tls_chain_check(const unsigned char *message, size_t length)
{
    if (length < 3 || read_length(message) != length - 3)
        return MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE;
    unsigned count = 0;
    for (size_t at = 3; at < length;) {
        size_t left = length - at, one = left >= 3 ? read_length(message + at) : 0;
        if (one == 0 || one > left - 3)
            return MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE;
        int result =
            ++count > TLS_CHAIN_CERTIFICATES ? MBEDTLS_ERR_X509_CERT_VERIFY_FAILED : check_one(message + at + 3, one);
        if (result != 0)
            return result;
        at += 3 + one;
    }
    return 0;
}
