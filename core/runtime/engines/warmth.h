/* How many blocks a pool should keep warm: what the config says, or, looking ahead, what the last bursts needed. Load
 * that came in bursts will: so the highest use is remembered and forgotten slowly (half of it in WARMTH_HALF_LIFE_S),
 * and between two bursts nothing is freed that the next one would have to make again. One great burst must not hold its
 * memory, so the forecast never asks for more than WARMTH_MOST times the config's number. Pure. */
#ifndef LUADUCT_RUNTIME_WARMTH_H
#define LUADUCT_RUNTIME_WARMTH_H

#include <stdbool.h>
#include <stdint.h>

#define WARMTH_HALF_LIFE_S 300.0
#define WARMTH_MOST 16u

struct warmth {
    double peak; /* blocks in use at the highest, faded */
};

/* Once a second, with the blocks in use. */
void warmth_update(struct warmth *warmth, uint64_t in_use);

/* Blocks to keep; `configured` when not predictive. */
uint32_t warmth_blocks(const struct warmth *warmth, uint32_t configured, bool predictive);

#endif
