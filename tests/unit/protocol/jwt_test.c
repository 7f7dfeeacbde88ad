/* The vectors are those of RFC 7515, Appendix A.1 to A.3; tokens with other headers and claims are signed here. */
#include "../../support/unit.h"

#include <mbedtls/md.h>
#include <stdint.h>

#include "protocol/jwt/jwt.h"

#define VECTOR_CLAIMS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define VECTOR_EXPIRES_MS 1300819380000
#define VECTOR_HS256                                                                                                   \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." VECTOR_CLAIMS ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define VECTOR_RS256                                                                                                   \
    "eyJhbGciOiJSUzI1NiJ9." VECTOR_CLAIMS                                                                              \
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7" \
    "t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12" \
    "jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUP" \
    "QGe77Rw"
#define VECTOR_ES256                                                                                                   \
    "eyJhbGciOiJFUzI1NiJ9." VECTOR_CLAIMS                                                                              \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define VECTOR_SECRET                                                                                                  \
    "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-"                                           \
    "1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}"
#define VECTOR_MODULUS                                                                                                 \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pC" \
    "gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg6" \
    "65xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW" \
    "yuXpoQ"
#define VECTOR_RSA "{\"kty\":\"RSA\",\"n\":\"" VECTOR_MODULUS "\",\"e\":\"AQAB\"}"
#define VECTOR_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define VECTOR_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define VECTOR_EC "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" VECTOR_X "\",\"y\":\"" VECTOR_Y "\"}"

#define PEM_RSA                                                                                                        \
    "-----BEGIN PUBLIC KEY-----\n"                                                                                     \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"                                               \
    "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"                                               \
    "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"                                               \
    "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"                                               \
    "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"                                               \
    "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"                                               \
    "oQIDAQAB\n"                                                                                                       \
    "-----END PUBLIC KEY-----\n"

#define SECRET "a secret that has thirty-two bytes or more"
#define NOW_MS 2000000000000
#define ALL_ALGORITHMS ((1u << JWT_ALGORITHM_COUNT) - 1)

static struct jwk_set *set_of(const char *jwks)
{
    char error[JWK_ERROR_BYTES] = "";
    struct jwk_set *set = jwk_set_new();
    CHECK(set);
    if (!jwk_set_add_jwks(set, slice_from_string(jwks), error)) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    return set;
}

static struct jwk_set *set_of_secret(void)
{
    char error[JWK_ERROR_BYTES] = "";
    struct jwk_set *set = jwk_set_new();
    CHECK(set && jwk_set_add_secret(set, SLICE(SECRET), error));
    return set;
}

/* Gives the set back. */
static enum code judge_at(struct jwk_set *set, const char *token, const struct jwt_rules *rules, int64_t wall_ms,
                          const char **why)
{
    struct jwt jwt;
    enum code code = jwt_read(&jwt, slice_from_string(token), set, rules, wall_ms, why);
    if (code == CODE_OK)
        code = jwt_verify(&jwt, why);
    jwk_set_release(set);
    return code;
}

static void accepts_vector(const char *key, const char *token)
{
    const struct jwt_rules rules = {.algorithms = ALL_ALGORITHMS, .issuer = SLICE("joe")};
    char jwks[1024];
    const char *why;
    snprintf(jwks, sizeof jwks, "{\"keys\":[%s]}", key);
    CHECK(judge_at(set_of(jwks), token, &rules, VECTOR_EXPIRES_MS - 1, &why) == CODE_OK);
}

/* How it is refused; "" when it is not. */
static const char *refusal_of_vector(const char *key, const char *token)
{
    const struct jwt_rules rules = {.algorithms = ALL_ALGORITHMS, .issuer = SLICE("joe")};
    char jwks[1024];
    const char *why;
    snprintf(jwks, sizeof jwks, "{\"keys\":[%s]}", key);
    return judge_at(set_of(jwks), token, &rules, VECTOR_EXPIRES_MS - 1, &why) == CODE_OK ? "" : why;
}

static size_t encode(char *out, const unsigned char *bytes, size_t length)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t written = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | bytes[i];
        for (held += 8; held >= 6; held -= 6)
            out[written++] = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0)
        out[written++] = alphabet[bits << (6 - held) & 63];
    return written;
}

