/* A thread that looks at a bridge again and again, so that whoever shows it never waits for the bridge. */
#ifndef LUADUCT_CLIENT_SAMPLER_H
#define LUADUCT_CLIENT_SAMPLER_H

#include <stdbool.h>

#include "client/screen/figures.h"
#include "client/screen/senders.h"

#define SAMPLE_COUNT 240 /* as many as the widest spark line shows */

/* What is shown of one look for a while. */
struct sample {
    double per_second, p99, memory;
};

/* What was seen last. A problem: the last look found no bridge, and the rest is of the one before it. */
struct sight {
    bool seen;              /* there was a look that found it */
    struct figures figures; /* without alerts: those stand beside */
    struct senders senders;
    char agents_problem[ASK_PROBLEM_SIZE], problem[ASK_PROBLEM_SIZE];
    double delivered_per_second, received_per_second, sent_per_second; /* bytes; between the last two looks */
    unsigned alert_count;
    bool alerts_known;
    char alert[256]; /* the newest one that is active: "name text" */
    struct sample samples[SAMPLE_COUNT];
    unsigned sample_count; /* the newest is at [sample_count - 1] */
};

struct sampler;

/* Begins at once, and looks every interval. NULL: no thread, or no memory. The target lives as long. */
struct sampler *sampler_start(const struct target *target, double interval_s);

int sampler_descriptor(const struct sampler *sampler); /* readable when something new was seen; locking clears that */

/* What was seen last, which does not change until it is unlocked. */
const struct sight *sampler_lock(struct sampler *sampler);
void sampler_unlock(struct sampler *sampler);

/* Does not wait for a look that is under way: what the thread holds then ends with the process. */
void sampler_leave(struct sampler *sampler);

#endif
