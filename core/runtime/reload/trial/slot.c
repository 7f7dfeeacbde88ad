#include "runtime/reload/trial/slot.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/config/bundle.h"
#include "runtime/engines/switches.h"
#include "runtime/pressure/pressure.h"
#include "runtime/process/supervision.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below, and version.past */
static struct script_slot *slots;
static struct script_totals past; /* of all states that are gone */

struct script_options slot_options(const struct version *version)
{
    const struct config *config = version->config;
    return (struct script_options){
        .paths = (const char *const *)config->script.paths.items,
        .path_count = config->script.paths.count,
        .folder = config->script.folder,
        .sources = version->sources,
        .mode = config->mode_name,
        .budget_ms = config->script.budget_ms,
        .memory_limit = pressure_script_limit(config),
        .jit = config->script.jit,
        .caching = config->performance.cache ? ROUTE_CACHING_ON : ROUTE_CACHING_OFF,
        .log = supervision_log_script,
        .switched = switches_note,
        .breaker = {config->script.breaker_overruns, config->script.breaker_senders, config->script.breaker_window_ms,
                    config->script.breaker_cooldown_ms},
        .wake_fd = supervision_wake_fd(),
        .open_bundle = bundle_install,
    };
}

/* A hook that nobody asks would let people in that it was to keep out, and one that is missing keeps everybody out. */
static bool hook_is_asked(const struct config *config, const struct script_state *state, char *error, size_t size)
{
    bool has = script_has_hook(state, HOOK_AUTHENTICATE);
    if (has == config->auth.hook)
        return true;
    snprintf(error, size, "%s",
             has ? "auth.hook: expected true, for a script has the hook authenticate"
                 : "auth.hook: expected a script with the hook authenticate");
    return false;
}

struct script_slot *slot_new(struct version *version, const struct config *judged_by, char *error, size_t error_size)
{
    struct script_options options = slot_options(version);
    struct script_slot *slot = calloc(1, sizeof *slot);
    if (!slot) {
        snprintf(error, error_size, "not enough memory");
        return NULL;
    }
    slot->state = script_state_new(&options, error, error_size);
    if (slot->state && !hook_is_asked(judged_by, slot->state, error, error_size)) {
        script_state_free(slot->state);
        slot->state = NULL;
    }
    if (!slot->state) {
        free(slot);
        return NULL;
    }
    slot->version = version_retain(version);
    pthread_mutex_lock(&mutex);
    slot->list_next = slots;
    slot->list_previous = &slots;
    if (slots)
        slots->list_previous = &slot->list_next;
    slots = slot;
    pthread_mutex_unlock(&mutex);
    return slot;
}

static void keep_totals(struct script_totals *totals, const struct script_state *state)
{
    script_totals_add(totals, state);
    totals->heap_bytes = 0; /* it is about to go */
    totals->route_cache.entries = totals->route_cache.bytes = 0;
    totals->collections.under_way = 0;
}

void slot_free(struct script_slot *slot)
{
    if (!slot)
        return;
    pthread_mutex_lock(&mutex);
    *slot->list_previous = slot->list_next;
    if (slot->list_next)
        slot->list_next->list_previous = slot->list_previous;
    keep_totals(&past, slot->state);
    keep_totals(&slot->version->past, slot->state);
    pthread_mutex_unlock(&mutex);
    script_state_free(slot->state);
    version_release(slot->version);
    free(slot);
}

void slots_each(void (*visit)(void *context, const struct script_slot *slot), void *context)
{
    pthread_mutex_lock(&mutex);
    for (const struct script_slot *slot = slots; slot; slot = slot->list_next)
        visit(context, slot);
    pthread_mutex_unlock(&mutex);
}

void slots_sum(const struct version *version, struct script_totals *out)
{
    pthread_mutex_lock(&mutex);
    *out = version ? version->past : past;
    for (const struct script_slot *slot = slots; slot; slot = slot->list_next)
        if (!version || slot->version == version)
            script_totals_add(out, slot->state);
    pthread_mutex_unlock(&mutex);
}
