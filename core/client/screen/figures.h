/* What a bridge says of itself in one look: GET /health, /ready, /metrics (as JSON) and /alerts. */
#ifndef LUADUCT_CLIENT_FIGURES_H
#define LUADUCT_CLIENT_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "client/arguments/target.h"
#include "client/connection/ask.h"
#include "memory/buffer.h"

/* Slices point into the answers. A number that the bridge does not say is 0, or what stands beside it. */
struct figures {
    struct buffer health, ready_answer, metrics, alerts; /* the answers, validated JSON */
    bool ready, alerts_seen;
    struct slice not_ready, alerts_refused; /* why, as JSON text */
    struct slice alert_list;
    uint64_t read_ns; /* steady clock */

    struct slice version, environment, memory_level, script_hash; /* values of JSON; the last two in enhanced mode */
    bool enhanced;
    double uptime, agents, history, queued;                                       /* uptime in seconds */
    double accepted, delivered, per_second, errors, bytes_in, bytes_out, refused; /* messages; refusals of any kind */
    double latency_count, p50, p90, p99, p999;                                    /* milliseconds */
    double memory_used, memory_budget, seconds_to_threshold;                      /* budget 0: none; -1: not foreseen */
    double script_version, workers, workers_busy, tasks_waiting, tasks_done;
    struct slice degraded; /* an array */
};

/* False: there is no bridge, or it refused; `problem` is a line about it. Else to be freed. `with_alerts` false:
 * without /alerts, which unlike the others counts to the bridge's http.rateMax. */
bool figures_read(const struct target *target, bool with_alerts, struct figures *figures,
                  char problem[ASK_PROBLEM_SIZE]);

void figures_free(struct figures *figures);

#endif
