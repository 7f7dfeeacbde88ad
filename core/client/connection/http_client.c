/* The bridge is asked to close, yet a known length or the last chunk ends the answer at once: a peer that does not
 * close then costs no time-out. Bodies are read by the same code as the server's. */
#include "client/connection/http_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "client/connection/http_head.h"
#include "client/connection/tcp.h"
#include "protocol/http/http_request.h"

#define ANSWER_MAXIMUM (64u << 20) /* a history of large envelopes is a few MiB */

static bool fail(char error[HTTP_CLIENT_ERROR_SIZE], const char *what, int number)
{
    snprintf(error, HTTP_CLIENT_ERROR_SIZE, "%s%s%s", what, number ? ": " : "", number ? tcp_error(number) : "");
    return false;
}

static void write_request(struct buffer *out, const struct http_call *call)
{
    char authority[BRIDGE_URL_AUTHORITY_SIZE];
    bridge_url_authority(call->url, authority);
    int root = (int)strcspn(call->url->path, "?");
    while (root > 0 && call->url->path[root - 1] == '/')
        root--;
    buffer_append_slice(out, slice_from_string(call->method));
    buffer_append_slice(out, SLICE(" "));
    buffer_append(out, call->url->path, (size_t)root);
    buffer_append_slice(out, slice_from_string(call->path));
    buffer_append_slice(out, SLICE(" HTTP/1.1\r\nHost: "));
    buffer_append_slice(out, slice_from_string(authority));
    buffer_append_slice(out, SLICE("\r\nConnection: close\r\n"));
    if (call->token) {
        buffer_append_slice(out, SLICE("Authorization: Bearer "));
        buffer_append_slice(out, slice_from_string(call->token));
        buffer_append_slice(out, SLICE("\r\n"));
    }
    if (call->body.length > 0)
        buffer_append_format(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", call->body.length);
    buffer_append_slice(out, SLICE("\r\n"));
    buffer_append_slice(out, call->body);
}

struct reading {
    struct tcp_stream stream;
    struct read_buffer buffer;
    struct buffer received; /* not consumed: the head until it is whole, then nothing */
    struct http_head head;
    struct http_body body;
    struct http_answer *answer;
    const struct http_call *call;
    bool sated; /* call->take wants no more */
    char *error;
};

static void start_body(struct reading *reading)
{
    struct http_request as_request = {.content_length = reading->head.content_length, .chunked = reading->head.chunked};
    struct http_limits limits = {.body_bytes = reading->call->take ? UINT64_MAX : ANSWER_MAXIMUM};
    http_body_start(&reading->body, &as_request, &limits);
    reading->answer->status = reading->head.status;
}

enum progress { GOES_ON, WHOLE, FAILED };

/* A piece of the body goes to whoever takes it. */
static void pass_on(struct reading *reading, struct slice content)
{
    if (reading->call->take && reading->answer->status == 200)
        reading->sated = reading->sated || !reading->call->take(reading->call->context, content);
    else
        buffer_append_slice(&reading->answer->body, content);
}

static enum progress take_body(struct reading *reading, struct slice bytes)
{
    struct buffer *body = &reading->answer->body;
    const char *at = bytes.data, *end = at + bytes.length;
    struct slice content;
    enum http_step step = HTTP_NEED_BYTES;
    if (!reading->head.chunked && !reading->head.has_length) {
        pass_on(reading, bytes);
    } else {
        while ((step = http_body_next(&reading->body, &at, end, &content)) == HTTP_DATA)
            pass_on(reading, content);
    }
    if (reading->sated)
        return WHOLE;
    if (body->failed || body->length > ANSWER_MAXIMUM || step == HTTP_FAIL) {
        fail(reading->error, "the answer is broken or too large", 0);
        return FAILED;
    }
    return step == HTTP_DONE ? WHOLE : GOES_ON;
}

static enum progress take_bytes(struct reading *reading, struct slice bytes)
{
    if (reading->head.length > 0)
        return take_body(reading, bytes);
    buffer_append_slice(&reading->received, bytes);
    struct slice all = slice_from(reading->received.data, reading->received.length);
    if (reading->received.failed || all.length > ANSWER_MAXIMUM || !http_head_read(all, &reading->head)) {
        fail(reading->error, "the answer is not HTTP", 0);
        return FAILED;
    }
    if (reading->head.length == 0)
        return GOES_ON;
    size_t used = reading->head.length;
    if (reading->head.status < 200) { /* an interim answer (RFC 9110 15.2): the one that counts comes behind it */
        reading->head = (struct http_head){0};
        buffer_consume(&reading->received, used);
        return take_bytes(reading, slice_from(NULL, 0));
    }
    start_body(reading);
    return take_body(reading, slice_from(all.data + used, all.length - used));
}

static bool read_answer(struct reading *reading, uint64_t deadline)
{
    for (;;) {
        if (reading->call->take && reading->answer->status == 200)
            deadline = clock_steady_ns() + (uint64_t)reading->call->timeout_ms * 1000000;
        uint64_t now = clock_steady_ns();
        struct pollfd watched = {reading->stream.descriptor, POLLIN, 0};
        if (tcp_wants_write(&reading->stream))
            watched.events |= POLLOUT;
        if (now >= deadline || poll(&watched, 1, (int)((deadline - now) / 1000000) + 1) == 0)
            return fail(reading->error, "no answer in time", 0);
        if (watched.revents & POLLOUT && tcp_flush(&reading->stream) != 0)
            return fail(reading->error, "the connection broke", 0);
        if (!(watched.revents & ~POLLOUT))
            continue;
        struct slice bytes;
        int got = tcp_receive(&reading->stream, &reading->buffer, &bytes);
        if (got == -ECONNRESET && reading->head.length > 0 && !reading->head.chunked && !reading->head.has_length)
            return true; /* a body that ends with the connection (RFC 9112 6.3) */
        if (got < 0)
            return fail(reading->error, "the connection broke", got);
        enum progress progress = got > 0 ? take_bytes(reading, bytes) : GOES_ON;
        if (progress != GOES_ON)
            return progress == WHOLE;
    }
}

bool http_client_call(const struct http_call *call, struct http_answer *answer, char error[HTTP_CLIENT_ERROR_SIZE])
{
    struct reading reading = {.stream.descriptor = -1, .answer = answer, .call = call, .error = error};
    struct buffer request = {0};
    uint64_t deadline = clock_steady_ns() + (uint64_t)call->timeout_ms * 1000000;
    *answer = (struct http_answer){0};
    int number = tcp_connect(&reading.stream, call->url, call->timeout_ms);
    if (number != 0)
        return fail(error, tcp_error(number), 0);
    write_request(&request, call);
    number = request.failed ? -ENOMEM : tcp_send(&reading.stream, slice_from(request.data, request.length));
    bool whole = number == 0 ? read_answer(&reading, deadline) : fail(error, "cannot send", number);
    tcp_close(&reading.stream);
    free(reading.buffer.data);
    buffer_free(&reading.received);
    buffer_free(&request);
    if (!whole)
        buffer_free(&answer->body);
    return whole;
}
