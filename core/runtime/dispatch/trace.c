#include "runtime/dispatch/trace.h"

#include <stdlib.h>

#include "protocol/json/json_write.h"
#include "runtime/reactor.h"

/* What filters look at. */
struct subject {
    struct slice from, to, intent, id;
};

struct filter {
    struct slice agent, intent, id;
    char texts[];
};

void *trace_filter_new(struct slice agent, struct slice intent, struct slice id)
{
    struct filter *filter = malloc(sizeof *filter + agent.length + intent.length + id.length);
    if (!filter)
        return NULL;
    struct slice *copies[] = {&filter->agent, &filter->intent, &filter->id}, from[] = {agent, intent, id};
    char *at = filter->texts;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        if (from[i].length > 0)
            memcpy(at, from[i].data, from[i].length);
        *copies[i] = slice_from(at, from[i].length);
        at += from[i].length;
    }
    return filter;
}

void trace_filter_free(void *filter)
{
    free(filter);
}

static bool wants(struct slice wanted, struct slice text)
{
    return wanted.length == 0 || slice_equal(wanted, text);
}

bool trace_filter_passes(const void *context, enum event_kind kind, const void *about)
{
    const struct filter *filter = context;
    const struct subject *subject = about;
    return kind != EVENT_TRACE || ((wants(filter->agent, subject->from) || wants(filter->agent, subject->to)) &&
                                   wants(filter->intent, subject->intent) && wants(filter->id, subject->id));
}

static void add_quoted(struct buffer *out, struct slice text)
{
    if (text.data)
        buffer_append_json_string(out, text);
    else
        buffer_append_slice(out, SLICE("null"));
}

static void add_text(struct buffer *out, const char *name, struct slice text)
{
    buffer_append_format(out, ",\"%s\":", name);
    add_quoted(out, text);
}

/* As it was sent: out of the message that carried it. */
static struct slice sent_envelope(const struct dispatch *dispatch)
{
    struct slice key, value;
    if (!dispatch->is_message)
        return dispatch->text;
    for (struct slice rest = dispatch->text; json_next_member(&rest, &key, &value);)
        if (json_inside_equals(key, SLICE("envelope")))
            return value;
    return slice_from("null", 4);
}

static void add_sender(struct buffer *out, const struct script_sender *sender)
{
    if (!sender) {
        buffer_append_slice(out, SLICE(",\"sender\":null"));
        return;
    }
    buffer_append_slice(out, SLICE(",\"sender\":{\"id\":"));
    add_quoted(out, sender->id);
    add_text(out, "role", sender->role);
    add_text(out, "identity", sender->identity);
    buffer_append_slice(out, SLICE(",\"labels\":"));
    buffer_append_slice(out, sender->labels);
    buffer_append_slice(out, SLICE("}"));
}

static void add_outcome(struct buffer *out, const struct dispatch_result *result)
{
    const char *outcome = result->dropped ? "dropped" : result->code == CODE_OK ? "accepted" : "refused";
    add_text(out, "outcome", slice_from_string(outcome));
    buffer_append_format(out, ",\"recipients\":%u", result->taken);
    if (!result->dropped && result->code != CODE_OK)
        add_text(out, "code", slice_from_string(code_name(result->code)));
    if (result->dropped && result->text.data)
        add_text(out, "reason", result->text);
}

void trace_begin(struct trace *trace, struct reactor *reactor, const struct trace_record *record)
{
    static const char *const names[4] = {"id", "from", "to", "intent"};
    static const enum field fields[4] = {FIELD_ID, FIELD_FROM, FIELD_TO, FIELD_INTENT};
    const struct dispatch *dispatch = record->dispatch;
    struct buffer *out = &trace->head, decision = {0};
    buffer_append_format(out, "{\"time\":\"%.*s\"", CLOCK_ISO_LENGTH, reactor->lane->timestamp);
    for (unsigned i = 0; i < 4; i++) {
        struct slice text = envelope_text(dispatch->envelope, fields[i], dispatch->defaults);
        add_text(out, names[i], text);
        trace->lengths[i] = text.data ? text.length : 0;
        buffer_append(&trace->texts, text.data ? text.data : "", trace->lengths[i]);
    }
    buffer_append_format(out, ",\"reactor\":%u,\"hook\":\"%s\",\"version\":%u", reactor->index, record->hook,
                         record->version);
    if (record->decision)
        decision_write(&decision, record->decision);
    add_text(out, "decision", slice_from(record->decision ? decision.data : NULL, decision.length));
    buffer_append_format(out, ",\"failed\":%s,\"waited\":%s,\"cached\":%s,\"us\":%.1f",
                         record->failed ? "true" : "false", record->waited ? "true" : "false",
                         record->cached ? "true" : "false", (double)record->took_ns / 1000);
    add_sender(&trace->tail, record->sender);
    struct slice envelope = sent_envelope(dispatch);
    buffer_append_slice(&trace->tail, SLICE(",\"envelope\":"));
    buffer_append_slice(&trace->tail,
                        envelope.length <= TRACE_ENVELOPE_BYTES ? slice_trim_space(envelope) : SLICE("null"));
    buffer_append_slice(&trace->tail, SLICE("}"));
    out->failed = out->failed || decision.failed || trace->tail.failed || trace->texts.failed;
    buffer_free(&decision);
}

void trace_end(struct trace *trace, const struct dispatch_result *result)
{
    struct buffer *out = &trace->head;
    if (out->length == 0)
        return;
    add_outcome(out, result);
    buffer_append(out, trace->tail.data, trace->tail.length);
    for (size_t i = 0; i < out->length; i++) /* one line: white space between the sender's tokens may hold others */
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
    struct subject subject;
    struct slice *parts[4] = {&subject.id, &subject.from, &subject.to, &subject.intent};
    const char *at = trace->texts.data;
    for (unsigned i = 0; i < 4; at += trace->lengths[i++])
        *parts[i] = slice_from(at, trace->lengths[i]);
    if (!out->failed)
        events_publish(EVENT_TRACE, slice_from(out->data, out->length), &subject);
    buffer_free(&trace->head);
    buffer_free(&trace->tail);
    buffer_free(&trace->texts);
}
