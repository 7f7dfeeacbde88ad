#include "runtime/tracing/otlp.h"

#include <inttypes.h>
#include <stdlib.h>

#include "protocol/json/json.h"
#include "protocol/json/json_write.h"

static void add_text_attribute(struct buffer *out, const char *name, struct slice text, bool first)
{
    buffer_append_format(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":", first ? "" : ",", name);
    buffer_append_json_string(out, text);
    buffer_append_slice(out, SLICE("}}"));
}

static void add_attribute(struct buffer *out, const struct span_value *value, bool first)
{
    const char *name = span_attribute_name(value->attribute);
    if (value->type == SPAN_TEXT)
        add_text_attribute(out, name, value->text, first);
    else if (value->type == SPAN_NUMBER)
        buffer_append_format(out, "%s{\"key\":\"%s\",\"value\":{\"intValue\":\"%" PRId64 "\"}}", first ? "" : ",", name,
                             value->number);
    else
        buffer_append_format(out, "%s{\"key\":\"%s\",\"value\":{\"boolValue\":%s}}", first ? "" : ",", name,
                             value->number ? "true" : "false");
}

static void add_id(struct buffer *out, const char *name, const unsigned char *id, size_t length)
{
    char digits[2 * TRACE_ID_BYTES];
    hex_write(digits, id, length);
    buffer_append_format(out, "\"%s\":\"%.*s\",", name, (int)(2 * length), digits);
}

static bool has_parent(const struct span *span)
{
    static const unsigned char none[SPAN_ID_BYTES];
    return memcmp(span->parent, none, sizeof none) != 0;
}

static void add_span(struct buffer *out, const struct span *span, int64_t offset_ns)
{
    /* Names, and SpanKind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
    static const struct {
        const char *name;
        unsigned kind;
    } kinds[SPAN_KINDS] = {
        [SPAN_RECEIVE] = {"receive", 5}, [SPAN_ROUTE] = {"route", 1}, [SPAN_DELIVER] = {"deliver", 4},
        [SPAN_MAILBOX] = {"mailbox", 1}, [SPAN_WORK] = {"work", 1},   [SPAN_REGISTER] = {"register", 2},
        [SPAN_REQUEST] = {"request", 3}, [SPAN_SEND] = {"send", 4}};
    buffer_append_slice(out, SLICE("{"));
    add_id(out, "traceId", span->context.trace_id, TRACE_ID_BYTES);
    add_id(out, "spanId", span->context.span_id, SPAN_ID_BYTES);
    if (has_parent(span))
        add_id(out, "parentSpanId", span->parent, SPAN_ID_BYTES);
    buffer_append_format(out,
                         "\"name\":\"%s\",\"kind\":%u,\"startTimeUnixNano\":\"%" PRId64
                         "\",\"endTimeUnixNano\":\"%" PRId64 "\",\"attributes\":[",
                         kinds[span->kind].name, kinds[span->kind].kind, (int64_t)span->began_ns + offset_ns,
                         (int64_t)span->ended_ns + offset_ns);
    struct span_value value;
    bool first = true;
    for (uint16_t at = 0; span_next_attribute(span, &at, &value); first = false)
        add_attribute(out, &value, first);
    buffer_append_format(out, "],\"status\":{%s}}", span->failed ? "\"code\":2" : "");
}

void otlp_write(struct buffer *out, const struct otlp_resource *resource, uint32_t count)
{
    buffer_append_slice(out, SLICE("{\"resourceSpans\":[{\"resource\":{\"attributes\":["));
    add_text_attribute(out, "service.name", slice_from_string(resource->service), true);
    add_text_attribute(out, "service.instance.id", slice_from_string(resource->instance), false);
    add_text_attribute(out, "service.version", slice_from_string(resource->version), false);
    add_text_attribute(out, "deployment.environment.name", slice_from_string(resource->environment), false);
    buffer_append_slice(out, SLICE("]},\"scopeSpans\":[{\"scope\":{\"name\":\"luaduct\"},\"spans\":["));
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_slice(out, SLICE(","));
        add_span(out, spans_at(i), resource->wall_offset_ns);
    }
    buffer_append_slice(out, SLICE("]}]}]}"));
}

/* --- Answers --- */

/* Deep enough for either answer. */
#define ANSWER_DEPTH 32u

/* No text of an answer is longer: more of one is not read. */
#define ANSWER_TEXT_BYTES 8192

static struct slice member_of(struct slice object, const char *name, enum json_kind kind)
{
    struct slice key, value;
    for (struct slice rest = object; json_kind(object) == JSON_OBJECT && json_next_member(&rest, &key, &value);)
        if (json_inside_equals(key, slice_from_string(name)) && json_kind(value) == kind)
            return value;
    return slice_from(NULL, 0);
}

/* The member "name" of an object, cut to `size`; "" where there is none. */
static void copy_text(struct slice object, const char *name, char *out, size_t size)
{
    struct slice text = member_of(object, name, JSON_STRING);
    char whole[ANSWER_TEXT_BYTES];
    out[0] = '\0';
    if (!text.data || text.length > sizeof whole)
        return;
    size_t length = json_unescape(json_string_inside(text), whole, NULL);
    if (length > size - 1)
        length = size - 1;
    memcpy(out, whole, length);
    out[length] = '\0';
}

uint64_t otlp_read_rejected(struct slice body, char *message, size_t size)
{
    char digits[24] = "";
    message[0] = '\0';
    if (json_validate(body, ANSWER_DEPTH, NULL) != CODE_OK)
        return 0;
    struct slice partial = member_of(slice_trim_space(body), "partialSuccess", JSON_OBJECT);
    copy_text(partial, "errorMessage", message, size);
    copy_text(partial, "rejectedSpans", digits, sizeof digits); /* 64-bit numbers are text, but may be numbers */
    struct slice number = member_of(partial, "rejectedSpans", JSON_NUMBER);
    if (number.data && number.length < sizeof digits)
        memcpy(digits, number.data, number.length);
    int64_t count = strtoll(digits, NULL, 10);
    return count > 0 ? (uint64_t)count : 0;
}

void otlp_read_message(struct slice body, char *message, size_t size)
{
    message[0] = '\0';
    if (json_validate(body, ANSWER_DEPTH, NULL) == CODE_OK)
        copy_text(slice_trim_space(body), "message", message, size);
}
