/* The first slot's copies also serve for what is shown. Tickets are sealed with AES-256-GCM under two keys of the
 * library's that change every TICKET_SECONDS; the cache is for clients that know no tickets. Both belong to the
 * context: with other certificates, authorities or revocation lists all clients shake hands in full again, so a revoked
 * one cannot come back by an old ticket. */
#include "net/tls/tls_context.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/random.h"
#include "net/tls/tls_cipher.h"
#include "net/tls/tls_files.h"
#include "net/tls/tls_record.h"
#include "net/tls/tls_session.h"
#include "net/tls/tls_time.h"

/* A session can be taken up again for so long (RFC 5077 advises no more than a day). */
#define TICKET_SECONDS 3600

/* The library's cache is one list, searched from its head: this many take some ten microseconds. */
#define CACHE_SESSIONS 1024

#define DIGEST_BYTES 32

/* X25519 costs a third less than P-256. P-384 only where clients may have keys on it: the library has one list for the
 * key exchange and for certificates. */
static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_NONE};
static const mbedtls_ecp_group_id client_curves[] = {MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1,
                                                     MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_NONE};
static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512, MBEDTLS_MD_NONE};
static const char *const protocols[] = {"http/1.1", NULL};

struct slot {
    mbedtls_ssl_config config;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt *chains; /* one for each pair */
    mbedtls_pk_context *keys;
    mbedtls_x509_crt client_ca;
    mbedtls_x509_crl crl;
    const struct tls_context *context;
};

struct names {
    char **items;
    size_t count;
};

struct tls_context {
    atomic_uint references;
    struct slot *slots;
    unsigned slot_count;
    size_t pair_count;
    char **labels;       /* "tls." */
    struct names *names; /* that each pair is for, where the configuration says */
    int cipher_ids[TLS_CIPHERS + 1];
    bool asks_client, requires_client;
    unsigned char digest[DIGEST_BYTES];
    unsigned char clients_digest[DIGEST_BYTES];
    struct tls_authorities *authorities; /* of clients; NULL: they show no certificates */
    mbedtls_ssl_ticket_context tickets;
    mbedtls_ssl_cache_context cache;
    mbedtls_ctr_drbg_context random; /* of the tickets' keys */
};

/* --- What the library calls --- */

static int kernel_entropy(void *context, unsigned char *out, size_t length)
{
    (void)context;
    return random_kernel_bytes(out, length) ? 0 : MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED;
}

static int take_ticket(void *context, mbedtls_ssl_session *session, unsigned char *ticket, size_t length)
{
    struct tls_context *own = context;
    return mbedtls_ssl_ticket_parse(&own->tickets, session, ticket, length);
}

static int write_ticket(void *context, const mbedtls_ssl_session *session, unsigned char *start,
                        const unsigned char *end, size_t *length, uint32_t *lifetime)
{
    struct tls_context *own = context;
    return mbedtls_ssl_ticket_write(&own->tickets, session, start, end, length, lifetime);
}

static int cache_get(void *context, mbedtls_ssl_session *session)
{
    struct tls_context *own = context;
    return mbedtls_ssl_cache_get(&own->cache, session);
}

static int cache_set(void *context, const mbedtls_ssl_session *session)
{
    struct tls_context *own = context;
    return mbedtls_ssl_cache_set(&own->cache, session);
}

/* --- Which certificate --- */

/* "*.example.com" is for one label in the star's place (RFC 6125 6.4.3). */
static bool name_matches(const char *pattern, size_t pattern_length, const char *name, size_t length)
{
    if (pattern_length > 2 && pattern[0] == '*' && pattern[1] == '.') {
        const char *dot = memchr(name, '.', length);
        if (!dot || dot == name)
            return false;
        length -= (size_t)(dot - name);
        return pattern_length - 1 == length && strncasecmp(pattern + 1, dot, length) == 0;
    }
    return pattern_length == length && strncasecmp(pattern, name, length) == 0;
}

#define SAN_DNS 0x82

/* The DNS names of the certificate, or its common name where it has none (RFC 6125 6.4.4). */
static bool certificate_matches(const mbedtls_x509_crt *certificate, const char *name, size_t length)
{
    bool any = false;
    for (const mbedtls_x509_sequence *at = &certificate->subject_alt_names; at && at->buf.p; at = at->next) {
        if (at->buf.tag != SAN_DNS)
            continue;
        any = true;
        if (name_matches((const char *)at->buf.p, at->buf.len, name, length))
            return true;
    }
    for (const mbedtls_x509_name *at = &certificate->subject; !any && at; at = at->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &at->oid) == 0 &&
            name_matches((const char *)at->val.p, at->val.len, name, length))
            return true;
    return false;
}

