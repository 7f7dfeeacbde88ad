#include "runtime/reload/loader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "memory/pool.h"
#include "runtime/policies/policies.h"
#include "runtime/reload/shadow.h"
#include "runtime/reload/watch.h"
#include "runtime/supervision.h"
#include "script/bounds/watchdog.h"
#include "script/user_operation.h"
#include "script/version/dry_run.h"

/* Orders that may wait. */
#define ORDERS_MAXIMUM 64

/* How often a trial is looked at: a third of the second in which a bad one is to be gone. */
#define CANARY_TICK_MS 100

static struct reactor *reactors;
static unsigned reactor_count;
static struct config_source source; /* where the configuration came from */

static pthread_t thread;
static bool started;                                      /* main */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static pthread_cond_t wanted;                             /* an order, a slot to bury, or the end */
static pthread_cond_t errands_done = PTHREAD_COND_INITIALIZER;
static struct order *orders, **orders_last = &orders;
static unsigned order_count, errands_out;
static struct script_slot *buried;
static bool running, ended = true;
static atomic_bool stopping; /* written with the mutex */
static struct canary_view canary;

/* The thread's own. */
static struct version *current_version;                   /* a reference */
static struct version *trial_version;                     /* a reference while there is a trial; else NULL */
static struct script_totals current_before, trial_before; /* when the trial began */
static uint64_t canary_began_ns;

/* --- Errands --------------------------------------------------------------------------------------------------------
 */

/* One reactor's part of what the loader has all of them do. */
struct part {
    struct errand errand; /* first */
    void (*act)(struct reactor *reactor, struct part *part);
    struct script_slot *slot;
    const struct trial *rule;
    bool promote, good;
    size_t most;
    struct buffer kept;
    char error[1024];
};

static void run_part(struct reactor *reactor, struct errand *errand)
{
    struct part *part = (struct part *)errand;
    part->act(reactor, part);
    pthread_mutex_lock(&mutex);
    errands_out--;
    pthread_cond_signal(&errands_done);
    pthread_mutex_unlock(&mutex);
}

/* Has every reactor act, and waits until all have. */
static void have_all(struct part *parts, void (*act)(struct reactor *reactor, struct part *part))
{
    pthread_mutex_lock(&mutex);
    errands_out = reactor_count;
    pthread_mutex_unlock(&mutex);
    for (unsigned i = 0; i < reactor_count; i++) {
        parts[i].errand.run = run_part;
        parts[i].act = act;
        reactor_post(&reactors[i], &parts[i].errand);
    }
    pthread_mutex_lock(&mutex);
    while (errands_out > 0)
        pthread_cond_wait(&errands_done, &mutex);
    pthread_mutex_unlock(&mutex);
}

static void act_save(struct reactor *reactor, struct part *part)
{
    part->good = script_save_kept(reactor->script, part->most, &part->kept, part->error, sizeof part->error);
}

static void act_switch(struct reactor *reactor, struct part *part)
{
    part->good = scripts_switch(reactor, part->slot, part->error, sizeof part->error);
    if (part->good)
        part->slot = NULL;
}

static void act_undo(struct reactor *reactor, struct part *part)
{
    (void)part;
    scripts_undo(reactor);
}

static void act_settle(struct reactor *reactor, struct part *part)
{
    (void)part;
    scripts_settle(reactor);
}

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

/* The first of the parts that failed; NULL: none. */
static const struct part *first_failure(const struct part *parts)
{
    for (unsigned i = 0; i < reactor_count; i++)
        if (!parts[i].good)
            return &parts[i];
    return NULL;
}

static void free_parts(struct part *parts)
{
    for (unsigned i = 0; parts && i < reactor_count; i++) {
        buffer_free(&parts[i].kept);
        slot_free(parts[i].slot);
    }
    free(parts);
}

/* --- Checking -------------------------------------------------------------------------------------------------------
 */

