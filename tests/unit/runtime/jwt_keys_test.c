/* The keys of auth.jwt become one set, and what is wrong is named. What a key must be is tested in jwt_test.c. */
#include "../../support/unit.h"

#include <unistd.h>

#include "runtime/identity/jwt/jwt_keys.h"

#define SECRET "a secret that has thirty-two bytes or more"
#define JWKS_SECRET "{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"YSBzZWNyZXQgdGhhdCBoYXMgdGhpcnR5LXR3byBieXRlcyBvciBtb3Jl\"}"
#define JWKS_POINT                                                                                                     \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","                         \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"

static char file[] = "/tmp/luaduct-jwt-XXXXXX";

static void write_file(const char *text)
{
    int descriptor = mkstemp(file);
    CHECK(descriptor >= 0 && write(descriptor, text, strlen(text)) == (ssize_t)strlen(text));
    close(descriptor);
}

TEST("jwt keys: without any configured there is no set")
{
    const struct config config = {0};
    struct jwk_set *set;
    char error[256];
    CHECK(jwt_keys_load(&config, &set, error, sizeof error) && !set);
}

TEST("jwt keys: of files and a secret become one set")
{
    struct config config = {.auth.jwt = {.keys = file, .secret = (char *)SECRET}};
    struct jwk_set *set;
    char error[256];
    write_file("{\"keys\":[" JWKS_POINT "]}");
    CHECK(jwt_keys_load(&config, &set, error, sizeof error));
    CHECK(jwk_set_count(set, JWT_ES256) == 1 && jwk_set_count(set, JWT_HS256) == 1);
    jwk_set_release(set);
    unlink(file);
}

TEST("jwt keys: the same keys have the same fingerprint, and others another")
{
    struct config config = {.auth.jwt = {.keys = file}};
    struct jwk_set *first, *same, *other;
    char error[256];
    write_file("{\"keys\":[" JWKS_POINT "]}");
    CHECK(jwt_keys_load(&config, &first, error, sizeof error) && jwt_keys_load(&config, &same, error, sizeof error));
    config.auth.jwt.secret = (char *)SECRET;
    CHECK(jwt_keys_load(&config, &other, error, sizeof error));
    CHECK(memcmp(jwk_set_fingerprint(first), jwk_set_fingerprint(same), JWK_FINGERPRINT_BYTES) == 0);
    CHECK(memcmp(jwk_set_fingerprint(first), jwk_set_fingerprint(other), JWK_FINGERPRINT_BYTES) != 0);
    jwk_set_release(same);
    jwk_set_release(other);
    unlink(file);
    strcpy(file, "/tmp/luaduct-jwt-XXXXXX");
    write_file("{\"keys\":[" JWKS_SECRET "]}");
    config.auth.jwt.secret = NULL;
    CHECK(jwt_keys_load(&config, &other, error, sizeof error));
    CHECK(memcmp(jwk_set_fingerprint(first), jwk_set_fingerprint(other), JWK_FINGERPRINT_BYTES) != 0);
    jwk_set_release(first);
    jwk_set_release(other);
    unlink(file);
}

TEST("jwt keys: what is wrong is named by the config key, the file and the key in it")
{
    static const struct {
        const char *text, *before, *after; /* the error: before, file, after */
        bool is_pem;
        unsigned algorithms;
        const char *secret;
    } cases[] = {
        {"{\"keys\":[" JWKS_SECRET "," JWKS_SECRET "]}",
         "auth.jwt.keys: ", ": key 2 (kid a): another key of this algorithm has the same kid", false, 0, NULL},
        {"{\"keys\":[]}", "auth.jwt.keys: holds no key for HS256, RS256 or ES256", NULL, false, 0, NULL},
        {"{\"keys\":[" JWKS_SECRET "]}", "auth.jwt.algorithms: no key for RS256 is among auth.jwt.keys, key and secret",
         NULL, false, 1u << JWT_HS256 | 1u << JWT_RS256, NULL},
        {"{", "auth.jwt.key: ", ": not a public key in PEM (-----BEGIN PUBLIC KEY-----)", true, 0, NULL},
        {"{\"keys\":[]}", "auth.jwt.secret: a secret for HS256 has 32 to 1024 bytes", NULL, false, 0, "short"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        strcpy(file, "/tmp/luaduct-jwt-XXXXXX");
        write_file(cases[i].text);
        struct config config = {.auth.jwt = {.keys = cases[i].is_pem ? NULL : file,
                                             .key = cases[i].is_pem ? file : NULL,
                                             .secret = (char *)cases[i].secret,
                                             .algorithms = cases[i].algorithms}};
        struct jwk_set *set;
        char error[256], expected[256];
        CHECK(!jwt_keys_load(&config, &set, error, sizeof error) && !set);
        snprintf(expected, sizeof expected, "%s%s%s", cases[i].before, cases[i].after ? file : "",
                 cases[i].after ? cases[i].after : "");
        CHECK_TEXT(error, strlen(error), expected);
        unlink(file);
    }
}
