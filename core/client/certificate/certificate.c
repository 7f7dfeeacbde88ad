/* mbedtls 2.28 writes names, times and most extensions; subjectAltName and extKeyUsage are put together here,
 * backwards, as its ASN.1 writer wants. Randomness is the kernel's, for these keys outlive the process. */
#include "client/certificate/certificate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <mbedtls/asn1write.h>
#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"

#define DAY_S 86400
#define AUTHORITY_DAYS 3650
#define LEAF_DAYS 825 /* the most that Apple's systems take, even from an authority that a user has added */
#define SKEW_S 3600   /* valid since an hour ago: the other machine's clock may be late */

enum { SAN_DNS = 2, SAN_URI = 6, SAN_IP = 7 }; /* RFC 5280 4.2.1.6 */

static int kernel_random(void *context, unsigned char *out, size_t length)
{
    (void)context;
    return random_kernel_bytes(out, length) ? 0 : MBEDTLS_ERR_PK_BAD_INPUT_DATA;
}

bool certificate_is_name(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return length > 0 && length <= 64 && text[length] == '\0';
}

/* The bytes of an IP address; 0: it is none. */
static size_t read_address(const char *text, unsigned char out[16])
{
    return inet_pton(AF_INET, text, out) == 1 ? 4 : inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

bool certificate_is_host(const char *text)
{
    unsigned char address[16];
    if (read_address(text, address) > 0)
        return true;
    size_t label = 0, all = strlen(text);
    if (all == 0 || all > 253)
        return false;
    for (const char *c = strncmp(text, "*.", 2) == 0 ? text + 2 : text; *c || label > 0; c++) {
        if (*c == '.' || *c == '\0') {
            if (label == 0 || label > 63 || c[-1] == '-')
                return false;
            label = 0;
            if (*c == '\0')
                return true;
        } else if (isalnum((unsigned char)*c) || *c == '_' || (*c == '-' && label > 0)) {
            label++;
        } else {
            return false;
        }
    }
    return false;
}

struct der {
    unsigned char bytes[CERTIFICATE_PEM_SIZE / 2];
    unsigned char *at; /* what is written lies behind it */
    int failure;
};

static void put(struct der *der, int written)
{
    if (written < 0)
        der->failure = written;
}

static void put_raw(struct der *der, unsigned char tag, const void *data, size_t length)
{
    put(der, mbedtls_asn1_write_raw_buffer(&der->at, der->bytes, data, length));
    put(der, mbedtls_asn1_write_len(&der->at, der->bytes, length));
    put(der, mbedtls_asn1_write_tag(&der->at, der->bytes, tag));
}

static void put_alternative(struct der *der, int kind, const void *data, size_t length)
{
    put_raw(der, (unsigned char)(MBEDTLS_ASN1_CONTEXT_SPECIFIC | kind), data, length);
}

/* Puts a SEQUENCE around what is written, and makes it an extension. */
static int set_sequence(mbedtls_x509write_cert *out, struct der *der, const char *oid, size_t oid_length)
{
    size_t length = (size_t)(der->bytes + sizeof der->bytes - der->at);
    put(der, mbedtls_asn1_write_len(&der->at, der->bytes, length));
    put(der, mbedtls_asn1_write_tag(&der->at, der->bytes, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE));
    if (der->failure != 0)
        return der->failure;
    return mbedtls_x509write_crt_set_extension(out, oid, oid_length, 0, der->at,
                                               (size_t)(der->bytes + sizeof der->bytes - der->at));
}

static int set_alternatives(mbedtls_x509write_cert *out, const struct certificate_subject *subject)
{
    struct der der = {.at = der.bytes + sizeof der.bytes};
    if (subject->kind == CERTIFICATE_AGENT) {
        static const char role[] = "luaduct:role:agent";
        char uri[96];
        int length = snprintf(uri, sizeof uri, "luaduct:agent:%s", subject->name);
        put_alternative(&der, SAN_URI, role, sizeof role - 1);
        put_alternative(&der, SAN_URI, uri, (size_t)length);
    }
    for (size_t i = subject->name_count; i-- > 0;) { /* backwards, so that they stand in the order given */
        unsigned char address[16];
        size_t length = read_address(subject->names[i], address);
        if (length > 0)
            put_alternative(&der, SAN_IP, address, length);
        else
            put_alternative(&der, SAN_DNS, subject->names[i], strlen(subject->names[i]));
    }
    return set_sequence(out, &der, MBEDTLS_OID_SUBJECT_ALT_NAME, MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME));
}

static int set_purpose(mbedtls_x509write_cert *out, enum certificate_kind kind)
{
    struct der der = {.at = der.bytes + sizeof der.bytes};
    const char *purpose = kind == CERTIFICATE_SERVER ? MBEDTLS_OID_SERVER_AUTH : MBEDTLS_OID_CLIENT_AUTH;
    put_raw(&der, MBEDTLS_ASN1_OID, purpose, strlen(purpose));
    return set_sequence(out, &der, MBEDTLS_OID_EXTENDED_KEY_USAGE, MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE));
}

