/* The load generator's engine: many agents in one set (net/poller.h) and one thread, each sending and receiving through
 * one scenario's rule, while the server's cost is read from outside. */
#ifndef LUADUCT_CLIENT_BENCH_LOAD_H
#define LUADUCT_CLIENT_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "client/bench/bench_server.h"
#include "client/bench/bench_tally.h"
#include "client/bench/bench_wire.h"
#include "client/bench/hdr_histogram.h"

enum bench_scenario {
    BENCH_DIRECT,    /* closed loop: every agent keeps `window` messages on the way to its partner */
    BENCH_OPEN,      /* open loop: `rate` messages a second, whatever the server does */
    BENCH_BROADCAST, /* closed loop: one agent keeps `window` broadcasts on the way to all others */
    BENCH_IDLE,      /* agents register and do nothing */
    BENCH_CHURN,     /* each agent connects, registers, sends itself one message, closes, and starts over */
    BENCH_FLOOD,     /* as much as the server takes, up to `rate` and `bytes`; a closed connection is made anew */
    BENCH_HTTP,      /* requests over HTTP: bench_http.h */
};

struct bench_plan {
    enum bench_scenario scenario;
    enum wire_protocol protocol;
    struct bridge_url url;
    const char *token; /* NULL: none */
    unsigned agents;   /* receivers in BENCH_BROADCAST */
    unsigned window;
    unsigned size; /* bytes of a message's JSON */
    double rate;   /* messages a second, BENCH_OPEN */
    bool ring;     /* the partner is the next agent; else agents are pairs that send to each other */
    bool one_way;  /* of each pair only the first sends */
    double warmup, seconds;
    double progress; /* seconds between lines on standard error; 0: none */
    const char *intent;
    unsigned depth; /* of a message's JSON; 0: flat */
    bool numbers;   /* messages are filled with numbers */

    /* BENCH_FLOOD */
    unsigned absent; /* recipients that never connect, instead of the pairs; 0: the pairs */
    double pause;    /* receivers read for so many seconds, then do not for as many; 0: they always read */
    uint64_t bytes;  /* of messages' JSON, in all; 0: until the time is over */

    /* BENCH_HTTP */
    const char *path;               /* NULL: GET / */
    const char *bodies;             /* a file: see bench_http.h; NULL: GET */
    uint64_t requests;              /* in all; 0: until the time is over */
    double timeout;                 /* seconds for an answer */
    struct server_processes server; /* none: unknown, its cost is not reported */
};

#define BENCH_ERROR_SIZE 320

struct bench_result {
    double seconds; /* measured, warm-up left out */
    uint64_t delivered;
    /* BENCH_OPEN, and BENCH_HTTP with a rate: from the intended time of sending. BENCH_CHURN: from connect to delivery.
     */
    struct hdr_histogram latency;

    /* Over the whole run. Lost: sent, and not delivered within the 2 s after the last was sent. */
    uint64_t lost, repeated, reordered, refused, disconnected;
    char first_refusal[BENCH_ERROR_SIZE];
    struct tally codes;      /* of the refusals */
    uint64_t sent, received; /* messages, or requests and good answers */

    /* BENCH_FLOOD: connections that did not say at the end that all they sent had been looked at, and the messages that
     * may have gone down with connections that were closed. */
    uint64_t unanswered, cut_off;

    uint64_t server_cpu_ns;                /* while measuring */
    uint64_t server_rss_before, rss_after; /* bytes; before the first connection, and at the end of measuring */
    double generator_cpu;                  /* share of one core; near 1: the generator may be what limits */
};

/* Where the server listens: a name may stand for several addresses, and all connections take the one that a first one
 * reaches. False, with a line in `error`: it cannot be reached. */
bool bench_resolve(const struct bridge_url *url, struct sockaddr_storage *address, socklen_t *length,
                   char error[BENCH_ERROR_SIZE]);

/* Runs the plan. False, with a line in `error`: it could not be run. A result with losses is still a result. */
bool bench_run(const struct bench_plan *plan, struct bench_result *result, char error[BENCH_ERROR_SIZE]);

#endif
