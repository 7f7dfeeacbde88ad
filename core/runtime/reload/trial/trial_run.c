#include "runtime/reload/trial/trial_run.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "runtime/process/supervision.h"
#include "runtime/reload/loader.h"
#include "runtime/reload/trial/shadow.h"
#include "runtime/tls/certificates.h"

static struct script_totals current_before, trial_before; /* when the trial began */
static uint64_t began_ns;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* below */
static struct canary_view canary;

static void act_begin_trial(struct reactor *reactor, struct part *part)
{
    scripts_begin_trial(reactor, part->slot, part->rule);
    part->slot = NULL;
}

static void act_end_trial(struct reactor *reactor, struct part *part)
{
    scripts_end_trial(reactor, part->promote);
    if (part->promote)
        standing_review(reactor);
}

void trial_begin(const struct trial *rule, struct version *version, struct part *parts)
{
    versions_add(version);
    versions_set_problem(version, ""); /* of an earlier trial */
    slots_sum(in_use.current, &current_before);
    slots_sum(version, &trial_before); /* one that was in use before has a past */
    shadow_forget();
    for (unsigned i = 0; i < in_use.reactor_count; i++)
        parts[i].rule = rule;
    in_use_change(in_use.current, version, rule->shadow ? VERSION_SHADOW : VERSION_CANARY);
    parts_act(parts, act_begin_trial);
    began_ns = clock_steady_ns();
    pthread_mutex_lock(&mutex);
    canary = (struct canary_view){.state = CANARY_RUNS,
                                  .shadow = rule->shadow,
                                  .version = version->number,
                                  .against = in_use.current->number,
                                  .began_ms = clock_wall_ms(),
                                  .share = (double)rule->share / TRIAL_SHARE_ALL};
    memcpy(canary.label, rule->label, sizeof canary.label);
    memcpy(canary.id, rule->id, sizeof canary.id);
    pthread_mutex_unlock(&mutex);
}

static void read_hooks(const struct script_totals *totals, const struct script_totals *before,
                       struct canary_figures *out)
{
    struct pause_sums times = totals->collections.hook_times;
    for (unsigned hook = 0; hook < HOOK_COUNT; hook++) {
        out->overruns += totals->hooks[hook].overruns - before->hooks[hook].overruns;
        if (hook == HOOK_ROUTE) /* an envelope counts once, however long the chain of scripts is: read_decisions */
            continue;
        out->calls += totals->hooks[hook].calls - before->hooks[hook].calls;
        out->errors += totals->hooks[hook].errors - before->hooks[hook].errors;
    }
    times.count -= before->collections.hook_times.count;
    for (unsigned i = 0; i < PAUSE_BUCKETS; i++)
        times.buckets[i] -= before->collections.hook_times.buckets[i];
    out->time_p50_ns = pause_percentile(&times, 0.5);
    out->time_p99_ns = pause_percentile(&times, 0.99);
}

static void read_decisions(unsigned which, struct canary_figures *out)
{
    for (unsigned i = 0; i < in_use.reactor_count; i++) {
        const struct decision_counts *counts = &in_use.reactors[i].scripts.counts[which];
        for (unsigned kind = 0; kind <= DECISION_DROP; kind++)
            out->decisions[kind] += atomic_load_explicit(&counts->kinds[kind], memory_order_relaxed);
        out->calls += atomic_load_explicit(&counts->routed, memory_order_relaxed);
        out->errors += atomic_load_explicit(&counts->failed, memory_order_relaxed);
        out->refused += atomic_load_explicit(&counts->refused, memory_order_relaxed);
    }
}

static struct canary_limits limits_of(const struct config *config)
{
    return (struct canary_limits){.error_rate = config->canary.max_error_rate,
                                  .refused_rate = config->canary.max_refused_rate,
                                  .time_ratio = config->canary.max_time_ratio,
                                  .min_calls = config->canary.min_calls,
                                  .overruns = config->canary.max_overruns,
                                  .hold_ms = config->canary.hold_ms,
                                  .promotes = config->canary.promotes};
}

