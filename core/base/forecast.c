#include "base/forecast.h"

#include <math.h>

/* The level takes half of each surprise, the trend a third of each change of the level: at ten observations a second
 * they follow a load that doubles within a second, and pass over one odd sample. */
#define LEVEL_SHARE 0.5
#define TREND_SHARE 0.33
/* Of the trend, this part is left with each step. */
#define DAMPING 0.9

void forecast_update(struct forecast *forecast, double observed)
{
    if (!forecast->begun) {
        *forecast = (struct forecast){.level = observed, .begun = true};
        return;
    }
    double expected = forecast->level + DAMPING * forecast->trend;
    double level = expected + LEVEL_SHARE * (observed - expected);
    forecast->trend = DAMPING * forecast->trend + TREND_SHARE * (level - forecast->level - DAMPING * forecast->trend);
    forecast->level = level;
}

double forecast_ahead(const struct forecast *forecast, double steps)
{
    /* The sum of the damped trend over the steps. */
    double weight = DAMPING * (1 - pow(DAMPING, steps)) / (1 - DAMPING);
    double ahead = forecast->level + weight * forecast->trend;
    return ahead > 0 ? ahead : 0;
}
