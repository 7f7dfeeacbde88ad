/* What an agent says and hears, whoever types. */
#include "client/agent/agent.h"

#include <poll.h>
#include <stdarg.h>

#include "base/clock.h"
#include "client/agent/view.h"
#include "client/outgoing.h"
#include "protocol/json/json.h"
#include "protocol/json/json_write.h"

#define GOODBYE_MS 1000
#define CONFIRMATION "all sent" /* the payload of the ping whose pong confirms */

void agent_notice(const struct client_agent *agent, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (agent->before_output)
        agent->before_output();
    fputs("luaduct agent: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    if (agent->after_output)
        agent->after_output();
    va_end(arguments);
}

static void show_envelope(const struct client_agent *agent, struct slice envelope)
{
    if (json_kind(envelope) != JSON_OBJECT)
        return;
    if (agent->before_output)
        agent->before_output();
    if (agent->human)
        view_envelope(stdout, envelope, agent->id);
    else
        view_envelope_json(stdout, envelope);
    fflush(stdout);
    if (agent->after_output)
        agent->after_output();
}

static void show_error(struct client_agent *agent, struct slice message)
{
    agent->refused++;
    if (agent->before_output)
        agent->before_output();
    fputs("luaduct agent: the bridge refused: ", stderr);
    view_value(stderr, view_member(message, SLICE("error")));
    fputs(" (", stderr);
    view_value(stderr, view_member(message, SLICE("code")));
    fputs(")\n", stderr);
    if (agent->after_output)
        agent->after_output();
}

static void on_message(void *context, enum websocket_opcode opcode, struct slice message)
{
    struct client_agent *agent = context;
    if (opcode == WEBSOCKET_PONG) {
        agent->confirmed |= slice_equal(message, SLICE(CONFIRMATION));
        return;
    }
    if (json_validate(message, JSON_DEPTH_MAXIMUM, NULL) != CODE_OK) {
        agent_notice(agent, "the bridge sent something that is not JSON");
        return;
    }
    struct slice type = view_member(message, SLICE("type"));
    if (json_kind(type) != JSON_STRING)
        return;
    type = json_string_inside(type);
    if (json_inside_equals(type, SLICE("envelope")))
        show_envelope(agent, view_member(message, SLICE("envelope")));
    else if (json_inside_equals(type, SLICE("registered")))
        agent->joined = true;
    else if (json_inside_equals(type, SLICE("error")))
        show_error(agent, message);
}

bool agent_receive(struct client_agent *agent)
{
    return client_receive(&agent->connection, on_message, agent);
}

static void append_list(struct buffer *out, const char *name, const char *const *entries, unsigned count)
{
    if (count == 0)
        return;
    buffer_append_format(out, ",\"%s\":", name);
    for (unsigned i = 0; i < count; i++) {
        buffer_append_slice(out, i > 0 ? SLICE(",") : SLICE("["));
        buffer_append_json_string(out, slice_from_string(entries[i]));
    }
    buffer_append_slice(out, SLICE("]"));
}

static bool send_text(struct client_agent *agent, struct buffer *text)
{
    bool sent = !text->failed && client_send(&agent->connection, WEBSOCKET_TEXT, slice_from(text->data, text->length));
    buffer_free(text);
    return sent;
}

static bool send_registration(struct client_agent *agent)
{
    struct buffer text = {0};
    buffer_append_slice(&text, SLICE("{\"type\":\"register\",\"clientId\":"));
    buffer_append_json_string(&text, agent->id);
    if (agent->role.length > 0) {
        buffer_append_slice(&text, SLICE(",\"role\":"));
        buffer_append_json_string(&text, agent->role);
    }
    append_list(&text, "labels", agent->labels, agent->label_count);
    append_list(&text, "tools", agent->tools, agent->tool_count);
    if (agent->token) {
        buffer_append_slice(&text, SLICE(",\"authToken\":"));
        buffer_append_json_string(&text, slice_from_string(agent->token));
    }
    /* With any feature deliveries start at once: a pipe without input then still gets its mailbox before it leaves. */
    buffer_append_slice(&text, SLICE(",\"features\":[\"terminal\"]}"));
    return send_text(agent, &text);
}

bool agent_join(struct client_agent *agent, int timeout_ms)
{
    struct client_connection *connection = &agent->connection;
    unsigned refused = agent->refused;
    agent->joined = false;
    if (!client_open(connection, &agent->url, agent->token, timeout_ms) || !send_registration(agent))
        return false;
    uint64_t now = clock_steady_ns(), deadline = now + (uint64_t)timeout_ms * 1000000;
    while (!agent->joined && agent->refused == refused && now < deadline) {
        struct pollfd watched = {connection->stream.descriptor, POLLIN, 0};
        if (tcp_wants_write(&connection->stream))
            watched.events |= POLLOUT;
        poll(&watched, 1, (int)((deadline - now) / 1000000) + 1);
        if (watched.revents && !(client_flush(connection) && agent_receive(agent)))
            return false;
        now = clock_steady_ns();
    }
    if (!agent->joined) {
        client_close(connection, 0, on_message, agent);
        snprintf(connection->error, sizeof connection->error, "%s",
                 agent->refused > refused ? "the bridge did not let this agent in" : "no answer to the register");
    }
    return agent->joined;
}

static struct slice trim(struct slice text)
{
    while (text.length > 0 && strchr(" \t\r\n", text.data[0]))
        text = slice_from(text.data + 1, text.length - 1);
    while (text.length > 0 && strchr(" \t\r\n", text.data[text.length - 1]))
        text.length--;
    return text;
}

bool agent_say(struct client_agent *agent, struct slice line)
{
    struct outgoing_envelope envelope = {.to = agent->to, .intent = agent->intent, .words = trim(line)};
    if (envelope.words.length > 1 && envelope.words.data[0] == '@') {
        size_t end = 1;
        while (end < envelope.words.length && envelope.words.data[end] != ' ' && envelope.words.data[end] != '\t')
            end++;
        envelope.to = slice_from(envelope.words.data + 1, end - 1);
        envelope.words = trim(slice_from(envelope.words.data + end, envelope.words.length - end));
        if (envelope.words.length == 0) {
            agent_notice(agent, "there is nothing to send to %.*s", (int)envelope.to.length, envelope.to.data);
            return true;
        }
    }
    if (envelope.words.length == 0)
        return true;
    struct buffer text = {0};
    buffer_append_slice(&text, SLICE("{\"type\":\"envelope\",\"envelope\":"));
    outgoing_envelope(&text, &envelope);
    buffer_append_slice(&text, SLICE("}"));
    return send_text(agent, &text);
}

bool agent_ask_confirmation(struct client_agent *agent)
{
    agent->confirmed = false;
    return client_send(&agent->connection, WEBSOCKET_PING, SLICE(CONFIRMATION));
}

void agent_leave(struct client_agent *agent)
{
    client_close(&agent->connection, GOODBYE_MS, on_message, agent);
}
