/* RSA contexts of mbedtls keep a number of their first use, which saves the others a fifth. So a key is used once when
 * it is added, and each verification works on a copy of it (0.1 µs of 40); with P-256 it is the group that is filled,
 * so each has its own. What threads share is read only. */
#include "protocol/jwt/jwk.h"

#include <mbedtls/constant_time.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/rsa.h>
#include <mbedtls/sha256.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/json/json_object.h"
#include "protocol/json/utf8.h"
#include "protocol/jwt/base64url.h"

#define HASH_BYTES 32
#define POINT_BYTES 32
#define EXPONENT_BYTES 4 /* of RSA: 3 and 65537 are what is used, and a large one costs time */
#define JSON_DEPTH 8

struct jwk {
    enum jwt_algorithm algorithm;
    char *id; /* kid; NULL: it has none */
    size_t id_length;
    union {
        mbedtls_rsa_context rsa;
        mbedtls_ecp_point point;
        struct {
            unsigned char bytes[JWK_SECRET_BYTES_MOST];
            size_t length;
        } secret;
    };
};

struct jwk_set {
    atomic_uint references;
    unsigned char fingerprint[JWK_FINGERPRINT_BYTES];
    size_t count;
    struct jwk *keys[JWK_SET_KEYS_MAXIMUM];
};

/* --- Algorithms --- */

static const char *const algorithm_names[JWT_ALGORITHM_COUNT] = {"HS256", "RS256", "ES256"};

const char *jwt_algorithm_name(enum jwt_algorithm algorithm)
{
    return algorithm_names[algorithm];
}

bool jwt_algorithm_find(struct slice name, enum jwt_algorithm *algorithm, const char **why)
{
    for (unsigned i = 0; i < JWT_ALGORITHM_COUNT; i++) {
        if (slice_equal(name, slice_from_string(algorithm_names[i]))) {
            *algorithm = (enum jwt_algorithm)i;
            return true;
        }
    }
    if (why)
        *why = slice_equal_ignoring_case(name, SLICE("none")) ? "alg is none: the token is not signed"
               : slice_equal(name, SLICE("EdDSA"))            ? "alg is EdDSA, which mbedtls 2.28 does not have"
                                                              : "alg is not HS256, RS256 or ES256";
    return false;
}

/* --- The set --- */

struct jwk_set *jwk_set_new(void)
{
    struct jwk_set *set = calloc(1, sizeof *set);
    if (set)
        atomic_init(&set->references, 1);
    return set;
}

struct jwk_set *jwk_set_retain(struct jwk_set *set)
{
    atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
    return set;
}

static struct jwk *key_new(enum jwt_algorithm algorithm)
{
    struct jwk *key = calloc(1, sizeof *key);
    if (!key)
        return NULL;
    key->algorithm = algorithm;
    if (algorithm == JWT_RS256)
        mbedtls_rsa_init(&key->rsa, MBEDTLS_RSA_PKCS_V15, MBEDTLS_MD_NONE);
    else if (algorithm == JWT_ES256)
        mbedtls_ecp_point_init(&key->point);
    return key;
}

static void key_free(struct jwk *key)
{
    if (key->algorithm == JWT_RS256)
        mbedtls_rsa_free(&key->rsa);
    else if (key->algorithm == JWT_ES256)
        mbedtls_ecp_point_free(&key->point);
    free(key->id);
    mbedtls_platform_zeroize(key, sizeof *key);
    free(key);
}

void jwk_set_release(struct jwk_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        key_free(set->keys[i]);
    free(set);
}

const unsigned char *jwk_set_fingerprint(const struct jwk_set *set)
{
    return set->fingerprint;
}

/* Of the texts so far and the next one, each with its kind. */
static void extend_fingerprint(struct jwk_set *set, unsigned char kind, struct slice text)
{
    mbedtls_sha256_context hash;
    mbedtls_sha256_init(&hash);
    mbedtls_sha256_starts_ret(&hash, 0);
    mbedtls_sha256_update_ret(&hash, set->fingerprint, sizeof set->fingerprint);
    mbedtls_sha256_update_ret(&hash, &kind, 1);
    mbedtls_sha256_update_ret(&hash, (const unsigned char *)text.data, text.length);
    mbedtls_sha256_finish_ret(&hash, set->fingerprint);
    mbedtls_sha256_free(&hash);
}

