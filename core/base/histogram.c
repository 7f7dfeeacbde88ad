#include "base/histogram.h"

/* As OpenMetrics wants numbers to be written, in both formats, so that a series keeps its name whichever is asked for.
 */
#define EDGES(X)                                                                                                       \
    X(10000, "1e-05")                                                                                                  \
    X(25000, "2.5e-05")                                                                                                \
    X(50000, "5e-05")                                                                                                  \
    X(100000, "0.0001")                                                                                                \
    X(250000, "0.00025")                                                                                               \
    X(500000, "0.0005")                                                                                                \
    X(1000000, "0.001")                                                                                                \
    X(2500000, "0.0025")                                                                                               \
    X(5000000, "0.005")                                                                                                \
    X(10000000, "0.01")                                                                                                \
    X(25000000, "0.025")                                                                                               \
    X(50000000, "0.05")                                                                                                \
    X(100000000, "0.1")                                                                                                \
    X(250000000, "0.25")                                                                                               \
    X(500000000, "0.5")                                                                                                \
    X(1000000000, "1.0")                                                                                               \
    X(2500000000, "2.5")                                                                                               \
    X(5000000000, "5.0")                                                                                               \
    X(10000000000, "10.0")                                                                                             \
    X(25000000000, "25.0")                                                                                             \
    X(50000000000, "50.0")                                                                                             \
    X(100000000000, "100.0")                                                                                           \
    X(250000000000, "250.0")                                                                                           \
    X(500000000000, "500.0")                                                                                           \
    X(1000000000000, "1000.0")                                                                                         \
    X(2500000000000, "2500.0")                                                                                         \
    X(5000000000000, "5000.0")                                                                                         \
    X(10000000000000, "10000.0")                                                                                       \
    X(25000000000000, "25000.0")                                                                                       \
    X(50000000000000, "50000.0")                                                                                       \
    X(100000000000000, "100000.0")

static const uint64_t edges[] = {
#define X(ns, name) UINT64_C(ns),
    EDGES(X)
#undef X
};
_Static_assert(sizeof edges / sizeof *edges == HISTOGRAM_EDGES, "as the header says");

/* The first edge that is not below the length. */
static unsigned bucket_of(uint64_t nanoseconds)
{
    unsigned low = 0, high = HISTOGRAM_EDGES;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (edges[middle] < nanoseconds)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_to(atomic_ullong *figure, uint64_t by)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + by, memory_order_relaxed);
}

void histogram_record(struct histogram *histogram, uint64_t nanoseconds, uint32_t count)
{
    add_to(&histogram->buckets[bucket_of(nanoseconds)], count);
    add_to(&histogram->total_ns, nanoseconds * count);
}

void histogram_add(const struct histogram *histogram, struct histogram_sums *sums)
{
    for (unsigned i = 0; i <= HISTOGRAM_EDGES; i++) {
        uint64_t count = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        sums->buckets[i] += count;
        sums->count += count;
    }
    sums->total_ns += atomic_load_explicit(&histogram->total_ns, memory_order_relaxed);
}

uint64_t histogram_edge_ns(unsigned edge)
{
    return edges[edge];
}

const char *histogram_edge_name(unsigned edge)
{
    static const char *const names[] = {
#define X(ns, name) name,
        EDGES(X)
#undef X
    };
    return names[edge];
}
