/* Where memory is going: the line through the last samples, and whether the floor under the garbage rises. Pure: only
 * what is fed counts, so tests feed synthetic series. */
#ifndef LUADUCT_RUNTIME_TREND_H
#define LUADUCT_RUNTIME_TREND_H

#include <stdbool.h>
#include <stdint.h>

#define TREND_SAMPLES 60

struct trend {
    struct {
        uint64_t at_ms, bytes;
    } samples[TREND_SAMPLES]; /* a ring */
    unsigned count, next;
};

void trend_add(struct trend *trend, uint64_t at_ms, uint64_t bytes);

/* The least-squares line. */
struct trend_line {
    double slope; /* bytes per second */
    double fit;   /* the share of the variation that the line explains (r²), 0 to 1 */
};

/* False: fewer than TREND_LEAST samples, or all of one moment. */
#define TREND_LEAST 20
bool trend_fit(const struct trend *trend, struct trend_line *out);

/* Seconds until the line through `used` reaches `threshold`; negative: it does not, by this line. A line that explains
 * less than TREND_GOOD of the variation says nothing: noise, a saw-tooth and a step (0.75 at most) stay below. */
#define TREND_GOOD 0.8
double trend_seconds_to(const struct trend_line *line, uint64_t used, uint64_t threshold);

/* Memory that collections do not give back. The floor is the least that was seen between two full collections. It has
 * risen when it is at least 1/128 above the one before; LEAK_COLLECTIONS rises in a row that make an eighth together,
 * and a megabyte, are a leak. Then counting starts anew. */
#define LEAK_COLLECTIONS 6
#define LEAK_LEAST_BYTES (1u << 20)

struct leak {
    bool started;
    uint64_t collections;     /* as of the last note */
    uint64_t floor;           /* since the last collection; UINT64_MAX: nothing seen yet */
    uint64_t previous, first; /* floors: of the period before, and where the rise began; 0: none yet */
    unsigned risen;
};

/* True: an alert. `collections` counts completed ones, `bytes` is what is in use now. */
bool leak_note(struct leak *leak, uint64_t collections, uint64_t bytes);

#endif