static bool same_id(const struct jwk *key, struct slice id)
{
    return key->id && slice_equal(slice_from(key->id, key->id_length), id);
}

size_t jwk_set_count(const struct jwk_set *set, enum jwt_algorithm algorithm)
{
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++)
        count += set->keys[i]->algorithm == algorithm;
    return count;
}

const struct jwk *jwk_set_find(const struct jwk_set *set, enum jwt_algorithm algorithm, struct slice kid,
                               const char **why)
{
    const struct jwk *fits = NULL;
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct jwk *key = set->keys[i];
        if (key->algorithm != algorithm)
            continue;
        if (kid.length > 0 && same_id(key, kid))
            return key;
        if (kid.length == 0 || !key->id) {
            fits = key;
            count++;
        }
    }
    if (count == 1)
        return fits;
    *why = count == 0
               ? "no key of this algorithm and kid is configured"
               : "several keys of this algorithm are configured, and the token does not say by kid which is its own";
    return NULL;
}

/* --- Adding keys --- */

/* Where errors are said. */
struct adding {
    struct jwk_set *set;
    char *error;
    char name[JWK_ID_BYTES_MAXIMUM / 4]; /* "key 2 (kid …): " in a JWK set, else empty */
};

static bool refuse(const struct adding *adding, const char *reason)
{
    snprintf(adding->error, JWK_ERROR_BYTES, "%s%s", adding->name, reason);
    return false;
}

static bool use_once(mbedtls_rsa_context *rsa)
{
    unsigned char in[JWK_RSA_BITS_MOST / 8] = {0}, out[JWK_RSA_BITS_MOST / 8];
    in[rsa->len - 1] = 2;
    return mbedtls_rsa_public(rsa, in, out) == 0;
}

/* Takes the key. */
static bool add(const struct adding *adding, struct jwk *key, struct slice id)
{
    const struct jwk_set *set = adding->set;
    const char *problem = set->count == JWK_SET_KEYS_MAXIMUM ? "more than 64 keys" : NULL;
    for (size_t i = 0; i < set->count && !problem; i++)
        if (set->keys[i]->algorithm == key->algorithm && id.length > 0 && same_id(set->keys[i], id))
            problem = "another key of this algorithm has the same kid";
    if (!problem && key->algorithm == JWT_RS256 && !use_once(&key->rsa))
        problem = "no valid RSA key";
    if (!problem && id.length > 0) {
        key->id = malloc(id.length);
        if (key->id)
            memcpy(key->id, id.data, key->id_length = id.length);
        else
            problem = "out of memory";
    }
    if (problem) {
        key_free(key);
        return refuse(adding, problem);
    }
    adding->set->keys[adding->set->count++] = key;
    return true;
}

static const char *rsa_problem(mbedtls_rsa_context *rsa)
{
    size_t bits = mbedtls_mpi_bitlen(&rsa->N);
    if (bits < JWK_RSA_BITS_LEAST)
        return "an RSA key of fewer than 2048 bits";
    if (bits > JWK_RSA_BITS_MOST)
        return "an RSA key of more than 4096 bits";
    if (mbedtls_mpi_bitlen(&rsa->E) > (size_t)EXPONENT_BYTES * 8)
        return "an RSA key whose exponent has more than 32 bits";
    return mbedtls_rsa_check_pubkey(rsa) == 0 ? NULL : "no valid RSA key";
}

static const char *point_problem(const mbedtls_ecp_point *point)
{
    mbedtls_ecp_group group;
    mbedtls_ecp_group_init(&group);
    const char *problem = NULL;
    if (mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1) != 0)
        problem = "out of memory";
    else if (mbedtls_ecp_check_pubkey(&group, point) != 0)
        problem = "no point of the curve P-256";
    mbedtls_ecp_group_free(&group);
    return problem;
}

bool jwk_set_add_secret(struct jwk_set *set, struct slice secret, char error[JWK_ERROR_BYTES])
{
    const struct adding adding = {.set = set, .error = error};
    extend_fingerprint(set, 's', secret);
    if (secret.length < JWK_SECRET_BYTES_LEAST || secret.length > JWK_SECRET_BYTES_MOST)
        return refuse(&adding, "a secret for HS256 has 32 to 1024 bytes");
    /* What is public is no secret: whoever has the public key could sign with it. */
    if (memmem(secret.data, secret.length, "-----BEGIN ", 11))
        return refuse(&adding, "this is a key in PEM, not a secret");
    struct jwk *key = key_new(JWT_HS256);
    if (!key)
        return refuse(&adding, "out of memory");
    memcpy(key->secret.bytes, secret.data, key->secret.length = secret.length);
    return add(&adding, key, slice_from(NULL, 0));
}

