#include "protocol/jwt/jwt.h"

#include <math.h>

#include "protocol/json/json_number.h"
#include "protocol/json/json_object.h"

#define JSON_DEPTH 32

/* Far beyond every date, and exact in a double together with milliseconds. */
#define SECONDS_MOST 1e11

static bool refuse(const char **why, const char *reason)
{
    *why = reason;
    return false;
}

/* Decodes behind what was decoded before. */
static bool decode(struct jwt *out, struct slice text, struct slice *decoded)
{
    size_t length;
    char *place = out->decoded + out->decoded_bytes;
    if (!base64url_decode(text, (unsigned char *)place, sizeof out->decoded - out->decoded_bytes, &length))
        return false;
    *decoded = slice_from(place, length);
    out->decoded_bytes += length;
    return true;
}

static enum code check_json(struct slice *text, const char *refusal, const char **why)
{
    enum code code = json_validate(*text, JSON_DEPTH, NULL);
    *text = slice_trim_space(*text);
    if (code == CODE_INTERNAL) {
        *why = "out of memory";
        return CODE_INTERNAL;
    }
    if (code != CODE_OK || !json_object_is_strict(*text)) {
        *why = refusal;
        return CODE_UNAUTHORIZED;
    }
    return CODE_OK;
}

/* A string's text, unescaped into `buffer`; false: it is something else, or longer than the buffer. */
static bool read_text(struct slice value, char *buffer, size_t size, struct slice *text)
{
    if (json_kind(value) != JSON_STRING || json_string_inside(value).length > size)
        return false;
    *text = slice_from(buffer, json_unescape(json_string_inside(value), buffer, NULL));
    return true;
}

/* Other kinds of token that one issuer may sign say so (RFC 8725 3.11): they are not for us. */
static bool type_fits(struct slice value)
{
    static const struct slice prefix = {"application/", 12};
    char buffer[64];
    struct slice type;
    if (value.length == 0)
        return true;
    if (!read_text(value, buffer, sizeof buffer, &type))
        return false;
    if (type.length > prefix.length && slice_equal_ignoring_case(slice_from(type.data, prefix.length), prefix))
        type = slice_from(type.data + prefix.length, type.length - prefix.length);
    return slice_equal_ignoring_case(type, SLICE("JWT")) || slice_equal_ignoring_case(type, SLICE("at+jwt"));
}

/* What a header says of keys (jwk, jku, x5c, x5u) is never looked at: who makes a token could name his own. */
static bool judge_header(struct jwt *out, struct slice header, const struct jwk_set *keys,
                         const struct jwt_rules *rules, const char **why)
{
    char buffer[JWK_ID_BYTES_MAXIMUM];
    struct slice text, kid = {0};
    enum jwt_algorithm algorithm;
    if (json_object_get(header, SLICE("crit")).length > 0 || json_object_get(header, SLICE("b64")).length > 0)
        return refuse(why, "the header asks for an extension (crit, b64)");
    if (json_object_get(header, SLICE("cty")).length > 0)
        return refuse(why, "a token within a token (cty)");
    if (!type_fits(json_object_get(header, SLICE("typ"))))
        return refuse(why, "typ is neither JWT nor at+jwt");
    if (!read_text(json_object_get(header, SLICE("alg")), buffer, sizeof buffer, &text))
        return refuse(why, "the header has no alg");
    if (!jwt_algorithm_find(text, &algorithm, why))
        return false;
    if (!(rules->algorithms >> algorithm & 1))
        return refuse(why, "alg is not one of auth.jwt.algorithms");
    struct slice value = json_object_get(header, SLICE("kid"));
    if (value.length > 0 && (!read_text(value, buffer, sizeof buffer, &kid) || kid.length == 0))
        return refuse(why, "kid is not text of 1 to 256 bytes");
    out->key = jwk_set_find(keys, algorithm, kid, why);
    return out->key != NULL;
}

/* Seconds since the epoch (RFC 7519 2, NumericDate) in milliseconds. */
static bool read_date(struct slice value, int64_t *wall_ms)
{
    double seconds;
    bool wide = false;
    if (json_kind(value) != JSON_NUMBER || !json_number_read(value.data, value.data + value.length, &seconds, &wide) ||
        !(seconds >= 0 && seconds <= SECONDS_MOST))
        return false;
    *wall_ms = (int64_t)floor(seconds * 1000);
    return true;
}