/* A token signed with the secret as HS256 signs, whatever its header says. */
static const char *sign_with(struct slice secret, const char *header, const char *claims)
{
    static char token[65536];
    unsigned char mac[32];
    size_t length = encode(token, (const unsigned char *)header, strlen(header));
    token[length++] = '.';
    length += encode(token + length, (const unsigned char *)claims, strlen(claims));
    mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), (const unsigned char *)secret.data, secret.length,
                    (unsigned char *)token, length, mac);
    token[length++] = '.';
    length += encode(token + length, mac, sizeof mac);
    token[length] = '\0';
    return token;
}

static const struct jwt_rules plain_rules = {.algorithms = ALL_ALGORITHMS, .leeway_ms = 0};

/* "": it passes. */
static const char *refusal_by(const struct jwt_rules *rules, const char *header, const char *claims)
{
    const char *why;
    return judge_at(set_of_secret(), sign_with(SLICE(SECRET), header, claims), rules, NOW_MS, &why) == CODE_OK ? ""
                                                                                                               : why;
}

#define CHECK_REFUSAL(actual, expected)                                                                                \
    do {                                                                                                               \
        const char *actual_ = (actual);                                                                                \
        CHECK_TEXT(actual_, strlen(actual_), expected);                                                                \
    } while (0)

#define HEADER "{\"alg\":\"HS256\"}"
#define CLAIMS "{\"exp\":2000000001}"

TEST("jwt: the tokens of RFC 7515 A.1 to A.3 pass with their keys")
{
    accepts_vector(VECTOR_SECRET, VECTOR_HS256);
    accepts_vector(VECTOR_RSA, VECTOR_RS256);
    accepts_vector(VECTOR_EC, VECTOR_ES256);
}

TEST("jwt: a public key in PEM is the same key")
{
    char error[JWK_ERROR_BYTES];
    const char *why;
    struct jwk_set *set = jwk_set_new();
    CHECK(set && jwk_set_add_pem(set, SLICE(PEM_RSA), error));
    CHECK(judge_at(set, VECTOR_RS256, &plain_rules, VECTOR_EXPIRES_MS - 1, &why) == CODE_OK);
}

TEST("jwt: a token that was changed anywhere is refused")
{
    static const struct {
        const char *key, *token;
    } vectors[] = {{VECTOR_SECRET, VECTOR_HS256}, {VECTOR_RSA, VECTOR_RS256}, {VECTOR_EC, VECTOR_ES256}};
    for (size_t i = 0; i < 3; i++) {
        size_t length = strlen(vectors[i].token);
        for (size_t at = 0; at < length; at += i == 2 ? 3 : 1) { /* ES256 is slow */
            char token[1024];
            memcpy(token, vectors[i].token, length + 1);
            token[at] = token[at] == 'A' ? 'B' : 'A';
            CHECK(refusal_of_vector(vectors[i].key, token)[0] != '\0');
        }
    }
}

TEST("jwt: a token without signature, with half of one or with more is refused")
{
    CHECK_REFUSAL(refusal_of_vector(VECTOR_EC, "eyJhbGciOiJFUzI1NiJ9." VECTOR_CLAIMS "."), "the signature is wrong");
    CHECK_REFUSAL(refusal_of_vector(VECTOR_EC, "eyJhbGciOiJFUzI1NiJ9." VECTOR_CLAIMS ".DtEhU3ljbEg8L38VWAfUAqOyKAM6"),
                  "the signature is wrong");
    CHECK_REFUSAL(refusal_of_vector(VECTOR_EC, VECTOR_ES256 "AAAA"), "the signature is wrong");
    CHECK_REFUSAL(refusal_of_vector(VECTOR_RSA, "eyJhbGciOiJSUzI1NiJ9." VECTOR_CLAIMS ".AAAA"),
                  "the signature is wrong");
    CHECK_REFUSAL(refusal_of_vector(VECTOR_RSA, VECTOR_RS256 "AA"), "the signature is wrong");
    CHECK_REFUSAL(refusal_of_vector(VECTOR_SECRET, VECTOR_HS256 "AAAA"), "the signature is wrong");
    CHECK_REFUSAL(refusal_of_vector(VECTOR_EC, "eyJhbGciOiJFUzI1NiJ9." VECTOR_CLAIMS),
                  "not three parts with dots between them");
}

