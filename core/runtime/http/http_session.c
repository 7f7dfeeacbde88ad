/* Bytes that came are kept in `input` until a request is whole; answers are collected in `output` until the socket has
 * taken them. Pipelined requests are answered one after the other while little output waits and the turn is not over;
 * past that, and while an endpoint is making its answer piece by piece, the session goes on when the socket took what
 * waited and its next turn has come (reactor_hold).
 *
 * What an answer needs of a request's head is copied out of it (`kept`), because input moves while the body comes. */
#include "runtime/http/http_session.h"

#include "memory/pool.h"
#include "protocol/http/url.h"
#include "runtime/connection/access_log.h"
#include "runtime/http/http_exchange.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"

/* While an answer is on its way, this much of further requests may wait before the peer is not read any more. */
#define WAITING_INPUT_BYTES (16u << 10)

/* What stands around the data of POST /workers/execute. */
#define EXECUTE_MEMBERS_BYTES 1024u

/* A line of an export has an envelope in it, some of it twice, and this around it: with many names, a history's. */
#define IMPORT_LINE_BYTES (1u << 20)

/* No path of ours is nearly as long: a longer one is not found. */
#define PATH_BYTES 256

/* Nor is a method of anybody's. */
#define METHOD_BYTES 32u

static struct kept_text keep(struct http_exchange *exchange, struct slice text)
{
    struct kept_text place = {(uint32_t)exchange->request.kept.length, (uint32_t)text.length};
    buffer_append_slice(&exchange->request.kept, text);
    return place;
}

/* Of a target that is no path: what the access log shows of it, without its query. */
static struct kept_text keep_shown(struct http_exchange *exchange, struct slice target)
{
    size_t length = 0;
    while (length < target.length && length < PATH_BYTES && target.data[length] != '?' && target.data[length] != '#')
        length++;
    return keep(exchange, slice_from(target.data, length));
}

/* The same of a head that is no request, where its first line begins like that of one. What is no path may have a name
 * and a password in it. */
static void show_failed_head(struct connection *connection, struct slice input)
{
    struct http_exchange *exchange = connection->http;
    if (!access_log_on(connection))
        return;
    const char *end = memchr(input.data, '\n', input.length), *space;
    struct slice line = slice_from(input.data, end ? (size_t)(end - input.data) : input.length);
    if (!(space = memchr(line.data, ' ', line.length)))
        return;
    struct slice method = slice_from(line.data, (size_t)(space - line.data));
    struct slice target = slice_from(space + 1, line.length - method.length - 1);
    if (method.length > METHOD_BYTES || !http_token_valid(method) || target.length == 0 || target.data[0] != '/')
        return;
    if ((space = memchr(target.data, ' ', target.length)))
        target.length = (size_t)(space - target.data);
    while (target.length > 0 && target.data[target.length - 1] == '\r')
        target.length--;
    exchange->request.method = keep(exchange, method);
    exchange->request.shown = keep_shown(exchange, target);
    if (exchange->request.kept.failed)
        exchange->output.failed = true;
}

/* The time for a request to come, for the next byte of an answer to be taken, and for the next request. A stop has set
 * a deadline of its own, which stays. */
static void wait_for_peer(struct connection *connection, enum deadline deadline)
{
    if (!connection_reactor(connection)->draining)
        connection_wait_for(connection, deadline);
}

static void restart_deadline(struct connection *connection)
{
    wait_for_peer(connection, DEADLINE_HEADER);
}

/* --- Life of an exchange --- */

static struct http_exchange *begin_exchange(struct connection *connection)
{
    struct http_exchange *exchange = pool_acquire(POOL_BUFFERS, sizeof *exchange);
    if (!exchange)
        return NULL;
    memset(exchange, 0, sizeof *exchange);
    connection->http = exchange;
    restart_deadline(connection);
    return exchange;
}

void http_session_end(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    if (!exchange)
        return;
    http_exchange_end_request(connection);
    buffer_free(&exchange->input);
    buffer_free(&exchange->output);
    pool_release(POOL_BUFFERS, exchange, sizeof *exchange);
    connection->http = NULL;
}

