#include "runtime/identity/jwt/jwt_identity.h"

#include "base/log.h"
#include "protocol/jwt/jwt.h"
#include "protocol/registration.h"
#include "runtime/identity/jwt/verifier.h"
#include "runtime/limits/attempts.h"

static enum authentication refuse(enum code code, const char *why)
{
    log_info(AUTH, "token_refused", "a JSON Web Token was refused: %s", why);
    return code == CODE_INTERNAL ? AUTHENTICATION_FAILED : AUTHENTICATION_WRONG;
}

/* --- The signature --- */

/* Tokens are shown again and again: only HS256 is as quick as looking the digest up. */
static enum authentication check_signature(const struct credentials *shown, const struct jwt *jwt, struct jwk_set *keys)
{
    unsigned char digest[VERIFIED_DIGEST_BYTES];
    const struct verification *back = shown->connection->verification;
    const char *why;
    bool remembers = !jwk_is_quick(jwt->key);
    if (remembers) {
        verified_digest(keys, shown->token, digest);
        bool judged = back && back->ended && memcmp(back->digest, digest, sizeof digest) == 0;
        if (verified_knows(digest) || (judged && back->code == CODE_OK))
            return AUTHENTICATION_OK;
        if (judged)
            return refuse(back->code, back->code == CODE_INTERNAL ? "out of memory" : "the signature is wrong");
    }
    if (jwk_is_slow(jwt->key)) {
        if (!limits_signature(shown->address, clock_coarse_ns()))
            return refuse(CODE_INTERNAL, "too many wrong signatures of this address");
        if (verifier_take(shown, jwt, keys, digest))
            return AUTHENTICATION_WAITS;
        return refuse(CODE_INTERNAL, "too many wait for the verifier");
    }
    enum code code = jwt_verify(jwt, &why);
    if (code != CODE_OK)
        return refuse(code, why);
    if (remembers)
        verified_add(digest);
    return AUTHENTICATION_OK;
}

/* --- The claims --- */

struct reading {
    const struct jwt *jwt;
    struct text_store store;
    const char *why;
    bool out_of_memory;
};

static bool read_text(struct reading *reading, struct slice value, struct slice *text)
{
    bool lone_surrogate = false;
    if (value.length < 2 || json_kind(value) != JSON_STRING)
        return false;
    *text = json_string_inside(value);
    if (json_has_escape(*text)) {
        char *unescaped = text_store_take(&reading->store, text->length);
        if (!unescaped) {
            reading->out_of_memory = true;
            return false;
        }
        *text = slice_from(unescaped, json_unescape(*text, unescaped, &lone_surrogate));
    }
    return !lone_surrogate && identifier_valid(*text);
}

static struct slice claim(const struct reading *reading, const struct config_list *way)
{
    return way->count > 0 ? jwt_claim(reading->jwt, (const char *const *)way->items, way->count) : slice_from(NULL, 0);
}

/* One text or a list of them; none when there is no such claim. */
static bool read_list(struct reading *reading, const struct config_list *way, struct slice items[],
                      struct slice_list *out, const char *why)
{
    struct slice value = claim(reading, way), entry;
    uint32_t count = 0;
    bool good = true;
    if (json_kind(value) == JSON_STRING)
        good = read_text(reading, value, &items[count++]);
    else if (json_kind(value) == JSON_ARRAY)
        while (good && json_next_element(&value, &entry))
            good = count < IDENTITY_LIST_MAXIMUM && read_text(reading, entry, &items[count++]);
    else
        good = value.length == 0;
    *out = (struct slice_list){items, count};
    if (!good)
        reading->why = why;
    return good;
}

static bool read_id(struct reading *reading, const struct config_list *way, struct slice *id)
{
    if (!read_text(reading, claim(reading, way), id))
        reading->why = "the claim of auth.jwt.idClaim is not text of 1 to 256 bytes without control characters";
    else if (id->data && memchr(id->data, '*', id->length)) /* as a clientId it would stand for any text */
        reading->why = "the claim of auth.jwt.idClaim has a *";
    return !reading->why;
}

static struct identity *read_identity(struct reading *reading, const struct config *config)
{
    struct slice id, roles[IDENTITY_LIST_MAXIMUM], client_ids[IDENTITY_LIST_MAXIMUM],
        agent_roles[IDENTITY_LIST_MAXIMUM], labels[IDENTITY_LIST_MAXIMUM];
    struct identity_source source = {.kind = IDENTITY_JWT,
                                     .expires_ms = reading->jwt->expires_ms + config->auth.jwt.leeway_ms};
    if (!read_id(reading, &config->auth.jwt.id_claim, &id) ||
        !read_list(reading, &config->auth.jwt.client_ids_claim, client_ids, &source.client_ids,
                   "the claim of auth.jwt.clientIdsClaim is not a list of at most 256 texts") ||
        !read_list(reading, &config->auth.jwt.agent_roles_claim, agent_roles, &source.agent_roles,
                   "the claim of auth.jwt.agentRolesClaim is not a list of at most 256 texts") ||
        !read_list(reading, &config->auth.jwt.roles_claim, roles, &source.roles,
                   "the claim of auth.jwt.rolesClaim is not a list of at most 256 texts") ||
        !read_list(reading, &config->auth.jwt.labels_claim, labels, &source.labels,
                   "the claim of auth.jwt.labelsClaim is not a list of at most 256 texts"))
        return NULL;
    source.name = id;
    if (source.client_ids.count == 0)
        source.client_ids = (struct slice_list){&id, 1};
    struct identity *identity = identity_new(&source);
    reading->out_of_memory = reading->out_of_memory || !identity;
    return identity;
}

enum authentication identity_by_jwt(struct reactor *reactor, const struct credentials *shown, struct identity **out)
{
    const struct config *config = reactor->standing.config;
    struct jwt jwt;
    const char *why;
    struct jwk_set *keys = reactor->standing.keys;
    if (!shown->token.data || !keys)
        return AUTHENTICATION_NONE;
    if (!memchr(shown->token.data, '.', shown->token.length))
        return AUTHENTICATION_WRONG; /* some other token */
    struct jwt_rules rules = {.algorithms = config->auth.jwt.algorithms ? config->auth.jwt.algorithms : ~0u,
                              .leeway_ms = config->auth.jwt.leeway_ms};
    if (config->auth.jwt.issuer)
        rules.issuer = slice_from_string(config->auth.jwt.issuer);
    if (config->auth.jwt.audience)
        rules.audience = slice_from_string(config->auth.jwt.audience);
    enum code code = jwt_read(&jwt, shown->token, keys, &rules, reactor->lane->wall_ms, &why);
    if (code != CODE_OK)
        return refuse(code, why);
    enum authentication result = check_signature(shown, &jwt, keys);
    if (result != AUTHENTICATION_OK)
        return result;
    struct reading reading = {.jwt = &jwt};
    *out = read_identity(&reading, config);
    text_store_free(&reading.store);
    if (*out)
        return AUTHENTICATION_OK;
    return reading.out_of_memory ? refuse(CODE_INTERNAL, "out of memory") : refuse(CODE_UNAUTHORIZED, reading.why);
}