TEST("jwt: an ECDSA signature of zeros, or in DER, is refused")
{
    char token[1024];
    snprintf(token, sizeof token, "eyJhbGciOiJFUzI1NiJ9." VECTOR_CLAIMS ".%086d", 0);
    for (char *at = strrchr(token, '.') + 1; *at; at++)
        *at = 'A';
    CHECK_REFUSAL(refusal_of_vector(VECTOR_EC, token), "the signature is wrong");
    /* SEQUENCE of r and s of A.3: what OpenSSL makes. */
    unsigned char raw[64], der[72] = {0x30, 70, 2, 33, 0};
    size_t length;
    CHECK(base64url_decode(
        SLICE("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"), raw,
        sizeof raw, &length));
    memcpy(der + 5, raw, 32);
    memcpy(der + 37, "\2\41\0", 3);
    memcpy(der + 40, raw + 32, 32);
    char *end = strrchr(token, '.') + 1;
    end[encode(end, der, sizeof der)] = '\0';
    CHECK_REFUSAL(refusal_of_vector(VECTOR_EC, token), "the signature is wrong");
}

TEST("jwt: alg none is refused in every spelling")
{
    static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"None\"}", "{\"alg\":\"NONE\"}",
                                          "{\"alg\":\"nOnE\"}"};
    for (size_t i = 0; i < 4; i++)
        CHECK_REFUSAL(refusal_by(&plain_rules, headers[i], CLAIMS), "alg is none: the token is not signed");
    /* eyJhbGciOiJub25lIn0 is {"alg":"none"}: RFC 7519 6.1. */
    CHECK_REFUSAL(refusal_of_vector(VECTOR_SECRET, "eyJhbGciOiJub25lIn0." VECTOR_CLAIMS "."),
                  "alg is none: the token is not signed");
}

TEST("jwt: an algorithm that is not there, or misspelt, is refused")
{
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"EdDSA\"}", CLAIMS),
                  "alg is EdDSA, which mbedtls 2.28 does not have");
    static const char *const headers[] = {"{\"alg\":\"HS512\"}",       "{\"alg\":\"hs256\"}", "{\"alg\":\"HS256 \"}",
                                          "{\"alg\":\"PS256\"}",       "{\"alg\":\"\"}",      "{\"alg\":\"RSA-OAEP\"}",
                                          "{\"alg\":\"HS\\u0000256\"}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        CHECK_REFUSAL(refusal_by(&plain_rules, headers[i], CLAIMS), "alg is not HS256, RS256 or ES256");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"typ\":\"JWT\"}", CLAIMS), "the header has no alg");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":[\"HS256\"]}", CLAIMS), "the header has no alg");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":null}", CLAIMS), "the header has no alg");
}

TEST("jwt: an algorithm that the configuration does not name is refused")
{
    const struct jwt_rules rules = {.algorithms = 1u << JWT_RS256 | 1u << JWT_ES256};
    CHECK_REFUSAL(refusal_by(&rules, HEADER, CLAIMS), "alg is not one of auth.jwt.algorithms");
}

TEST("jwt: an RSA public key is no secret for HS256")
{
    const char *why;
    struct jwk_set *set = set_of("{\"keys\":[" VECTOR_RSA "]}");
    const char *token = sign_with(SLICE(PEM_RSA), HEADER, CLAIMS);
    CHECK(judge_at(set, token, &plain_rules, NOW_MS, &why) == CODE_UNAUTHORIZED);
    CHECK_REFUSAL(why, "no key of this algorithm and kid is configured");
    char error[JWK_ERROR_BYTES];
    set = jwk_set_new();
    CHECK(set && !jwk_set_add_secret(set, SLICE(PEM_RSA), error));
    CHECK_REFUSAL(error, "this is a key in PEM, not a secret");
    jwk_set_release(set);
}

