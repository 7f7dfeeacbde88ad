/* One loop over one set of sockets, as in bench_load.c. A request that no connection takes within the time-out counts
 * as not answered, so a server that is gone shows as such and does not end the run. */
#include "client/bench/bench_http.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/system/system.h"
#include "client/bench/bench_server.h"
#include "client/connection/http_head.h"
#include "client/connection/tcp.h"
#include "net/poller.h"
#include "protocol/http/http_request.h"
#include "protocol/json/json.h"

#define SECOND 1000000000ull
#define TICK_NS (SECOND / 10)     /* how often time-outs and lost connections are looked after */
#define PATIENCE_NS (10 * SECOND) /* without a rate: no answer for so long, and no connection: the server is gone */
#define SPIN_NS 50000             /* a sleep may end this late: the last stretch before a due request is polled */
#define ANSWER_MAXIMUM (64u << 20)
#define EVENTS_AT_ONCE 256

struct request {
    char *text; /* as it goes out, head and body */
    size_t length;
    struct slice expected; /* in the file's text */
    unsigned kind;
};

enum connection_state { CONNECTION_OUT, CONNECTION_CONNECTING, CONNECTION_IDLE, CONNECTION_BUSY };

struct http_connection {
    struct tcp_stream stream;
    struct poller_entry polled;
    enum connection_state state;
    bool watches_writing;
    const struct request *request; /* on the way */
    uint64_t due, sent;            /* when it should have gone out, and when it did */
};

struct http_load {
    const struct bench_plan *plan;
    struct bench_result *result;
    struct bench_http_result *http;
    char *error;
    struct poller poller;
    struct http_connection *connections;
    struct sockaddr_storage address;
    socklen_t address_length;
    struct read_buffer buffer;
    struct buffer body; /* of a chunked answer, put together */
    struct buffer file;
    struct request *requests;
    unsigned request_count, next_request;
    struct bench_progress progress;
    bool sending, measuring, failed;
    uint64_t now, next_tick, last_answer;
    double due;
    uint64_t end; /* nothing falls due from then on */
    unsigned busy;
};

static bool fail(struct http_load *load, const char *what, int error)
{
    if (!load->failed)
        snprintf(load->error, BENCH_ERROR_SIZE, "%s%s%s", what, error ? ": " : "", error ? tcp_error(error) : "");
    load->failed = true;
    return false;
}

/* ---- the requests ---- */

static bool make_request(struct http_load *load, struct request *request, struct slice body)
{
    const struct bench_plan *plan = load->plan;
    char authority[BRIDGE_URL_AUTHORITY_SIZE];
    struct buffer out = {0};
    int root = (int)strcspn(plan->url.path, "?");
    while (root > 0 && plan->url.path[root - 1] == '/')
        root--;
    bridge_url_authority(&plan->url, authority);
    buffer_append_slice(&out, plan->bodies ? SLICE("POST ") : SLICE("GET "));
    buffer_append(&out, plan->url.path, (size_t)root);
    buffer_append_slice(&out, slice_from_string(plan->path ? plan->path : "/"));
    buffer_append_slice(&out, SLICE(" HTTP/1.1\r\nHost: "));
    buffer_append_slice(&out, slice_from_string(authority));
    buffer_append_slice(&out, SLICE("\r\n"));
    if (plan->token) {
        buffer_append_slice(&out, SLICE("Authorization: Bearer "));
        buffer_append_slice(&out, slice_from_string(plan->token));
        buffer_append_slice(&out, SLICE("\r\n"));
    }
    if (plan->bodies)
        buffer_append_format(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.length);
    buffer_append_slice(&out, SLICE("\r\n"));
    buffer_append_slice(&out, body);
    if (out.failed) {
        buffer_free(&out);
        return fail(load, "out of memory", 0);
    }
    request->length = out.length;
    request->text = malloc(out.length);
    if (request->text)
        memcpy(request->text, out.data, out.length);
    buffer_free(&out);
    return request->text != NULL || fail(load, "out of memory", 0);
}

