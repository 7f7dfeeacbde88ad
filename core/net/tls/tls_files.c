#include "net/tls/tls_files.h"

#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/system/file.h"

/* A bundle of all public authorities has a quarter of a megabyte; revocation lists grow larger. */
#define LARGEST_FILE (16u << 20)

/* What browsers take: RSA keys below are refused by clients anyway. */
#define LEAST_RSA_BITS 2048u

static void say(char *error, size_t size, const char *label, const char *key, const char *path, const char *reason)
{
    snprintf(error, size, "%s%s: %s: %s", label, key, path, reason);
}

static bool read_all(int fd, struct tls_file *out, size_t length)
{
    out->bytes = malloc(length + 1);
    for (size_t at = 0; out->bytes && at < length;) {
        ssize_t n = read(fd, out->bytes + at, length - at);
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        at += (size_t)n;
    }
    if (!out->bytes)
        return false;
    out->bytes[length] = '\0';
    out->length = length + 1;
    return true;
}

static bool read_file(const char *path, struct tls_file *out, const char *label, const char *key, char *error,
                      size_t size)
{
    struct stat status;
    *out = (struct tls_file){0};
    const char *reason = NULL;
    int fd = file_open(path, &status, &reason);
    if (fd >= 0 && status.st_size > LARGEST_FILE)
        reason = "larger than 16 MiB";
    else if (fd >= 0 && !read_all(fd, out, (size_t)status.st_size))
        reason = strerror(errno);
    if (fd >= 0)
        close(fd);
    if (reason)
        say(error, size, label, key, path, reason);
    return !reason;
}

static void free_file(struct tls_file *file)
{
    if (file->bytes)
        explicit_bzero(file->bytes, file->length);
    free(file->bytes);
    *file = (struct tls_file){0};
}

/* --- Judging --- */

static const char *key_problem(int failure)
{
    switch (failure) {
    case MBEDTLS_ERR_PK_PASSWORD_REQUIRED:
    case MBEDTLS_ERR_PK_PASSWORD_MISMATCH:
        return "the key is encrypted: give one without a passphrase";
    case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
    case MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE:
    case MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE:
        return "a kind of key that the TLS library does not know: RSA and ECDSA keys work";
    case MBEDTLS_ERR_PK_ALLOC_FAILED:
        return "not enough memory";
    default:
        return "no private key in PEM";
    }
}

/* The high part of mbedtls's codes says what failed (mbedtls/error.h). */
static const char *certificate_problem(int failure)
{
    int what = failure < 0 ? -(-failure & 0xff80) : failure;
    if (what == MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG || what == MBEDTLS_ERR_PK_UNKNOWN_PK_ALG ||
        what == MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE)
        return "a kind of key or signature that the TLS library does not know: RSA and ECDSA work, Ed25519 does not";
    return "no certificates in PEM, or one of them is broken";
}

/* Why the pair cannot be used; NULL: it can. `key` is set to the key of the config that is to blame. */
static const char *pair_problem(const struct tls_file *certificate_file, const struct tls_file *key_file,
                                const char **blamed)
{
    const char *problem = NULL;
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    mbedtls_x509_crt_init(&chain);
    mbedtls_pk_init(&key);
    *blamed = "cert";
    int parsed = mbedtls_x509_crt_parse(&chain, certificate_file->bytes, certificate_file->length);
    if (parsed != 0)
        problem = certificate_problem(parsed);
    else if (mbedtls_x509_time_is_past(&chain.valid_to))
        problem = "the certificate has expired";
    else if (mbedtls_x509_time_is_future(&chain.valid_from))
        problem = "the certificate does not hold yet: is the clock right?";
    if (!problem) {
        *blamed = "key";
        int failure = mbedtls_pk_parse_key(&key, key_file->bytes, key_file->length, NULL, 0);
        if (failure != 0)
            problem = key_problem(failure);
        else if (mbedtls_pk_check_pair(&chain.pk, &key) != 0)
            problem = "the key does not belong to the certificate";
        else if (mbedtls_pk_can_do(&key, MBEDTLS_PK_RSA) && mbedtls_pk_get_bitlen(&key) < LEAST_RSA_BITS)
            problem = "an RSA key of fewer than 2048 bits";
    }
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&chain);
    return problem;
}