TEST("jwt: a key is never used for another algorithm than its own")
{
    const struct {
        const char *key, *token;
    } wrong[] = {{VECTOR_RSA, VECTOR_ES256}, {VECTOR_RSA, VECTOR_HS256},    {VECTOR_EC, VECTOR_RS256},
                 {VECTOR_EC, VECTOR_HS256},  {VECTOR_SECRET, VECTOR_RS256}, {VECTOR_SECRET, VECTOR_ES256}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK_REFUSAL(refusal_of_vector(wrong[i].key, wrong[i].token),
                      "no key of this algorithm and kid is configured");
}

TEST("jwt: a header that brings its own key, or says where it is, is judged by ours")
{
    static const char *const headers[] = {
        "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"YXR0YWNrZXIgYXR0YWNrZXIgYXR0YWNrZXIgYXR0YWNrZXI\"}}",
        "{\"alg\":\"HS256\",\"jku\":\"https://attacker.example/jwks\"}",
        "{\"alg\":\"HS256\",\"x5u\":\"https://attacker.example/x\"}", "{\"alg\":\"HS256\",\"x5c\":[\"AAAA\"]}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const char *why;
        const char *token = sign_with(SLICE("attacker attacker attacker attacker"), headers[i], CLAIMS);
        CHECK(judge_at(set_of_secret(), token, &plain_rules, NOW_MS, &why) == CODE_UNAUTHORIZED);
        CHECK_REFUSAL(why, "the signature is wrong");
        CHECK_REFUSAL(refusal_by(&plain_rules, headers[i], CLAIMS), "");
    }
}

TEST("jwt: extensions, nested tokens and tokens of another type are refused")
{
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", CLAIMS),
                  "the header asks for an extension (crit, b64)");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"HS256\",\"cr\\u0069t\":[]}", CLAIMS),
                  "the header asks for an extension (crit, b64)");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"HS256\",\"b64\":false}", CLAIMS),
                  "the header asks for an extension (crit, b64)");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"HS256\",\"cty\":\"JWT\"}", CLAIMS),
                  "a token within a token (cty)");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}", CLAIMS),
                  "typ is neither JWT nor at+jwt");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"HS256\",\"typ\":\"jwt\"}", CLAIMS), "");
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"HS256\",\"typ\":\"application/at+JWT\"}", CLAIMS), "");
}

TEST("jwt: names given twice are refused, however they are written")
{
    static const char header_twice[] = "the header is not a JSON object with unique names",
                      claims_twice[] = "the claims are not a JSON object with unique names";
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"none\",\"alg\":\"HS256\"}", CLAIMS), header_twice);
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"a\\u006cg\":\"none\",\"alg\":\"HS256\"}", CLAIMS), header_twice);
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, "{\"exp\":2000000001,\"sub\":\"a\",\"sub\":\"b\"}"), claims_twice);
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, "{\"exp\":1,\"\\u0065xp\":2000000001}"), claims_twice);
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, "{\"exp\":2000000001,\"\\ud800\":1}"), claims_twice);
}

TEST("jwt: what is no JSON object, or no strict one, is refused")
{
    static const char *const bad[] = {"",           "[]",        "\"text\"",       "null",         "{\"exp\":01}",
                                      "{\"exp\":}", "{'exp':1}", "{\"exp\":1} {}", "{\"exp\":1,}", "{\"a\":\"\xff\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, bad[i]), "the claims are not a JSON object with unique names");
        CHECK_REFUSAL(refusal_by(&plain_rules, bad[i], CLAIMS), "the header is not a JSON object with unique names");
    }
    char deep[1024] = "{\"exp\":2000000001,\"a\":";
    size_t length = strlen(deep);
    memset(deep + length, '[', 32);
    memset(deep + length + 32, ']', 32);
    memcpy(deep + length + 64, "}", 2);
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, deep), "the claims are not a JSON object with unique names");
    char many[8192] = "{\"exp\":2000000001";
    for (int i = 0; i < 128; i++)
        snprintf(many + strlen(many), 16, ",\"%d\":0", i);
    strcat(many, "}");
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, many), "the claims are not a JSON object with unique names");
}

TEST("jwt: only three parts of strict base64url are read")
{
    static const char parts[] = "not three parts with dots between them", alphabet[] = "not base64url";
    const char *why;
    static const struct {
        const char *token, *why;
    } bad[] = {
        {"", parts},
        {"a.b", parts},
        {"a.b.c.d", parts},
        {"a.b.c.d.e", parts}, /* a JWE */
        {"a..", alphabet},
        {"..", "the header is not a JSON object with unique names"},
        {"eyJhbGciOiJIUzI1NiJ9==.e30.", alphabet},
        {" eyJhbGciOiJIUzI1NiJ9.e30.", alphabet},
        {"eyJhbGciOiJIUzI1NiJ9.e30.\n", alphabet},
        {"eyJhbGciOiJIUzI1NiJ9.e31.AA", alphabet}, /* bits behind the last byte */
        {"eyJhbGciOiJIUzI1NiJ9.e3+/.AA", alphabet},
        {"eyJhbGciOiJIUzI1NiJ9.e30.AAAAA", alphabet},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(judge_at(set_of_secret(), bad[i].token, &plain_rules, NOW_MS, &why) == CODE_UNAUTHORIZED);
        CHECK_REFUSAL(why, bad[i].why);
    }
    /* The last character of a good one with its spare bits set. */
    char token[1024];
    snprintf(token, sizeof token, "%s", VECTOR_HS256);
    token[strlen(token) - 1] = 'l';
    CHECK_REFUSAL(refusal_of_vector(VECTOR_SECRET, token), alphabet);
}

