#include "runtime/policies/policies.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/threads/thread.h"
#include "memory/pool.h"
#include "runtime/engines/alert.h"
#include "runtime/policies/metrics.h"
#include "runtime/pressure/pressure.h"
#include "runtime/process/supervision.h"
#include "script/bounds/watchdog.h"
#include "workers/worker_pool.h"

static const struct config *_Atomic config; /* whoever starts, changes and stops; the thread while it begins */
static uint32_t interval_ms, most_workers;  /* of it, for the thread */
static pthread_t thread;
static bool running;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static pthread_cond_t changed;
static bool stopping;
static struct watchdog *watched; /* while the policy is open */
static struct rule_view views[RULES_MAXIMUM];
static unsigned view_count;

/* The thread's own. */
static struct policy *policy; /* NULL: no file */
static struct rule rules[RULES_MAXIMUM];
static unsigned rule_count;
static uint32_t asked_workers; /* by rules that are active; 0: none */

#define BUILT_IN 4
static const struct {
    const char *name;
    bool below;
    double margin; /* between the threshold and where it is over, as a share of it */
    double most;   /* of where it is over: above, it would never be */
} built_in[BUILT_IN] = {{"gcFrequency", false, 0.2, INFINITY},
                        {"poolHitRate", true, 0.02, 1},
                        {"workerUtilization", false, 0.2, INFINITY},
                        {"certificateExpiry", true, 0, INFINITY}};

