/* What both engines of the load generator count beside latency: refusals by their code, how a run is getting on, and
 * whether it is to end early. */
#ifndef LUADUCT_CLIENT_BENCH_TALLY_H
#define LUADUCT_CLIENT_BENCH_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "client/bench/hdr_histogram.h"

#define TALLY_CODES 24 /* more than a bridge gives in any one run; what does not fit counts as "other" */
#define TALLY_NAME_SIZE 32

/* From bench_catch_interrupt on, SIGINT and SIGTERM end the measuring instead of the process: what was found until then
 * is reported. A second one ends the process. */
void bench_catch_interrupt(void);
bool bench_interrupted(void);

/* All zero is an empty one. */
struct tally {
    struct {
        char name[TALLY_NAME_SIZE];
        uint64_t count;
    } codes[TALLY_CODES];
    unsigned count;
};

void tally_count(struct tally *tally, struct slice code);

/* The code in an answer: of an error's JSON, "closed_1013" of a WebSocket close; "unknown" of anything else. */
void tally_count_answer(struct tally *tally, struct slice answer);

/* Says on standard error how a run is getting on, one JSON object a line: totals since the start, and percentiles of
 * what was measured since the last line, so that one bad second shows in a run of half an hour. */
struct bench_progress {
    uint64_t every; /* nanoseconds; 0: silent */
    uint64_t started, next;
    struct hdr_histogram latency; /* since the last line */
};

struct bench_totals {
    uint64_t sent, delivered, refused, failed;
};

void bench_progress_start(struct bench_progress *progress, double seconds, uint64_t now);

static inline void bench_progress_record(struct bench_progress *progress, uint64_t ns)
{
    if (progress->every > 0)
        hdr_histogram_record(&progress->latency, ns);
}

static inline bool bench_progress_due(const struct bench_progress *progress, uint64_t now)
{
    return progress->every > 0 && now >= progress->next;
}

/* Writes the line and starts the next interval. */
void bench_progress_write(struct bench_progress *progress, uint64_t now, const struct bench_totals *totals);

#endif