static bool pair_matches(const struct slot *slot, size_t index, const char *name, size_t length)
{
    const struct names *names = &slot->context->names[index];
    for (size_t i = 0; i < names->count; i++)
        if (name_matches(names->items[i], strlen(names->items[i]), name, length))
            return true;
    return names->count == 0 && certificate_matches(&slot->chains[index], name, length);
}

/* Several pairs may be for one name (an RSA and an ECDSA key): the library takes the first that the client can use. A
 * name that is nobody's gets the default. */
static int choose_certificate(void *context, mbedtls_ssl_context *ssl, const unsigned char *name, size_t length)
{
    struct slot *slot = context;
    for (size_t i = 0; i < slot->context->pair_count; i++)
        if (pair_matches(slot, i, (const char *)name, length) &&
            mbedtls_ssl_set_hs_own_cert(ssl, &slot->chains[i], &slot->keys[i]) != 0)
            return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    return 0;
}

/* --- Making one --- */

static void digest_text(mbedtls_sha256_context *digest, const char *text)
{
    mbedtls_sha256_update_ret(digest, (const unsigned char *)(text ? text : ""), text ? strlen(text) + 1 : 0);
    mbedtls_sha256_update_ret(digest, (const unsigned char *)(text ? "t" : "n"), 1);
}

static void digest_file(mbedtls_sha256_context *digest, const struct tls_file *file)
{
    mbedtls_sha256_update_ret(digest, (const unsigned char *)&file->length, sizeof file->length);
    mbedtls_sha256_update_ret(digest, file->bytes, file->length);
}

/* Who vouches for clients, and for whom not any more. */
static void make_clients_digest(struct tls_context *context, const struct tls_files *files)
{
    mbedtls_sha256_context digest;
    mbedtls_sha256_init(&digest);
    mbedtls_sha256_starts_ret(&digest, 0);
    digest_file(&digest, &files->client_ca);
    digest_file(&digest, &files->crl);
    mbedtls_sha256_finish_ret(&digest, context->clients_digest);
    mbedtls_sha256_free(&digest);
}

static void make_digest(struct tls_context *context, const struct tls_options *options, const struct tls_files *files)
{
    mbedtls_sha256_context digest;
    mbedtls_sha256_init(&digest);
    mbedtls_sha256_starts_ret(&digest, 0);
    for (size_t i = 0; i < options->pair_count; i++) {
        digest_text(&digest, options->pairs[i].certificate);
        digest_file(&digest, &files->certificates[i]);
        digest_file(&digest, &files->keys[i]);
        for (size_t n = 0; n < options->pairs[i].name_count; n++)
            digest_text(&digest, options->pairs[i].names[n]);
        digest_text(&digest, NULL);
    }
    digest_file(&digest, &files->client_ca);
    digest_file(&digest, &files->crl);
    mbedtls_sha256_update_ret(&digest, (const unsigned char *)context->cipher_ids, sizeof context->cipher_ids);
    digest_text(&digest, options->require_client_certificate ? "required" : "optional");
    mbedtls_sha256_finish_ret(&digest, context->digest);
    mbedtls_sha256_free(&digest);
}

static bool choose_ciphers(struct tls_context *context, const struct tls_options *options, char *error, size_t size)
{
    for (size_t i = 0; options->cipher_count == 0 && i < TLS_CIPHERS; i++)
        context->cipher_ids[i] = tls_cipher_at(i)->id;
    for (size_t i = 0; i < options->cipher_count && i < TLS_CIPHERS; i++) {
        const struct tls_cipher *cipher = tls_cipher_named(options->ciphers[i]);
        if (!cipher) {
            snprintf(error, size, "tls.ciphers: there is no %s here", options->ciphers[i]);
            return false;
        }
        context->cipher_ids[i] = cipher->id;
    }
    return true;
}