/* --- Answers --- */

/* What the endpoint has done so far goes out. */
static void pass_on(struct connection *connection, enum api_step step)
{
    struct http_exchange *exchange = connection->http;
    struct api_call *call = &exchange->request.call;
    struct http_answer answer = {.status = call->status,
                                 .content_type = call->content_type[0] ? call->content_type : NULL,
                                 .allow = call->allow[0] ? call->allow : NULL,
                                 .retry_after = call->retry_later ? 1 : 0,
                                 .cache = call->cache,
                                 .headers = call->headers,
                                 .header_count = call->header_count};
    struct slice content = slice_from(call->content.data, call->content.length);
    if (step == API_WAITS) {
        exchange->request.calling = true;
        return;
    }
    if (step == API_FAILED || call->content.failed) {
        /* What was said cannot be unsaid: the missing end tells the peer; to HTTP/1.0 only a broken connection does. */
        exchange->last = true;
        exchange->output.failed = exchange->output.failed || exchange->request.http_1_0;
        http_exchange_end_request(connection);
        return;
    }
    bool goes_on = step == API_DONE && call->subscriber;
    if (step == API_DONE && !exchange->request.streams && !goes_on) {
        http_answer_whole(connection, answer, content);
        return;
    }
    if (!exchange->request.streams) {
        answer.framing = exchange->request.http_1_0 ? HTTP_FRAMING_NONE : HTTP_FRAMING_CHUNKED;
        http_answer_head(connection, &answer);
        exchange->request.streams = exchange->request.calling = true;
    }
    if (exchange->request.is_head) {
        http_exchange_end_request(connection);
        return;
    }
    http_answer_piece(exchange, content);
    call->content.length = 0;
    if (step == API_DONE && !goes_on)
        http_answer_end(connection);
}

static void answer_request(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    struct http_gate *gate = &exchange->request.gate;
    http_gate_check_again(connection, http_exchange_kept(exchange, exchange->request.path), gate);
    if (gate->code != CODE_OK) {
        http_answer_error(
            connection, gate->code,
            (struct http_answer){.status = code_http_status(gate->code), .retry_after = gate->retry_after}, gate->text);
    } else if (gate->preflight && gate->by_browser) {
        http_answer_preflight(connection);
    } else {
        exchange->request.call =
            (struct api_call){.connection = connection,
                              .method = http_exchange_kept(exchange, exchange->request.method),
                              .path = http_exchange_kept(exchange, exchange->request.path),
                              .query = http_exchange_kept(exchange, exchange->request.query),
                              .accept = http_exchange_kept(exchange, exchange->request.accept),
                              .body = slice_from(exchange->request.body.data, exchange->request.body.length),
                              .admin = gate->admin,
                              .identity = gate->identity};
        pass_on(connection, api_start(connection_reactor(connection)->http, &exchange->request.call));
    }
}

/* --- Requests --- */

/* Data for the workers may be larger than other bodies, from those who may ask for work; so may lines of an export. */
static struct http_limits limits_of(const struct connection *connection, struct slice path, bool admin)
{
    const struct config *config = connection_reactor(connection)->config;
    struct http_limits limits = {
        .head_bytes = config->http.header_bytes, .headers = HTTP_HEADERS_MAX, .body_bytes = config->limits.body_bytes};
    uint64_t execute = config->phase2.worker_pool.execute_bytes + EXECUTE_MEMBERS_BYTES;
    uint64_t import = IMPORT_LINE_BYTES + 3 * (uint64_t)config->limits.message_bytes;
    uint64_t wanted = !admin                                         ? 0
                      : slice_equal(path, SLICE("/workers/execute")) ? execute
                      : slice_equal(path, SLICE("/admin/import"))    ? import
                                                                     : 0;
    if (wanted > limits.body_bytes)
        limits.body_bytes = wanted < CONFIG_MESSAGE_CEILING ? wanted : CONFIG_MESSAGE_CEILING;
    return limits;
}

