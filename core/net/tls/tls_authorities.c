#include "net/tls/tls_authorities.h"

#include <mbedtls/sha256.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <stdlib.h>
#include <string.h>

struct digest {
    unsigned char bytes[TLS_ISSUE_BYTES];
};

/* Both in order. */
struct tls_authorities {
    struct digest *known, *revoked;
    size_t known_count, revoked_count;
};

static void digest_two(const unsigned char *first, size_t first_length, const unsigned char *second,
                       size_t second_length, unsigned char out[TLS_ISSUE_BYTES])
{
    mbedtls_sha256_context digest;
    mbedtls_sha256_init(&digest);
    mbedtls_sha256_starts_ret(&digest, 0);
    mbedtls_sha256_update_ret(&digest, first, first_length); /* DER, or of one length: it says where it ends */
    mbedtls_sha256_update_ret(&digest, second, second_length);
    mbedtls_sha256_finish_ret(&digest, out);
    mbedtls_sha256_free(&digest);
}

static void digest_authority(const mbedtls_x509_crt *authority, unsigned char out[TLS_ISSUE_BYTES])
{
    digest_two(authority->subject_raw.p, authority->subject_raw.len, authority->pk_raw.p, authority->pk_raw.len, out);
}

static void digest_serial(const unsigned char authority[TLS_ISSUE_BYTES], const mbedtls_x509_buf *serial,
                          unsigned char out[TLS_ISSUE_BYTES])
{
    digest_two(authority, TLS_ISSUE_BYTES, serial->p, serial->len, out);
}

struct tls_issue tls_issue_of(const mbedtls_x509_crt *certificate, const mbedtls_x509_crt *authority)
{
    struct tls_issue issue = {0};
    digest_authority(authority, issue.authority);
    digest_serial(issue.authority, &certificate->serial, issue.serial);
    return issue;
}

/* --- The revoked --- */

static bool is_list_of(const mbedtls_x509_crl *list, const mbedtls_x509_crt *authority)
{
    return list->issuer_raw.len == authority->subject_raw.len &&
           memcmp(list->issuer_raw.p, authority->subject_raw.p, authority->subject_raw.len) == 0;
}

/* Appends to `out`, where it is not NULL; gives how many. */
static size_t list_revoked(const mbedtls_x509_crl *lists, const mbedtls_x509_crt *authority, struct digest *out)
{
    unsigned char id[TLS_ISSUE_BYTES];
    size_t count = 0;
    digest_authority(authority, id);
    for (const mbedtls_x509_crl *list = lists; list; list = list->next) {
        if (!list->version || !is_list_of(list, authority))
            continue;
        for (const mbedtls_x509_crl_entry *entry = &list->entry; entry && entry->serial.len > 0; entry = entry->next) {
            if (out)
                digest_serial(id, &entry->serial, out[count].bytes);
            count++;
        }
    }
    return count;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

struct tls_authorities *tls_authorities_new(const mbedtls_x509_crt *authorities, const mbedtls_x509_crl *revoked)
{
    size_t known_count = 0, revoked_count = 0;
    for (const mbedtls_x509_crt *at = authorities; at && at->raw.p; at = at->next) {
        known_count++;
        revoked_count += list_revoked(revoked, at, NULL);
    }
    struct tls_authorities *made = calloc(1, sizeof *made + (known_count + revoked_count) * sizeof(struct digest));
    if (!made)
        return NULL;
    made->known = (struct digest *)(made + 1);
    made->revoked = made->known + known_count;
    for (const mbedtls_x509_crt *at = authorities; at && at->raw.p; at = at->next) {
        digest_authority(at, made->known[made->known_count++].bytes);
        made->revoked_count += list_revoked(revoked, at, made->revoked + made->revoked_count);
    }
    qsort(made->known, made->known_count, sizeof(struct digest), compare);
    qsort(made->revoked, made->revoked_count, sizeof(struct digest), compare);
    return made;
}

void tls_authorities_free(struct tls_authorities *authorities)
{
    free(authorities);
}

bool tls_authorities_vouch(const struct tls_authorities *authorities, const struct tls_issue *issue)
{
    return bsearch(issue->authority, authorities->known, authorities->known_count, sizeof(struct digest), compare) &&
           !bsearch(issue->serial, authorities->revoked, authorities->revoked_count, sizeof(struct digest), compare);
}