/* --- PEM --- */

static bool add_parsed(const struct adding *adding, mbedtls_pk_context *parsed)
{
    bool is_rsa = mbedtls_pk_get_type(parsed) == MBEDTLS_PK_RSA;
    if (!is_rsa &&
        (mbedtls_pk_get_type(parsed) != MBEDTLS_PK_ECKEY || mbedtls_pk_ec(*parsed)->grp.id != MBEDTLS_ECP_DP_SECP256R1))
        return refuse(adding, "neither an RSA key nor one of the curve P-256");
    struct jwk *key = key_new(is_rsa ? JWT_RS256 : JWT_ES256);
    if (!key)
        return refuse(adding, "out of memory");
    int failed = is_rsa ? mbedtls_rsa_copy(&key->rsa, mbedtls_pk_rsa(*parsed))
                        : mbedtls_ecp_copy(&key->point, &mbedtls_pk_ec(*parsed)->Q);
    const char *problem = failed ? "out of memory" : is_rsa ? rsa_problem(&key->rsa) : point_problem(&key->point);
    if (problem) {
        key_free(key);
        return refuse(adding, problem);
    }
    return add(adding, key, slice_from(NULL, 0));
}

bool jwk_set_add_pem(struct jwk_set *set, struct slice text, char error[JWK_ERROR_BYTES])
{
    static const char begin[] = "-----BEGIN ";
    const struct adding adding = {.set = set, .error = error};
    extend_fingerprint(set, 'p', text);
    if (memmem(text.data, text.length, "PRIVATE KEY-----", 16))
        return refuse(&adding, "a private key has no place here: give its public half");
    const char *first = memmem(text.data, text.length, begin, sizeof begin - 1);
    if (first && memmem(first + 1, (size_t)(text.data + text.length - first) - 1, begin, sizeof begin - 1))
        return refuse(&adding, "more than one PEM block: give several keys as a JWK set");
    char *copy = malloc(text.length + 1); /* mbedtls wants the NUL */
    if (!copy)
        return refuse(&adding, "out of memory");
    memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    mbedtls_pk_context parsed;
    mbedtls_pk_init(&parsed);
    int failed = first ? mbedtls_pk_parse_public_key(&parsed, (unsigned char *)copy, text.length + 1) : -1;
    bool added =
        failed ? refuse(&adding, "not a public key in PEM (-----BEGIN PUBLIC KEY-----)") : add_parsed(&adding, &parsed);
    mbedtls_pk_free(&parsed);
    free(copy);
    return added;
}

/* --- JWK sets --- */

enum member { KTY, USE, KEY_OPS, ALG, KID, CRV, X, Y, N, E, K, D, MEMBER_COUNT };

static const char *const member_names[MEMBER_COUNT] = {"kty", "use", "key_ops", "alg", "kid", "crv",
                                                       "x",   "y",   "n",       "e",   "k",   "d"};

static bool is_text(struct slice value, struct slice text)
{
    return json_kind(value) == JSON_STRING && json_inside_equals(json_string_inside(value), text);
}

static bool allows_verifying(const struct slice members[])
{
    if (members[USE].length > 0 && !is_text(members[USE], SLICE("sig")))
        return false;
    if (json_kind(members[KEY_OPS]) != JSON_ARRAY)
        return members[KEY_OPS].length == 0;
    struct slice rest = members[KEY_OPS], entry;
    while (json_next_element(&rest, &entry))
        if (is_text(entry, SLICE("verify")))
            return true;
    return false;
}

/* Of what is for us. */
static bool algorithm_of(const struct slice members[], enum jwt_algorithm *algorithm)
{
    if (is_text(members[KTY], SLICE("RSA")))
        *algorithm = JWT_RS256;
    else if (is_text(members[KTY], SLICE("EC")) && is_text(members[CRV], SLICE("P-256")))
        *algorithm = JWT_ES256;
    else if (is_text(members[KTY], SLICE("oct")))
        *algorithm = JWT_HS256;
    else
        return false;
    return members[ALG].length == 0 || is_text(members[ALG], slice_from_string(jwt_algorithm_name(*algorithm)));
}

