/* The rare half of the scanner: errors, escapes, and every field value that is not a short plain string. */
#include "protocol/json/scan.h"

#include <stdarg.h>
#include <stdio.h>

#include "memory/pool.h"
#include "protocol/json/utf8.h"

/* In the order that the multiplier in scan_field_of gives. One slot is left over: no key there has length 0. */
#define SLOT(name, field)                                                                                              \
    {                                                                                                                  \
        name, field, sizeof(name) - 1                                                                                  \
    }
const struct field_slot scan_field_slots[16] = {
    SLOT("payload", FIELD_PAYLOAD),
    SLOT("intent", FIELD_INTENT),
    SLOT("role", FIELD_ROLE),
    SLOT("tools", FIELD_TOOLS),
    SLOT("taskId", FIELD_TASK_ID),
    SLOT("replyTo", FIELD_REPLY_TO),
    SLOT("trace", FIELD_TRACE),
    SLOT("timestamp", FIELD_TIMESTAMP),
    SLOT("channel", FIELD_CHANNEL),
    SLOT("priority", FIELD_PRIORITY),
    SLOT("context", FIELD_CONTEXT),
    SLOT("", FIELD_UNKNOWN),
    SLOT("to", FIELD_TO),
    SLOT("from", FIELD_FROM),
    SLOT("attachments", FIELD_ATTACHMENTS),
    SLOT("id", FIELD_ID),
};
#undef SLOT

bool scan_copy_make(struct scan_copy *copy, struct slice text)
{
    copy->data = copy->small;
    copy->pooled = 0;
    if (text.length > SCAN_COPY_SMALL) {
        if (text.length > SIZE_MAX - JSON_SLACK)
            return false;
        copy->pooled = text.length + JSON_SLACK;
        copy->data = pool_acquire(POOL_BUFFERS, copy->pooled);
        if (!copy->data)
            return false;
    }
    if (text.length > 0)
        memcpy(copy->data, text.data, text.length);
    memset(copy->data + text.length, 0, JSON_SLACK);
    return true;
}

void scan_copy_drop(struct scan_copy *copy)
{
    if (copy->pooled > 0)
        pool_release(POOL_BUFFERS, copy->data, copy->pooled);
}

static void stop(struct scan *scan, enum code code, const char *at, const char *format, const char *reason)
{
    scan->stopped = code;
    if (!scan->error)
        return;
    int length = snprintf(scan->error, ERROR_TEXT_BYTES, format, reason);
    snprintf(scan->error + length, ERROR_TEXT_BYTES - (size_t)length, " at byte %zu", (size_t)(at - scan->start));
}

const char *scan_fail(struct scan *scan, const char *at, const char *reason)
{
    stop(scan, CODE_BAD_JSON, at, "not JSON: %s", at >= scan->end ? "unexpected end" : reason);
    return NULL;
}

const char *scan_fail_deep(struct scan *scan, const char *at)
{
    char limit[12];
    snprintf(limit, sizeof limit, "%u", scan->depth);
    stop(scan, CODE_TOO_DEEP, at, "nested deeper than %s", limit);
    return NULL;
}

const char *scan_fail_string(struct scan *scan, const char *at)
{
    return scan_fail(scan, at, "a control character in a string");
}

static bool is_hex(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

const char *scan_escape(struct scan *scan, const char *at)
{
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 2;
    case 'u':
        for (int i = 2; i < 6; i++)
            if (!is_hex(at[i]))
                return scan_fail(scan, at + i, "expected four hexadecimal digits after \\u");
        return at + 6;
    default:
        return scan_fail(scan, at + 1, "no such escape");
    }
}

void scan_refuse(struct scan *scan, enum code code, const char *format, ...)
{
    if (scan->field_code != CODE_OK)
        return;
    scan->field_code = code;
    if (!scan->error)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(scan->error, ERROR_TEXT_BYTES, format, arguments);
    va_end(arguments);
}

void scan_refuse_twice(struct scan *scan, enum field field)
{
    scan_refuse(scan, CODE_DUPLICATE_FIELD, "%s%s: given twice", scan->prefix, field_name(field).data);
}

enum field scan_field_of_escaped(struct slice inside)
{
    /* Every byte of the longest name as \u00xx, and what the look-up may read behind it. */
    char name[11 * 6 + 16];
    if (inside.length > (size_t)11 * 6)
        return FIELD_UNKNOWN;
    size_t length = json_unescape(inside, name, NULL);
    memset(name + length, 0, 16);
    return scan_field_of(name, length);
}

static bool is_zero(struct slice number)
{
    for (size_t i = 0; i < number.length && (number.data[i] | 0x20) != 'e'; i++)
        if (number.data[i] >= '1' && number.data[i] <= '9')
            return false;
    return true;
}

bool scan_is_falsy(struct slice value)
{
    enum json_kind kind = json_kind(value);
    return kind == JSON_FALSE || (kind == JSON_STRING && value.length == 2) || (kind == JSON_NUMBER && is_zero(value));
}

