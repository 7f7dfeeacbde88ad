#include "../../support/unit.h"

#include "base/histogram.h"

TEST("a histogram counts a length up to and with an edge below it, and all of them in its sum")
{
    static struct histogram histogram;
    struct histogram_sums sums = {0};
    for (unsigned edge = 0; edge < HISTOGRAM_EDGES; edge++) {
        histogram_record(&histogram, histogram_edge_ns(edge), 1);
        histogram_record(&histogram, histogram_edge_ns(edge) + 1, 2);
    }
    histogram_add(&histogram, &sums);
    CHECK(sums.buckets[0] == 1 && sums.buckets[HISTOGRAM_EDGES] == 2);
    for (unsigned edge = 1; edge < HISTOGRAM_EDGES; edge++)
        CHECK(sums.buckets[edge] == 3);
    CHECK(sums.count == 3 * HISTOGRAM_EDGES);

    struct histogram_sums before = sums;
    histogram_record(&histogram, 40000, 1000); /* so many at once */
    histogram_record(&histogram, 0, 1);
    sums = (struct histogram_sums){0};
    histogram_add(&histogram, &sums);
    CHECK(sums.buckets[2] == before.buckets[2] + 1000 && sums.buckets[0] == before.buckets[0] + 1);
    CHECK(sums.total_ns == before.total_ns + 40000000 && sums.count == before.count + 1001);

    histogram_add(&histogram, &sums);
    CHECK(sums.count == 2 * (before.count + 1001));
}

TEST("the edges of a histogram rise, and their names are the same numbers in seconds")
{
    for (unsigned edge = 0; edge < HISTOGRAM_EDGES; edge++) {
        CHECK(edge == 0 || histogram_edge_ns(edge) > histogram_edge_ns(edge - 1));
        double named = strtod(histogram_edge_name(edge), NULL) * 1e9, real = (double)histogram_edge_ns(edge);
        CHECK(named > real * 0.999999 && named < real * 1.000001);
    }
    CHECK(histogram_edge_ns(0) == 10000 && histogram_edge_ns(18) == 10000000000);
}
