#include "client/agent/view.h"

#include <stdlib.h>
#include <time.h>

#include "protocol/json/json.h"

/* Bytes of a control character at `at`: C0 and DEL are one, C1 in UTF-8 are two (C2 80 to C2 9F). 0: it is none. */
static size_t control_length(const unsigned char *at, size_t left)
{
    if (at[0] < 0x20 || at[0] == 0x7f)
        return 1;
    return left > 1 && at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0 ? 2 : 0;
}

void view_text(FILE *out, struct slice text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    size_t start = 0, at = 0;
    while (at < text.length) {
        size_t control = control_length(data + at, text.length - at);
        if (control == 0) {
            at++;
            continue;
        }
        fwrite(data + start, 1, at - start, out);
        fputc(' ', out);
        start = at += control;
    }
    if (at > start)
        fwrite(data + start, 1, at - start, out);
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

void view_value(FILE *out, struct slice value)
{
    if (value.length < 2 || json_kind(value) != JSON_STRING) {
        view_text(out, value);
        return;
    }
    struct slice inside = json_string_inside(value);
    char *text = json_has_escape(inside) ? malloc(inside.length) : NULL;
    if (text)
        view_text(out, slice_from(text, json_unescape(inside, text, NULL)));
    else
        view_text(out, inside); /* nothing to unescape, or no memory for it */
    free(text);
}

void view_envelope_json(FILE *out, struct slice envelope)
{
    for (size_t start = 0, at = 0; at <= envelope.length; at++) {
        /* A line end can only be white space between tokens: inside a string it would be escaped. */
        bool line_end = at < envelope.length && (envelope.data[at] == '\n' || envelope.data[at] == '\r');
        if (!line_end && at < envelope.length)
            continue;
        fwrite(envelope.data + start, 1, at - start, out);
        fputc(line_end ? ' ' : '\n', out);
        start = at + 1;
    }
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

void view_envelope(FILE *out, struct slice envelope, struct slice reader)
{
    char clock[16];
    time_t now = time(NULL);
    struct tm local;
    struct slice to = view_member(envelope, SLICE("to")), intent = view_member(envelope, SLICE("intent"));
    struct slice payload = view_member(envelope, SLICE("payload")), text = only_text(payload);
    strftime(clock, sizeof clock, "%H:%M:%S ", localtime_r(&now, &local));
    fputs(clock, out);
    view_value(out, view_member(envelope, SLICE("from")));
    if (!means(to, reader)) {
        fputs(" → ", out);
        if (json_kind(to) == JSON_STRING)
            view_value(out, to);
        else
            fputs("all", out);
    }
    if (!means(intent, SLICE("agent.message"))) {
        fputs(" [", out);
        view_value(out, intent);
        fputs("]", out);
    }
    fputs(": ", out);
    view_value(out, text.length > 0 ? text : payload);
    fputs("\n", out);
}
