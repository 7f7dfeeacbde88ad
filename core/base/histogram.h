/* Lengths of time, counted by how long they were, in the buckets of a Prometheus histogram: an edge at 1, 2.5 and 5 of
 * every power of ten, from 10 µs to a day and more. One thread (or lock) records, any reads. */
#ifndef LUADUCT_BASE_HISTOGRAM_H
#define LUADUCT_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

/* 1e-05 s, 2.5e-05 s, 5e-05 s … 50000 s, 100000 s; what is longer is in the last bucket, which has no edge. */
#define HISTOGRAM_EDGES 31

/* All zero at first. */
struct histogram {
    atomic_ullong buckets[HISTOGRAM_EDGES + 1]; /* up to and with each edge, beyond the one before */
    atomic_ullong total_ns;
};

/* The same length `count` times. Some 3 ns. */
void histogram_record(struct histogram *histogram, uint64_t nanoseconds, uint32_t count);

/* Plain sums, of one histogram or of several. */
struct histogram_sums {
    uint64_t buckets[HISTOGRAM_EDGES + 1];
    uint64_t count, total_ns;
};

/* Adds what the histogram counts to the sums. */
void histogram_add(const struct histogram *histogram, struct histogram_sums *sums);

/* An edge in nanoseconds, and as the label `le` names it: "1e-05", "0.5", "1.0". */
uint64_t histogram_edge_ns(unsigned edge);
const char *histogram_edge_name(unsigned edge);

#endif