static bool refuse(struct order *order, enum code code, const char *text)
{
    order->code = code;
    snprintf(order->text, sizeof order->text, "%s", text);
    for (char *at = order->text; *at; at++) /* one line */
        if (*at == '\n') {
            *at = '\0';
            break;
        }
    return false;
}

/* What a scratch state says of a hook that failed: `route failed: routes/main.lua:3: …` and a traceback. */
static void hear_failure(void *context, enum script_log_level level, struct slice text)
{
    struct order *order = context;
    if (level != SCRIPT_LOG_ERROR)
        return;
    static const char between[] = " failed: ";
    const char *line = memchr(text.data, '\n', text.length);
    size_t length = line ? (size_t)(line - text.data) : text.length;
    const char *message = memmem(text.data, length, between, sizeof between - 1);
    if (message) { /* file:line first, and the hook's name behind */
        int name = (int)(message - text.data);
        message += sizeof between - 1;
        snprintf(order->text, sizeof order->text, "%.*s (in a trial call of %.*s)",
                 (int)(length - (size_t)(message - text.data)), message, name, text.data);
    } else {
        snprintf(order->text, sizeof order->text, "%.*s", (int)length, text.data);
    }
}

/* Loads the version for the first time, which fills in its sources, and tries its hooks. */
static bool check(struct order *order, struct version *version, const struct buffer *kept, unsigned previous)
{
    struct script_options options = slot_options(version);
    options.inert = true;
    options.switched = NULL;
    options.log = hear_failure;
    options.log_context = order;
    char error[1024] = "";
    struct script_state *scratch = script_state_new(&options, error, sizeof error);
    sources_seal(version->sources);
    if (!scratch)
        return refuse(order, CODE_RELOAD_FAILED, error);
    supervision_watch(script_watchdog(scratch));
    bool good = true;
    if (kept && kept->length > 0)
        good = script_restore_kept(scratch, (const struct value *)(const void *)kept->data, previous);
    good = good && script_dry_run(scratch);
    supervision_unwatch(script_watchdog(scratch));
    script_state_free(scratch);
    if (!good)
        order->code = CODE_RELOAD_FAILED;
    if (!good && order->text[0] == '\0')
        refuse(order, CODE_RELOAD_FAILED, "a hook failed in a trial call");
    return good;
}

/* Reads the configuration again, and makes a version of what it names. NULL: refused. */
static struct version *read_version(struct order *order, const struct version *current)
{
    struct config *config = calloc(1, sizeof *config);
    struct script_sources *sources = sources_new();
    char *problems = NULL, *restart_needed = NULL;
    struct version *version = NULL;
    if (config && sources && config_reload(config, &source, current->config, &restart_needed, &problems)) {
        snprintf(order->restart_needed, sizeof order->restart_needed, "%s", restart_needed);
        version = version_new(config, config, sources);
        if (!version)
            config_free(config);
    }
    if (!version) {
        refuse(order, CODE_RELOAD_FAILED, problems ? problems : "not enough memory");
        free(config);
    }
    free(problems);
    free(restart_needed);
    sources_release(sources);
    return version;
}

static bool read_standing(struct order *order, const struct version *version)
{
    char problem[1024];
    return standing_load(version->config, supervision_log_script, &order->standing, problem, sizeof problem) ||
           refuse(order, CODE_RELOAD_FAILED, problem);
}

/* --- Bringing into use ----------------------------------------------------------------------------------------------
 */

/* What holds of a version in use beside the reactors' states. */
static void take_up(struct version *current, struct version *trial, enum version_use trial_use)
{
    struct version *current_before_this = current_version, *trial_before_this = trial_version;
    current_version = version_retain(current);
    trial_version = trial ? version_retain(trial) : NULL;
    versions_set_use(current, trial, trial_use);
    user_operation_use(current->sources, trial ? trial->sources : NULL);
    log_set_level((enum log_level)current->config->log.level);
    watch_files(current->config->script.watch ? current : NULL, source.path);
    policies_change(current->config);
    version_release(current_before_this);
    version_release(trial_before_this);
}

