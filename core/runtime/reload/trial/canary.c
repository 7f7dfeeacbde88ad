#include "runtime/reload/trial/canary.h"

#include <stdio.h>

static double rate(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

enum canary_verdict canary_judge(const struct canary_limits *limits, const struct canary_figures *current,
                                 const struct canary_figures *trial, uint64_t elapsed_ms, char *why, size_t why_size)
{
    double errors = rate(trial->errors, trial->calls), errors_now = rate(current->errors, current->calls);
    double refused = rate(trial->refused, trial->calls), refused_now = rate(current->refused, current->calls);
    if (limits->overruns > 0 && trial->overruns >= limits->overruns) {
        snprintf(why, why_size, "%llu hooks ran over script.budgetMs (canary.maxOverruns is %u)",
                 (unsigned long long)trial->overruns, limits->overruns);
        return CANARY_TAKE_BACK;
    }
    if (trial->calls >= limits->min_calls) {
        if (errors > errors_now + limits->error_rate) {
            snprintf(why, why_size,
                     "%.2f %% of its calls failed, %.2f %% of the version in use (canary.maxErrorRate is %g)",
                     100 * errors, 100 * errors_now, limits->error_rate);
            return CANARY_TAKE_BACK;
        }
        if (refused > refused_now + limits->refused_rate) {
            snprintf(
                why, why_size,
                "nobody took %.2f %% of its envelopes, %.2f %% of the version in use (canary.maxRefusedRate is %g)",
                100 * refused, 100 * refused_now, limits->refused_rate);
            return CANARY_TAKE_BACK;
        }
        if (current->calls >= limits->min_calls && trial->time_p99_ns > CANARY_QUICK_NS &&
            (double)trial->time_p99_ns > limits->time_ratio * (double)current->time_p99_ns) {
            snprintf(why, why_size,
                     "its P99 is %.3f ms, that of the version in use %.3f ms (canary.maxTimeRatio is %g)",
                     (double)trial->time_p99_ns / 1e6, (double)current->time_p99_ns / 1e6, limits->time_ratio);
            return CANARY_TAKE_BACK;
        }
    }
    if (limits->promotes && elapsed_ms >= limits->hold_ms && trial->calls >= limits->min_calls) {
        snprintf(why, why_size, "%llu calls in %.1f s without a reason against it", (unsigned long long)trial->calls,
                 (double)elapsed_ms / 1000);
        return CANARY_PROMOTE;
    }
    return CANARY_WAIT;
}

const char *canary_state_name(enum canary_state state)
{
    static const char *const names[] = {[CANARY_NONE] = "none",
                                        [CANARY_RUNS] = "running",
                                        [CANARY_PROMOTED] = "promoted",
                                        [CANARY_TAKEN_BACK] = "taken back",
                                        [CANARY_ABORTED] = "aborted"};
    return names[state];
}