static bool copy_labels(struct tls_context *context, const struct tls_options *options)
{
    context->labels = calloc(options->pair_count, sizeof *context->labels);
    context->names = calloc(options->pair_count, sizeof *context->names);
    if (!context->labels || !context->names)
        return false;
    context->pair_count = options->pair_count;
    for (size_t i = 0; i < options->pair_count; i++) {
        const struct tls_pair *pair = &options->pairs[i];
        struct names *names = &context->names[i];
        context->labels[i] = strdup(pair->label);
        names->items = calloc(pair->name_count + 1, sizeof *names->items);
        if (!context->labels[i] || !names->items)
            return false;
        for (; names->count < pair->name_count; names->count++)
            if (!(names->items[names->count] = strdup(pair->names[names->count])))
                return false;
    }
    return true;
}

/* This is also where the library first looks for the processor's AES instructions, for which it has no lock: a context
 * is made before any thread works with it. */
static bool seed(mbedtls_ctr_drbg_context *random)
{
    return mbedtls_ctr_drbg_seed(random, kernel_entropy, NULL, NULL, 0) == 0;
}

/* As it is parsed, a key on a curve is copied for each signature, and the curve's table with it computed anew, which
 * takes longer than the signature. As a key for ECDSA alone it keeps both. */
static bool keep_table(mbedtls_pk_context *key)
{
    if (mbedtls_pk_get_type(key) != MBEDTLS_PK_ECKEY)
        return true;
    mbedtls_pk_context kept;
    mbedtls_pk_init(&kept);
    bool good = mbedtls_pk_setup(&kept, mbedtls_pk_info_from_type(MBEDTLS_PK_ECDSA)) == 0 &&
                mbedtls_ecdsa_from_keypair(kept.pk_ctx, mbedtls_pk_ec(*key)) == 0;
    mbedtls_pk_free(good ? key : &kept);
    if (good)
        *key = kept;
    return good;
}

static bool parse_pairs(struct slot *slot, const struct tls_files *files)
{
    slot->chains = calloc(files->pair_count, sizeof *slot->chains);
    slot->keys = calloc(files->pair_count, sizeof *slot->keys);
    if (!slot->chains || !slot->keys)
        return false;
    for (size_t i = 0; i < files->pair_count; i++) {
        const struct tls_file *chain = &files->certificates[i], *key = &files->keys[i];
        mbedtls_x509_crt_init(&slot->chains[i]);
        mbedtls_pk_init(&slot->keys[i]);
        if (mbedtls_x509_crt_parse(&slot->chains[i], chain->bytes, chain->length) != 0 ||
            mbedtls_pk_parse_key(&slot->keys[i], key->bytes, key->length, NULL, 0) != 0 || !keep_table(&slot->keys[i]))
            return false;
    }
    return true;
}

static bool offer_pairs(struct tls_context *context, struct slot *slot, const struct tls_options *options)
{
    /* For those without a name, or an unknown one: the first pair, and those with a name only get the matching ones. */
    if (mbedtls_ssl_conf_own_cert(&slot->config, &slot->chains[0], &slot->keys[0]) != 0)
        return false;
    if (context->pair_count > 1 || options->pairs[0].name_count > 0)
        mbedtls_ssl_conf_sni(&slot->config, choose_certificate, slot);
    return true;
}

static bool ask_clients(struct tls_context *context, struct slot *slot, const struct tls_files *files)
{
    mbedtls_ssl_conf_authmode(&slot->config, !context->asks_client      ? MBEDTLS_SSL_VERIFY_NONE
                                             : context->requires_client ? MBEDTLS_SSL_VERIFY_REQUIRED
                                                                        : MBEDTLS_SSL_VERIFY_OPTIONAL);
    if (!context->asks_client)
        return true;
    if (mbedtls_x509_crt_parse(&slot->client_ca, files->client_ca.bytes, files->client_ca.length) != 0)
        return false;
    if (files->crl.bytes && mbedtls_x509_crl_parse(&slot->crl, files->crl.bytes, files->crl.length) != 0)
        return false;
    mbedtls_ssl_conf_ca_chain(&slot->config, &slot->client_ca, files->crl.bytes ? &slot->crl : NULL);
    return true;
}