static bool find_kind(struct http_load *load, struct slice name, unsigned *kind)
{
    struct bench_http_result *http = load->http;
    for (*kind = 0; *kind < http->kind_count; ++*kind)
        if (slice_equal(slice_from_string(http->kinds[*kind].name), name))
            return true;
    if (http->kind_count == BENCH_KINDS || name.length >= BENCH_KIND_NAME_SIZE)
        return fail(load, "--bodies: too many names, or one too long", 0);
    memcpy(http->kinds[http->kind_count++].name, name.data, name.length); /* all zero before */
    return true;
}

static bool read_file(struct http_load *load)
{
    FILE *file = fopen(load->plan->bodies, "re");
    size_t got = 1;
    if (!file)
        return fail(load, "cannot read the file of --bodies", -errno);
    while (got > 0) {
        char *room = buffer_reserve(&load->file, 65536);
        got = room ? fread(room, 1, 65536, file) : 0;
        load->file.length += got;
    }
    bool good = !ferror(file) && !load->file.failed;
    fclose(file);
    return good || fail(load, "cannot read the file of --bodies", 0);
}

/* name TAB expected TAB body LF */
static bool read_line(struct http_load *load, struct slice line)
{
    const char *end = line.data + line.length, *first = memchr(line.data, '\t', line.length);
    const char *second = first ? memchr(first + 1, '\t', (size_t)(end - first - 1)) : NULL;
    struct request *request = &load->requests[load->request_count];
    if (!second)
        return fail(load, "--bodies: a line is a name, a result and a body, with tabs between", 0);
    request->expected = slice_from(first + 1, (size_t)(second - first - 1));
    if (!find_kind(load, slice_from(line.data, (size_t)(first - line.data)), &request->kind) ||
        !make_request(load, request, slice_from(second + 1, (size_t)(end - second - 1))))
        return false;
    load->request_count++;
    return true;
}

static bool read_requests(struct http_load *load)
{
    if (!load->plan->bodies) {
        load->requests = calloc(1, sizeof *load->requests);
        if (!load->requests)
            return fail(load, "out of memory", 0);
        load->request_count = 1;
        return find_kind(load, SLICE("get"), &load->requests[0].kind) &&
               make_request(load, &load->requests[0], slice_from(NULL, 0));
    }
    if (!read_file(load))
        return false;
    const char *at = load->file.data, *end = at + load->file.length;
    size_t lines = 1;
    for (const char *c = at; c < end; c++)
        lines += *c == '\n';
    load->requests = calloc(lines, sizeof *load->requests);
    if (!load->requests)
        return fail(load, "out of memory", 0);
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end)
            line_end = end;
        if (line_end > at && !read_line(load, slice_from(at, (size_t)(line_end - at))))
            return false;
        at = line_end + 1;
    }
    return load->request_count > 0 || fail(load, "--bodies: the file is empty", 0);
}

/* ---- connections ---- */

static void watch(struct http_load *load, unsigned index, poller_wanting *wanting)
{
    struct http_connection *connection = &load->connections[index];
    connection->watches_writing = connection->state == CONNECTION_CONNECTING || tcp_wants_write(&connection->stream);
    unsigned events = POLLER_READ | (connection->watches_writing ? POLLER_WRITE : 0);
    if (!wanting(&load->poller, &connection->polled, connection->stream.descriptor, events, connection))
        fail(load, "cannot watch a connection", -errno);
}

static void start_connection(struct http_load *load, unsigned index)
{
    struct http_connection *connection = &load->connections[index];
    if (tcp_start(&connection->stream, (struct sockaddr *)&load->address, load->address_length) != 0)
        return; /* the next tick tries again */
    connection->state = CONNECTION_CONNECTING;
    connection->sent = load->now;
    watch(load, index, poller_add);
}

