/* One walk over the members with the readers of json.h; a table says what each key must be. Rare enough that clarity
 * goes before speed. */
#include "protocol/registration.h"

#include <stdio.h>
#include <stdlib.h>

#include "protocol/json/scan.h"
#include "protocol/json/utf8.h"

bool identifier_valid(struct slice text)
{
    return text.length >= 1 && text.length <= TEXT_BYTES_MAXIMUM && utf8_printable(text);
}

bool client_id_reserved(struct slice text)
{
    return slice_equal(text, SLICE("api")) || slice_equal(text, SLICE("bridge")) || slice_equal(text, SLICE("unknown"));
}

enum member { CLIENT_ID, ROLE, LABELS, TOOLS, INTENTS, TASKS, AUTH_TOKEN, FEATURES, MEMBER_COUNT };

static const char *const names[MEMBER_COUNT] = {
    "clientId", "role", "labels", "tools", "intents", "maxConcurrentTasks", "authToken", "features",
};

struct reading {
    const struct message_rules *rules;
    struct text_store *store;
    char *error;
};

static enum code refuse(const struct reading *reading, enum member member, const char *reason)
{
    snprintf(reading->error, ERROR_TEXT_BYTES, "%s: %s", names[member], reason);
    return CODE_BAD_FIELD;
}

static enum code refuse_kind(const struct reading *reading, enum member member, const char *expected,
                             struct slice value)
{
    snprintf(reading->error, ERROR_TEXT_BYTES, "%s: expected %s, got %s", names[member], expected,
             json_kind_name(json_kind(value)));
    return CODE_BAD_FIELD;
}

/* A string's text, or a number's where the rules let it stand for one. */
static enum code read_text(const struct reading *reading, enum member member, struct slice value, bool identifier,
                           struct slice *out)
{
    enum json_kind kind = json_kind(value);
    bool lone_surrogate = false;
    struct slice text = value;
    if (kind == JSON_STRING) {
        text = json_string_inside(value);
        if (json_has_escape(text)) {
            char *unescaped = text_store_take(reading->store, text.length);
            if (!unescaped) {
                snprintf(reading->error, ERROR_TEXT_BYTES, "out of memory");
                return CODE_INTERNAL;
            }
            text = slice_from(unescaped, json_unescape(text, unescaped, &lone_surrogate));
        }
    } else if (kind != JSON_NUMBER || !reading->rules->lenient) {
        return refuse_kind(reading, member, "a string", value);
    }
    if (identifier && (lone_surrogate || !identifier_valid(text)))
        return refuse(reading, member, "expected 1 to 256 bytes of text without control characters");
    *out = text;
    return CODE_OK;
}

/* An entry's text as JSON: of an object, where `objects` may be, its "name". Length 0: it has none. */
static struct slice entry_json(struct slice entry, bool objects)
{
    if (json_kind(entry) != JSON_OBJECT)
        return entry;
    struct slice found = {0}, rest = entry, key, value;
    while (objects && json_next_member(&rest, &key, &value))
        if (json_inside_equals(key, SLICE("name")))
            found = value; /* the last of several, as JavaScript reads it */
    return found;
}

static enum code read_list(const struct reading *reading, enum member member, struct slice value, struct slice *out)
{
    if (json_kind(value) != JSON_ARRAY)
        return refuse_kind(reading, member, "an array", value);
    unsigned count = 0;
    for (struct slice rest = value, entry; json_next_element(&rest, &entry);) {
        if (++count > REGISTRATION_LIST_MAXIMUM)
            return refuse(reading, member, "has more than 256 entries");
        struct slice json = entry_json(entry, member == TOOLS);
        enum json_kind kind = json_kind(json);
        if (kind != JSON_STRING && !(kind == JSON_NUMBER && reading->rules->lenient))
            return refuse(reading, member,
                          member == TOOLS ? "expected strings, or objects with a name" : "expected strings");
        struct slice inside = kind == JSON_STRING ? json_string_inside(json) : json;
        char text[TEXT_BYTES_MAXIMUM * 6];
        bool lone_surrogate = false;
        if (inside.length > sizeof text || /* an escape is at most six times its text */
            !identifier_valid(slice_from(text, json_unescape(inside, text, &lone_surrogate))) || lone_surrogate)
            return refuse(reading, member, "expected entries of 1 to 256 bytes without control characters");
    }
    *out = value;
    return CODE_OK;
}

