/* What rules look at: figures of the bridge, as numbers by name. Rates are over the window `alerts.windowMs`, which
 * begins with the start of the bridge, so that a young bridge shows low ones. */
#ifndef LUADUCT_RUNTIME_METRICS_H
#define LUADUCT_RUNTIME_METRICS_H

#include "runtime/config/config.h"
#include "script/rules/policy.h"

/* name in Lua and on /alerts; all are documented in docs/operations.md. NaN where there is too little to tell. */
#define METRICS(X)                                                                                                     \
    X(GC_FREQUENCY, "gcFrequency")             /* completed full collections of script states a minute */              \
    X(POOL_HIT_RATE, "poolHitRate")            /* share of pool requests served without malloc */                      \
    X(WORKER_UTILIZATION, "workerUtilization") /* busy workers now, as a share */                                      \
    X(QUEUE_DEPTH, "queueDepth")               /* tasks that wait now */                                               \
    X(TASK_FAILURES, "taskFailuresPerMinute")  /* failed and timed out */                                              \
    X(MESSAGES, "messagesPerSecond")                                                                                   \
    X(ERROR_RATE, "errorRate") /* refusals as a share of what came */                                                  \
    X(SLOW_AGENTS, "slowAgentLossesPerMinute")                                                                         \
    X(UNDELIVERABLE, "undeliverablePerMinute")                                                                         \
    X(SCRIPT_ERRORS, "scriptErrorsPerMinute")                                                                          \
    X(SCRIPT_OVERRUNS, "scriptOverrunsPerMinute")                                                                      \
    X(AGENTS, "agents")                                                                                                \
    X(MAILBOX_ENVELOPES, "mailboxEnvelopes")                                                                           \
    X(MEMORY_SHARE, "memoryShare")             /* used, as a share of the budget */                                    \
    X(MEMORY_BUDGET, "memoryBudget")           /* bytes */                                                             \
    X(MEMORY_TREND, "memoryTrend")             /* bytes a second; NaN without a clear trend */                         \
    X(CERTIFICATE_EXPIRY, "certificateExpiry") /* days until the first certificate runs out; NaN without TLS */

enum metric {
#define X(id, name) METRIC_##id,
    METRICS(X)
#undef X
        METRIC_COUNT
};

/* Fewer than these in a window, and a rate of them says nothing. */
#define METRICS_POOL_REQUESTS 1000
#define METRICS_MESSAGES 100

/* One thread looks; the values are its own. Before the first look all are NaN; what counters bring from metrics_start
 * on is in it. */
void metrics_start(const struct config *config);
void metrics_look(uint64_t now_ms);
extern struct policy_metric metrics[METRIC_COUNT];

#endif
