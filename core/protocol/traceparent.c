#include "protocol/traceparent.h"

#include "protocol/json/json.h"

/* Where the parts stand. */
enum { AT_TRACE_ID = 3, AT_SPAN_ID = 36, AT_FLAGS = 53 };

#define FLAG_SAMPLED 1

/* -1: none. Upper case is not allowed. */
static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool read_hex(const char *text, unsigned char *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const unsigned char *bytes, size_t count)
{
    unsigned char any = 0;
    for (size_t i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

bool traceparent_parse(struct slice text, struct trace_context *out)
{
    unsigned char version, flags;
    if (text.length < TRACEPARENT_LENGTH || !read_hex(text.data, &version, 1) || version == 0xff)
        return false;
    /* A later version may say more, behind a dash. */
    if (text.length > TRACEPARENT_LENGTH && (version == 0 || text.data[TRACEPARENT_LENGTH] != '-'))
        return false;
    if (text.data[AT_TRACE_ID - 1] != '-' || text.data[AT_SPAN_ID - 1] != '-' || text.data[AT_FLAGS - 1] != '-')
        return false;
    if (!read_hex(text.data + AT_TRACE_ID, out->trace_id, TRACE_ID_BYTES) ||
        !read_hex(text.data + AT_SPAN_ID, out->span_id, SPAN_ID_BYTES) || !read_hex(text.data + AT_FLAGS, &flags, 1))
        return false;
    out->sampled = flags & FLAG_SAMPLED;
    return !is_zero(out->trace_id, TRACE_ID_BYTES) && !is_zero(out->span_id, SPAN_ID_BYTES);
}

void hex_write(char *out, const unsigned char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

void traceparent_write(char out[TRACEPARENT_LENGTH], const struct trace_context *context)
{
    memcpy(out, "00-", 3);
    hex_write(out + AT_TRACE_ID, context->trace_id, TRACE_ID_BYTES);
    out[AT_SPAN_ID - 1] = '-';
    hex_write(out + AT_SPAN_ID, context->span_id, SPAN_ID_BYTES);
    memcpy(out + AT_FLAGS - 1, context->sampled ? "-01" : "-00", 3);
}

enum traceparent_found traceparent_find(struct slice json, struct trace_context *out)
{
    struct slice key, value;
    if (json_kind(json) != JSON_OBJECT)
        return TRACEPARENT_NONE;
    for (struct slice rest = json; json_next_member(&rest, &key, &value);)
        if (json_inside_equals(key, SLICE("traceparent")))
            return json_kind(value) == JSON_STRING && traceparent_parse(json_string_inside(value), out)
                       ? TRACEPARENT_READ
                       : TRACEPARENT_WRONG;
    return TRACEPARENT_NONE;
}