/* False: it is not known yet who asks, and nothing was taken. */
static bool take_head(struct connection *connection, const struct http_request *request)
{
    struct http_exchange *exchange = connection->http;
    char decoded[PATH_BYTES];
    size_t length;
    /* Where it cannot be decoded it is no path of ours: the empty one is not found. */
    struct slice path = url_decode_path(request->path, decoded, sizeof decoded, &length) ? slice_from(decoded, length)
                                                                                         : slice_from(NULL, 0);
    const struct http_header *accept = http_request_header(request, SLICE("accept"), NULL);
    http_gate_check(connection, request, path, &exchange->request.gate);
    if (exchange->request.gate.waits) {
        exchange->request = (struct request){0};
        exchange->verifying = exchange->paused = true;
        return false;
    }
    exchange->input_at += request->head_bytes;
    exchange->request.began_ns = connection_reactor(connection)->pass_start_ns;
    exchange->request.keep_alive = request->keep_alive;
    exchange->request.http_1_0 = request->version_minor == 0;
    exchange->request.is_head = slice_equal(request->method, SLICE("HEAD"));
    exchange->request.method = keep(exchange, exchange->request.is_head ? SLICE("GET") : request->method);
    exchange->request.path = keep(exchange, path);
    if (path.length == 0)
        exchange->request.shown = keep_shown(exchange, request->path);
    exchange->request.query = keep(exchange, request->query);
    exchange->request.accept = keep(exchange, accept ? accept->value : slice_from(NULL, 0));
    exchange->request.origin = keep(exchange, exchange->request.gate.origin);
    if (exchange->request.kept.failed) {
        exchange->output.failed = true;
        return true;
    }
    if (__builtin_expect(tracing_on, 0))
        exchange->request.trace = tracing_keep_header(request);
    if (request->upgrade) {
        http_upgrade(connection, request, path);
        return true;
    }
    struct http_limits limits = limits_of(connection, path, exchange->request.gate.admin);
    exchange->request.in_body = true;
    if (request->chunked || request->content_length > 0)
        wait_for_peer(connection, DEADLINE_BODY);
    http_body_start(&exchange->request.reader, request, &limits);
    if (request->expect_continue && exchange->input_at == exchange->input.length) {
        if (exchange->request.gate.code != CODE_OK) {
            exchange->request.keep_alive = false; /* the body may come or not */
            answer_request(connection);
        } else if (exchange->request.reader.error.code == CODE_OK) {
            buffer_append_slice(&exchange->output, SLICE(HTTP_CONTINUE));
        }
    }
    return true;
}

/* True: there may be more to do with the input. */
static bool read_head(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    /* How large the body may be depends on the path: http_body_start sees to it. */
    struct http_limits limits = {.head_bytes = connection_reactor(connection)->config->http.header_bytes,
                                 .headers = HTTP_HEADERS_MAX,
                                 .body_bytes = UINT64_MAX};
    struct http_request request;
    switch (http_request_parse(&exchange->request.scan, exchange->input.data + exchange->input_at,
                               exchange->input.length - exchange->input_at, &limits, &request)) {
    case HTTP_DONE:
        return take_head(connection, &request);
    case HTTP_FAIL:
        show_failed_head(connection, slice_from(exchange->input.data + exchange->input_at,
                                                exchange->input.length - exchange->input_at));
        http_answer_last(connection, request.error.code, request.error.status, request.error.text);
        return false;
    default:
        return false;
    }
}

/* Of those alone who may have something done with it. */
static bool keeps_body(const struct connection *connection)
{
    const struct http_gate *gate = &connection->http->request.gate;
    return gate->code == CODE_OK && !gate->preflight && !gate->open_page &&
           (gate->identity || gate->admin || !connection_reactor(connection)->standing.config->auth.required);
}

