#include "runtime/identity/jwt/jwt_keys.h"

#include <stdio.h>

#include "runtime/identity/tokens/token_file.h"

typedef bool add_keys(struct jwk_set *set, struct slice text, char error[JWK_ERROR_BYTES]);

static bool add_file(struct jwk_set *set, const char *key, const char *path, add_keys *add, char *error,
                     size_t error_size)
{
    struct buffer text = {0};
    char problem[JWK_ERROR_BYTES + 4096];
    if (!path)
        return true;
    bool read = token_file_read(path, &text, problem, sizeof problem);
    bool good = read && add(set, slice_from(text.data, text.length), problem);
    if (!read)
        snprintf(error, error_size, "%s: %s", key, problem);
    else if (!good)
        snprintf(error, error_size, "%s: %s: %s", key, path, problem);
    if (text.length > 0)
        explicit_bzero(text.data, text.length);
    buffer_free(&text);
    return good;
}

static bool add_secret(struct jwk_set *set, const char *secret, char *error, size_t error_size)
{
    char problem[JWK_ERROR_BYTES];
    if (!secret || jwk_set_add_secret(set, slice_from_string(secret), problem))
        return true;
    snprintf(error, error_size, "auth.jwt.secret: %s", problem);
    return false;
}

/* An algorithm that is named needs a key, or its name is a mistake. */
static bool check_algorithms(const struct jwk_set *set, unsigned named, char *error, size_t error_size)
{
    size_t all = 0;
    for (unsigned i = 0; i < JWT_ALGORITHM_COUNT; i++) {
        size_t count = jwk_set_count(set, (enum jwt_algorithm)i);
        all += count;
        if (count == 0 && named >> i & 1) {
            snprintf(error, error_size, "auth.jwt.algorithms: no key for %s is among auth.jwt.keys, key and secret",
                     jwt_algorithm_name((enum jwt_algorithm)i));
            return false;
        }
    }
    if (all == 0)
        snprintf(error, error_size, "auth.jwt.keys: holds no key for HS256, RS256 or ES256");
    return all > 0;
}

bool jwt_keys_load(const struct config *config, struct jwk_set **out, char *error, size_t error_size)
{
    *out = NULL;
    if (!config->auth.jwt.keys && !config->auth.jwt.key && !config->auth.jwt.secret)
        return true;
    struct jwk_set *set = jwk_set_new();
    if (!set) {
        snprintf(error, error_size, "auth.jwt: not enough memory");
        return false;
    }
    if (add_file(set, "auth.jwt.keys", config->auth.jwt.keys, jwk_set_add_jwks, error, error_size) &&
        add_file(set, "auth.jwt.key", config->auth.jwt.key, jwk_set_add_pem, error, error_size) &&
        add_secret(set, config->auth.jwt.secret, error, error_size) &&
        check_algorithms(set, config->auth.jwt.algorithms, error, error_size)) {
        *out = set;
        return true;
    }
    jwk_set_release(set);
    return false;
}
