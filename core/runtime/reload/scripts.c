#include "runtime/reload/scripts.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/pressure/pressure.h"
#include "runtime/process/supervision.h"
#include "runtime/reactor.h"
#include "runtime/reload/loader.h"
#include "runtime/work/waiting.h"
#include "script/wait/timer.h"

void scripts_each(struct reactor *reactor, void (*visit)(struct reactor *reactor, struct script_state *state))
{
    struct reactor_scripts *scripts = &reactor->scripts;
    visit(reactor, scripts->current->state);
    if (scripts->previous)
        visit(reactor, scripts->previous->state);
    if (scripts->trial)
        visit(reactor, scripts->trial->state);
    for (struct script_slot *slot = scripts->retired; slot; slot = slot->next)
        visit(reactor, slot->state);
}

bool scripts_have_sends_slowly(const struct reactor_scripts *scripts)
{
    if ((scripts->previous && script_has_sends(scripts->previous->state)) ||
        (scripts->trial && script_has_sends(scripts->trial->state)))
        return true;
    for (const struct script_slot *slot = scripts->retired; slot; slot = slot->next)
        if (script_has_sends(slot->state))
            return true;
    return false;
}

/* What others keep beside the states follows them. */
static void follow(struct reactor *reactor)
{
    struct reactor_scripts *scripts = &reactor->scripts;
    reactor->script = scripts->current->state;
    reactor->config = scripts->current->version->config;
    standing_release(&reactor->standing);
    reactor->standing = standing_current();
    scripts->several = scripts->previous || scripts->trial || scripts->retired;
    reactor->lane->report_undeliverable =
        script_has_hook(reactor->script, HOOK_ON_UNDELIVERABLE) ||
        (scripts->trial && script_has_hook(scripts->trial->state, HOOK_ON_UNDELIVERABLE));
}

static void adopt(struct reactor *reactor, struct script_slot *slot)
{
    script_count_times(slot->state, &reactor->script_times);
    script_adopt(slot->state);
    if (!pressure_enabled())
        script_step_between(slot->state, false);
    supervision_watch(script_watchdog(slot->state));
    slot->watched = true;
}

/* Timers run in the version in use only. */
static void change_timers(struct script_slot *from, struct script_slot *to)
{
    script_stop_timers(from->state);
    script_start_timers(to->state);
}

const struct script_slot *scripts_slot_of(const struct reactor_scripts *scripts, const struct script_state *state)
{
    if (scripts->trial && scripts->trial->state == state)
        return scripts->trial;
    if (scripts->previous && scripts->previous->state == state)
        return scripts->previous;
    for (const struct script_slot *slot = scripts->retired; slot; slot = slot->next)
        if (slot->state == state)
            return slot;
    return scripts->current;
}

static void retire(struct reactor *reactor, struct script_slot *slot)
{
    slot->next = reactor->scripts.retired;
    reactor->scripts.retired = slot;
    reactor->scripts.several = true;
    waiting_hurry(reactor, slot->state, SCRIPTS_RETIRE_MS);
}

/* --- Life --- */

void scripts_begin(struct reactor *reactor)
{
    adopt(reactor, reactor->scripts.current);
    follow(reactor);
}

static void end_slot(struct script_slot *slot)
{
    if (slot && slot->watched)
        supervision_unwatch(script_watchdog(slot->state));
    slot_free(slot);
}

void scripts_end(struct reactor *reactor)
{
    struct reactor_scripts *scripts = &reactor->scripts;
    end_slot(scripts->current);
    end_slot(scripts->previous);
    end_slot(scripts->trial);
    for (struct script_slot *slot = scripts->retired, *next; slot; slot = next) {
        next = slot->next;
        end_slot(slot);
    }
    *scripts = (struct reactor_scripts){0};
    reactor->script = NULL;
    standing_release(&reactor->standing);
}

/* --- Versions --- */

bool scripts_switch(struct reactor *reactor, struct script_slot *next, char *error, size_t error_size)
{
    struct reactor_scripts *scripts = &reactor->scripts;
    struct buffer kept = {0};
    bool good = script_save_kept(reactor->script, next->version->config->script.state_bytes, &kept, error, error_size);
    if (good) {
        adopt(reactor, next);
        good = script_restore_kept(next->state, (const struct value *)(const void *)kept.data,
                                   scripts->current->version->number);
        if (!good) {
            supervision_unwatch(script_watchdog(next->state));
            next->watched = false;
            snprintf(error, error_size, "on_reload failed in reactor %u: see the log", reactor->index);
        }
    }
    buffer_free(&kept);
    if (!good)
        return false;
    scripts->previous = scripts->current;
    scripts->current = next;
    change_timers(scripts->previous, next);
    follow(reactor);
    return true;
}

void scripts_undo(struct reactor *reactor)
{
    struct reactor_scripts *scripts = &reactor->scripts;
    struct script_slot *gone = scripts->previous ? scripts->current : NULL;
    if (gone) {
        scripts->current = scripts->previous;
        scripts->previous = NULL;
        change_timers(gone, scripts->current);
    }
    follow(reactor); /* also where nothing was switched: what counts may have been taken up by then */
    if (gone)
        retire(reactor, gone);
    standing_review(reactor);
}

void scripts_settle(struct reactor *reactor)
{
    struct script_slot *gone = reactor->scripts.previous;
    reactor->scripts.previous = NULL;
    if (gone)
        retire(reactor, gone);
    standing_review(reactor);
}

void scripts_begin_trial(struct reactor *reactor, struct script_slot *slot, const struct trial *rule)
{
    struct reactor_scripts *scripts = &reactor->scripts;
    adopt(reactor, slot);
    script_time_hooks(slot->state, true);
    script_time_hooks(reactor->script, true);
    slot->on_trial = true;
    scripts->trial = slot;
    scripts->rule = *rule;
    atomic_fetch_add_explicit(&dispatch_observers, 1, memory_order_relaxed);
    memset(scripts->counts, 0, sizeof scripts->counts);
    follow(reactor);
}

void scripts_end_trial(struct reactor *reactor, bool promote)
{
    struct reactor_scripts *scripts = &reactor->scripts;
    struct script_slot *gone = scripts->trial;
    if (!gone)
        return;
    script_time_hooks(gone->state, false);
    script_time_hooks(reactor->script, false);
    scripts->trial = NULL;
    atomic_fetch_sub_explicit(&dispatch_observers, 1, memory_order_relaxed);
    if (promote) {
        struct script_slot *promoted = gone;
        promoted->on_trial = false;
        gone = scripts->current;
        scripts->current = promoted;
        change_timers(gone, promoted);
    }
    follow(reactor);
    retire(reactor, gone);
}

/* --- At the end of a pass --- */

static void bury(struct reactor *reactor)
{
    for (struct script_slot **place = &reactor->scripts.retired; *place;) {
        struct script_slot *slot = *place;
        if (script_wait_count(slot->state) > 0 || script_has_sends(slot->state)) {
            place = &slot->next;
            continue;
        }
        *place = slot->next;
        supervision_unwatch(script_watchdog(slot->state));
        slot->watched = false;
        loader_bury(slot);
    }
    follow(reactor);
}

bool scripts_end_pass(struct reactor *reactor)
{
    bool more = script_collect(reactor->script);
    if (__builtin_expect(reactor->scripts.trial != NULL, 0))
        more = script_collect(reactor->scripts.trial->state) || more;
    if (__builtin_expect(reactor->scripts.retired != NULL, 0))
        bury(reactor);
    return more;
}
