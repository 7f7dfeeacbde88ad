/* The load generator's engine for HTTP: keep-alive connections, one request on the way on each. Without a rate each
 * sends the next request when the answer has come; with one, requests are due at their times, and one that finds no
 * connection free waits for one, its latency counting from when it was due.
 *
 * What is sent stands in a file, one request a line, taken in turn: three parts between tabs, a name to count it under,
 * what `result` in the answer must be as JSON (empty: not looked at), and the body. An answer is good when its status
 * is 2xx and its result is as expected; when it has a member `ms`, as those of POST /workers/execute have, that is the
 * time that the work took, and the rest of the latency is waiting. */
#ifndef LUADUCT_CLIENT_BENCH_HTTP_H
#define LUADUCT_CLIENT_BENCH_HTTP_H

#include "client/bench/bench_load.h"

#define BENCH_KINDS 32
#define BENCH_KIND_NAME_SIZE 48

/* What the requests of one name came to. */
struct bench_kind {
    char name[BENCH_KIND_NAME_SIZE];
    uint64_t good, wrong, refused; /* wrong: 2xx with another result than expected */
    uint64_t latency_ns;           /* sum over the good ones */
};

struct bench_http_result {
    struct bench_kind kinds[BENCH_KINDS];
    unsigned kind_count;
    uint64_t good, wrong, unanswered;      /* unanswered: no whole answer within the time, or the connection failed */
    struct hdr_histogram running, waiting; /* of good answers that have `ms` */
    char first_wrong[BENCH_ERROR_SIZE];
};

/* As bench_run: fills the fields of `result` that every scenario has, and http with the rest. */
bool bench_http_run(const struct bench_plan *plan, struct bench_result *result, struct bench_http_result *http,
                    char error[BENCH_ERROR_SIZE]);

#endif