/* A request on the way goes down with it. */
static void end_connection(struct http_load *load, unsigned index)
{
    struct http_connection *connection = &load->connections[index];
    if (connection->state == CONNECTION_BUSY) {
        load->busy--;
        load->http->unanswered++;
    }
    poller_forget(&load->poller, &connection->polled, connection->stream.descriptor);
    tcp_close(&connection->stream);
    connection->state = CONNECTION_OUT;
}

static void send_request(struct http_load *load, unsigned index, uint64_t due)
{
    struct http_connection *connection = &load->connections[index];
    connection->request = &load->requests[load->next_request];
    load->next_request = (load->next_request + 1) % load->request_count;
    connection->state = CONNECTION_BUSY;
    connection->due = due;
    connection->sent = load->now;
    load->busy++;
    load->result->sent++;
    if (tcp_send(&connection->stream, slice_from(connection->request->text, connection->request->length)) != 0)
        end_connection(load, index);
    else if (tcp_wants_write(&connection->stream) != connection->watches_writing)
        watch(load, index, poller_change);
}

/* ---- answers ---- */

/* Whether two JSON texts are the same but for white space; two numbers may be written differently. */
static bool same_json(struct slice a, struct slice b)
{
    if (json_kind(a) == JSON_NUMBER && json_kind(b) == JSON_NUMBER && a.length < 64 && b.length < 64) {
        char first[64] = "", second[64] = "";
        memcpy(first, a.data, a.length);
        memcpy(second, b.data, b.length);
        double x = strtod(first, NULL), y = strtod(second, NULL);
        return fabs(x - y) <= 1e-9 * fmax(fabs(x), 1);
    }
    size_t i = 0, k = 0;
    bool inside = false;
    for (;; i++, k++) {
        while (!inside && i < a.length && json_is_space(a.data[i]))
            i++;
        while (!inside && k < b.length && json_is_space(b.data[k]))
            k++;
        if (i >= a.length || k >= b.length)
            return i >= a.length && k >= b.length;
        if (a.data[i] != b.data[k])
            return false;
        if (inside && a.data[i] == '\\') { /* what is escaped does not end the string */
            if (i + 1 >= a.length || k + 1 >= b.length || a.data[++i] != b.data[++k])
                return false;
        } else if (a.data[i] == '"') {
            inside = !inside;
        }
    }
}

struct answer {
    struct slice result;
    double ms; /* negative: there is none */
};

static void read_answer(struct slice body, struct answer *answer)
{
    struct slice rest = body, key, value;
    if (json_validate(body, JSON_DEPTH_MAXIMUM, NULL) != CODE_OK)
        return;
    while (json_kind(body) == JSON_OBJECT && json_next_member(&rest, &key, &value)) {
        if (json_inside_equals(key, SLICE("result")))
            answer->result = value;
        else if (json_inside_equals(key, SLICE("ms")) && json_kind(value) == JSON_NUMBER)
            answer->ms = strtod(value.data, NULL); /* an object's closing brace stands behind it */
    }
}

static void on_good(struct http_load *load, struct http_connection *connection, double run_ms)
{
    uint64_t latency = load->now > connection->due ? load->now - connection->due : 0;
    struct bench_kind *kind = &load->http->kinds[connection->request->kind];
    load->http->good++;
    kind->good++;
    kind->latency_ns += latency;
    if (!load->measuring)
        return;
    load->result->delivered++;
    hdr_histogram_record(&load->result->latency, latency);
    bench_progress_record(&load->progress, latency);
    if (run_ms < 0)
        return;
    uint64_t running = (uint64_t)(run_ms * 1e6);
    hdr_histogram_record(&load->http->running, running);
    hdr_histogram_record(&load->http->waiting, latency > running ? latency - running : 0);
}