/* A state for each reactor. */
static bool make_slots(struct order *order, struct version *version, struct part *parts)
{
    char error[1024] = "";
    for (unsigned i = 0; i < reactor_count; i++) {
        parts[i].slot = slot_new(version, error, sizeof error);
        if (!parts[i].slot)
            return refuse(order, CODE_RELOAD_FAILED, error);
    }
    return true;
}

static bool use_for_all(struct order *order, struct version *version, struct part *parts)
{
    struct standing before = standing_use(order->standing);
    order->standing = (struct standing){0};
    user_operation_use(version->sources, current_version->sources); /* the first reactor may call them at once */
    have_all(parts, act_switch);
    const struct part *failed = first_failure(parts);
    if (failed) {
        refuse(order, CODE_RELOAD_FAILED, failed->error);
        order->standing = standing_use(before);
        have_all(parts, act_undo);
        user_operation_use(current_version->sources, NULL);
        return false;
    }
    standing_release(&before);
    versions_add(version);
    take_up(version, NULL, VERSION_KEPT);
    have_all(parts, act_settle);
    return true;
}

/* --- Trials ---------------------------------------------------------------------------------------------------------
 */

static void begin_trial(const struct order *order, struct version *version, struct part *parts)
{
    versions_add(version);
    slots_sum(current_version, &current_before);
    slots_sum(version, &trial_before); /* one that was in use before has a past */
    shadow_forget();
    for (unsigned i = 0; i < reactor_count; i++)
        parts[i].rule = &order->trial;
    take_up(current_version, version, order->trial.shadow ? VERSION_SHADOW : VERSION_CANARY);
    have_all(parts, act_begin_trial);
    canary_began_ns = clock_steady_ns();
    pthread_mutex_lock(&mutex);
    canary = (struct canary_view){.state = CANARY_RUNS,
                                  .shadow = order->trial.shadow,
                                  .version = version->number,
                                  .against = current_version->number,
                                  .began_ms = clock_wall_ms(),
                                  .share = (double)order->trial.share / TRIAL_SHARE_ALL};
    memcpy(canary.label, order->trial.label, sizeof canary.label);
    memcpy(canary.id, order->trial.id, sizeof canary.id);
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
    for (unsigned i = 0; i < reactor_count; i++) {
        const struct decision_counts *counts = &reactors[i].scripts.counts[which];
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
    slots_sum(current_version, &totals);
    read_hooks(&totals, &current_before, current);
    slots_sum(trial_version, &totals);
    read_hooks(&totals, &trial_before, trial);
    read_decisions(0, current);
    read_decisions(1, trial);
}

/* A file that has become bad meanwhile is no reason to take a version back: what is in use stays. */
static void use_standing_of(const struct version *version)
{
    char problem[1024];
    struct standing fresh;
    if (standing_load(version->config, supervision_log_script, &fresh, problem, sizeof problem)) {
        fresh = standing_use(fresh);
        standing_release(&fresh);
    } else {
        log_error("tokens and access rules stay as they are: %s", problem);
    }
}

static void end_trial(enum canary_state state, const char *why, const char *cause)
{
    struct canary_figures of_current, of_trial;
    struct part *parts = calloc(reactor_count, sizeof *parts);
    if (!parts)
        return; /* tried again at the next look */
    read_figures(&of_current, &of_trial);
    bool promote = state == CANARY_PROMOTED;
    unsigned number = trial_version->number;
    for (unsigned i = 0; i < reactor_count; i++)
        parts[i].promote = promote;
    if (!promote)
        versions_set_problem(trial_version, why);
    if (promote)
        use_standing_of(trial_version);
    have_all(parts, act_end_trial);
    free_parts(parts);
    take_up(promote ? trial_version : current_version, NULL, VERSION_KEPT);
    pthread_mutex_lock(&mutex);
    canary.state = state;
    canary.ended_ms = clock_wall_ms();
    canary.current_figures = of_current;
    canary.trial_figures = of_trial;
    snprintf(canary.why, sizeof canary.why, "%s", why);
    pthread_mutex_unlock(&mutex);
    if (promote)
        log_info("scripts: version %u, which was on trial, is in use now (%s): %s", number, cause, why);
    else
        log_warn("scripts: version %u is not on trial any more, version %u stays in use (%s): %s", number,
                 current_version->number, cause, why);
}

static void look_at_trial(void)
{
    struct canary_figures of_current, of_trial;
    char why[256] = "";
    struct canary_limits limits = limits_of(current_version->config);
    limits.promotes = limits.promotes && !canary.shadow; /* a shadow only compares */
    read_figures(&of_current, &of_trial);
    pthread_mutex_lock(&mutex);
    canary.current_figures = of_current;
    canary.trial_figures = of_trial;
    pthread_mutex_unlock(&mutex);
    uint64_t elapsed_ms = (clock_steady_ns() - canary_began_ns) / 1000000;
    enum canary_verdict verdict = canary_judge(&limits, &of_current, &of_trial, elapsed_ms, why, sizeof why);
    if (verdict == CANARY_TAKE_BACK)
        end_trial(CANARY_TAKEN_BACK, why, "a limit was passed");
    else if (verdict == CANARY_PROMOTE)
        end_trial(CANARY_PROMOTED, why, "its time is over");
}

bool loader_canary(struct canary_view *out)
{
    pthread_mutex_lock(&mutex);
    *out = canary;
    pthread_mutex_unlock(&mutex);
    return out->state == CANARY_RUNS;
}

/* --- Orders ---------------------------------------------------------------------------------------------------------
 */

static bool bring(struct order *order, struct version *version, bool fresh)
{
    struct part *parts = calloc(reactor_count, sizeof *parts);
    if (!parts)
        return refuse(order, CODE_RELOAD_FAILED, "not enough memory");
    for (unsigned i = 0; i < reactor_count; i++)
        parts[i].most = version->config->script.state_bytes;
    bool good = true;
    have_all(parts, act_save);
    const struct part *failed = first_failure(parts);
    if (failed)
        good = refuse(order, CODE_RELOAD_FAILED, failed->error);
    good = good && (!fresh || check(order, version, &parts[0].kept, current_version->number));
    if (good && fresh)
        version_rehash(version); /* its files are known now */
    good = good && make_slots(order, version, parts);
    if (good && order->on_trial)
        begin_trial(order, version, parts);
    else if (good)
        good = use_for_all(order, version, parts);
    free_parts(parts);
    return good;
}

static bool reload(struct order *order)
{
    struct version *version = read_version(order, current_version);
    char problem[1024];
    if (version && !read_standing(order, version)) {
        version_release(version);
        return false;
    }
    if (version && !policies_check(version->config, supervision_log_script, problem, sizeof problem)) {
        version_release(version);
        return refuse(order, CODE_RELOAD_FAILED, problem);
    }
    bool good = version && bring(order, version, true);
    if (good) {
        order->version = version->number;
        memcpy(order->hash, version->hash, sizeof order->hash);
    }
    version_release(version);
    return good;
}

/* What was revoked meanwhile stays so: tokens and access rules are those of the files as they are now. */
static bool return_to(struct order *order)
{
    struct version *version = versions_find(order->number);
    char text[128];
    if (!version) {
        snprintf(text, sizeof text, "there is no version %u to return to: the last %d are kept", order->number,
                 VERSIONS_KEPT);
        return refuse(order, CODE_NOT_FOUND, text);
    }
    bool good = version == current_version || (read_standing(order, version) && bring(order, version, false));
    if (good) {
        order->version = version->number;
        memcpy(order->hash, version->hash, sizeof order->hash);
    }
    version_release(version);
    return good;
}

static bool settle_trial(struct order *order, bool promote)
{
    if (!trial_version)
        return refuse(order, CODE_NOT_FOUND, "no version is on trial");
    order->version = trial_version->number;
    memcpy(order->hash, trial_version->hash, sizeof order->hash);
    end_trial(promote ? CANARY_PROMOTED : CANARY_ABORTED, promote ? "by command" : "aborted by command", order->cause);
    return true;
}

static bool carry_out(struct order *order)
{
    bool settles = order->kind == ORDER_PROMOTE || order->kind == ORDER_ABORT;
    order->previous = current_version->number;
    if (stopping)
        return refuse(order, CODE_DRAINING, "the bridge is going away");
    if (trial_version && !settles) {
        char text[128];
        snprintf(text, sizeof text, "version %u is on trial: promote or abort it first", trial_version->number);
        return refuse(order, CODE_BUSY, text);
    }
    switch (order->kind) {
    case ORDER_RELOAD:
        return reload(order);
    case ORDER_RETURN:
        return return_to(order);
    default:
        return settle_trial(order, order->kind == ORDER_PROMOTE);
    }
}

static void bring_back(struct reactor *reactor, struct errand *errand)
{
    struct order *order = (struct order *)errand;
    (void)reactor;
    order->answered(order);
}

/* To whoever waits for it. */
static void give_back(struct order *order)
{
    if (!order->reactor) {
        free(order);
        return;
    }
    order->errand.run = bring_back;
    reactor_post(order->reactor, &order->errand);
}

static void log_outcome(const struct order *order)
{
    bool loads = order->kind == ORDER_RELOAD || order->kind == ORDER_RETURN;
    if (order->code != CODE_OK)
        log_error("%s: refused, version %u stays in use: %s", order->cause, order->previous, order->text);
    else if (loads && order->on_trial)
        log_info("%s: version %u of the scripts (%.12s) is on trial", order->cause, order->version, order->hash);
    else if (loads)
        log_info("%s: version %u of the scripts (%.12s) is in use after version %u, in %.1f ms%s%s", order->cause,
                 order->version, order->hash, order->previous, (double)order->took_ns / 1e6,
                 order->restart_needed[0] ? "; a restart is needed for " : "", order->restart_needed);
}

static void serve(struct order *order)
{
    uint64_t began_ns = clock_steady_ns();
    order->code = CODE_OK;
    carry_out(order);
    order->took_ns = clock_steady_ns() - began_ns;
    standing_release(&order->standing);
    log_outcome(order);
    give_back(order);
}

struct order *order_new(enum order_kind kind, const char *cause)
{
    struct order *order = calloc(1, sizeof *order);
    if (order) {
        order->kind = kind;
        order->cause = cause;
    }
    return order;
}

void loader_order(struct order *order)
{
    pthread_mutex_lock(&mutex);
    bool taken = running && !stopping && order_count < ORDERS_MAXIMUM;
    if (taken) {
        order->next = NULL;
        *orders_last = order;
        orders_last = &order->next;
        order_count++;
        pthread_cond_signal(&wanted);
    }
    pthread_mutex_unlock(&mutex);
    if (!taken) {
        refuse(order, CODE_OVERLOADED, "too many reloads wait already, or the bridge is going away");
        give_back(order); /* its reactor hears of it in its next pass */
    }
}

void loader_reload(const char *cause)
{
    pthread_mutex_lock(&mutex);
    bool waits = false; /* one that has not begun will see the files as they are */
    for (const struct order *order = orders; order && !waits; order = order->next)
        waits = order->kind == ORDER_RELOAD && !order->on_trial && !order->reactor;
    pthread_mutex_unlock(&mutex);
    struct order *order = waits ? NULL : order_new(ORDER_RELOAD, cause);
    if (order)
        loader_order(order);
}

void loader_bury(struct script_slot *slot)
{
    pthread_mutex_lock(&mutex);
    bool taken = running;
    if (taken) {
        slot->next = buried;
        buried = slot;
        pthread_cond_signal(&wanted);
    }
    pthread_mutex_unlock(&mutex);
    if (!taken)
        slot_free(slot);
}

/* --- The thread -----------------------------------------------------------------------------------------------------
 */

/* Mutex held. Waits for something to do, while a trial runs not for long. */
static void wait_for_work(void)
{
    struct timespec until;
    if (!trial_version) {
        pthread_cond_wait(&wanted, &mutex);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += CANARY_TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&wanted, &mutex, &until);
}

static void free_buried(struct script_slot *slot)
{
    for (struct script_slot *next; slot; slot = next) {
        next = slot->next;
        slot_free(slot);
    }
}

static void *run(void *argument)
{
    (void)argument;
    log_name_thread("loader");
    pthread_mutex_lock(&mutex);
    while (!stopping || orders) {
        if (!orders && !buried)
            wait_for_work();
        struct order *order = orders;
        struct script_slot *gone = buried;
        buried = NULL;
        if (order) {
            orders = order->next;
            order_count--;
            if (!orders)
                orders_last = &orders;
        }
        pthread_mutex_unlock(&mutex);
        free_buried(gone);
        if (trial_version)
            look_at_trial();
        if (order)
            serve(order);
        pthread_mutex_lock(&mutex);
    }
    running = false;
    ended = true;
    struct script_slot *gone = buried;
    buried = NULL;
    pthread_mutex_unlock(&mutex);
    free_buried(gone);
    pool_leave_thread();
    supervision_wake();
    return NULL;
}

bool loader_start(const struct config *config, const struct config_source *from, struct reactor *all, unsigned count,
                  char *error, size_t error_size)
{
    reactors = all;
    reactor_count = count;
    source = *from;
    struct standing standing;
    if (!standing_load(config, supervision_log_script, &standing, error, error_size))
        return false;
    standing_use(standing);
    struct script_sources *sources = sources_new();
    struct version *version = sources ? version_new(config, NULL, sources) : NULL;
    sources_release(sources);
    if (!version) {
        snprintf(error, error_size, "not enough memory");
        return false;
    }
    bool good = true;
    for (unsigned i = 0; good && i < count; i++) { /* the first one reads the files */
        all[i].scripts.current = slot_new(version, error, error_size);
        good = all[i].scripts.current != NULL;
        sources_seal(version->sources);
    }
    if (good) {
        version_rehash(version);
        versions_add(version);
        take_up(version, NULL, VERSION_KEPT);
    }
    version_release(version);
    return good;
}

static void set_running(bool now)
{
    pthread_mutex_lock(&mutex);
    running = now;
    ended = !now;
    pthread_mutex_unlock(&mutex);
}

bool loader_run(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&wanted, &attributes);
    pthread_condattr_destroy(&attributes);
    set_running(true); /* the reactors serve already */
    int failure = pthread_create(&thread, NULL, run, NULL);
    started = failure == 0;
    if (failure != 0) {
        set_running(false);
        log_error("the loader cannot start: %s; scripts and configuration stay as they are", strerror(failure));
    }
    return failure == 0;
}

void loader_request_stop(void)
{
    pthread_mutex_lock(&mutex);
    stopping = true;
    if (running)
        pthread_cond_signal(&wanted);
    pthread_mutex_unlock(&mutex);
}

bool loader_ended(void)
{
    pthread_mutex_lock(&mutex);
    bool over = ended;
    pthread_mutex_unlock(&mutex);
    return over;
}

void loader_stop(void)
{
    if (started)
        pthread_join(thread, NULL);
    watch_files(NULL, NULL);
    user_operation_use(NULL, NULL);
    struct standing last = standing_use((struct standing){0});
    standing_release(&last);
    version_release(current_version);
    version_release(trial_version);
    current_version = trial_version = NULL;
    versions_stop();
    shadow_forget();
}
