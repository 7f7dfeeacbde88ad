/* How a version on trial does beside the one in use, and what follows from it. Pure: the loader asks a few times a
 * second. */
#ifndef LUADUCT_RUNTIME_CANARY_H
#define LUADUCT_RUNTIME_CANARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge/delivery/decision.h"

struct canary_limits {
    double error_rate;   /* errors a call, above that of the version in use */
    double refused_rate; /* envelopes that nobody took, the same */
    double time_ratio;   /* p99 of the script's time, to that of the version in use */
    uint32_t min_calls;  /* before the rates count */
    uint32_t overruns;   /* hooks stopped over their budget, whatever the number of calls */
    uint32_t hold_ms;    /* this long without a reason against it, then … */
    bool promotes;       /* … it comes into use by itself */
};

/* Of one of the two, since the trial began. */
struct canary_figures {
    uint64_t calls, errors, overruns, refused;
    uint64_t decisions[DECISION_DROP + 1];
    uint64_t time_p50_ns, time_p99_ns; /* a hook's time; right to 25 % */
};

enum canary_verdict { CANARY_WAIT, CANARY_PROMOTE, CANARY_TAKE_BACK };

/* A script this quick is quick enough, whatever the ratio: clocks and caches move such times. */
#define CANARY_QUICK_NS 100000u

/* `why` says what limit was passed. */
enum canary_verdict canary_judge(const struct canary_limits *limits, const struct canary_figures *current,
                                 const struct canary_figures *trial, uint64_t elapsed_ms, char *why, size_t why_size);

enum canary_state { CANARY_NONE, CANARY_RUNS, CANARY_PROMOTED, CANARY_TAKEN_BACK, CANARY_ABORTED };
const char *canary_state_name(enum canary_state state); /* "running", "promoted" … */

struct canary_view {
    enum canary_state state;
    bool shadow;
    unsigned version, against;
    int64_t began_ms, ended_ms; /* wall clock */
    double share;               /* of 1 */
    char label[257], id[257];
    char why[256];                                        /* it ended so */
    struct canary_figures current_figures, trial_figures; /* as last looked at */
};

#endif