TEST("jwt: a token of more than 8 KiB is refused, one of 8 KiB is not")
{
    char claims[8192];
    for (int pad = 5900; pad < 6200; pad++) {
        snprintf(claims, sizeof claims, "{\"exp\":2000000001,\"a\":\"%0*d\"}", pad, 0);
        const char *token = sign_with(SLICE(SECRET), HEADER, claims);
        size_t length = strlen(token);
        CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, claims), length > 8192 ? "longer than 8192 bytes" : "");
        if (length > 8200)
            return;
    }
    CHECK(!"it became too long");
}

TEST("jwt: exp is required, and counts to the millisecond with its leeway")
{
    static const struct jwt_rules lenient = {.algorithms = ALL_ALGORITHMS, .leeway_ms = 1500};
    static const char none[] = "the token has no exp", wrong[] = "exp is not a date",
                      expired[] = "the token has expired (exp)";
    static const struct {
        const char *claims, *why, *lenient_why;
    } cases[] = {
        {"{\"exp\":2000000000}", expired, ""},
        {"{\"exp\":1999999998.5}", expired, expired},
        {"{\"exp\":1999999998.501}", expired, ""},
        {"{\"exp\":2000000000.001}", "", ""},
        {"{\"exp\":2e9}", expired, ""},
        {"{}", none, none},
        {"{\"exp\":\"2000000001\"}", wrong, wrong},
        {"{\"exp\":null}", wrong, wrong},
        {"{\"exp\":-1}", wrong, wrong},
        {"{\"exp\":1e400}", wrong, wrong},
        {"{\"exp\":1e12}", wrong, wrong},
        {"{\"exp\":{}}", wrong, wrong},
        {"{\"exp\":true}", wrong, wrong},
        {"{\"exp\":0}", expired, expired},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, cases[i].claims), cases[i].why);
        CHECK_REFUSAL(refusal_by(&lenient, HEADER, cases[i].claims), cases[i].lenient_why);
    }
}

TEST("jwt: nbf and iat in the future are refused, with their leeway")
{
    static const struct jwt_rules lenient = {.algorithms = ALL_ALGORITHMS, .leeway_ms = 1500};
    static const char early[] = "{\"exp\":2000000009,\"nbf\":2000000001.5}",
                      future[] = "{\"exp\":2000000009,\"iat\":2000000001.5}";
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, early), "the token is not valid yet (nbf)");
    CHECK_REFUSAL(refusal_by(&lenient, HEADER, early), "");
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, future), "the token was issued in the future (iat)");
    CHECK_REFUSAL(refusal_by(&lenient, HEADER, future), "");
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, "{\"exp\":2000000009,\"nbf\":2000000000,\"iat\":2000000000}"), "");
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, "{\"exp\":2000000009,\"nbf\":\"now\"}"), "nbf is not a date");
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, "{\"exp\":2000000009,\"iat\":[]}"), "iat is not a date");
}

TEST("jwt: iss must be exactly the issuer, and aud must name the audience")
{
    static const struct jwt_rules rules = {
        .algorithms = ALL_ALGORITHMS, .issuer = {"https://issuer.example", 22}, .audience = {"luaduct", 7}};
    static const char issuer[] = "iss is not auth.jwt.issuer", audience[] = "aud does not name auth.jwt.audience";
    static const struct {
        const char *claims, *why;
    } cases[] = {
        {"\"iss\":\"https://issuer.example\",\"aud\":\"luaduct\"", ""},
        {"\"iss\":\"https://issuer.example\",\"aud\":[\"other\",\"luaduct\"]", ""},
        {"\"iss\":\"https:\\/\\/issuer.example\",\"aud\":\"lu\\u0061duct\"", ""},
        {"\"aud\":\"luaduct\"", issuer},
        {"\"iss\":\"https://issuer.example/\",\"aud\":\"luaduct\"", issuer},
        {"\"iss\":\"https://issuer.exampl\",\"aud\":\"luaduct\"", issuer},
        {"\"iss\":[\"https://issuer.example\"],\"aud\":\"luaduct\"", issuer},
        {"\"iss\":null,\"aud\":\"luaduct\"", issuer},
        {"\"iss\":\"https://issuer.example\"", audience},
        {"\"iss\":\"https://issuer.example\",\"aud\":\"luaduct2\"", audience},
        {"\"iss\":\"https://issuer.example\",\"aud\":[]", audience},
        {"\"iss\":\"https://issuer.example\",\"aud\":[[\"luaduct\"]]", audience},
        {"\"iss\":\"https://issuer.example\",\"aud\":[\"luaduct\",1]", audience},
        {"\"iss\":\"https://issuer.example\",\"aud\":{\"luaduct\":1}", audience},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char claims[256];
        snprintf(claims, sizeof claims, "{\"exp\":2000000001,%s}", cases[i].claims);
        CHECK_REFUSAL(refusal_by(&rules, HEADER, claims), cases[i].why);
    }
    CHECK_REFUSAL(refusal_by(&plain_rules, HEADER, "{\"exp\":2000000001,\"aud\":\"luaduct\"}"),
                  "the token is for an audience (aud), and auth.jwt.audience is not set");
}