static void on_answer(struct http_load *load, unsigned index, unsigned status, struct slice body)
{
    struct http_connection *connection = &load->connections[index];
    struct bench_kind *kind = &load->http->kinds[connection->request->kind];
    struct answer answer = {.ms = -1, .result = SLICE("")};
    load->last_answer = load->now;
    if (status < 200 || status > 299) {
        kind->refused++;
        tally_count_answer(&load->result->codes, body);
        if (load->result->refused++ == 0)
            snprintf(load->result->first_refusal, BENCH_ERROR_SIZE, "%u %.*s", status,
                     (int)(body.length < 200 ? body.length : 200), body.data);
        return;
    }
    if (load->plan->bodies && body.length > 0)
        read_answer(body, &answer);
    if (connection->request->expected.length == 0 || same_json(connection->request->expected, answer.result)) {
        on_good(load, connection, answer.ms);
        return;
    }
    kind->wrong++;
    if (load->http->wrong++ == 0)
        snprintf(load->http->first_wrong, BENCH_ERROR_SIZE, "%s: expected %.*s, got %.*s", kind->name,
                 (int)(connection->request->expected.length < 80 ? connection->request->expected.length : 80),
                 connection->request->expected.data, (int)(body.length < 100 ? body.length : 100), body.data);
}

enum progress { GOES_ON, WHOLE, BROKEN };

/* The body behind a whole head; a chunked one is put together in load->body. */
static enum progress take_body(struct http_load *load, const struct http_head *head, struct slice bytes,
                               struct slice *body)
{
    struct http_request as_request = {.content_length = head->content_length, .chunked = head->chunked};
    struct http_limits limits = {.body_bytes = ANSWER_MAXIMUM};
    struct http_body reading;
    const char *at = bytes.data, *end = at + bytes.length;
    struct slice content;
    enum http_step step;
    if (!head->chunked) {
        *body = slice_from(bytes.data, (size_t)head->content_length);
        return bytes.length >= head->content_length ? WHOLE : GOES_ON;
    }
    load->body.length = 0;
    http_body_start(&reading, &as_request, &limits);
    while ((step = http_body_next(&reading, &at, end, &content)) == HTTP_DATA)
        buffer_append_slice(&load->body, content);
    *body = slice_from(load->body.data, load->body.length);
    if (step == HTTP_FAIL || load->body.failed)
        return BROKEN;
    return step == HTTP_DONE ? WHOLE : GOES_ON;
}

static void receive(struct http_load *load, unsigned index)
{
    struct http_connection *connection = &load->connections[index];
    struct http_head head = {0};
    struct slice bytes, body = {0};
    int got = tcp_receive(&connection->stream, &load->buffer, &bytes);
    if (got == 0)
        return;
    load->now = clock_steady_ns();
    if (got < 0 || connection->state != CONNECTION_BUSY || !http_head_read(bytes, &head)) {
        end_connection(load, index);
        return;
    }
    enum progress progress = GOES_ON;
    if (head.length > 0)
        progress = take_body(load, &head, slice_from(bytes.data + head.length, bytes.length - head.length), &body);
    if (progress == BROKEN) {
        end_connection(load, index);
    } else if (progress == GOES_ON) {
        if (tcp_hold(&connection->stream, bytes) != 0)
            fail(load, "out of memory", 0);
    } else {
        on_answer(load, index, head.status, body);
        connection->state = CONNECTION_IDLE;
        load->busy--;
        if (tcp_hold(&connection->stream, slice_from(NULL, 0)) != 0)
            fail(load, "out of memory", 0);
        if (head.closes)
            end_connection(load, index);
    }
}

/* ---- the loop ---- */

static bool all_sent(const struct http_load *load)
{
    return load->plan->requests > 0 && load->result->sent >= load->plan->requests;
}

