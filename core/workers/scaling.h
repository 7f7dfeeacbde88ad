/* How many workers there should be: by what waits now, and, when asked to, by a forecast of what will come. Pure, so
 * that the rule can be played through on a recorded load. */
#ifndef LUADUCT_WORKERS_SCALING_H
#define LUADUCT_WORKERS_SCALING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/forecast.h"

/* The forecast is fed at this distance, and asked about this far ahead. */
#define SCALING_SAMPLE_MS 100u
#define SCALING_AHEAD_MS 1000u

/* A task that has waited this long shows that the workers there are do not suffice. */
#define SCALING_WAIT_MS 5u

/* More than the forecast says, so that a worker is free when a task comes: Poisson arrivals at full load would queue.
 */
#define SCALING_HEADROOM 1.3

struct scaling {
    uint32_t min_workers, max_workers;
    bool predictive;
    struct forecast forecast; /* of the load, in workers */
};

struct scaling_view {
    uint32_t workers, idle, waiting;
    double oldest_wait_ms; /* of the tasks that wait */
};

/* Once every SCALING_SAMPLE_MS: `load` is the work that came in that time, in seconds of running per second. */
void scaling_sample(struct scaling *scaling, double load);

/* How many there should be at least, from min_workers to max_workers; never fewer than are busy or were wanted by the
 * forecast. Fewer than there are: the surplus may end when it is idle for long. */
uint32_t scaling_decide(const struct scaling *scaling, const struct scaling_view *view);

/* What the forecast alone asks for; 0 when it is off. */
double scaling_forecast(const struct scaling *scaling);

#endif