TEST("jwt: kid chooses the key, and without one the choice must be clear")
{
#define OCT(kid, k) "{\"kty\":\"oct\",\"kid\":\"" kid "\",\"k\":\"" k "\"}"
#define K_SECRET "YSBzZWNyZXQgdGhhdCBoYXMgdGhpcnR5LXR3byBieXRlcyBvciBtb3Jl"
#define K_OTHER "YW5vdGhlciBzZWNyZXQgdGhhdCBoYXMgdGhpcnR5LXR3byBieXRlcw"
    static const char set[] = "{\"keys\":[" OCT("new", K_SECRET) "," OCT("old", K_OTHER) "]}";
    static const char set_reversed[] = "{\"keys\":[" OCT("old", K_OTHER) "," OCT("new", K_SECRET) "]}";
    static const struct {
        const char *header, *why;
    } cases[] = {
        {"{\"alg\":\"HS256\",\"kid\":\"new\"}", ""},
        {"{\"alg\":\"HS256\",\"kid\":\"n\\u0065w\"}", ""},
        {"{\"alg\":\"HS256\",\"kid\":\"old\"}", "the signature is wrong"},
        {"{\"alg\":\"HS256\",\"kid\":\"older\"}", "no key of this algorithm and kid is configured"},
        {"{\"alg\":\"HS256\"}",
         "several keys of this algorithm are configured, and the token does not say by kid which is its own"},
        {"{\"alg\":\"HS256\",\"kid\":\"\"}", "kid is not text of 1 to 256 bytes"},
        {"{\"alg\":\"HS256\",\"kid\":7}", "kid is not text of 1 to 256 bytes"},
        {"{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", "no key of this algorithm and kid is configured"},
        {"{\"alg\":\"RS256\",\"kid\":\"new\"}", "no key of this algorithm and kid is configured"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const char *why = NULL;
        const char *token = sign_with(SLICE(SECRET), cases[i / 2].header, CLAIMS);
        enum code code = judge_at(set_of(i & 1 ? set : set_reversed), token, &plain_rules, NOW_MS, &why);
        CHECK((code == CODE_OK) == (cases[i / 2].why[0] == '\0'));
        CHECK_REFUSAL(why ? why : "", cases[i / 2].why);
    }
    /* A key without a kid serves every token, one with a kid those that name none. */
    CHECK_REFUSAL(refusal_by(&plain_rules, "{\"alg\":\"HS256\",\"kid\":\"any\"}", CLAIMS), "");
}

TEST("jwt: a claim is found by its way, and only in objects with unique names")
{
    struct jwt jwt;
    const char *why;
    struct jwk_set *set = set_of_secret();
    const char *token = sign_with(SLICE(SECRET), HEADER,
                                  "{\"exp\":2000000001,\"sub\":\"ada\",\"a.b\":1,\"a\":{\"b\":[2]},"
                                  "\"twice\":{\"b\":1,\"b\":2}}");
    CHECK(jwt_read(&jwt, slice_from_string(token), set, &plain_rules, NOW_MS, &why) == CODE_OK);
    CHECK(jwt.expires_ms == 2000000001000);
    struct slice value = jwt_claim(&jwt, (const char *[]){"sub"}, 1);
    CHECK_TEXT(value.data, value.length, "\"ada\"");
    value = jwt_claim(&jwt, (const char *[]){"a.b"}, 1);
    CHECK_TEXT(value.data, value.length, "1");
    value = jwt_claim(&jwt, (const char *[]){"a", "b"}, 2);
    CHECK_TEXT(value.data, value.length, "[2]");
    CHECK(jwt_claim(&jwt, (const char *[]){"twice", "b"}, 2).length == 0);
    CHECK(jwt_claim(&jwt, (const char *[]){"sub", "b"}, 2).length == 0);
    CHECK(jwt_claim(&jwt, (const char *[]){"absent", "b"}, 2).length == 0);
    jwk_set_release(set);
}

/* The text in `error`; "" when it was taken. */
static const char *refusal_of_set(const char *jwks)
{
    static char error[JWK_ERROR_BYTES];
    struct jwk_set *set = jwk_set_new();
    CHECK(set);
    bool taken = jwk_set_add_jwks(set, slice_from_string(jwks), error);
    jwk_set_release(set);
    return taken ? "" : error;
}

static const char *refusal_of_key(const char *key)
{
    static char jwks[16384];
    snprintf(jwks, sizeof jwks, "{\"keys\":[%s]}", key);
    return refusal_of_set(jwks);
}

TEST("jwk: a set that is none is refused with the reason")
{
    CHECK(strncmp(refusal_of_set("{"), "not JSON: ", 10) == 0);
    CHECK(strncmp(refusal_of_set(""), "not JSON: ", 10) == 0);
    CHECK_REFUSAL(refusal_of_set("{}"), "expected \"keys\", a list of keys");
    CHECK_REFUSAL(refusal_of_set("{\"keys\":{}}"), "expected \"keys\", a list of keys");
    CHECK_REFUSAL(refusal_of_set("[]"), "expected an object whose names are all different, with \"keys\"");
    CHECK_REFUSAL(refusal_of_set("{\"keys\":[],\"keys\":[]}"),
                  "expected an object whose names are all different, with \"keys\"");
    CHECK_REFUSAL(refusal_of_set("{\"keys\":[" VECTOR_EC ",1]}"),
                  "key 2: expected an object whose names are all different");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"oct\",\"k\":\"" K_SECRET "\",\"k\":\"" K_OTHER "\"}"),
                  "key 1: expected an object whose names are all different");
}