static bool make_slot(struct tls_context *context, struct slot *slot, const struct tls_options *options,
                      const struct tls_files *files)
{
    mbedtls_ssl_config *config = &slot->config;
    if (!seed(&slot->random) || !parse_pairs(slot, files) ||
        mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return false;
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_legacy_renegotiation(config, MBEDTLS_SSL_LEGACY_NO_RENEGOTIATION);
    mbedtls_ssl_conf_ciphersuites(config, context->cipher_ids);
    mbedtls_ssl_conf_curves(config, context->asks_client ? client_curves : curves);
    mbedtls_ssl_conf_sig_hashes(config, hashes);
    mbedtls_ssl_conf_cert_profile(config, &mbedtls_x509_crt_profile_next);
    mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &slot->random);
    mbedtls_ssl_conf_session_tickets_cb(config, write_ticket, take_ticket, context);
    mbedtls_ssl_conf_session_cache(config, context, cache_get, cache_set);
    tls_session_take_keys(config);
    return mbedtls_ssl_conf_alpn_protocols(config, (const char **)protocols) == 0 &&
           offer_pairs(context, slot, options) && ask_clients(context, slot, files);
}

static bool make_slots(struct tls_context *context, const struct tls_options *options, const struct tls_files *files)
{
    context->slots = calloc(options->slots, sizeof *context->slots);
    if (!context->slots)
        return false;
    while (context->slot_count < options->slots) {
        struct slot *slot = &context->slots[context->slot_count++];
        slot->context = context;
        mbedtls_ssl_config_init(&slot->config);
        mbedtls_ctr_drbg_init(&slot->random);
        mbedtls_x509_crt_init(&slot->client_ca);
        mbedtls_x509_crl_init(&slot->crl);
        if (!make_slot(context, slot, options, files))
            return false;
    }
    return true;
}

static bool list_authorities(struct tls_context *context)
{
    if (context->asks_client)
        context->authorities = tls_authorities_new(&context->slots[0].client_ca, &context->slots[0].crl);
    return !context->asks_client || context->authorities;
}

static bool start_resumption(struct tls_context *context)
{
    mbedtls_ssl_cache_set_max_entries(&context->cache, CACHE_SESSIONS);
    mbedtls_ssl_cache_set_timeout(&context->cache, TICKET_SECONDS);
    return seed(&context->random) &&
           mbedtls_ssl_ticket_setup(&context->tickets, mbedtls_ctr_drbg_random, &context->random,
                                    MBEDTLS_CIPHER_AES_256_GCM, TICKET_SECONDS) == 0;
}

struct tls_context *tls_context_load(const struct tls_options *options, char *error, size_t size)
{
    struct tls_files files;
    if (!tls_record_start()) {
        snprintf(error, size, "tls: libcrypto does not start");
        return NULL;
    }
    if (!tls_files_read(&files, options, error, size))
        return NULL;
    struct tls_context *context = calloc(1, sizeof *context);
    snprintf(error, size, "not enough memory");
    if (context) {
        atomic_init(&context->references, 1);
        mbedtls_ssl_ticket_init(&context->tickets);
        mbedtls_ssl_cache_init(&context->cache);
        mbedtls_ctr_drbg_init(&context->random);
        context->asks_client = options->client_ca != NULL;
        context->requires_client = options->require_client_certificate;
        bool good = choose_ciphers(context, options, error, size) && copy_labels(context, options) &&
                    start_resumption(context) && make_slots(context, options, &files) && list_authorities(context);
        if (good) {
            make_digest(context, options, &files);
            make_clients_digest(context, &files);
        } else {
            tls_context_release(context);
        }
        context = good ? context : NULL;
    }
    tls_files_free(&files);
    return context;
}

/* --- Sharing --- */

struct tls_context *tls_context_retain(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

static void free_slot(struct slot *slot, size_t pair_count)
{
    mbedtls_ssl_config_free(&slot->config);
    for (size_t i = 0; i < pair_count; i++) {
        if (slot->chains)
            mbedtls_x509_crt_free(&slot->chains[i]);
        if (slot->keys)
            mbedtls_pk_free(&slot->keys[i]);
    }
    free(slot->chains);
    free(slot->keys);
    mbedtls_x509_crt_free(&slot->client_ca);
    mbedtls_x509_crl_free(&slot->crl);
    mbedtls_ctr_drbg_free(&slot->random);
}

void tls_context_release(struct tls_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) > 1)
        return;
    for (unsigned i = 0; i < context->slot_count; i++)
        free_slot(&context->slots[i], context->pair_count);
    free(context->slots);
    tls_authorities_free(context->authorities);
    for (size_t i = 0; context->labels && i < context->pair_count; i++)
        free(context->labels[i]);
    for (size_t i = 0; context->names && i < context->pair_count; i++) {
        for (size_t n = 0; n < context->names[i].count; n++)
            free(context->names[i].items[n]);
        free(context->names[i].items);
    }
    free(context->labels);
    free(context->names);
    mbedtls_ssl_ticket_free(&context->tickets);
    mbedtls_ssl_cache_free(&context->cache);
    mbedtls_ctr_drbg_free(&context->random);
    explicit_bzero(context, sizeof *context);
    free(context);
}

