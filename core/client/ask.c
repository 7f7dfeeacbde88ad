#include "client/ask.h"

#include <stdio.h>

#include "client/agent/view.h"
#include "client/http_client.h"
#include "protocol/json/json.h"

/* The bridge's own words from {"error":…,"code":…}, or the whole body where it is something else. */
static void print_refusal(const char *command, const struct http_answer *answer)
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

int ask_bridge(const char *command, const struct bridge_url *url, const char *token, const char *method,
               const char *path, struct slice body, int timeout_ms, struct buffer *answer)
{
    struct http_answer got;
    char error[HTTP_CLIENT_ERROR_SIZE], authority[BRIDGE_URL_AUTHORITY_SIZE];
    struct http_call call = {url, method, path, token, body, timeout_ms};
    if (!http_client_call(&call, &got, error)) {
        bridge_url_authority(url, authority);
        fprintf(stderr,
                "luaduct %s: cannot reach the bridge at %s%s: %s; start one with `luaduct run`, or say where it is with "
                "--url\n",
                command, url->socket[0] ? "unix:" : "http://", url->socket[0] ? url->socket : authority, error);
        return 1;
    }
    bool good = got.status >= 200 && got.status < 300;
    if (good) {
        *answer = got.body;
    } else {
        print_refusal(command, &got);
        buffer_free(&got.body);
    }
    return good ? 0 : 1;
}
