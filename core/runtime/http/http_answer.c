/* Every answer has its length in its head, but for those of endpoints that stop half way: these go out in chunks, or,
 * to HTTP/1.0, until the connection ends. */
#include "runtime/http/http_exchange.h"

#include <stdio.h>

#include "runtime/connection/access_log.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"

/* For how long a browser may keep the answer to a preflight. */
#define PREFLIGHT_SECONDS "600"

void http_exchange_end_request(struct connection *connection)
{
    struct request *request = &connection->http->request;
    if (request->call.subscriber)
        connection_end_listening(connection);
    if (access_log_on(connection) && (request->status != 0 || request->began_ns != 0))
        access_log_request(connection);
    api_end(connection_reactor(connection)->http, &request->call);
    http_gate_end(&request->gate);
    tracing_forget_header(request->trace);
    buffer_free(&request->body);
    buffer_free(&request->kept);
    *request = (struct request){0};
}

void http_answer_head(struct connection *connection, const struct http_answer *answer)
{
    struct http_exchange *exchange = connection->http;
    struct http_header headers[14];
    size_t count = 0;
    char seconds[12];
    exchange->request.status = answer->status;
    if (answer->framing == HTTP_FRAMING_NONE && answer->status != 204)
        exchange->request.keep_alive = false;
    if (!exchange->request.keep_alive || connection_reactor(connection)->draining)
        exchange->last = true;
    headers[count++] = (struct http_header){SLICE("Cache-Control"),
                                            answer->cache ? slice_from_string(answer->cache) : SLICE("no-store")};
    if (exchange->request.origin.length > 0 && exchange->request.gate.code != CODE_FORBIDDEN) {
        headers[count++] = (struct http_header){SLICE("Access-Control-Allow-Origin"),
                                                http_exchange_kept(exchange, exchange->request.origin)};
        headers[count++] = (struct http_header){SLICE("Vary"), SLICE("Origin")};
    }
    if (answer->status == 401)
        headers[count++] = (struct http_header){SLICE("WWW-Authenticate"), SLICE("Bearer")};
    if (answer->allow)
        headers[count++] = (struct http_header){SLICE("Allow"), slice_from_string(answer->allow)};
    if (answer->retry_after > 0) {
        int length = snprintf(seconds, sizeof seconds, "%u", answer->retry_after);
        headers[count++] = (struct http_header){SLICE("Retry-After"), slice_from(seconds, (size_t)length)};
    }
    for (size_t i = 0; i < answer->header_count && count < sizeof headers / sizeof *headers; i++)
        headers[count++] = answer->headers[i];
    struct http_response response = {
        .status = answer->status,
        .connection = exchange->last               ? HTTP_CONNECTION_CLOSE
                      : exchange->request.http_1_0 ? HTTP_CONNECTION_KEEP_10
                                                   : HTTP_CONNECTION_KEEP,
        .framing = answer->framing,
        .content_length = answer->length,
        .content_type = answer->content_type ? slice_from_string(answer->content_type) : slice_from(NULL, 0),
        .headers = headers,
        .header_count = count,
    };
    size_t length, room = http_response_bound(&response);
    char *at = buffer_reserve(&exchange->output, room);
    if (at && http_response_write(&response, at, room, &length) == HTTP_WRITTEN)
        exchange->output.length += length;
    else
        exchange->output.failed = true;
}

void http_answer_end(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    if (!exchange->request.http_1_0)
        buffer_append_slice(&exchange->output, SLICE(HTTP_CHUNKS_END));
    http_exchange_end_request(connection);
}

void http_answer_whole(struct connection *connection, struct http_answer answer, struct slice body)
{
    struct http_exchange *exchange = connection->http;
    answer.framing = HTTP_FRAMING_LENGTH;
    answer.length = body.length;
    http_answer_head(connection, &answer);
    if (!exchange->request.is_head) {
        buffer_append_slice(&exchange->output, body);
        exchange->request.answer_bytes = body.length;
    }
    http_exchange_end_request(connection);
}

void http_answer_error(struct connection *connection, enum code code, struct http_answer answer, const char *text)
{
    struct buffer body = {0};
    api_append_error(&body, code, slice_from_string(text));
    api_count_refusal(connection_reactor(connection)->lane, code);
    answer.content_type = "application/json";
    if (code == CODE_OVERLOADED)
        answer.retry_after = 1;
    if (body.failed)
        connection->http->output.failed = true;
    else
        http_answer_whole(connection, answer, slice_from(body.data, body.length));
    buffer_free(&body);
}

void http_answer_last(struct connection *connection, enum code code, unsigned status, const char *text)
{
    connection->http->request.keep_alive = false;
    http_answer_error(connection, code, (struct http_answer){.status = status}, text);
}

void http_answer_preflight(struct connection *connection)
{
    static const struct http_header allowed[] = {
        {SLICE("Access-Control-Allow-Methods"), SLICE("GET, HEAD, POST, OPTIONS")},
        {SLICE("Access-Control-Allow-Headers"), SLICE("Authorization, Content-Type")},
        {SLICE("Access-Control-Max-Age"), SLICE(PREFLIGHT_SECONDS)},
    };
    struct http_answer answer = {.status = 204, .allow = "GET, HEAD, POST, OPTIONS"};
    if (connection->http->request.origin.length > 0) {
        answer.headers = allowed;
        answer.header_count = sizeof allowed / sizeof *allowed;
    }
    http_answer_whole(connection, answer, slice_from(NULL, 0));
}

void http_answer_piece(struct http_exchange *exchange, struct slice data)
{
    char open[HTTP_CHUNK_OPEN_MAX];
    if (data.length == 0)
        return;
    exchange->request.answer_bytes += data.length;
    if (exchange->request.http_1_0) {
        buffer_append_slice(&exchange->output, data);
        return;
    }
    buffer_append(&exchange->output, open, http_chunk_open(data.length, open));
    buffer_append_slice(&exchange->output, data);
    buffer_append_slice(&exchange->output, SLICE(HTTP_CHUNK_CLOSE));
}