static const char *client_ca_problem(const struct tls_file *file)
{
    const char *problem = NULL;
    mbedtls_x509_crt chain;
    mbedtls_x509_crt_init(&chain);
    if (mbedtls_x509_crt_parse(&chain, file->bytes, file->length) != 0)
        problem = "no certificates in PEM, or one of them is broken";
    for (const mbedtls_x509_crt *at = &chain; !problem && at; at = at->next)
        if (!at->ca_istrue && at->version >= 3)
            problem = "one of the certificates is not of an authority (CA:TRUE is missing)";
    mbedtls_x509_crt_free(&chain);
    return problem;
}

static const char *crl_problem(const struct tls_file *file, const struct tls_file *client_ca)
{
    const char *problem = NULL;
    mbedtls_x509_crt chain;
    mbedtls_x509_crl lists;
    mbedtls_x509_crt_init(&chain);
    mbedtls_x509_crl_init(&lists);
    if (mbedtls_x509_crl_parse(&lists, file->bytes, file->length) != 0 || lists.version == 0)
        problem = "no revocation list in PEM, or one of them is broken";
    else if (mbedtls_x509_crt_parse(&chain, client_ca->bytes, client_ca->length) != 0)
        problem = "cannot be compared with tls.clientCa";
    for (const mbedtls_x509_crl *list = &lists; !problem && list; list = list->next) {
        bool known = false;
        for (const mbedtls_x509_crt *at = &chain; at && !known; at = at->next)
            known = at->subject_raw.len == list->issuer_raw.len &&
                    memcmp(at->subject_raw.p, list->issuer_raw.p, at->subject_raw.len) == 0;
        if (!known)
            problem = "a revocation list of an issuer that tls.clientCa does not hold";
        else if (mbedtls_x509_time_is_past(&list->next_update))
            problem = "a revocation list has run out (its next update is past)";
    }
    mbedtls_x509_crl_free(&lists);
    mbedtls_x509_crt_free(&chain);
    return problem;
}

static bool read_pair(struct tls_files *out, size_t index, const struct tls_pair *pair, char *error, size_t size)
{
    if (!read_file(pair->certificate, &out->certificates[index], pair->label, "cert", error, size) ||
        !read_file(pair->key, &out->keys[index], pair->label, "key", error, size))
        return false;
    struct stat status;
    if (stat(pair->key, &status) == 0 && (status.st_mode & S_IROTH))
        log_warn(TLS, "key_readable", "%skey: everybody on this machine can read %s", pair->label, pair->key);
    const char *blamed, *problem = pair_problem(&out->certificates[index], &out->keys[index], &blamed);
    if (problem)
        say(error, size, pair->label, blamed, strcmp(blamed, "key") == 0 ? pair->key : pair->certificate, problem);
    return !problem;
}

static bool read_client_files(struct tls_files *out, const struct tls_options *options, char *error, size_t size)
{
    const char *problem = NULL;
    if (options->client_ca) {
        if (!read_file(options->client_ca, &out->client_ca, "tls.", "clientCa", error, size))
            return false;
        problem = client_ca_problem(&out->client_ca);
        if (problem)
            say(error, size, "tls.", "clientCa", options->client_ca, problem);
    }
    if (!problem && options->crl) {
        if (!read_file(options->crl, &out->crl, "tls.", "crl", error, size))
            return false;
        problem = crl_problem(&out->crl, &out->client_ca);
        if (problem)
            say(error, size, "tls.", "crl", options->crl, problem);
    }
    return !problem;
}

bool tls_files_read(struct tls_files *out, const struct tls_options *options, char *error, size_t size)
{
    *out = (struct tls_files){.certificates = calloc(options->pair_count, sizeof *out->certificates),
                              .keys = calloc(options->pair_count, sizeof *out->keys),
                              .pair_count = options->pair_count};
    bool good = out->certificates && out->keys;
    if (!good)
        snprintf(error, size, "not enough memory");
    for (size_t i = 0; good && i < options->pair_count; i++)
        good = read_pair(out, i, &options->pairs[i], error, size);
    good = good && read_client_files(out, options, error, size);
    if (!good)
        tls_files_free(out);
    return good;
}

void tls_files_free(struct tls_files *files)
{
    for (size_t i = 0; i < files->pair_count; i++) {
        if (files->certificates)
            free_file(&files->certificates[i]);
        if (files->keys)
            free_file(&files->keys[i]);
    }
    free(files->certificates);
    free(files->keys);
    free_file(&files->client_ca);
    free_file(&files->crl);
    *files = (struct tls_files){0};
}
