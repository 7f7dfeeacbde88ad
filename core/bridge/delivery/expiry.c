/* Most contexts do not have the key, and a search for its name is many times faster than a walk over all members. A
 * name written with \u escapes is the same key, so a text with one is walked too. */
#include "bridge/delivery/expiry.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define KEY "expiresAt"

/* Beyond the year 9999 a number of milliseconds says "never" no more than it says anything else. */
#define LATEST_MS 253402300800000.0

bool expiry_from_context;

void expiry_start(bool from_context)
{
    expiry_from_context = from_context;
}

static bool may_have_key(struct slice context)
{
    return memmem(context.data, context.length, KEY, sizeof(KEY) - 1) ||
           memmem(context.data, context.length, "\\u00", 4);
}

static bool read_number(struct slice json, int64_t *out)
{
    char text[40];
    if (json.length >= sizeof text)
        return false;
    memcpy(text, json.data, json.length);
    text[json.length] = '\0';
    double number = strtod(text, NULL);
    if (!(number >= 1 && number < LATEST_MS))
        return false;
    *out = (int64_t)number;
    return true;
}

static bool read_text(struct slice json, int64_t *out)
{
    struct slice inside = json_string_inside(json);
    char text[40];
    if (inside.length > sizeof text)
        return false;
    return clock_parse_iso(slice_from(text, json_unescape(inside, text, NULL)), out) && *out > 0;
}

enum code expiry_read(struct slice context, int64_t now_ms, int64_t *until_ms, struct slice *why)
{
    struct slice key, value, said = slice_from(NULL, 0);
    if (json_kind(context) != JSON_OBJECT || !may_have_key(context))
        return CODE_OK;
    while (json_next_member(&context, &key, &value))
        if (json_inside_equals(key, SLICE(KEY)))
            said = value; /* given twice: the last one, as JSON readers do */
    if (!said.data)
        return CODE_OK;
    enum json_kind kind = json_kind(said);
    if (kind == JSON_NULL)
        return CODE_OK;
    bool good =
        (kind == JSON_NUMBER && read_number(said, until_ms)) || (kind == JSON_STRING && read_text(said, until_ms));
    if (!good) {
        *why = SLICE("context.expiresAt: expected a time such as \"2026-01-31T12:00:00Z\" or milliseconds since 1970");
        return CODE_BAD_FIELD;
    }
    if (*until_ms > now_ms)
        return CODE_OK;
    *why = SLICE("the envelope has expired: its context.expiresAt has passed");
    return CODE_EXPIRED;
}