/* A member in base64url: the bytes, or false. */
static bool decode(struct slice value, unsigned char *out, size_t capacity, size_t *length)
{
    return json_kind(value) == JSON_STRING && base64url_decode(json_string_inside(value), out, capacity, length);
}

static const char *fill_rsa(mbedtls_rsa_context *rsa, const struct slice members[])
{
    unsigned char modulus[JWK_RSA_BITS_MOST / 8 * 4], exponent[EXPONENT_BYTES * 2];
    size_t modulus_length, exponent_length;
    if (!decode(members[N], modulus, sizeof modulus, &modulus_length) ||
        !decode(members[E], exponent, sizeof exponent, &exponent_length))
        return "expected n and e in base64url";
    /* NULL and no number at all would leave the field as it is. */
    if (modulus_length == 0 || exponent_length == 0)
        return "expected n and e in base64url";
    if (mbedtls_rsa_import_raw(rsa, modulus, modulus_length, NULL, 0, NULL, 0, NULL, 0, exponent, exponent_length) ||
        mbedtls_rsa_complete(rsa))
        return "no valid RSA key";
    return rsa_problem(rsa);
}

static const char *fill_point(mbedtls_ecp_point *point, const struct slice members[])
{
    unsigned char x[POINT_BYTES], y[POINT_BYTES];
    size_t x_length, y_length;
    if (!decode(members[X], x, sizeof x, &x_length) || x_length != sizeof x ||
        !decode(members[Y], y, sizeof y, &y_length) || y_length != sizeof y)
        return "expected x and y of 32 bytes in base64url";
    if (mbedtls_mpi_read_binary(&point->X, x, sizeof x) || mbedtls_mpi_read_binary(&point->Y, y, sizeof y) ||
        mbedtls_mpi_lset(&point->Z, 1))
        return "out of memory";
    return point_problem(point);
}

static const char *fill_secret(struct jwk *key, const struct slice members[])
{
    if (!decode(members[K], key->secret.bytes, sizeof key->secret.bytes, &key->secret.length) ||
        key->secret.length < JWK_SECRET_BYTES_LEAST)
        return "expected k of 32 to 1024 bytes in base64url";
    return NULL;
}

static bool add_members(struct adding *adding, const struct slice members[])
{
    enum jwt_algorithm algorithm;
    char id[JWK_ID_BYTES_MAXIMUM];
    struct slice kid = {id, 0};
    if (members[KID].length > 0) {
        struct slice inside = json_kind(members[KID]) == JSON_STRING ? json_string_inside(members[KID]) : kid;
        if (inside.length == 0 || inside.length > sizeof id)
            return refuse(adding, "expected a kid of 1 to 256 bytes");
        kid.length = json_unescape(inside, id, NULL);
        size_t at = strlen(adding->name);
        if (utf8_printable(kid) && kid.length < sizeof adding->name - at - sizeof " (kid ): ")
            snprintf(adding->name + at - 2, sizeof adding->name - at + 2, " (kid %.*s): ", (int)kid.length, id);
    }
    if (json_kind(members[KTY]) != JSON_STRING)
        return refuse(adding, "expected a kty");
    if (!algorithm_of(members, &algorithm) || !allows_verifying(members))
        return true;
    if (members[D].length > 0)
        return refuse(adding, "a private key (d) has no place here: give its public half");
    struct jwk *key = key_new(algorithm);
    if (!key)
        return refuse(adding, "out of memory");
    const char *problem = algorithm == JWT_RS256   ? fill_rsa(&key->rsa, members)
                          : algorithm == JWT_ES256 ? fill_point(&key->point, members)
                                                   : fill_secret(key, members);
    if (problem) {
        key_free(key);
        return refuse(adding, problem);
    }
    return add(adding, key, kid);
}