static void send_what_is_due(struct http_load *load)
{
    double step = load->plan->rate > 0 ? (double)SECOND / load->plan->rate : 0;
    double given_up = fmin((double)load->now - load->plan->timeout * (double)SECOND, (double)load->end);
    while (step > 0 && load->due < given_up && !all_sent(load)) {
        load->result->sent++;
        load->http->unanswered++;
        load->due += step;
    }
    for (unsigned i = 0; i < load->plan->agents && !all_sent(load); i++) {
        if (step > 0 && (load->due > (double)load->now || load->due >= (double)load->end))
            return;
        if (load->connections[i].state != CONNECTION_IDLE)
            continue;
        send_request(load, i, step > 0 ? (uint64_t)load->due : load->now);
        load->due += step;
    }
}

static bool has_idle(const struct http_load *load)
{
    for (unsigned i = 0; i < load->plan->agents; i++)
        if (load->connections[i].state == CONNECTION_IDLE)
            return true;
    return false;
}

static void tick(struct http_load *load)
{
    uint64_t timeout = (uint64_t)(load->plan->timeout * (double)SECOND);
    bool connected = false;
    load->next_tick = load->now + TICK_NS;
    for (unsigned i = 0; i < load->plan->agents; i++) {
        struct http_connection *connection = &load->connections[i];
        bool waits = connection->state == CONNECTION_BUSY || connection->state == CONNECTION_CONNECTING;
        if (waits && load->now - connection->sent > timeout)
            end_connection(load, i);
        if (connection->state == CONNECTION_OUT)
            start_connection(load, i);
        connected = connected || connection->state >= CONNECTION_IDLE;
    }
    if (!connected && load->plan->rate == 0 && load->now - load->last_answer > PATIENCE_NS)
        fail(load, "the server is gone", 0);
}

static void on_event(struct http_load *load, const struct poller_event *event)
{
    struct http_connection *connection = poller_owner(event);
    unsigned index = (unsigned)(connection - load->connections);
    if (event->events & POLLER_WRITE && connection->state == CONNECTION_CONNECTING) {
        if (tcp_connected(&connection->stream) != 0 || tcp_secure(&connection->stream, &load->plan->url) != 0) {
            end_connection(load, index);
            return;
        }
        connection->state = CONNECTION_IDLE;
        watch(load, index, poller_change);
    } else if (event->events & POLLER_WRITE && connection->state != CONNECTION_OUT) {
        if (tcp_flush(&connection->stream) != 0)
            end_connection(load, index);
        else if (!tcp_has_unsent(&connection->stream))
            watch(load, index, poller_change);
    }
    if (event->events & (POLLER_READ | POLLER_FAILED) && connection->state != CONNECTION_OUT)
        receive(load, index);
}

static void pass(struct http_load *load, uint64_t until)
{
    struct poller_event events[EVENTS_AT_ONCE];
    uint64_t wake = until < load->next_tick ? until : load->next_tick;
    if (load->sending && load->plan->rate > 0 && load->due < (double)wake && has_idle(load))
        wake = load->due > SPIN_NS ? (uint64_t)load->due - SPIN_NS : 0;
    uint64_t wait = wake > load->now ? wake - load->now : 0;
    int count = poller_wait_ns(&load->poller, events, EVENTS_AT_ONCE, wait);
    if (count < 0 && errno != EINTR)
        fail(load, "cannot wait for connections", -errno);
    load->now = clock_steady_ns();
    for (int i = 0; i < count && !load->failed; i++)
        on_event(load, &events[i]);
    load->now = clock_steady_ns();
    if (load->sending)
        send_what_is_due(load);
    if (load->now >= load->next_tick)
        tick(load);
    if (bench_progress_due(&load->progress, load->now))
        bench_progress_write(&load->progress, load->now,
                             &(struct bench_totals){load->result->sent, load->http->good, load->result->refused,
                                                    load->http->wrong + load->http->unanswered});
}

static void run_until(struct http_load *load, uint64_t end)
{
    while (load->now < end && !load->failed && !bench_interrupted() && !(all_sent(load) && load->busy == 0))
        pass(load, end);
}

