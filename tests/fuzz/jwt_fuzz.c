/* The first byte says what the rest is: keys (a JWK set, PEM or a secret), or a token, judged by fixed keys at a fixed
 * time. The token's text may be given decoded (header, 0, claims, 0, signature), so that the fuzzer need not find
 * base64url. Whatever is accepted must keep its promises, and nothing unsigned may be. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "memory/pool.h"
#include "protocol/json/json_object.h"
#include "protocol/jwt/jwt.h"
#include "require.h"

#define INPUT_MOST 16384
#define SECRET "a secret that has thirty-two bytes or more"

/* The public keys of RFC 7515 A.2 and A.3; nobody who fuzzes has the private ones. */
static const char keys[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r\",\"e\":\"AQAB\",\"n\":\""
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pC"
    "gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg6"
    "65xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW"
    "yuXpoQ\"},{\"kty\":\"EC\",\"kid\":\"e\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

typedef bool add_keys(struct jwk_set *set, struct slice text, char error[JWK_ERROR_BYTES]);

static void judge_keys(struct slice text, add_keys *add)
{
    char error[JWK_ERROR_BYTES];
    struct jwk_set *set = jwk_set_new();
    if (!set)
        return;
    unsigned char before[JWK_FINGERPRINT_BYTES];
    memcpy(before, jwk_set_fingerprint(set), sizeof before);
    bool taken = add(set, text, error);
    REQUIRE(memcmp(before, jwk_set_fingerprint(set), sizeof before) != 0);
    size_t count = 0;
    for (unsigned i = 0; i < JWT_ALGORITHM_COUNT; i++)
        count += jwk_set_count(set, (enum jwt_algorithm)i);
    REQUIRE(count <= JWK_SET_KEYS_MAXIMUM);
    if (!taken)
        REQUIRE(error[0] && memchr(error, '\0', sizeof error));
    else if (add != jwk_set_add_jwks)
        REQUIRE(count == 1);
    jwk_set_release(jwk_set_retain(set));
    jwk_set_release(set);
}

/* One allocation fails while keys are taken or a token is read: no key and no token is good by that. */
static void run_out_of_memory(struct slice text, unsigned choice, const struct jwk_set *set,
                              const struct jwt_rules *rules)
{
    char error[JWK_ERROR_BYTES];
    const char *why = NULL;
    struct jwt *jwt = malloc(sizeof *jwt);
    REQUIRE(jwt);
    pool_set_enabled(false);
    memory_fail(1 + choice / 8 % 16);
    struct jwk_set *fresh = jwk_set_new();
    if (fresh && choice % 4 < 2)
        (void)(choice % 4 == 0 ? jwk_set_add_jwks
               : choice & 4    ? jwk_set_add_secret
                               : jwk_set_add_pem)(fresh, text, error);
    else
        (void)jwt_read(jwt, text, set, rules, 1300000000000, &why);
    (void)memory_failed();
    pool_set_enabled(true);
    if (fresh)
        jwk_set_release(fresh);
    free(jwt);
}

static size_t encode(char *out, const uint8_t *bytes, size_t length)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t written = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < length; i++) {
        bits = (bits & 0xff) << 8 | bytes[i];
        for (held += 8; held >= 6; held -= 6)
            out[written++] = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0)
        out[written++] = alphabet[bits << (6 - held) & 63];
    return written;
}

/* The parts, separated by NUL, in base64url with dots between them. What was encoded must decode to itself. */
static size_t encode_parts(char *out, const uint8_t *data, size_t size)
{
    size_t length = 0;
    for (;;) {
        const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
        size_t part = end ? (size_t)(end - data) : size, written = encode(out + length, data, part), decoded_length;
        unsigned char *decoded = malloc(BASE64URL_DECODED(written));
        REQUIRE(decoded);
        REQUIRE(
            base64url_decode(slice_from(out + length, written), decoded, BASE64URL_DECODED(written), &decoded_length));
        REQUIRE(decoded_length == part && (part == 0 || memcmp(decoded, data, part) == 0));
        free(decoded);
        length += written;
        if (!end)
            return length;
        out[length++] = '.';
        data = end + 1;
        size -= part + 1;
    }
}

static void judge_token(struct slice token, const struct jwk_set *set, const struct jwt_rules *rules)
{
    static const char *const paths[][2] = {{"sub"}, {"a", "b"}};
    const char *why = NULL;
    struct jwt *jwt = malloc(sizeof *jwt);
    REQUIRE(jwt);
    enum code code = jwt_read(jwt, token, set, rules, 1300000000000, &why);
    REQUIRE((code == CODE_OK) == (why == NULL));
    if (code == CODE_OK) {
        REQUIRE(jwt->key && json_object_is_strict(jwt->claims) && jwt->expires_ms > 1300000000000);
        REQUIRE(jwt->claims.data >= jwt->decoded && jwt->decoded_bytes <= sizeof jwt->decoded);
        for (size_t i = 0; i < 2; i++) {
            struct slice value = jwt_claim(jwt, paths[i], i + 1);
            REQUIRE(value.length == 0 || json_kind(value) != JSON_NONE);
        }
        REQUIRE(!(jwk_is_slow(jwt->key) && jwk_is_quick(jwt->key)));
        if (!jwk_is_slow(jwt->key) || token.length % 4 == 2) {
            code = jwt_verify(jwt, &why);
            REQUIRE((code == CODE_OK) == (why == NULL));
            REQUIRE(code != CODE_OK || jwt->signature.length >= 32);
        }
    }
    free(jwt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwk_set *set;
    static const struct jwt_rules any = {.algorithms = 7},
                                  narrow = {.algorithms = 5, .issuer = {"joe", 3}, .audience = {"luaduct", 7}};
    if (size < 1 || size > INPUT_MOST)
        return 0;
    if (!set) {
        char error[JWK_ERROR_BYTES];
        set = jwk_set_new();
        REQUIRE(set && jwk_set_add_jwks(set, slice_from_string(keys), error) &&
                jwk_set_add_secret(set, SLICE(SECRET), error));
    }
    struct slice text = slice_from((const char *)data + 1, size - 1);
    const struct jwt_rules *rules = data[0] & 4 ? &any : &narrow;
    if (data[0] & 0x80)
        run_out_of_memory(text, data[0], set, rules);
    if (data[0] % 4 < 2) {
        judge_keys(text, data[0] % 4 == 0 ? jwk_set_add_jwks : data[0] & 4 ? jwk_set_add_secret : jwk_set_add_pem);
        return 0;
    }
    if (data[0] % 4 == 2) {
        judge_token(text, set, rules);
        return 0;
    }
    char *token = malloc(2 * INPUT_MOST);
    REQUIRE(token);
    size_t length = encode_parts(token, data + 1, size - 1);
    char *exact = malloc(length ? length : 1); /* a sanitizer sees a read behind its end */
    REQUIRE(exact);
    memcpy(exact, token, length);
    free(token);
    judge_token(slice_from(exact, length), set, rules);
    free(exact);
    return 0;
}