/* Alerts that are no rules: of the memory controller, of this file, of hooks (switches.c), of engines. */
static bool is_of_the_bridge(const char *name)
{
    static const char *const names[] = {"memory.leak", "memory.pressure", "policies.alerts"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    const char *last = strrchr(name, '.');
    return strncmp(name, "script.", 7) == 0 || (last && strcmp(last, ".degraded") == 0);
}

/* A rule of such a name would raise and resolve what is another's. */
static bool is_built_in(const char *name)
{
    if (is_of_the_bridge(name))
        return true;
    for (unsigned i = 0; i < BUILT_IN; i++)
        if (strcmp(built_in[i].name, name) == 0)
            return true;
    return false;
}

static struct policy_options options_for(const struct config *from, script_log *log, int wake_fd)
{
    return (struct policy_options){.path = from->policies.alerts,
                                   .budget_ms = from->script.budget_ms,
                                   .memory_limit = pressure_script_limit(from),
                                   .log = log,
                                   .wake_fd = wake_fd,
                                   .metrics = metrics,
                                   .metric_count = METRIC_COUNT,
                                   .cooldown_ms = from->alerts.cooldown_ms,
                                   .taken = is_built_in};
}

bool policies_check(const struct config *from, script_log *log, char *error, size_t size)
{
    if (!from->policies.alerts)
        return true;
    struct policy_options options = options_for(from, log, -1);
    struct policy *loaded = policy_open(&options, error, size);
    policy_close(loaded);
    return loaded != NULL;
}

/* --- Acting --- */

/* How many workers the active rules ask for together, at least; when none does any more, the pool is free again. */
static void scale(const struct rule *rule, char *done, size_t size)
{
    struct worker_pool_statistics read;
    worker_pool_read_statistics(&read);
    uint32_t wanted = rule->says.workers > 0 ? rule->says.workers : read.workers + 1;
    uint32_t most = most_workers;
    wanted = wanted < most ? wanted : most;
    if (!read.running) {
        snprintf(done, size, "asked for no workers: the pool does not run");
        return;
    }
    asked_workers = wanted > asked_workers ? wanted : asked_workers;
    worker_pool_want(asked_workers);
    snprintf(done, size,
             wanted > read.workers ? "asked for %" PRIu32 " workers" : "there are %" PRIu32 " workers already",
             wanted > read.workers ? wanted : read.workers);
}

static void stop_scaling(void)
{
    for (unsigned i = 0; i < rule_count; i++)
        if (rules[i].active && rules[i].says.action == POLICY_SCALE_UP)
            return;
    if (asked_workers > 0)
        worker_pool_want(0);
    asked_workers = 0;
}

static void count_failure(struct rule *rule, const char *error)
{
    static struct log_site site = {.room = LOG_ROOM_ALERT, .name = "rule_failed"};
    rule->failures++;
    if (log_enabled(LOG_ROOM_ALERT, LOG_LEVEL_ERROR))
        log_write(&site, LOG_LEVEL_ERROR, "policy: rule %s: %s", rule->says.name, error);
}

static void run(struct rule *rule, const char *state, char *done, size_t size)
{
    char error[512];
    struct policy_alert alert = {.state = state, .value = rule->value, .threshold = rule->says.threshold};
    if (policy_run(policy, (size_t)(rule - rules) - BUILT_IN, &alert, error, sizeof error)) {
        snprintf(done, size, "ran its function");
        return;
    }
    count_failure(rule, error);
    snprintf(done, size, "its function failed: %.100s", error); /* the log has it whole */
}

static void act(struct rule *rule, char *done, size_t size)
{
    switch (rule->says.action) {
    case POLICY_SCALE_UP:
        scale(rule, done, size);
        break;
    case POLICY_SHED:
        pressure_order_step();
        snprintf(done, size, "asked the memory controller for a step");
        break;
    case POLICY_RUN:
        run(rule, "firing", done, size);
        break;
    default:
        break;
    }
}

static void follow(struct rule *rule, enum rule_verdict verdict)
{
    char done[ALERT_DONE_BYTES] = "", ignored[ALERT_DONE_BYTES];
    if (verdict == RULE_FIRES || verdict == RULE_ACTS_AGAIN) {
        act(rule, done, sizeof done);
        alert_report(&(struct alert_report){.name = rule->says.name,
                                            .severity = policy_action_name(rule->says.action),
                                            .value = rule->value,
                                            .threshold = rule->says.threshold,
                                            .below = rule->says.below,
                                            .done = done});
    } else if (verdict == RULE_RESOLVES) {
        if (rule->says.action == POLICY_SCALE_UP)
            stop_scaling();
        if (rule->says.action == POLICY_RUN)
            run(rule, "resolved", ignored, sizeof ignored);
        alert_resolve(rule->says.name);
    }
}

/* --- Looking --- */

static double value_of(struct rule *rule)
{
    char error[512];
    double value = NAN;
    for (unsigned i = 0; rule->says.metric[0] && i < METRIC_COUNT; i++)
        if (strcmp(metrics[i].name, rule->says.metric) == 0)
            return metrics[i].value;
    if (!policy_value(policy, (size_t)(rule - rules) - BUILT_IN, &value, error, sizeof error)) {
        count_failure(rule, error);
        return rule->active ? rule->value : NAN; /* nothing is known: what was said stays */
    }
    return value;
}

static void show(void)
{
    pthread_mutex_lock(&mutex);
    view_count = 0;
    for (unsigned i = 0; i < rule_count; i++) {
        struct rule_view *view = &views[view_count];
        if (!rules[i].enabled)
            continue;
        memcpy(view->name, rules[i].says.name, sizeof view->name);
        view->active = rules[i].active;
        view->value = rules[i].value;
        view->fired = rules[i].fired;
        view->failures = rules[i].failures;
        view_count++;
    }
    pthread_mutex_unlock(&mutex);
}

static void look(void)
{
    uint64_t now_ms = clock_steady_ns() / 1000000;
    metrics_look(now_ms);
    for (unsigned i = 0; i < rule_count; i++)
        if (rules[i].enabled)
            follow(&rules[i], rule_look(&rules[i], value_of(&rules[i]), now_ms));
    show();
}

/* True: stop. */
static bool wait_for_next(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + interval_ms * UINT64_C(1000000);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&mutex);
    while (!stopping && pthread_cond_timedwait(&changed, &mutex, &until) != ETIMEDOUT)
        ;
    bool stop = stopping;
    pthread_mutex_unlock(&mutex);
    return stop;
}