static uint64_t own_cpu_ns(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * SECOND + (uint64_t)spent.tv_nsec;
}

static void measure(struct http_load *load)
{
    const struct bench_plan *plan = load->plan;
    struct bench_result *result = load->result;
    uint64_t warm = load->now + (plan->requests == 0 ? (uint64_t)(plan->warmup * (double)SECOND) : 0);
    load->sending = true;
    load->due = (double)load->now;
    load->end = warm + (uint64_t)(plan->seconds * (double)SECOND);
    run_until(load, warm);
    uint64_t start = load->now, own = own_cpu_ns(), server = plan->server.pids[0] ? server_cpu_ns(&plan->server) : 0;
    load->measuring = true;
    bench_progress_start(&load->progress, plan->progress, start);
    run_until(load, load->end);
    uint64_t patience = load->end + (uint64_t)(plan->timeout * (double)SECOND);
    while (plan->rate > 0 && load->due < (double)load->end && load->now < patience && !all_sent(load) &&
           !load->failed && !bench_interrupted())
        pass(load, patience); /* due, and no connection was free */
    load->sending = false;
    result->seconds = (double)(clock_steady_ns() - start) / (double)SECOND;
    result->generator_cpu = (double)(own_cpu_ns() - own) / (result->seconds * 1e9);
    if (plan->server.pids[0]) {
        result->server_cpu_ns = server_cpu_since(&plan->server, server);
        result->rss_after = server_rss_bytes(&plan->server);
    }
    load->progress.every = 0;
    uint64_t drained = load->now + (uint64_t)((plan->timeout + 1) * (double)SECOND);
    while (load->busy > 0 && load->now < drained && !load->failed)
        pass(load, drained);
    result->received = load->http->good;
    result->lost = load->http->unanswered;
}

static bool prepare(struct http_load *load)
{
    const struct bench_plan *plan = load->plan;
    if (system_raise_file_limit() < plan->agents + 32)
        return fail(load, "too many connections for the limit of open files: raise it with ulimit -n", 0);
    load->connections = calloc(plan->agents, sizeof *load->connections);
    if (!load->connections)
        return fail(load, "out of memory", 0);
    for (unsigned i = 0; i < plan->agents; i++)
        load->connections[i].stream.descriptor = -1;
    if (!poller_open_alone(&load->poller))
        return fail(load, "out of descriptors", 0);
    system_time_precisely(); /* or it would be seen in the percentiles */
    return read_requests(load);
}

static void release(struct http_load *load)
{
    for (unsigned i = 0; load->connections && i < load->plan->agents; i++)
        tcp_close(&load->connections[i].stream);
    poller_close(&load->poller);
    for (unsigned i = 0; load->requests && i < load->request_count; i++)
        free(load->requests[i].text);
    free(load->requests);
    free(load->connections);
    free(load->buffer.data);
    buffer_free(&load->body);
    buffer_free(&load->file);
}

bool bench_http_run(const struct bench_plan *plan, struct bench_result *result, struct bench_http_result *http,
                    char error[BENCH_ERROR_SIZE])
{
    static struct http_load load; /* large: the histogram */
    load = (struct http_load){.plan = plan, .result = result, .http = http, .error = error};
    poller_clear(&load.poller);
    memset(result, 0, sizeof *result);
    memset(http, 0, sizeof *http);
    if (plan->server.pids[0] && server_cpu_ns(&plan->server) == 0)
        fail(&load, "there is no process with the given --server-pid", 0);
    if (!load.failed && prepare(&load)) {
        load.failed = !bench_resolve(&plan->url, &load.address, &load.address_length, error);
        result->server_rss_before = server_rss_bytes(&plan->server);
        load.now = load.last_answer = load.next_tick = clock_steady_ns();
        for (unsigned i = 0; !load.failed && i < plan->agents; i++)
            start_connection(&load, i);
        if (!load.failed)
            measure(&load);
    }
    release(&load);
    return !load.failed;
}