static bool read_body(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    const char *at = exchange->input.data + exchange->input_at, *end = exchange->input.data + exchange->input.length;
    struct slice piece;
    enum http_step step;
    while ((step = http_body_next(&exchange->request.reader, &at, end, &piece)) == HTTP_DATA)
        if (keeps_body(connection))
            buffer_append_slice(&exchange->request.body, piece);
    exchange->input_at = (size_t)(at - exchange->input.data);
    if (exchange->request.body.failed)
        http_answer_last(connection, CODE_OVERLOADED, code_http_status(CODE_OVERLOADED), "out of memory");
    else if (step == HTTP_FAIL)
        http_answer_last(connection, exchange->request.reader.error.code, exchange->request.reader.error.status,
                         exchange->request.reader.error.text);
    else if (step == HTTP_DONE)
        answer_request(connection);
    return step == HTTP_DONE;
}

/* Answers what is there, as far as the output allows. The connection may be a WebSocket, or gone, afterwards. */
static void advance(struct connection *connection)
{
    struct http_exchange *exchange;
    bool more = true, first = true;
    reactor_begin_turn(connection_reactor(connection));
    while (more && connection->phase == CONNECTION_HTTP && (exchange = connection->http)) {
        if (exchange->output.failed) {
            connection_kill(connection);
            return;
        }
        exchange->paused = exchange->request.calling || exchange->verifying ||
                           http_exchange_waiting(exchange) >= API_PIECE_BYTES ||
                           (!first && exchange->input_at < exchange->input.length &&
                            reactor_turn_over(connection_reactor(connection), 0));
        first = false;
        if (exchange->paused || exchange->last)
            return;
        if (!exchange->request.in_body && exchange->input_at == exchange->input.length)
            return;
        more = exchange->request.in_body ? read_body(connection) : read_head(connection);
    }
}

void http_session_settle(struct connection *connection)
{
    struct http_exchange *exchange;
    if (connection->phase != CONNECTION_HTTP || !(exchange = connection->http))
        return;
    if (exchange->output.failed) {
        connection_kill(connection);
        return;
    }
    bool busy = http_exchange_waiting(exchange) > 0 || exchange->request.calling || exchange->last || exchange->paused;
    if (busy) {
        lane_mark_dirty(connection_reactor(connection)->lane, &connection->endpoint);
    } else if (!exchange->request.in_body && exchange->input_at == exchange->input.length) {
        http_session_end(connection);
        restart_deadline(connection);
        connection_read_on(connection, true);
        if (connection_reactor(connection)->draining)
            connection_kill(connection);
        return;
    }
    size_t unread = exchange->input.length - exchange->input_at;
    connection_read_on(connection, !exchange->peer_finished && !(busy && unread > WAITING_INPUT_BYTES));
}

void http_session_bytes(struct connection *connection, char *bytes, size_t length)
{
    if (connection->phase != CONNECTION_HTTP)
        return; /* half closed: what comes is swallowed */
    struct http_exchange *exchange = connection->http ? connection->http : begin_exchange(connection);
    if (!exchange) {
        connection_kill(connection);
        return;
    }
    if (exchange->last)
        return;
    struct buffer *input = &exchange->input;
    if (exchange->input_at == input->length) {
        input->length = 0;
    } else if (exchange->input_at > 0) {
        memmove(input->data, input->data + exchange->input_at, input->length - exchange->input_at);
        input->length -= exchange->input_at;
    }
    exchange->input_at = 0;
    buffer_append(input, bytes, length);
    if (input->failed) {
        connection_kill(connection);
        return;
    }
    advance(connection);
    http_session_settle(connection);
}

/* --- Writing --- */

enum outbox_result http_session_send(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    while (http_exchange_waiting(exchange) > 0) {
        long sent = transport_send(&connection->transport, exchange->output.data + exchange->output_at,
                                   http_exchange_waiting(exchange));
        if (sent == TRANSPORT_BLOCKED)
            return OUTBOX_BLOCKED;
        if (sent < 0)
            return OUTBOX_BROKEN;
        exchange->output_at += (size_t)sent;
        counter_add(&connection_reactor(connection)->lane->counters.bytes_out, (unsigned long long)sent);
        restart_deadline(connection);
    }
    buffer_free(&exchange->output);
    exchange->output_at = 0;
    return OUTBOX_EMPTY;
}

