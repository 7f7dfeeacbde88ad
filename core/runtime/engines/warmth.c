#include "runtime/engines/warmth.h"

#include <math.h>

void warmth_update(struct warmth *warmth, uint64_t in_use)
{
    double faded = warmth->peak * exp2(-1 / WARMTH_HALF_LIFE_S);
    warmth->peak = (double)in_use > faded ? (double)in_use : faded;
}

uint32_t warmth_blocks(const struct warmth *warmth, uint32_t configured, bool predictive)
{
    double most = (double)WARMTH_MOST * configured, wanted = predictive ? ceil(warmth->peak) : 0;
    if (wanted > most)
        wanted = most;
    return wanted > configured ? (uint32_t)wanted : configured;
}
