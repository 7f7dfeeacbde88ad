#include "client/outgoing.h"

#include "protocol/json/json.h"
#include "protocol/json/json_write.h"

/* A number or a word in quotes is more often something that a person says than a payload: only what can be nothing but
 * JSON is taken as JSON. */
void outgoing_payload(struct buffer *out, struct slice words)
{
    while (words.length > 0 && strchr(" \t\r\n", words.data[0]))
        words = slice_from(words.data + 1, words.length - 1);
    bool looks_so = words.length > 0 && (words.data[0] == '{' || words.data[0] == '[');
    if (looks_so && json_validate(words, JSON_DEPTH_MAXIMUM, NULL) == CODE_OK) {
        buffer_append_slice(out, words);
        return;
    }
    buffer_append_slice(out, SLICE("{\"text\":"));
    buffer_append_json_string(out, words);
    buffer_append_slice(out, SLICE("}"));
}

static void member(struct buffer *out, struct slice name, struct slice text)
{
    if (text.length == 0)
        return;
    buffer_append_slice(out, name);
    buffer_append_json_string(out, text);
    buffer_append_slice(out, SLICE(","));
}

void outgoing_envelope(struct buffer *out, const struct outgoing_envelope *envelope)
{
    buffer_append_slice(out, SLICE("{"));
    member(out, SLICE("\"to\":"), envelope->to);
    member(out, SLICE("\"intent\":"), envelope->intent);
    member(out, SLICE("\"from\":"), envelope->from);
    buffer_append_slice(out, SLICE("\"payload\":"));
    if (envelope->words.length > 0)
        outgoing_payload(out, envelope->words);
    else
        buffer_append_slice(out, SLICE("{}"));
    buffer_append_slice(out, SLICE("}"));
}
