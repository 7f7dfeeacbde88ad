/* One rule over one value: when it fires, how long it lasts, when it is over. Pure.
 *
 *          past the threshold for for_ms              back at `clear`, or no value
 *   quiet ──────────────────────────────► active ───────────────────────────────────► quiet
 *     ▲  not within cooldown_ms of the      │  every cooldown_ms: act again
 *     └────────── last firing ──────────────┘
 */
#ifndef LUADUCT_RUNTIME_RULE_H
#define LUADUCT_RUNTIME_RULE_H

#include "script/rules/policy.h"

struct rule {
    struct policy_rule says;
    bool enabled, active;
    bool past;                /* the value is past the threshold … */
    uint64_t past_since_ms;   /* … since then */
    uint64_t acted_ms;        /* when it last fired or acted again; 0: never */
    double value;             /* the last one; NaN: none */
    uint64_t fired, failures; /* failures: its function raised */
};

enum rule_verdict { RULE_QUIET, RULE_FIRES, RULE_ACTS_AGAIN, RULE_RESOLVES };

/* value NaN: there is nothing to say. now_ms: steady clock, never 0. */
enum rule_verdict rule_look(struct rule *rule, double value, uint64_t now_ms);

#endif
