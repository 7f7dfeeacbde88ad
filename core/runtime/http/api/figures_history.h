/* What the bridge was like in each of the last minutes: a sample about once a second, in memory of a fixed size, for
 * who begins to look (GET /metrics/history) and for the event `figures`. Main takes them; any thread reads. */
#ifndef LUADUCT_RUNTIME_FIGURES_HISTORY_H
#define LUADUCT_RUNTIME_FIGURES_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/buffer.h"

#define FIGURES_HISTORY_SECONDS 600 /* so many samples, some 95 KiB */

/* Counters are since the start. Latencies, in milliseconds, are of what passed since the sample before. */
struct figures_sample {
    int64_t wall_ms;
    uint64_t accepted, delivered, refused, bytes_in, bytes_out, tasks_completed, collections;
    uint64_t memory, heaps; /* bytes: resident, of all Lua heaps */
    uint64_t latency_count; /* 0: nothing passed, and the percentiles say nothing */
    double p50, p90, p99, p999;
    uint64_t agents, connections, queued;
    uint32_t workers, busy_workers, forecast_workers, queued_tasks;
};

void figures_history_add(const struct figures_sample *sample); /* the oldest gives way */

/* The newest. False: there is none yet. */
bool figures_history_last(struct figures_sample *sample);

/* The numbers of the samples that are there: from `first` up to and without `end`. */
void figures_history_range(uint64_t *first, uint64_t *end);

/* Appends samples as arrays of JSON with commas between, `most` at the most, and gives the number after the last one;
 * those that have given way by now are left out. A comma comes first where `first` is false. */
uint64_t figures_history_append(struct buffer *out, uint64_t number, unsigned most, bool first);

/* What the places of those arrays are, as an array of JSON. */
extern const struct slice figures_history_columns;

#endif
