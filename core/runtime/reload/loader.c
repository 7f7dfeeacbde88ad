/* A queue of orders, and the thread that serves it, frees what no reactor uses any more and looks at the trial. */
#include "runtime/reload/loader.h"
#include "runtime/handover/handover.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/system/service.h"
#include "memory/pool.h"
#include "runtime/process/supervision.h"
#include "runtime/reload/in_use.h"
#include "runtime/reload/orders.h"
#include "runtime/reload/trial/shadow.h"
#include "runtime/reload/trial/trial_run.h"
#include "runtime/reload/watch.h"
#include "runtime/tls/certificates.h"
#include "script/user_operation.h"

/* Orders that may wait. */
#define ORDERS_MAXIMUM 64

/* How often a trial is looked at: a third of the second in which a bad one is to be gone. */
#define CANARY_TICK_MS 100

static pthread_t thread;
static bool started;                                      /* main */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static pthread_cond_t wanted;                             /* an order, a slot to bury, or the end */
static struct order *orders, **orders_last = &orders;
static unsigned order_count;
static struct script_slot *buried;
static bool running, begun, ended = true;
static const char *early;    /* a reload that came before the thread runs; NULL: none */
static atomic_bool stopping; /* written with the mutex */
static atomic_ullong done, refused;
static atomic_bool last_failed;
static atomic_bool trying; /* an order for a trial is carried out */

/* --- Orders ------------------------------------------------------------------------------------------------------- */

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

static bool loads(const struct order *order)
{
    return order->kind == ORDER_RELOAD || order->kind == ORDER_RETURN;
}

static void tell_service_manager(const struct order *order)
{
    char status[256];
    if (order->code != CODE_OK)
        snprintf(status, sizeof status, "serving; %s was refused: %.160s", order->cause, order->text);
    else
        snprintf(status, sizeof status, "serving; version %u of the scripts is %s", order->version,
                 order->on_trial ? "on trial" : "in use");
    service_ready(status);
}

static void log_outcome(const struct order *order)
{
    if (order->code != CODE_OK)
        log_error(RELOAD, "refused", "%s: refused, version %u stays in use: %s", order->cause, order->previous,
                  order->text);
    else if (loads(order) && order->on_trial)
        log_info(RELOAD, "on_trial", "%s: version %u of the scripts (%.12s) is on trial", order->cause, order->version,
                 order->hash);
    else if (loads(order))
        log_info(RELOAD, "done", "%s: version %u of the scripts (%.12s) is in use after version %u, in %.1f ms%s%s",
                 order->cause, order->version, order->hash, order->previous, (double)order->took_ns / 1e6,
                 order->restart_needed[0] ? "; a restart is needed for " : "", order->restart_needed);
}

static void count_outcome(const struct order *order)
{
    bool good = order->code == CODE_OK;
    atomic_fetch_add_explicit(good ? &done : &refused, 1, memory_order_relaxed);
    if (order->code != CODE_BUSY)
        atomic_store_explicit(&last_failed, !good, memory_order_relaxed);
}

void loader_read_figures(struct reload_figures *out)
{
    *out = (struct reload_figures){.done = atomic_load_explicit(&done, memory_order_relaxed),
                                   .refused = atomic_load_explicit(&refused, memory_order_relaxed),
                                   .last_good = !atomic_load_explicit(&last_failed, memory_order_relaxed)};
}

/* Of a reload that nobody waits for and that came while a version was on trial; NULL: none. The thread's own. */
static const char *missed;
static bool missed_by_upgrade; /* … or during an upgrade, which came to nothing if this process lives to see it over */

/* When the trial is over. After one that was taken back the files are those that did worse: not by itself, then. */
static void make_up_for_missed(void)
{
    struct canary_view last;
    const char *cause = missed;
    if (!cause || in_use.trial || handover_under_way())
        return;
    missed = NULL;
    loader_canary(&last);
    if (missed_by_upgrade || last.state == CANARY_PROMOTED)
        loader_reload(cause);
    else
        log_warn(RELOAD, "missed",
                 "%s: came during a trial that has not been promoted, and was not carried out: ask again", cause);
}

static void serve(struct order *order)
{
    uint64_t began_ns = clock_steady_ns();
    order->code = CODE_OK;
    if (loads(order))
        service_reloading();
    atomic_store(&trying, order->on_trial); /* before it looks for an upgrade, which does the reverse */
    order_carry_out(order, stopping);
    atomic_store(&trying, false);
    if (order->code == CODE_BUSY && order->kind == ORDER_RELOAD && !order->reactor) {
        missed = order->cause;
        missed_by_upgrade = !in_use.trial;
    }
    order->took_ns = clock_steady_ns() - began_ns;
    standing_release(&order->standing);
    log_outcome(order);
    if (loads(order)) {
        count_outcome(order);
        tell_service_manager(order);
    }
    give_back(order);
}

bool loader_tries(void)
{
    struct canary_view trial;
    return atomic_load(&trying) || loader_canary(&trial);
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
        order_refuse(order, CODE_OVERLOADED, "too many reloads wait already, or the bridge is going away");
        give_back(order); /* its reactor hears of it in its next pass */
    }
}

void loader_reload(const char *cause)
{
    pthread_mutex_lock(&mutex);
    bool waits = !begun; /* one that has not begun will see the files as they are */
    if (!begun)
        early = cause;
    for (const struct order *order = orders; order && !waits; order = order->next)
        waits = order->kind == ORDER_RELOAD && !order->on_trial && !order->reactor;
    pthread_mutex_unlock(&mutex);
    struct order *order = waits ? NULL : order_new(ORDER_RELOAD, cause);
    if (order)
        loader_order(order);
}

void loader_review(const char *cause)
{
    struct order *order = order_new(ORDER_REVIEW, cause);
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

/* --- The thread --------------------------------------------------------------------------------------------------- */

/* Mutex held. Waits for something to do; while a trial runs, or a missed reload is to be made up for, not for long. */
static void wait_for_work(void)
{
    struct timespec until;
    if (!in_use.trial && !missed) {
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
    order_try_current();
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
        if (in_use.trial)
            trial_look();
        if (order)
            serve(order);
        make_up_for_missed();
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
    in_use.reactors = all;
    in_use.reactor_count = count;
    in_use.source = *from;
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
        all[i].scripts.current = slot_new(version, config, error, error_size);
        good = all[i].scripts.current != NULL;
        sources_seal(version->sources);
    }
    if (good) {
        version_rehash(version);
        versions_add(version);
        in_use_change(version, NULL, VERSION_KEPT);
    }
    version_release(version);
    return good;
}

static void set_running(bool now)
{
    pthread_mutex_lock(&mutex);
    running = now;
    begun = true;
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
        log_error(RELOAD, "loader_failed", "the loader cannot start: %s; scripts and configuration stay as they are",
                  strerror(failure));
    }
    if (early) /* written by nobody any more */
        loader_reload(early);
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
    tls_context_release(in_use.trial_certificates);
    in_use.trial_certificates = NULL;
    version_release(in_use.current);
    version_release(in_use.trial);
    in_use.current = in_use.trial = NULL;
    versions_stop();
    shadow_forget();
}