static void refuse_kind(struct scan *scan, enum field field, enum json_kind kind)
{
    static const char *const expected[] = {
        [FIELD_CLASS_STRING] = "a string",
        [FIELD_CLASS_STRING_OR_NUMBER] = "a string or a number",
        [FIELD_CLASS_STRING_OR_NULL] = "a string or null",
        [FIELD_CLASS_ARRAY] = "an array",
        [FIELD_CLASS_ANY] = "a value",
    };
    scan_refuse(scan, CODE_BAD_FIELD, "%s%s: expected %s, got %s", scan->prefix, field_name(field).data,
                expected[field_class(field)], json_kind_name(kind));
}

/* True for a good identifier, or any text of a field that need not be one. */
static bool judge_text(struct scan *scan, enum field field, struct slice text, bool lone_surrogate)
{
    if (!(FIELD_BITS_IDENTIFIER >> field & 1))
        return true;
    const char *reason;
    if (text.length == 0)
        reason = "is empty";
    else if (text.length > TEXT_BYTES_MAXIMUM)
        reason = "is longer than 256 bytes";
    else if (lone_surrogate)
        reason = "has half a surrogate pair";
    else if (!utf8_printable(text))
        reason = "has a control character";
    else
        return true;
    scan_refuse(scan, CODE_BAD_FIELD, "%s%s: %s", scan->prefix, field_name(field).data, reason);
    return false;
}

void scan_field_value(struct scan *scan, struct envelope *envelope, enum field field, struct slice value)
{
    enum json_kind kind = json_kind(value);
    enum field_class class = field_class(field);
    if (kind == JSON_NULL)
        return; /* as if absent: the default, which for taskId, to and replyTo is null again */
    if (class == FIELD_CLASS_ANY) {
        envelope->json[field] = value;
        return;
    }
    if (scan->lenient && scan_is_falsy(value))
        return;
    if (class == FIELD_CLASS_ARRAY) {
        if (kind == JSON_ARRAY)
            envelope->json[field] = value;
        else
            refuse_kind(scan, field, kind);
        return;
    }
    if (kind == JSON_NUMBER && (class == FIELD_CLASS_STRING_OR_NUMBER || scan->lenient)) {
        if (judge_text(scan, field, value, false))
            envelope->json[field] = value;
        return;
    }
    if (kind != JSON_STRING) {
        refuse_kind(scan, field, kind);
        return;
    }
    struct slice text = json_string_inside(value);
    bool lone_surrogate = false;
    if (json_has_escape(text)) {
        char *unescaped = text_store_take(envelope->store, text.length);
        if (!unescaped) {
            scan_refuse(scan, CODE_INTERNAL, "out of memory");
            return;
        }
        text = slice_from(unescaped, json_unescape(text, unescaped, &lone_surrogate));
    }
    if (!judge_text(scan, field, text, lone_surrogate))
        return;
    envelope->json[field] = value;
    if (text.data != value.data + 1) {
        envelope->unescaped[field] = text;
        envelope->escaped |= 1u << field;
    }
}

enum message_type scan_message_type(struct slice value)
{
    struct slice inside = json_string_inside(value);
    if (json_inside_equals(inside, SLICE("envelope")))
        return MESSAGE_ENVELOPE;
    if (json_inside_equals(inside, SLICE("register")))
        return MESSAGE_REGISTER;
    if (json_inside_equals(inside, SLICE("heartbeat")))
        return MESSAGE_HEARTBEAT;
    return MESSAGE_UNKNOWN;
}

enum code scan_message_verdict(struct scan *scan, struct message *out, struct slice type, const char *twice,
                               enum json_kind envelope_kind)
{
    enum code field_code = scan->field_code;
    enum json_kind kind = json_kind(type);
    if (kind == JSON_STRING)
        out->type = scan_message_type(type);
    bool is_envelope = out->type == MESSAGE_ENVELOPE;
    if (twice && (is_envelope || strcmp(twice, "type") == 0)) {
        scan->field_code = CODE_OK; /* says more than what is wrong inside one of the two */
        scan_refuse(scan, CODE_DUPLICATE_FIELD, "%s: given twice", twice);
        return scan->field_code;
    }
    if (is_envelope && envelope_kind == JSON_OBJECT)
        return field_code;
    scan->field_code = CODE_OK; /* an `envelope` beside another type is a key like any other */
    if (is_envelope)
        scan_refuse(scan, CODE_BAD_FIELD, "envelope: expected an object, got %s", json_kind_name(envelope_kind));
    else if (kind == JSON_NONE)
        scan_refuse(scan, CODE_BAD_MESSAGE, "type: missing");
    else if (kind != JSON_STRING)
        scan_refuse(scan, CODE_BAD_MESSAGE, "type: expected a string, got %s", json_kind_name(kind));
    else if (out->type == MESSAGE_UNKNOWN)
        scan_refuse(scan, CODE_BAD_MESSAGE, "type: expected envelope, register or heartbeat");
    return scan->field_code;
}