TEST("jwk: a key for us that is wrong is refused by its number and kid")
{
    CHECK_REFUSAL(refusal_of_key("{}"), "key 1: expected a kty");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"c2hvcnQ\"}"),
                  "key 1 (kid a): expected k of 32 to 1024 bytes in base64url");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"oct\",\"kid\":\"\\n\",\"k\":\"c2hvcnQ\"}"),
                  "key 1: expected k of 32 to 1024 bytes in base64url");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"oct\",\"kid\":1,\"k\":\"" K_SECRET "\"}"),
                  "key 1: expected a kid of 1 to 256 bytes");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"oct\",\"k\":\"" K_SECRET "=\"}"),
                  "key 1: expected k of 32 to 1024 bytes in base64url");
    CHECK_REFUSAL(refusal_of_key(OCT("a", K_SECRET) "," OCT("a", K_OTHER)),
                  "key 2 (kid a): another key of this algorithm has the same kid");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"RSA\",\"e\":\"AQAB\"}"), "key 1: expected n and e in base64url");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}"),
                  "key 1: expected n and e in base64url");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"RSA\",\"n\":\"" VECTOR_MODULUS "\",\"e\":\"AQAA\"}"),
                  "key 1: no valid RSA key");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"RSA\",\"n\":\"" VECTOR_MODULUS "\",\"e\":\"AQAAAAAB\"}"),
                  "key 1: an RSA key whose exponent has more than 32 bits");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}"),
                  "key 1: an RSA key of fewer than 2048 bits");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"RSA\",\"n\":\"" VECTOR_MODULUS "\",\"e\":\"AQAB\",\"d\":\"AQAB\"}"),
                  "key 1: a private key (d) has no place here: give its public half");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" VECTOR_X "\",\"y\":\"" VECTOR_X "\"}"),
                  "key 1: no point of the curve P-256");
    CHECK_REFUSAL(refusal_of_key("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" VECTOR_X "\",\"y\":\"AQAB\"}"),
                  "key 1: expected x and y of 32 bytes in base64url");
    char large[2048] = "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"";
    size_t length = strlen(large);
    memset(large + length, '_', 700); /* 525 bytes of ones */
    strcpy(large + length + 700, "\"}");
    CHECK_REFUSAL(refusal_of_key(large), "key 1: an RSA key of more than 4096 bits");
}

