#include "client/connection/ask.h"

#include <stdio.h>

#include "client/agent/view.h"
#include "client/connection/http_client.h"
#include "protocol/json/json.h"
#include "protocol/json/utf8.h"

/* A stream of the bridge says something at least every `http.headerTimeoutMs`, normally ten seconds. */
#define SILENCE_MS 120000

/* The bridge's own words from {"error":…,"code":…}, or the whole body where it is something else. */
void ask_describe_refusal(const struct http_answer *answer, char problem[ASK_PROBLEM_SIZE])
{
    struct slice body = slice_from(answer->body.data, answer->body.length), key, value, text = {0}, code = {0};
    struct buffer line = {0};
    if (body.length > 0 && json_validate(body, JSON_DEPTH_MAXIMUM, NULL) == CODE_OK) {
        struct slice rest = body;
        while (json_kind(body) == JSON_OBJECT && json_next_member(&rest, &key, &value)) {
            if (json_kind(value) != JSON_STRING)
                continue;
            if (json_inside_equals(key, SLICE("error")))
                text = value;
            else if (json_inside_equals(key, SLICE("code")))
                code = value;
        }
    }
    buffer_append_format(&line, "the bridge refused (%u%s", answer->status, code.length > 0 ? " " : "");
    if (code.length > 0)
        view_append_value(&line, code);
    buffer_append_slice(&line, SLICE("): "));
    if (text.length > 0)
        view_append_value(&line, text);
    else
        view_append_text(&line, body);
    size_t length = line.length < ASK_PROBLEM_SIZE ? line.length : ASK_PROBLEM_SIZE - 1;
    length = line.data ? utf8_valid_length(line.data, length) : 0;
    snprintf(problem, ASK_PROBLEM_SIZE, "%.*s", (int)length, line.data ? line.data : "");
    buffer_free(&line);
}

static bool carry_out(const struct http_call *call, struct buffer *answer, unsigned *status,
                      char problem[ASK_PROBLEM_SIZE])
{
    struct http_answer got;
    char error[HTTP_CLIENT_ERROR_SIZE];
    if (!http_client_call(call, &got, error)) {
        bridge_url_unreachable(call->url, false, error, problem);
        return false;
    }
    bool good = got.status >= 200 && got.status < 300;
    if (good || status) {
        *answer = got.body;
    } else {
        ask_describe_refusal(&got, problem);
        buffer_free(&got.body);
    }
    if (status)
        *status = got.status;
    return good || status;
}

static int say(const char *command, bool good, const char *problem)
{
    if (!good)
        fprintf(stderr, "luaduct %s: %s\n", command, problem);
    return good ? 0 : 1;
}

bool ask_quietly(const struct target *target, const char *path, int timeout_ms, struct buffer *answer, unsigned *status,
                 char problem[ASK_PROBLEM_SIZE])
{
    struct http_call call = {
        .url = &target->url, .method = "GET", .path = path, .token = target->token, .timeout_ms = timeout_ms};
    return carry_out(&call, answer, status, problem);
}

int ask_bridge(const char *command, const struct target *target, const char *method, const char *path,
               struct slice body, int timeout_ms, struct buffer *answer)
{
    struct http_call call = {.url = &target->url,
                             .method = method,
                             .path = path,
                             .token = target->token,
                             .body = body,
                             .timeout_ms = timeout_ms};
    char problem[ASK_PROBLEM_SIZE];
    return say(command, carry_out(&call, answer, NULL, problem), problem);
}

int follow_bridge(const char *command, const struct target *target, const char *path,
                  bool (*take)(void *context, struct slice piece), void *context)
{
    struct buffer rest = {0};
    struct http_call call = {.url = &target->url,
                             .method = "GET",
                             .path = path,
                             .token = target->token,
                             .timeout_ms = SILENCE_MS,
                             .take = take,
                             .context = context};
    char problem[ASK_PROBLEM_SIZE];
    int code = say(command, carry_out(&call, &rest, NULL, problem), problem);
    buffer_free(&rest);
    return code;
}
