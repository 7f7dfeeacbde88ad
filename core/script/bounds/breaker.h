/* When a hook that keeps overrunning is switched off: pure, one thread. It opens after `overruns` of them within
 * `window_ms`, caused by `senders` different ones at least, so that nobody alone can switch a script off for the
 * others. Once the cool-down is over the next call is let through on trial: it closes the breaker, or begins a new
 * cool-down. */
#ifndef LUADUCT_SCRIPT_BOUNDS_BREAKER_H
#define LUADUCT_SCRIPT_BOUNDS_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

/* What script.breakerOverruns may be at most: so many are looked at for each overrun. */
#define BREAKER_OVERRUNS_MAXIMUM 100

struct breaker_rules {
    unsigned overruns; /* 0: it never opens */
    unsigned senders;  /* no more than overruns, or it never opens */
    uint32_t window_ms, cooldown_ms;
};

struct breaker {
    bool open;
    uint64_t until_ms; /* open: when a trial is due */
    unsigned count;
    struct {
        uint64_t sender, at_ms;
    } marks[BREAKER_OVERRUNS_MAXIMUM]; /* overruns within the window, the oldest first */
};

/* Whether the hook may be called now; any steady clock. */
static inline bool breaker_admits(const struct breaker *breaker, uint64_t now_ms)
{
    return !breaker->open || now_ms >= breaker->until_ms;
}

/* A call overran. `sender` tells senders apart. True: it was closed and has opened. */
bool breaker_overran(struct breaker *breaker, const struct breaker_rules *rules, uint64_t sender, uint64_t now_ms);

/* A call ended within its budget. True: it was on trial, and the breaker has closed. */
bool breaker_went_well(struct breaker *breaker, uint64_t now_ms);

/* How many senders the marks name. */
unsigned breaker_senders(const struct breaker *breaker);

#endif
