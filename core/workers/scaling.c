#include "workers/scaling.h"

#include <math.h>

void scaling_sample(struct scaling *scaling, double load)
{
    forecast_update(&scaling->forecast, load);
}

double scaling_forecast(const struct scaling *scaling)
{
    if (!scaling->predictive)
        return 0;
    return SCALING_HEADROOM * forecast_ahead(&scaling->forecast, (double)SCALING_AHEAD_MS / SCALING_SAMPLE_MS);
}

uint32_t scaling_decide(const struct scaling *scaling, const struct scaling_view *view)
{
    uint32_t wanted = view->workers - view->idle;
    /* One more at a time for each task that has no worker, once waiting shows that they do not keep up. */
    if (view->waiting > view->idle && (view->oldest_wait_ms >= SCALING_WAIT_MS || view->waiting > 2 * view->workers))
        wanted = view->workers + (view->waiting - view->idle);
    double expected = ceil(scaling_forecast(scaling) - 0.05); /* a hundredth of a worker is nobody */
    if (expected > wanted)
        wanted = expected < scaling->max_workers ? (uint32_t)expected : scaling->max_workers;
    if (wanted < scaling->min_workers)
        wanted = scaling->min_workers;
    return wanted < scaling->max_workers ? wanted : scaling->max_workers;
}
