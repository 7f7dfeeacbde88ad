/* A policy file of alert rules: Lua that returns a list of rules, each with a value to watch (a metric's name or a
 * function of all metrics), bounds, and what to do. It runs in a sandboxed state of its own, with the JIT compiler off,
 * on the one thread that opened it; each call has the budget of a hook. */
#ifndef LUADUCT_SCRIPT_POLICY_H
#define LUADUCT_SCRIPT_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "script/hook.h"

struct policy;

#define POLICY_NAME_BYTES 40
#define POLICY_RULES_MAXIMUM 48

/* In the order of policy_action_names. */
enum policy_action { POLICY_WARN, POLICY_ALERT, POLICY_SCALE_UP, POLICY_SHED, POLICY_RUN, POLICY_ACTIONS };
const char *policy_action_name(enum policy_action action); /* "WARN" … */

struct policy_rule {
    char name[POLICY_NAME_BYTES];
    char metric[POLICY_NAME_BYTES]; /* empty: a function gives the value */
    enum policy_action action;
    bool below;              /* it fires below the threshold, not above */
    double threshold, clear; /* it is over when the value has come back to `clear` */
    uint32_t for_ms, cooldown_ms;
    uint32_t workers; /* of SCALE_UP: how many there should be; 0: one more */
};

struct policy_metric {
    const char *name;
    double value; /* NaN: there is nothing to say, and Lua sees nil */
};

struct policy_options {
    const char *path;
    uint32_t budget_ms;
    uint64_t memory_limit;
    script_log *log;
    void *log_context;
    int wake_fd;                         /* as in script_options */
    const struct policy_metric *metrics; /* names that rules may use; lives as long as the policy */
    size_t metric_count;
    uint32_t cooldown_ms;            /* of a rule that says nothing of it */
    bool (*taken)(const char *name); /* whether a rule may not have this name */
};

/* Loads and runs the file. NULL: `error` holds one line. watchdog_install must have been called. */
struct policy *policy_open(const struct policy_options *options, char *error, size_t error_size);
void policy_close(struct policy *policy); /* NULL is fine; the supervisor has let go of the watchdog */

struct watchdog *policy_watchdog(struct policy *policy);
size_t policy_count(const struct policy *policy);
const struct policy_rule *policy_rule(const struct policy *policy, size_t number);

/* The value of a rule that has a function, by the metrics of the options as they are now; NaN: it returned nil. False:
 * it raised, was stopped or returned something else; `error` is one line with file and line. */
bool policy_value(struct policy *policy, size_t number, double *value, char *error, size_t error_size);

/* Calls a rule's `run(alert, metrics)`. False: as above. */
struct policy_alert {
    const char *state; /* "firing", "resolved" */
    double value;      /* NaN: none */
    double threshold;
};
bool policy_run(struct policy *policy, size_t number, const struct policy_alert *alert, char *error, size_t error_size);

#endif