bool tls_context_equal(const struct tls_context *a, const struct tls_context *b)
{
    return a == b || (a && b && memcmp(a->digest, b->digest, sizeof a->digest) == 0);
}

const struct mbedtls_ssl_config *tls_context_slot(const struct tls_context *context, unsigned slot)
{
    return &context->slots[slot % context->slot_count].config;
}

bool tls_context_asks_client(const struct tls_context *context)
{
    return context->asks_client;
}

bool tls_context_requires_client(const struct tls_context *context)
{
    return context->requires_client;
}

struct tls_issue tls_context_issue(const struct tls_context *context, const mbedtls_x509_crt *certificate)
{
    const mbedtls_x509_crt *found = NULL;
    for (const mbedtls_x509_crt *at = &context->slots[0].client_ca; at && at->raw.p; at = at->next) {
        if (at->subject_raw.len != certificate->issuer_raw.len ||
            memcmp(at->subject_raw.p, certificate->issuer_raw.p, at->subject_raw.len) != 0)
            continue;
        if (found)
            return (struct tls_issue){0};
        found = at;
    }
    return found ? tls_issue_of(certificate, found) : (struct tls_issue){0};
}

bool tls_context_vouches(const struct tls_context *now, const struct tls_context *before, const struct tls_issue *issue)
{
    if (!now || !now->authorities)
        return false;
    return memcmp(now->clients_digest, before->clients_digest, sizeof now->clients_digest) == 0 ||
           tls_authorities_vouch(now->authorities, issue);
}

/* --- For figures --- */

static bool has_crl(const struct tls_context *context)
{
    return context->slots[0].crl.version != 0;
}

size_t tls_context_certificate_count(const struct tls_context *context)
{
    return context->pair_count + context->asks_client + has_crl(context);
}

static void first_name(const mbedtls_x509_crt *certificate, char *out, size_t size)
{
    const mbedtls_x509_buf *found = NULL;
    for (const mbedtls_x509_sequence *at = &certificate->subject_alt_names; !found && at && at->buf.p; at = at->next)
        if (at->buf.tag == SAN_DNS)
            found = &at->buf;
    for (const mbedtls_x509_name *at = &certificate->subject; !found && at; at = at->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &at->oid) == 0)
            found = &at->val;
    size_t length = found ? found->len : 0, used = 0;
    for (size_t i = 0; i < length && used + 1 < size; i++)
        if (found->p[i] > ' ' && found->p[i] < 0x7f && found->p[i] != '"' && found->p[i] != '\\')
            out[used++] = (char)found->p[i];
    out[used] = '\0';
}

/* The authority that runs out first. */
static void view_client_ca(const mbedtls_x509_crt *chain, struct tls_certificate_view *out)
{
    for (const mbedtls_x509_crt *at = chain; at; at = at->next) {
        int64_t not_after_s = tls_time_seconds(&at->valid_to);
        if (at != chain && not_after_s >= out->not_after_s)
            continue;
        out->not_after_s = not_after_s;
        first_name(at, out->name, sizeof out->name);
    }
}

static void view_crl(const mbedtls_x509_crl *lists, struct tls_certificate_view *out)
{
    for (const mbedtls_x509_crl *at = lists; at; at = at->next) {
        int64_t next_update_s = tls_time_seconds(&at->next_update);
        if (at == lists || next_update_s < out->not_after_s)
            out->not_after_s = next_update_s;
    }
}

void tls_context_certificate(const struct tls_context *context, size_t index, struct tls_certificate_view *out)
{
    const struct slot *slot = &context->slots[0];
    *out = (struct tls_certificate_view){0};
    if (index < context->pair_count) {
        snprintf(out->key, sizeof out->key, "%scert", context->labels[index]);
        first_name(&slot->chains[index], out->name, sizeof out->name);
        out->not_after_s = tls_time_seconds(&slot->chains[index].valid_to);
    } else if (index == context->pair_count && context->asks_client) {
        snprintf(out->key, sizeof out->key, "tls.clientCa");
        view_client_ca(&slot->client_ca, out);
    } else {
        snprintf(out->key, sizeof out->key, "tls.crl");
        view_crl(&slot->crl, out);
    }
}