TEST("jwk: keys of a set that are not for us are left out")
{
    struct jwk_set *set =
        set_of("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"},{\"kty\":\"EC\",\"crv\":\"P-384\"},"
               "{\"kty\":\"RSA\",\"use\":\"enc\"},{\"kty\":\"RSA\",\"alg\":\"RS512\"},"
               "{\"kty\":\"RSA\",\"key_ops\":[\"encrypt\"]},"
               "{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\",\"key_ops\":[\"verify\"],"
               "\"kid\":\"1\",\"x\":\"" VECTOR_X "\",\"y\":\"" VECTOR_Y "\"}]}");
    CHECK(jwk_set_count(set, JWT_RS256) == 0 && jwk_set_count(set, JWT_ES256) == 1);
    jwk_set_release(set);
}

TEST("jwk: no more than 64 keys")
{
    char jwks[16384] = "{\"keys\":[";
    for (int i = 0; i < 65; i++)
        snprintf(jwks + strlen(jwks), 200, "%s" OCT("%d", K_SECRET), i ? "," : "", i);
    strcat(jwks, "]}");
    CHECK_REFUSAL(refusal_of_set(jwks), "key 65 (kid 64): more than 64 keys");
}

/* As refusal_of_set. */
static const char *refusal_of_pem(const char *text)
{
    static char error[JWK_ERROR_BYTES];
    struct jwk_set *set = jwk_set_new();
    CHECK(set);
    bool taken = jwk_set_add_pem(set, slice_from_string(text), error);
    jwk_set_release(set);
    return taken ? "" : error;
}

TEST("jwk: of PEM only one strong public key is taken")
{
    CHECK_REFUSAL(refusal_of_pem(PEM_RSA), "");
    CHECK_REFUSAL(refusal_of_pem("# a key\n" PEM_RSA), "");
    CHECK_REFUSAL(refusal_of_pem(PEM_RSA PEM_RSA), "more than one PEM block: give several keys as a JWK set");
    CHECK_REFUSAL(refusal_of_pem(""), "not a public key in PEM (-----BEGIN PUBLIC KEY-----)");
    CHECK_REFUSAL(refusal_of_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                  "not a public key in PEM (-----BEGIN PUBLIC KEY-----)");
    CHECK_REFUSAL(refusal_of_pem("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"),
                  "a private key has no place here: give its public half");
    CHECK_REFUSAL(refusal_of_pem("-----BEGIN PUBLIC KEY-----\n"
                                 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                                 "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                                 "-----END PUBLIC KEY-----\n"),
                  "");
    CHECK_REFUSAL(
        refusal_of_pem("-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC+MgncuT9uaLL8h6cGhgx3k8zj\n"
                       "BgBxU2WwDta8m94jX8UxRLORz4hbCe/XN7Lfh4OF0F4WXPlxt4yT5EEpfea8t1Ej\n"
                       "ddSgPVINPfGSwYaNZRtTuwy9Yjh75QGFlLmB2UjaBAW/dLk19JuvaalCc0WHphvw\n"
                       "jb9BkufRK5iAR+WAkwIDAQAB\n"
                       "-----END PUBLIC KEY-----\n"),
        "an RSA key of fewer than 2048 bits");
    CHECK_REFUSAL(
        refusal_of_pem("-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEPAhySpjQviMz1cMHSaUUS4aiMgjlt6Qd\n"
                       "JV6Gl4cfWk2Ig7F1QBAIO+dMNRS5Q5puwLd3zYv9ML9PpdK7H91ibt54lRPMdNd7\n"
                       "hq9GvZY+XhJOXqO6Knl1E0zrci+xx2Fg\n"
                       "-----END PUBLIC KEY-----\n"),
        "neither an RSA key nor one of the curve P-256");
}

TEST("jwk: a secret has 32 to 1024 bytes")
{
    char error[JWK_ERROR_BYTES], secret[1025];
    memset(secret, 'x', sizeof secret);
    struct jwk_set *set = jwk_set_new();
    CHECK(set);
    CHECK(!jwk_set_add_secret(set, slice_from(secret, 31), error));
    CHECK_REFUSAL(error, "a secret for HS256 has 32 to 1024 bytes");
    CHECK(!jwk_set_add_secret(set, slice_from(secret, 1025), error));
    CHECK(jwk_set_add_secret(set, slice_from(secret, 32), error));
    CHECK(jwk_set_add_secret(set, slice_from(secret, 1024), error));
    jwk_set_release(set);
}