/* The last answer is written. Closing at once could reset the connection and take the answer with it while the peer
 * still sends (RFC 9112 9.6): so only our side is closed, and the peer has a moment to close its own. */
static enum outbox_result close_gently(struct connection *connection)
{
    bool peer_finished = connection->http->peer_finished;
    http_session_end(connection);
    if (peer_finished || !transport_end_sending(&connection->transport))
        return OUTBOX_BROKEN;
    connection->phase = CONNECTION_CLOSING;
    connection_read_on(connection, true);
    connection_wait_for(connection, DEADLINE_LINGER);
    return OUTBOX_EMPTY;
}

enum outbox_result http_session_flush(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    if (connection->phase != CONNECTION_HTTP || !exchange)
        return OUTBOX_EMPTY;
    if (http_listens(exchange))
        return http_listening_flush(connection);
    if (connection->holds)
        return OUTBOX_EMPTY; /* its turn comes */
    if (exchange->its_turn && http_exchange_waiting(exchange) == 0) {
        exchange->its_turn = false;
        if (exchange->request.calling && !exchange->request.call.waits)
            pass_on(connection, api_continue(connection_reactor(connection)->http, &exchange->request.call));
        advance(connection);
        http_session_settle(connection);
        if (connection->phase != CONNECTION_HTTP || !(exchange = connection->http))
            return OUTBOX_EMPTY;
    }
    enum outbox_result result = http_session_send(connection);
    if (result != OUTBOX_EMPTY)
        return result;
    if (exchange->verifying || (exchange->request.calling && exchange->request.call.waits))
        return OUTBOX_EMPTY; /* http_session_authenticated or http_session_answered goes on */
    if (exchange->request.calling || (exchange->paused && !exchange->last)) {
        exchange->its_turn = true;
        /* Without memory to remember it by, the loop says when. */
        return reactor_hold(connection, NULL, 0) ? OUTBOX_EMPTY : OUTBOX_BLOCKED;
    }
    if (exchange->last)
        return close_gently(connection);
    if (exchange->peer_finished)
        return OUTBOX_BROKEN;
    http_session_settle(connection);
    return OUTBOX_EMPTY;
}

void http_session_authenticated(struct connection *connection)
{
    if (connection->phase != CONNECTION_HTTP || !connection->http || !connection->http->verifying)
        return;
    connection->http->verifying = false;
    advance(connection);
    http_session_settle(connection);
}

void http_session_answered(struct connection *connection)
{
    pass_on(connection, api_continue(connection_reactor(connection)->http, &connection->http->request.call));
    advance(connection);
    http_session_settle(connection);
}

/* --- Ends --- */

void http_session_deadline(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    /* Silence: a sign of life, which also finds out whether the peer is there. */
    if (http_listens(exchange) && http_exchange_waiting(exchange) == 0) {
        http_answer_piece(exchange, SLICE(": still here\n\n"));
        connection_wait_for(connection, DEADLINE_HEADER);
        http_session_settle(connection);
        return;
    }
    if (exchange && (exchange->verifying || exchange->request.call.waits)) {
        connection_wait_for(connection, DEADLINE_HEADER); /* it is ours to answer, and bounded by itself */
        return;
    }
    if (!exchange || exchange->request.calling || exchange->last || http_exchange_waiting(exchange) > 0) {
        connection_kill(connection);
        return;
    }
    connection_wait_for(connection, DEADLINE_HEADER);
    http_answer_last(connection, CODE_REQUEST_TIMEOUT, code_http_status(CODE_REQUEST_TIMEOUT),
                     "the request took too long to come");
    http_session_settle(connection);
}

bool http_session_peer_finished(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    if (connection->phase != CONNECTION_HTTP || !exchange || http_listens(exchange) ||
        !(exchange->request.calling || exchange->paused || http_exchange_waiting(exchange) > 0))
        return false;
    exchange->peer_finished = true;
    connection_read_on(connection, false);
    return true;
}
