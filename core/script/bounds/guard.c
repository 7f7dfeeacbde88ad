#include "script/bounds/guard.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

static struct breaker *breaker_of(const struct script *script, enum script_hook hook)
{
    return script->breakers[hook];
}

static uint64_t now_ms(void)
{
    return clock_steady_ns() / 1000000;
}

static void tell(struct script_state *state, const struct script *script, enum script_hook hook, bool off)
{
    char text[SCRIPT_SWITCH_TEXT_BYTES];
    const char *path = script->path ? script->path : "the mode's behaviour";
    if (off)
        snprintf(text, sizeof text,
                 "%s: %s is switched off for %u ms: %u of its calls, by %u senders, ran longer than %u ms within %u ms",
                 path, script_hook_name(hook), state->breaker_rules.cooldown_ms, breaker_of(script, hook)->count,
                 breaker_senders(breaker_of(script, hook)), state->budget_ms, state->breaker_rules.window_ms);
    else
        snprintf(text, sizeof text, "%s: %s is on again", path, script_hook_name(hook));
    if (state->switched)
        state->switched(state->log_context, &(struct script_switch){hook, path, off, text});
    else
        state->log(state->log_context, SCRIPT_LOG_WARN, slice_from_string(text));
}

bool guard_admits(struct script_state *state, const struct script *script, enum script_hook hook)
{
    struct breaker *breaker = breaker_of(script, hook);
    if (!breaker || breaker_admits(breaker, now_ms()))
        return true;
    count_up(&state->counts[hook].skipped);
    state->overran = false;
    return false;
}

void guard_went_well(struct script_state *state, const struct script *script, enum script_hook hook)
{
    struct breaker *breaker = breaker_of(script, hook);
    if (!breaker || !breaker_went_well(breaker, now_ms()))
        return;
    state->open_breakers--;
    tell(state, script, hook, false);
}

void guard_overran(struct script_state *state, const struct script *script, enum script_hook hook, uint64_t sender)
{
    struct breaker **breaker = &state->scripts[script - state->scripts].breakers[hook];
    if (!*breaker && !(*breaker = calloc(1, sizeof **breaker)))
        return;
    if (!breaker_overran(*breaker, &state->breaker_rules, sender, now_ms()))
        return;
    state->open_breakers++;
    count_up(&state->counts[hook].trips);
    tell(state, script, hook, true);
}

uint64_t guard_sender(const struct script_state *state)
{
    if (state->sender)
        return hash_slice(state->sender->id.data ? state->sender->id : state->sender->identity);
    return 0;
}

void guard_close(struct script_state *state)
{
    for (size_t i = 0; i < state->script_count; i++) {
        for (unsigned hook = 0; hook < HOOK_COUNT; hook++) {
            struct breaker *breaker = state->scripts[i].breakers[hook];
            if (breaker && breaker->open)
                tell(state, &state->scripts[i], (enum script_hook)hook, false);
            free(breaker);
            state->scripts[i].breakers[hook] = NULL;
        }
    }
    state->open_breakers = 0;
}