static int set_extensions(mbedtls_x509write_cert *out, const struct certificate_subject *subject)
{
    bool authority = subject->kind == CERTIFICATE_AUTHORITY;
    unsigned usage =
        authority ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN : MBEDTLS_X509_KU_DIGITAL_SIGNATURE;
    int failure = mbedtls_x509write_crt_set_basic_constraints(out, authority, authority ? 0 : -1);
    if (failure == 0)
        failure = mbedtls_x509write_crt_set_key_usage(out, usage);
    if (failure == 0)
        failure = mbedtls_x509write_crt_set_subject_key_identifier(out);
    if (failure == 0)
        failure = mbedtls_x509write_crt_set_authority_key_identifier(out);
    if (failure == 0 && !authority)
        failure = set_alternatives(out, subject);
    return failure == 0 && !authority ? set_purpose(out, subject->kind) : failure;
}

/* 128 random bits, positive (RFC 5280 4.1.2.2: up to 20 bytes). */
static int set_serial(mbedtls_x509write_cert *out)
{
    unsigned char bytes[16];
    mbedtls_mpi serial;
    mbedtls_mpi_init(&serial);
    int failure = kernel_random(NULL, bytes, sizeof bytes);
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40);
    if (failure == 0)
        failure = mbedtls_mpi_read_binary(&serial, bytes, sizeof bytes);
    if (failure == 0)
        failure = mbedtls_x509write_crt_set_serial(out, &serial);
    mbedtls_mpi_free(&serial);
    return failure;
}

static int set_validity(mbedtls_x509write_cert *out, enum certificate_kind kind, time_t *until)
{
    char from_text[16], until_text[16];
    struct tm parts;
    time_t from = time(NULL) - SKEW_S;
    *until = from + (time_t)(kind == CERTIFICATE_AUTHORITY ? AUTHORITY_DAYS : LEAF_DAYS) * DAY_S;
    strftime(from_text, sizeof from_text, "%Y%m%d%H%M%S", gmtime_r(&from, &parts));
    strftime(until_text, sizeof until_text, "%Y%m%d%H%M%S", gmtime_r(until, &parts));
    return mbedtls_x509write_crt_set_validity(out, from_text, until_text);
}

/* Who signs: the key, and the name that stands in its certificate. */
struct issuer {
    mbedtls_pk_context key;
    char name[256];
};

static int read_issuer(struct issuer *issuer, const struct certificate *authority)
{
    mbedtls_x509_crt certificate;
    mbedtls_x509_crt_init(&certificate);
    int failure =
        mbedtls_pk_parse_key(&issuer->key, (const unsigned char *)authority->key, strlen(authority->key) + 1, NULL, 0);
    if (failure == 0)
        failure =
            mbedtls_x509_crt_parse(&certificate, (const unsigned char *)authority->pem, strlen(authority->pem) + 1);
    if (failure == 0)
        failure = mbedtls_pk_check_pair(&certificate.pk, &issuer->key);
    if (failure == 0 && mbedtls_x509_dn_gets(issuer->name, sizeof issuer->name, &certificate.subject) < 0)
        failure = MBEDTLS_ERR_X509_INVALID_NAME;
    mbedtls_x509_crt_free(&certificate);
    return failure;
}

static int write_certificate(struct certificate *made, const struct certificate_subject *subject,
                             mbedtls_pk_context *key, struct issuer *issuer)
{
    char name[96];
    snprintf(name, sizeof name, "CN=%s", subject->name);
    mbedtls_x509write_cert out;
    mbedtls_x509write_crt_init(&out);
    mbedtls_x509write_crt_set_version(&out, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&out, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&out, key);
    mbedtls_x509write_crt_set_issuer_key(&out, issuer ? &issuer->key : key);
    int failure = mbedtls_x509write_crt_set_subject_name(&out, name);
    if (failure == 0)
        failure = mbedtls_x509write_crt_set_issuer_name(&out, issuer ? issuer->name : name);
    if (failure == 0)
        failure = set_serial(&out);
    if (failure == 0)
        failure = set_validity(&out, subject->kind, &made->until);
    if (failure == 0)
        failure = set_extensions(&out, subject);
    if (failure == 0)
        failure = mbedtls_x509write_crt_pem(&out, (unsigned char *)made->pem, sizeof made->pem, kernel_random, NULL);
    mbedtls_x509write_crt_free(&out);
    return failure;
}

static bool fail(char error[CERTIFICATE_ERROR_SIZE], const char *what, int failure)
{
    char reason[100];
    mbedtls_strerror(failure, reason, sizeof reason);
    snprintf(error, CERTIFICATE_ERROR_SIZE, "%s: %s", what, reason);
    return false;
}

bool certificate_make(struct certificate *made, const struct certificate_subject *subject,
                      const struct certificate *authority, char error[CERTIFICATE_ERROR_SIZE])
{
    struct issuer issuer;
    mbedtls_pk_context key;
    mbedtls_pk_init(&issuer.key);
    mbedtls_pk_init(&key);
    bool good = false;
    int failure = authority ? read_issuer(&issuer, authority) : 0;
    if (failure != 0) {
        fail(error, "the authority's certificate and key cannot sign", failure);
        goto out;
    }
    failure = mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (failure == 0)
        failure = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key), kernel_random, NULL);
    if (failure == 0)
        failure = mbedtls_pk_write_key_pem(&key, (unsigned char *)made->key, sizeof made->key);
    if (failure == 0)
        failure = write_certificate(made, subject, &key, authority ? &issuer : NULL);
    good = failure == 0 || fail(error, "cannot make a certificate", failure);
out:
    mbedtls_pk_free(&key);
    mbedtls_pk_free(&issuer.key);
    return good;
}

void certificate_forget(struct certificate *certificate)
{
    mbedtls_platform_zeroize(certificate, sizeof *certificate);
}