static void take_rules(void)
{
    const struct config *from = config;
    const struct config_alert *configured[BUILT_IN] = {&from->alerts.gc_frequency, &from->alerts.pool_hit_rate,
                                                       &from->alerts.worker_utilization,
                                                       &from->alerts.certificate_expiry};
    static const enum policy_action actions[] = {[CONFIG_ALERT_WARN] = POLICY_WARN,
                                                 [CONFIG_ALERT_ALERT] = POLICY_ALERT,
                                                 [CONFIG_ALERT_SCALE_UP] = POLICY_SCALE_UP,
                                                 [CONFIG_ALERT_SHED] = POLICY_SHED};
    memset(rules, 0, sizeof rules);
    for (rule_count = 0; rule_count < BUILT_IN; rule_count++) {
        struct rule *rule = &rules[rule_count];
        double margin = built_in[rule_count].margin * (built_in[rule_count].below ? 1 : -1);
        double threshold = configured[rule_count]->threshold;
        rule->enabled = configured[rule_count]->enabled;
        rule->says = (struct policy_rule){.action = actions[configured[rule_count]->action],
                                          .below = built_in[rule_count].below,
                                          .threshold = threshold,
                                          .clear = threshold * (1 + margin),
                                          .for_ms = configured[rule_count]->for_ms,
                                          .cooldown_ms = from->alerts.cooldown_ms};
        if (rule->says.clear > built_in[rule_count].most)
            rule->says.clear = built_in[rule_count].most;
        snprintf(rule->says.name, sizeof rule->says.name, "%s", built_in[rule_count].name);
        snprintf(rule->says.metric, sizeof rule->says.metric, "%s", built_in[rule_count].name);
    }
    for (size_t i = 0; i < policy_count(policy); i++)
        rules[rule_count++] = (struct rule){.says = *policy_rule(policy, i), .enabled = true};
    for (unsigned i = 0; i < rule_count; i++)
        rules[i].value = NAN;
}

static void watch(struct watchdog *watchdog)
{
    if (watched) /* written by this thread alone */
        supervision_unwatch(watched);
    if (watchdog)
        supervision_watch(watchdog);
    pthread_mutex_lock(&mutex);
    watched = watchdog;
    pthread_mutex_unlock(&mutex);
}

static void *work(void *unused)
{
    (void)unused;
    log_name_thread("policies");
    char error[512];
    const struct config *from = config;
    if (from->policies.alerts) {
        struct policy_options options = options_for(from, supervision_log_script, supervision_wake_fd());
        policy = policy_open(&options, error, sizeof error);
        if (policy)
            watch(policy_watchdog(policy));
        else /* it was good a moment ago */
            alert_raise("policies.alerts", "the policy file cannot be loaded, its rules are not watched: %s", error);
    }
    take_rules();
    do
        look();
    while (!wait_for_next());
    for (unsigned i = 0; i < rule_count; i++) /* nobody would end them */
        if (rules[i].active)
            alert_resolve(rules[i].says.name);
    watch(NULL);
    policy_close(policy);
    policy = NULL;
    pool_leave_thread();
    return NULL;
}

/* --- Life --- */

bool policies_start(const struct config *from, char *error, size_t size)
{
    pthread_condattr_t attributes;
    config = from;
    interval_ms = from->alerts.interval_ms;
    most_workers = from->phase2.worker_pool.max_workers;
    stopping = false;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
    metrics_start(config);
    int failure = pthread_create(&thread, NULL, work, NULL);
    if (failure != 0)
        snprintf(error, size, "cannot start a thread: %s", strerror(failure));
    return running = failure == 0;
}

void policies_stop(void)
{
    if (!running)
        return;
    pthread_mutex_lock(&mutex);
    stopping = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
    /* Main waits here and supervises nobody: a function that runs has so long. */
    while (!thread_join_within(thread, 50)) {
        pthread_mutex_lock(&mutex);
        if (watched)
            watchdog_stop_now(watched);
        pthread_mutex_unlock(&mutex);
    }
    pthread_cond_destroy(&changed);
    running = false;
}

void policies_change(const struct config *to)
{
    char error[128];
    const struct config *now = config;
    if (!running || to == now)
        return;
    if (!to->policies.alerts && !now->policies.alerts && config_same_section(to, now, "alerts")) {
        config = to; /* the rules go on as they stand */
        return;
    }
    policies_stop();
    if (!policies_start(to, error, sizeof error))
        log_error(ALERT, "rules_failed", "policies: no alert rule is watched any more: %s", error);
}

unsigned policies_read(struct rule_view out[RULES_MAXIMUM])
{
    pthread_mutex_lock(&mutex);
    unsigned found = view_count;
    memcpy(out, views, found * sizeof *out);
    pthread_mutex_unlock(&mutex);
    return found;
}
