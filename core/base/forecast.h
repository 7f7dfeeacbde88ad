/* Looks a little ahead of a series of evenly spaced observations: double exponential smoothing with a damped trend (C.
 * C. Holt 1957; the damping by E. S. Gardner and E. McKenzie, "Forecasting Trends in Time Series", Management Science
 * 31, 1985). A level follows the observations, a trend follows the level's changes; the further ahead one looks, the
 * less of the trend counts, so that a burst is not taken for a climb to the sky. Pure: no clock, no memory. */
#ifndef LUADUCT_BASE_FORECAST_H
#define LUADUCT_BASE_FORECAST_H

#include <stdbool.h>

struct forecast {
    double level, trend;
    bool begun;
};

/* One more observation, one step after the last. */
void forecast_update(struct forecast *forecast, double observed);

/* What is to be expected `steps` after the last observation; never less than 0. 0 before the first one. */
double forecast_ahead(const struct forecast *forecast, double steps);

#endif
