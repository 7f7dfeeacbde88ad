/* TLS for C tests and fuzz targets: certificates made on the spot, and a client of the same library at the other end of
 * a socket pair. Each function ends the test when the library fails. */
#ifndef LUADUCT_TESTS_TLS_PEER_H
#define LUADUCT_TESTS_TLS_PEER_H

#include <errno.h>
#include <mbedtls/asn1write.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define TLS_MUST(call)                                                                                                 \
    do {                                                                                                               \
        int result_ = (call);                                                                                          \
        if (result_ != 0) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: %d\n", __FILE__, __LINE__, #call, result_);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static int tls_test_random(void *unused, unsigned char *out, size_t length)
{
    (void)unused;
    return getrandom(out, length, 0) == (ssize_t)length ? 0 : -1;
}

/* A certificate with its key, in memory and as files. */
struct tls_test_pair {
    char cert_path[64], key_path[64], subject[128];
    mbedtls_pk_context key;
    mbedtls_x509_crt cert;
};

static inline void tls_test_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
}

/* One more subject alternative name in front of those at *at (written backwards, as DER is here). */
static inline void tls_test_name(unsigned char **at, unsigned char *start, int tag, const char *text, size_t length)
{
    if (mbedtls_asn1_write_raw_buffer(at, start, (const unsigned char *)text, length) < 0 ||
        mbedtls_asn1_write_len(at, start, length) < 0 || mbedtls_asn1_write_tag(at, start, (unsigned char)tag) < 0)
        abort();
}

/* `issuer` NULL: it signs itself, and may sign others. names: DER of the SAN extension, or NULL. */
static inline void tls_test_make(struct tls_test_pair *out, const char *folder, const char *file, const char *subject,
                                 struct tls_test_pair *issuer, const unsigned char *names, size_t names_length)
{
    char pem[4096];
    mbedtls_x509write_cert cert;
    mbedtls_mpi serial;
    mbedtls_x509write_crt_init(&cert);
    mbedtls_mpi_init(&serial);
    mbedtls_pk_init(&out->key);
    mbedtls_x509_crt_init(&out->cert);
    snprintf(out->cert_path, sizeof out->cert_path, "%s/%s.pem", folder, file);
    snprintf(out->key_path, sizeof out->key_path, "%s/%s.key", folder, file);
    snprintf(out->subject, sizeof out->subject, "%s", subject);
    TLS_MUST(mbedtls_pk_setup(&out->key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)));
    TLS_MUST(mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(out->key), tls_test_random, NULL));
    TLS_MUST(mbedtls_mpi_lset(&serial, issuer ? 2 : 1));
    mbedtls_x509write_crt_set_version(&cert, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&cert, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&cert, &out->key);
    mbedtls_x509write_crt_set_issuer_key(&cert, issuer ? &issuer->key : &out->key);
    TLS_MUST(mbedtls_x509write_crt_set_subject_name(&cert, subject));
    TLS_MUST(mbedtls_x509write_crt_set_issuer_name(&cert, issuer ? issuer->subject : subject));
    TLS_MUST(mbedtls_x509write_crt_set_serial(&cert, &serial));
    TLS_MUST(mbedtls_x509write_crt_set_validity(&cert, "20200101000000", "20490101000000"));
    TLS_MUST(mbedtls_x509write_crt_set_basic_constraints(&cert, !issuer, -1));
    if (names)
        TLS_MUST(mbedtls_x509write_crt_set_extension(&cert, MBEDTLS_OID_SUBJECT_ALT_NAME,
                                                     MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0, names,
                                                     names_length));
    TLS_MUST(mbedtls_x509write_crt_pem(&cert, (unsigned char *)pem, sizeof pem, tls_test_random, NULL));
    tls_test_write(out->cert_path, pem);
    TLS_MUST(mbedtls_x509_crt_parse(&out->cert, (unsigned char *)pem, strlen(pem) + 1));
    TLS_MUST(mbedtls_pk_write_key_pem(&out->key, (unsigned char *)pem, sizeof pem));
    tls_test_write(out->key_path, pem);
    mbedtls_x509write_crt_free(&cert);
    mbedtls_mpi_free(&serial);
}

static inline void tls_test_free(struct tls_test_pair *pair)
{
    unlink(pair->cert_path);
    unlink(pair->key_path);
    mbedtls_pk_free(&pair->key);
    mbedtls_x509_crt_free(&pair->cert);
}

/* --- A client --- */

struct tls_test_client {
    int fd;
    unsigned records; /* of application data that came */
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
};

static inline int tls_test_send(void *context, const unsigned char *bytes, size_t length)
{
    struct tls_test_client *client = context;
    ssize_t n = send(client->fd, bytes, length, MSG_NOSIGNAL);
    return n >= 0 ? (int)n : errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : -1;
}

/* The library asks for the five bytes of a record's head, then for its body. */
static inline int tls_test_receive(void *context, unsigned char *bytes, size_t length)
{
    struct tls_test_client *client = context;
    ssize_t n = recv(client->fd, bytes, length, 0);
    if (n == 5 && length == 5 && bytes[0] == MBEDTLS_SSL_MSG_APPLICATION_DATA)
        client->records++;
    return n >= 0 ? (int)n : errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : -1;
}

/* Trusts everybody; shows `own` when it is not NULL. Takes the descriptor, which is non-blocking. */
static inline void tls_test_client_open(struct tls_test_client *client, int fd, struct tls_test_pair *own,
                                        int fragment_code)
{
    *client = (struct tls_test_client){.fd = fd};
    mbedtls_ssl_config_init(&client->config);
    mbedtls_ssl_init(&client->ssl);
    TLS_MUST(mbedtls_ssl_config_defaults(&client->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                         MBEDTLS_SSL_PRESET_DEFAULT));
    mbedtls_ssl_conf_authmode(&client->config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_rng(&client->config, tls_test_random, NULL);
    mbedtls_ssl_conf_renegotiation(&client->config, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
    if (own)
        TLS_MUST(mbedtls_ssl_conf_own_cert(&client->config, &own->cert, &own->key));
    TLS_MUST(mbedtls_ssl_conf_max_frag_len(&client->config, (unsigned char)fragment_code));
    TLS_MUST(mbedtls_ssl_setup(&client->ssl, &client->config));
    mbedtls_ssl_set_bio(&client->ssl, client, tls_test_send, tls_test_receive, NULL);
}

static inline void tls_test_client_close(struct tls_test_client *client)
{
    mbedtls_ssl_free(&client->ssl);
    mbedtls_ssl_config_free(&client->config);
    close(client->fd);
}

#endif
