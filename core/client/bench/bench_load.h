/* The load generator's engine: many agents on one epoll set and one thread, each sending and receiving through one
 * scenario's rule, while the server's cost is read from outside. */
#ifndef LUADUCT_CLIENT_BENCH_LOAD_H
#define LUADUCT_CLIENT_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/bench/bench_wire.h"
#include "client/bench/histogram.h"

enum bench_scenario {
    BENCH_DIRECT,    /* closed loop: every agent keeps `window` messages on the way to its partner */
    BENCH_OPEN,      /* open loop: `rate` messages a second, whatever the server does */
    BENCH_BROADCAST, /* closed loop: one agent keeps `window` broadcasts on the way to all others */
    BENCH_IDLE,      /* agents register and do nothing */
    BENCH_CHURN,     /* each agent connects, registers, sends itself one message, closes, and starts over */
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
    double warmup, seconds;
    pid_t server; /* 0: unknown, its cost is not reported */
};

#define BENCH_ERROR_SIZE 256

struct bench_result {
    double seconds; /* measured, warm-up left out */
    uint64_t delivered;
    struct histogram latency; /* BENCH_OPEN: from the intended time of sending. BENCH_CHURN: from connect to delivery */

    /* Over the whole run. Lost: sent, and not delivered within the 2 s after the last was sent. */
    uint64_t lost, repeated, reordered, refused, disconnected;
    char first_refusal[BENCH_ERROR_SIZE];

    uint64_t server_cpu_ns;                /* while measuring */
    uint64_t server_rss_before, rss_after; /* bytes; before the first connection, and at the end of measuring */
    double generator_cpu;                  /* share of one core; near 1: the generator may be what limits */
};

/* Runs the plan. False, with a line in `error`: it could not be run. A result with losses is still a result. */
bool bench_run(const struct bench_plan *plan, struct bench_result *result, char error[BENCH_ERROR_SIZE]);

#endif
