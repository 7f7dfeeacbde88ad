#include "runtime/policies/rule.h"

#include <math.h>

static bool is_past(const struct rule *rule, double value, double bound)
{
    if (isnan(value))
        return false;
    return rule->says.below ? value < bound : value > bound;
}

enum rule_verdict rule_look(struct rule *rule, double value, uint64_t now_ms)
{
    rule->value = value;
    bool past = is_past(rule, value, rule->active ? rule->says.clear : rule->says.threshold);
    if (past && !rule->past)
        rule->past_since_ms = now_ms;
    rule->past = past;
    bool rested = rule->acted_ms == 0 || now_ms - rule->acted_ms >= rule->says.cooldown_ms;
    if (rule->active && !past) {
        rule->active = false;
        return RULE_RESOLVES;
    }
    if (!past || !rested || now_ms - rule->past_since_ms < rule->says.for_ms)
        return RULE_QUIET;
    bool again = rule->active;
    rule->active = true;
    rule->acted_ms = now_ms;
    rule->fired += !again;
    return again ? RULE_ACTS_AGAIN : RULE_FIRES;
}
