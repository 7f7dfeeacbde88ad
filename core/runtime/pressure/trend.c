#include "runtime/pressure/trend.h"

void trend_add(struct trend *trend, uint64_t at_ms, uint64_t bytes)
{
    trend->samples[trend->next].at_ms = at_ms;
    trend->samples[trend->next].bytes = bytes;
    trend->next = (trend->next + 1) % TREND_SAMPLES;
    if (trend->count < TREND_SAMPLES)
        trend->count++;
}

bool trend_fit(const struct trend *trend, struct trend_line *out)
{
    *out = (struct trend_line){0};
    if (trend->count < TREND_LEAST)
        return false;
    /* Around the means, so that large numbers do not cancel each other out. */
    unsigned first = (trend->next + TREND_SAMPLES - trend->count) % TREND_SAMPLES;
    uint64_t origin_ms = trend->samples[first].at_ms;
    double mean_time = 0, mean_bytes = 0;
    for (unsigned i = 0; i < trend->count; i++) {
        unsigned at = (first + i) % TREND_SAMPLES;
        mean_time += (double)(trend->samples[at].at_ms - origin_ms) / 1000;
        mean_bytes += (double)trend->samples[at].bytes;
    }
    mean_time /= trend->count;
    mean_bytes /= trend->count;
    double time_squares = 0, byte_squares = 0, products = 0;
    for (unsigned i = 0; i < trend->count; i++) {
        unsigned at = (first + i) % TREND_SAMPLES;
        double time = (double)(trend->samples[at].at_ms - origin_ms) / 1000 - mean_time;
        double bytes = (double)trend->samples[at].bytes - mean_bytes;
        time_squares += time * time;
        byte_squares += bytes * bytes;
        products += time * bytes;
    }
    if (time_squares <= 0)
        return false;
    out->slope = products / time_squares;
    out->fit = byte_squares > 0 ? products * products / (time_squares * byte_squares) : 1;
    return true;
}

double trend_seconds_to(const struct trend_line *line, uint64_t used, uint64_t threshold)
{
    if (used >= threshold)
        return 0;
    if (line->slope <= 0 || line->fit < TREND_GOOD)
        return -1;
    return (double)(threshold - used) / line->slope;
}

static bool end_period(struct leak *leak)
{
    uint64_t floor = leak->floor;
    bool alert = false;
    if (leak->previous == 0) {
        leak->first = floor;
    } else if (floor > leak->previous + leak->previous / 128) {
        leak->risen++;
        uint64_t rise = floor - leak->first;
        if (leak->risen >= LEAK_COLLECTIONS && rise >= leak->first / 8 && rise >= LEAK_LEAST_BYTES) {
            alert = true;
            leak->risen = 0;
            leak->first = floor;
        }
    } else {
        leak->risen = 0;
        leak->first = floor;
    }
    leak->previous = floor;
    return alert;
}

bool leak_note(struct leak *leak, uint64_t collections, uint64_t bytes)
{
    bool alert = false;
    if (!leak->started) {
        /* What was seen before the first collection is no floor. */
        *leak = (struct leak){.started = true, .collections = collections, .floor = UINT64_MAX};
        return false;
    }
    if (collections != leak->collections) {
        if (leak->floor != UINT64_MAX)
            alert = end_period(leak);
        leak->floor = bytes;
        leak->collections = collections;
    } else if (leak->floor != UINT64_MAX && bytes < leak->floor) {
        leak->floor = bytes;
    }
    return alert;
}