static void read_figures(struct canary_figures *current, struct canary_figures *trial)
{
    struct script_totals totals;
    *current = *trial = (struct canary_figures){0};
    slots_sum(in_use.current, &totals);
    read_hooks(&totals, &current_before, current);
    slots_sum(in_use.trial, &totals);
    read_hooks(&totals, &trial_before, trial);
    read_decisions(0, current);
    read_decisions(1, trial);
}

/* A version comes into use with the files that its configuration names, or not at all: a configuration that is in use
 * with tokens or rules of another would let in whom neither lets in. */
static bool use_standing_of(struct version *version, char *problem, size_t size)
{
    struct standing fresh;
    if (!standing_load_for(version, supervision_log_script, &fresh, problem, size))
        return false;
    fresh = standing_use(fresh);
    standing_release(&fresh);
    return true;
}

bool trial_end(enum canary_state state, const char *why, const char *cause, char *problem, size_t size)
{
    struct canary_figures of_current, of_trial;
    struct part *parts = parts_new();
    if (!parts) {
        snprintf(problem, size, "not enough memory");
        return false;
    }
    if (state == CANARY_PROMOTED && !use_standing_of(in_use.trial, problem, size)) {
        parts_free(parts);
        return false;
    }
    read_figures(&of_current, &of_trial);
    bool promote = state == CANARY_PROMOTED;
    unsigned number = in_use.trial->number;
    for (unsigned i = 0; i < in_use.reactor_count; i++)
        parts[i].promote = promote;
    if (!promote)
        versions_set_problem(in_use.trial, why);
    parts_act(parts, act_end_trial);
    parts_free(parts);
    in_use_change(promote ? in_use.trial : in_use.current, NULL, VERSION_KEPT);
    if (promote) {
        struct standing now = standing_current();
        in_use_certificates(now.config, in_use.trial_certificates);
        standing_release(&now);
    } else {
        tls_context_release(in_use.trial_certificates);
    }
    in_use.trial_certificates = NULL;
    pthread_mutex_lock(&mutex);
    canary.state = state;
    canary.ended_ms = clock_wall_ms();
    canary.current_figures = of_current;
    canary.trial_figures = of_trial;
    snprintf(canary.why, sizeof canary.why, "%s", why);
    pthread_mutex_unlock(&mutex);
    if (promote)
        log_info(RELOAD, "promoted", "scripts: version %u, which was on trial, is in use now (%s): %s", number, cause,
                 why);
    else
        log_warn(RELOAD, "aborted", "scripts: version %u is not on trial any more, version %u stays in use (%s): %s",
                 number, in_use.current->number, cause, why);
    return true;
}

/* What it says of itself. Tried again at each look, and told once as long as the reason stays the same. */
static void end_by_itself(enum canary_state state, const char *why, const char *cause)
{
    static char told[1024];
    char problem[1024];
    if (trial_end(state, why, cause, problem, sizeof problem))
        told[0] = '\0';
    else if (strcmp(told, problem) != 0) {
        log_error(RELOAD, "promotion_refused", "scripts: version %u stays on trial (%s): %s", in_use.trial->number,
                  cause, problem);
        memcpy(told, problem, sizeof told);
    }
}

void trial_look(void)
{
    struct canary_figures of_current, of_trial;
    char why[256] = "";
    struct canary_limits limits = limits_of(in_use.current->config);
    limits.promotes = limits.promotes && !canary.shadow; /* a shadow only compares */
    read_figures(&of_current, &of_trial);
    pthread_mutex_lock(&mutex);
    canary.current_figures = of_current;
    canary.trial_figures = of_trial;
    pthread_mutex_unlock(&mutex);
    uint64_t elapsed_ms = (clock_steady_ns() - began_ns) / 1000000;
    enum canary_verdict verdict = canary_judge(&limits, &of_current, &of_trial, elapsed_ms, why, sizeof why);
    if (verdict == CANARY_TAKE_BACK)
        end_by_itself(CANARY_TAKEN_BACK, why, "a limit was passed");
    else if (verdict == CANARY_PROMOTE)
        end_by_itself(CANARY_PROMOTED, why, "its time is over");
}

bool loader_canary(struct canary_view *out)
{
    pthread_mutex_lock(&mutex);
    *out = canary;
    pthread_mutex_unlock(&mutex);
    return out->state == CANARY_RUNS;
}
