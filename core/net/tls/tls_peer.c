#include "net/tls/tls_peer.h"

#include <mbedtls/asn1.h>
#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>
#include <mbedtls/x509_crt.h>
#include <stdbool.h>
#include <string.h>

#include "memory/pool.h"
#include "net/tls/tls_time.h"

/* GeneralName's context tags. */
#define SAN_DNS 0x82
#define SAN_URI 0x86

/* A name with a zero or a line end in it is meant to be read in two ways. */
static bool is_plain(const mbedtls_x509_buf *text)
{
    for (size_t i = 0; i < text->len; i++)
        if (text->p[i] < ' ' || text->p[i] == 0x7f)
            return false;
    return text->len > 0;
}

static bool is_text_kind(int tag)
{
    return tag == MBEDTLS_ASN1_UTF8_STRING || tag == MBEDTLS_ASN1_PRINTABLE_STRING || tag == MBEDTLS_ASN1_IA5_STRING;
}

static const mbedtls_x509_buf *find_common_name(const mbedtls_x509_crt *certificate)
{
    const mbedtls_x509_buf *found = NULL;
    for (const mbedtls_x509_name *at = &certificate->subject; at; at = at->next) {
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &at->oid) != 0)
            continue;
        if (found)
            return NULL;
        found = &at->val;
    }
    return found && is_text_kind(found->tag) && is_plain(found) ? found : NULL;
}

static bool is_kept(const mbedtls_x509_buf *name)
{
    return (name->tag == SAN_DNS || name->tag == SAN_URI) && is_plain(name);
}

static struct slice copy(const mbedtls_x509_buf *text, char **at)
{
    struct slice copied = slice_from(*at, text->len);
    memcpy(*at, text->p, text->len);
    *at += text->len;
    return copied;
}

__attribute__((nonnull)) struct tls_peer *tls_peer_new(const mbedtls_x509_crt *certificate,
                                                       const struct tls_issue *issue)
{
    const mbedtls_x509_buf *common_name = find_common_name(certificate);
    unsigned count = 0;
    size_t texts = common_name ? common_name->len : 0;
    for (const mbedtls_x509_sequence *at = &certificate->subject_alt_names; at && count < TLS_PEER_NAMES; at = at->next)
        if (at->buf.p && is_kept(&at->buf)) {
            texts += at->buf.len;
            count++;
        }
    size_t bytes = sizeof(struct tls_peer) + count * sizeof(struct tls_name) + texts;
    struct tls_peer *peer = pool_acquire(POOL_ARRAYS, bytes);
    if (!peer)
        return NULL;
    *peer = (struct tls_peer){.bytes = bytes, .issue = *issue, .not_after_s = tls_time_seconds(&certificate->valid_to)};
    char *text = (char *)&peer->names[count];
    if (common_name)
        peer->common_name = copy(common_name, &text);
    for (const mbedtls_x509_sequence *at = &certificate->subject_alt_names; at && peer->name_count < count;
         at = at->next)
        if (at->buf.p && is_kept(&at->buf))
            peer->names[peer->name_count++] =
                (struct tls_name){at->buf.tag == SAN_URI ? TLS_NAME_URI : TLS_NAME_DNS, copy(&at->buf, &text)};
    mbedtls_sha256_ret(certificate->raw.p, certificate->raw.len, peer->fingerprint, 0);
    return peer;
}

void tls_peer_free(struct tls_peer *peer)
{
    if (peer)
        pool_release(POOL_ARRAYS, peer, peer->bytes);
}