static bool judge_dates(struct jwt *out, const struct jwt_rules *rules, int64_t wall_ms, const char **why)
{
    int64_t leeway = rules->leeway_ms, date;
    struct slice value = json_object_get(out->claims, SLICE("exp"));
    if (!read_date(value, &out->expires_ms))
        return refuse(why, value.length > 0 ? "exp is not a date" : "the token has no exp");
    if (wall_ms >= out->expires_ms + leeway)
        return refuse(why, "the token has expired (exp)");
    value = json_object_get(out->claims, SLICE("nbf"));
    if (value.length > 0 && !read_date(value, &date))
        return refuse(why, "nbf is not a date");
    if (value.length > 0 && wall_ms < date - leeway)
        return refuse(why, "the token is not valid yet (nbf)");
    value = json_object_get(out->claims, SLICE("iat"));
    if (value.length > 0 && !read_date(value, &date))
        return refuse(why, "iat is not a date");
    if (value.length > 0 && wall_ms < date - leeway)
        return refuse(why, "the token was issued in the future (iat)");
    return true;
}

static bool is_text(struct slice value, struct slice text)
{
    return json_kind(value) == JSON_STRING && json_inside_equals(json_string_inside(value), text);
}

/* A text or a list of texts (RFC 7519 4.1.3). */
static bool names_audience(struct slice value, struct slice audience)
{
    bool found = is_text(value, audience);
    struct slice entry;
    if (json_kind(value) != JSON_ARRAY)
        return found;
    while (json_next_element(&value, &entry)) {
        if (json_kind(entry) != JSON_STRING)
            return false;
        found = found || is_text(entry, audience);
    }
    return found;
}

static bool judge_parties(const struct jwt *jwt, const struct jwt_rules *rules, const char **why)
{
    struct slice issuer = json_object_get(jwt->claims, SLICE("iss")),
                 audience = json_object_get(jwt->claims, SLICE("aud"));
    if (rules->issuer.length > 0 && !is_text(issuer, rules->issuer))
        return refuse(why, "iss is not auth.jwt.issuer");
    if (rules->audience.length == 0 && audience.length > 0)
        return refuse(why, "the token is for an audience (aud), and auth.jwt.audience is not set");
    if (rules->audience.length > 0 && !names_audience(audience, rules->audience))
        return refuse(why, "aud does not name auth.jwt.audience");
    return true;
}

/* Takes what stands before the next dot, or all when there is none. */
static bool next_part(struct slice *rest, struct slice *part)
{
    const char *dot = rest->length > 0 ? memchr(rest->data, '.', rest->length) : NULL;
    *part = dot ? slice_from(rest->data, (size_t)(dot - rest->data)) : *rest;
    if (dot)
        *rest = slice_from(dot + 1, rest->length - part->length - 1);
    return dot != NULL;
}

enum code jwt_read(struct jwt *out, struct slice token, const struct jwk_set *keys, const struct jwt_rules *rules,
                   int64_t wall_ms, const char **why)
{
    struct slice rest = token, header, claims, signature;
    out->decoded_bytes = 0;
    out->key = NULL;
    *why = NULL;
    if (token.length > JWT_BYTES_MAXIMUM) {
        *why = "longer than 8192 bytes";
        return CODE_UNAUTHORIZED;
    }
    if (!next_part(&rest, &header) || !next_part(&rest, &claims) || next_part(&rest, &signature)) {
        *why = "not three parts with dots between them";
        return CODE_UNAUTHORIZED;
    }
    out->signed_text = slice_from(token.data, header.length + 1 + claims.length);
    if (!decode(out, header, &header) || !decode(out, claims, &out->claims) ||
        !decode(out, signature, &out->signature)) {
        *why = "not base64url";
        return CODE_UNAUTHORIZED;
    }
    enum code code = check_json(&header, "the header is not a JSON object with unique names", why);
    if (code == CODE_OK && !judge_header(out, header, keys, rules, why))
        return CODE_UNAUTHORIZED;
    if (code == CODE_OK)
        code = check_json(&out->claims, "the claims are not a JSON object with unique names", why);
    if (code != CODE_OK)
        return code;
    return judge_dates(out, rules, wall_ms, why) && judge_parties(out, rules, why) ? CODE_OK : CODE_UNAUTHORIZED;
}

enum code jwt_verify(const struct jwt *jwt, const char **why)
{
    enum code code = jwk_verify(jwt->key, jwt->signed_text, jwt->signature);
    *why = code == CODE_OK ? NULL : code == CODE_INTERNAL ? "out of memory" : "the signature is wrong";
    return code;
}

struct slice jwt_claim(const struct jwt *jwt, const char *const *path, size_t steps)
{
    struct slice value = jwt->claims;
    for (size_t i = 0; i < steps; i++) {
        if (json_kind(value) != JSON_OBJECT || (i > 0 && !json_object_is_strict(value)))
            return slice_from(NULL, 0);
        value = json_object_get(value, slice_from_string(path[i]));
    }
    return value;
}