static enum code read_tasks(const struct reading *reading, struct slice value, uint32_t *out)
{
    if (json_kind(value) != JSON_NUMBER)
        return refuse_kind(reading, TASKS, "a whole number from 1 to 1000000", value);
    char digits[32];
    double number = 0;
    if (value.length < sizeof digits) {
        memcpy(digits, value.data, value.length);
        digits[value.length] = '\0';
        number = strtod(digits, NULL);
    }
    if (!(number >= 1 && number <= REGISTRATION_TASKS_MAXIMUM) || number != (uint32_t)number)
        return refuse(reading, TASKS, "expected a whole number from 1 to 1000000");
    *out = (uint32_t)number;
    return CODE_OK;
}

static enum code read_features(const struct reading *reading, struct slice value, struct registration *out)
{
    enum code code = read_list(reading, FEATURES, value, &out->features);
    if (code != CODE_OK)
        return code;
    struct slice rest = value, entry;
    while (json_next_element(&rest, &entry)) {
        out->has_features = true;
        if (json_kind(entry) == JSON_STRING && json_inside_equals(json_string_inside(entry), SLICE("batch")))
            out->wants_batches = true;
    }
    return CODE_OK;
}

static enum code read_member(const struct reading *reading, enum member member, struct slice value,
                             struct registration *out)
{
    if (json_kind(value) == JSON_NULL || (reading->rules->lenient && scan_is_falsy(value)))
        return CODE_OK;
    enum code code = CODE_OK;
    switch (member) {
    case CLIENT_ID:
        code = read_text(reading, member, value, true, &out->client_id);
        if (code == CODE_OK && client_id_reserved(out->client_id))
            return refuse(reading, member, "is reserved");
        return code;
    case ROLE:
        return read_text(reading, member, value, true, &out->role);
    case LABELS:
        return read_list(reading, member, value, &out->labels);
    case TOOLS:
        return read_list(reading, member, value, &out->tools);
    case INTENTS:
        return read_list(reading, member, value, &out->intents);
    case TASKS:
        return read_tasks(reading, value, &out->max_concurrent_tasks);
    case AUTH_TOKEN:
        return read_text(reading, member, value, false, &out->auth_token);
    case FEATURES:
        return read_features(reading, value, out);
    case MEMBER_COUNT:
        break;
    }
    return code;
}

enum code registration_scan(struct slice text, const struct message_rules *rules, struct text_store *store,
                            struct registration *out, char error[ERROR_TEXT_BYTES])
{
    struct reading reading = {rules, store, error};
    *out = (struct registration){.max_concurrent_tasks = 1};
    while (text.length > 0 && *text.data != '{') { /* white space before the object */
        text.data++;
        text.length--;
    }
    unsigned seen = 0;
    struct slice key, value;
    while (json_next_member(&text, &key, &value)) {
        unsigned member = 0;
        while (member < MEMBER_COUNT && !json_inside_equals(key, slice_from_string(names[member])))
            member++;
        if (member == MEMBER_COUNT)
            continue;
        if (seen >> member & 1) {
            snprintf(error, ERROR_TEXT_BYTES, "%s: given twice", names[member]);
            return CODE_DUPLICATE_FIELD;
        }
        seen |= 1u << member;
        enum code code = read_member(&reading, member, value, out);
        if (code != CODE_OK)
            return code;
    }
    return CODE_OK;
}

bool registration_next(struct slice *rest, char buffer[TEXT_BYTES_MAXIMUM], struct slice *text)
{
    struct slice entry;
    if (!json_next_element(rest, &entry))
        return false;
    struct slice json = entry_json(entry, true);
    *text = json_kind(json) == JSON_STRING ? json_string_inside(json) : json;
    if (json_has_escape(*text))
        *text = slice_from(buffer, json_unescape(*text, buffer, NULL));
    return true;
}