bool jwk_set_add_jwks(struct jwk_set *set, struct slice text, char error[JWK_ERROR_BYTES])
{
    struct adding adding = {.set = set, .error = error};
    char wrong[ERROR_TEXT_BYTES];
    extend_fingerprint(set, 'j', text);
    text = slice_trim_space(text);
    if (json_validate(text, JSON_DEPTH, wrong) != CODE_OK)
        return refuse(&adding, wrong);
    if (!json_object_is_strict(text))
        return refuse(&adding, "expected an object whose names are all different, with \"keys\"");
    struct slice rest = json_object_get(text, SLICE("keys")), entry;
    if (json_kind(rest) != JSON_ARRAY)
        return refuse(&adding, "expected \"keys\", a list of keys");
    for (unsigned number = 1; json_next_element(&rest, &entry); number++) {
        snprintf(adding.name, sizeof adding.name, "key %u: ", number);
        if (!json_object_is_strict(entry))
            return refuse(&adding, "expected an object whose names are all different");
        struct slice members[MEMBER_COUNT];
        for (unsigned i = 0; i < MEMBER_COUNT; i++)
            members[i] = json_object_get(entry, slice_from_string(member_names[i]));
        if (!add_members(&adding, members))
            return false;
    }
    return true;
}

/* --- Verifying --- */

static bool out_of_memory(int result)
{
    return result == MBEDTLS_ERR_MPI_ALLOC_FAILED || result == MBEDTLS_ERR_ECP_ALLOC_FAILED ||
           result == MBEDTLS_ERR_MD_ALLOC_FAILED;
}

static int verify_hmac(const struct jwk *key, struct slice text, struct slice signature)
{
    unsigned char mac[HASH_BYTES];
    if (signature.length != sizeof mac)
        return -1;
    int result = mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), key->secret.bytes, key->secret.length,
                                 (const unsigned char *)text.data, text.length, mac);
    if (result == 0)
        result = mbedtls_ct_memcmp(mac, signature.data, sizeof mac);
    mbedtls_platform_zeroize(mac, sizeof mac);
    return result;
}

static int verify_rsa(const mbedtls_rsa_context *key, const unsigned char hash[HASH_BYTES], struct slice signature)
{
    if (signature.length != key->len)
        return -1;
    mbedtls_rsa_context copy;
    mbedtls_rsa_init(&copy, MBEDTLS_RSA_PKCS_V15, MBEDTLS_MD_NONE);
    int result = mbedtls_rsa_copy(&copy, key);
    if (result == 0)
        result = mbedtls_rsa_pkcs1_verify(&copy, NULL, NULL, MBEDTLS_RSA_PUBLIC, MBEDTLS_MD_SHA256, HASH_BYTES, hash,
                                          (const unsigned char *)signature.data);
    mbedtls_rsa_free(&copy);
    return result;
}

/* r and s one after the other, each as long as the curve's order (RFC 7518 3.4). */
static int verify_point(const mbedtls_ecp_point *point, const unsigned char hash[HASH_BYTES], struct slice signature)
{
    if (signature.length != (size_t)2 * POINT_BYTES)
        return -1;
    const unsigned char *bytes = (const unsigned char *)signature.data;
    mbedtls_ecp_group group;
    mbedtls_mpi r, s;
    mbedtls_ecp_group_init(&group);
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    int result = mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1);
    if (result == 0)
        result = mbedtls_mpi_read_binary(&r, bytes, POINT_BYTES);
    if (result == 0)
        result = mbedtls_mpi_read_binary(&s, bytes + POINT_BYTES, POINT_BYTES);
    if (result == 0)
        result = mbedtls_ecdsa_verify(&group, hash, HASH_BYTES, point, &r, &s);
    mbedtls_ecp_group_free(&group);
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&s);
    return result;
}

enum code jwk_verify(const struct jwk *key, struct slice text, struct slice signature)
{
    unsigned char hash[HASH_BYTES];
    int result;
    if (key->algorithm == JWT_HS256) {
        result = verify_hmac(key, text, signature);
    } else {
        result = mbedtls_sha256_ret((const unsigned char *)text.data, text.length, hash, 0);
        if (result == 0)
            result = key->algorithm == JWT_RS256 ? verify_rsa(&key->rsa, hash, signature)
                                                 : verify_point(&key->point, hash, signature);
    }
    return result == 0 ? CODE_OK : out_of_memory(result) ? CODE_INTERNAL : CODE_UNAUTHORIZED;
}

bool jwk_is_slow(const struct jwk *key)
{
    return key->algorithm == JWT_ES256;
}

bool jwk_is_quick(const struct jwk *key)
{
    return key->algorithm == JWT_HS256;
}
