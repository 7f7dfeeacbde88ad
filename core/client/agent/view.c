#include "client/agent/view.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "protocol/json/json.h"
#include "protocol/json/utf8.h"

/* Bytes of a character at `at` that acts on the terminal or on the order of what stands there; 0: it is none. C0 and
 * DEL are one byte, C1 two; then the marks, embeddings, overrides and isolates of direction (Unicode's Bidi_Control),
 * the separators of lines and paragraphs, and the byte order mark. The text is UTF-8. */
static size_t acting_length(const unsigned char *at, size_t left)
{
    if (at[0] < 0x20 || at[0] == 0x7f)
        return 1;
    if (left > 1 && ((at[0] == 0xc2 && at[1] < 0xa0) || (at[0] == 0xd8 && at[1] == 0x9c)))
        return 2;
    if (left < 3)
        return 0;
    bool separator =
        at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0x8e || at[2] == 0x8f || (at[2] >= 0xa8 && at[2] <= 0xae));
    bool isolate = at[0] == 0xe2 && at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9;
    return separator || isolate || memcmp(at, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

/* Where shown text goes. */
struct sink {
    FILE *file;
    struct buffer *buffer; /* where file is NULL */
};

static void put(const struct sink *sink, const void *data, size_t length)
{
    if (sink->file)
        fwrite(data, 1, length, sink->file);
    else
        buffer_append(sink->buffer, data, length);
}

static void put_valid(const struct sink *sink, const unsigned char *data, size_t length)
{
    size_t start = 0, at = 0;
    while (at < length) {
        size_t acting = acting_length(data + at, length - at);
        if (acting == 0) {
            at++;
            continue;
        }
        put(sink, data + start, at - start);
        put(sink, " ", 1);
        start = at += acting;
    }
    put(sink, data + start, at - start);
}

static void put_text(const struct sink *sink, struct slice text)
{
    while (text.length > 0) {
        size_t valid = utf8_valid_length(text.data, text.length);
        put_valid(sink, (const unsigned char *)text.data, valid);
        if (valid < text.length) {
            put(sink, "\xef\xbf\xbd", 3);
            valid++;
        }
        text = slice_from(text.data + valid, text.length - valid);
    }
}

static void put_value(const struct sink *sink, struct slice value)
{
    if (value.length < 2 || json_kind(value) != JSON_STRING) {
        put_text(sink, value);
        return;
    }
    struct slice inside = json_string_inside(value);
    char *text = json_has_escape(inside) ? malloc(inside.length) : NULL;
    if (text)
        put_text(sink, slice_from(text, json_unescape(inside, text, NULL)));
    else
        put_text(sink, inside); /* nothing to unescape, or no memory for it */
    free(text);
}

void view_text(FILE *out, struct slice text)
{
    put_text(&(struct sink){.file = out}, text);
}

void view_value(FILE *out, struct slice value)
{
    put_value(&(struct sink){.file = out}, value);
}

void view_append_text(struct buffer *out, struct slice text)
{
    put_text(&(struct sink){.buffer = out}, text);
}

void view_append_value(struct buffer *out, struct slice value)
{
    put_value(&(struct sink){.buffer = out}, value);
}

struct slice view_member(struct slice object, struct slice name)
{
    struct slice key, value, found = {0};
    if (json_kind(object) != JSON_OBJECT)
        return found;
    while (json_next_member(&object, &key, &value))
        if (json_inside_equals(key, name))
            found = value; /* of a name that stands twice the last counts, as JSON.parse has it */
    return found;
}

struct slice view_at(struct slice object, const char *path)
{
    while (*path && object.length > 0) {
        size_t length = strcspn(path, ".");
        object = view_member(object, slice_from(path, length));
        path += length + (path[length] == '.');
    }
    return object;
}

double view_number(struct slice object, const char *path, double absent)
{
    struct slice value = view_at(object, path);
    char text[64];
    if (value.length == 0 || value.length >= sizeof text || json_kind(value) != JSON_NUMBER)
        return absent;
    memcpy(text, value.data, value.length);
    text[value.length] = '\0';
    return strtod(text, NULL);
}

/* As JSON has it for what is in a string, and such characters are nowhere else (RFC 8259 7). */
static void print_escape(FILE *out, const unsigned char *at, size_t length)
{
    unsigned code_point = length == 1   ? at[0]
                          : length == 2 ? (at[0] & 0x1fu) << 6 | (at[1] & 0x3fu)
                                        : (at[0] & 0xfu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    fprintf(out, "\\u%04x", code_point);
}

void view_envelope_json(FILE *out, struct slice envelope)
{
    const unsigned char *data = (const unsigned char *)envelope.data;
    bool terminal = fileno(out) >= 0 && isatty(fileno(out));
    size_t start = 0;
    for (size_t at = 0; at < envelope.length;) {
        /* A control character of C0 can only be white space between tokens: inside a string it would be escaped. */
        size_t acting = data[at] < ' ' ? 1 : terminal ? acting_length(data + at, envelope.length - at) : 0;
        if (acting == 0) {
            at++;
            continue;
        }
        fwrite(data + start, 1, at - start, out);
        if (data[at] < ' ')
            fputc(' ', out);
        else
            print_escape(out, data + at, acting);
        start = at += acting;
    }
    fwrite(data + start, 1, envelope.length - start, out);
    fputc('\n', out);
}

static bool means(struct slice value, struct slice text)
{
    return json_kind(value) == JSON_STRING && json_inside_equals(json_string_inside(value), text);
}

/* What outgoing_payload makes of a line of text is shown as that line. */
static struct slice only_text(struct slice payload)
{
    struct slice rest = payload, key, value, text = {0};
    if (json_kind(payload) != JSON_OBJECT || !json_next_member(&rest, &key, &value))
        return text;
    if (json_inside_equals(key, SLICE("text")) && json_kind(value) == JSON_STRING)
        text = value;
    return json_next_member(&rest, &key, &value) ? slice_from(NULL, 0) : text;
}

void view_message(FILE *out, const char *when, struct slice envelope, struct slice reader)
{
    struct slice to = view_member(envelope, SLICE("to")), intent = view_member(envelope, SLICE("intent"));
    struct slice payload = view_member(envelope, SLICE("payload")), text = only_text(payload);
    fputs(when, out);
    fputs(" ", out);
    view_value(out, view_member(envelope, SLICE("from")));
    if (reader.length == 0 || !means(to, reader)) {
        fputs(" → ", out);
        if (json_kind(to) == JSON_STRING)
            view_value(out, to);
        else
            fputs("all", out);
    }
    if (intent.length > 0 && !means(intent, SLICE("agent.message"))) {
        fputs(" [", out);
        view_value(out, intent);
        fputs("]", out);
    }
    fputs(": ", out);
    view_value(out, text.length > 0 ? text : payload);
    fputs("\n", out);
}

void view_envelope(FILE *out, struct slice envelope, struct slice reader)
{
    char clock[16];
    time_t now = time(NULL);
    struct tm local;
    strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &local));
    view_message(out, clock, envelope, reader);
}
