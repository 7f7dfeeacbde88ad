#include "client/ask.h"

#include <stdio.h>

#include "client/agent/view.h"
#include "client/http_client.h"
#include "protocol/json/json.h"

/* A stream of the bridge says something at least every `http.headerTimeoutMs`, normally ten seconds. */
#define SILENCE_MS 120000

/* The bridge's own words from {"error":…,"code":…}, or the whole body where it is something else. */
void ask_print_refusal(const char *command, const struct http_answer *answer)
{
    struct slice body = slice_from(answer->body.data, answer->body.length), key, value, text = body, code = {0};
    if (body.length > 0 && json_validate(body, JSON_DEPTH_MAXIMUM, NULL) == CODE_OK) {
        struct slice rest = body;
        while (json_kind(body) == JSON_OBJECT && json_next_member(&rest, &key, &value)) {
            if (json_kind(value) != JSON_STRING)
                continue;
            if (json_inside_equals(key, SLICE("error")))
                text = json_string_inside(value);
            else if (json_inside_equals(key, SLICE("code")))
                code = json_string_inside(value);
        }
    }
    fprintf(stderr, "luaduct %s: the bridge refused (%u", command, answer->status);
    fputs(code.length > 0 ? " " : "", stderr);
    view_text(stderr, code);
    fputs("): ", stderr);
    view_text(stderr, text);
    fputs("\n", stderr);
}

static int carry_out(const char *command, const struct http_call *call, struct buffer *answer)
{
    struct http_answer got;
    char error[HTTP_CLIENT_ERROR_SIZE], line[BRIDGE_URL_UNREACHABLE_SIZE];
    if (!http_client_call(call, &got, error)) {
        bridge_url_unreachable(call->url, false, error, line);
        fprintf(stderr, "luaduct %s: %s\n", command, line);
        return 1;
    }
    bool good = got.status >= 200 && got.status < 300;
    if (good) {
        *answer = got.body;
    } else {
        ask_print_refusal(command, &got);
        buffer_free(&got.body);
    }
    return good ? 0 : 1;
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
    return carry_out(command, &call, answer);
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
    int code = carry_out(command, &call, &rest);
    buffer_free(&rest);
    return code;
}
