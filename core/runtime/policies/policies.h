/* Alert rules: the built-in ones (config: alerts.*) and those of a policy file, evaluated on a thread of their
 * own, never on a reactor. What fires is raised as an alert (runtime/engines/alert.h) and acts: SCALE_UP asks the
 * worker pool for more workers, SHED the memory controller for a step, RUN calls the rule's function. */
#ifndef LUADUCT_RUNTIME_POLICIES_H
#define LUADUCT_RUNTIME_POLICIES_H

#include "runtime/policies/rule.h"

struct config;

/* Loads the policy file, if there is one, and lets it go. False: `error` says in one line what is wrong with it. On the
 * calling thread; for `luaduct check`, and before the start. */
bool policies_check(const struct config *config, script_log *log, char *error, size_t size);

/* Main thread, once the reactors run. False: no thread; `error` says why. */
bool policies_start(const struct config *config, char *error, size_t size);

/* Main thread, before the reactors end and after the loader. Harmless when it was not started. */
void policies_stop(void);

/* The loader, between those two: other rules from now on, when `to` says others or names a file. */
void policies_change(const struct config *to);

/* For showing; any thread. */
#define RULES_MAXIMUM (4 + POLICY_RULES_MAXIMUM)
struct rule_view {
    char name[POLICY_NAME_BYTES];
    bool active;
    double value; /* NaN: none */
    uint64_t fired, failures;
};
unsigned policies_read(struct rule_view out[RULES_MAXIMUM]);

#endif
