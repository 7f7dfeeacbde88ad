/* Main blocks every signal before the reactors start and takes them in turn (signals.h). It sleeps while no hook runs:
 * a reactor that starts one while main sleeps wakes it; while hooks run it ticks. */
#include "runtime/process/supervision.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/system/service.h"
#include "base/threads/wake.h"
#include "runtime/engines/engines.h"
#include "runtime/engines/switches.h"
#include "runtime/handover/handover.h"
#include "runtime/http/api/api.h"
#include "runtime/pressure/pressure.h"
#include "runtime/process/drain.h"
#include "runtime/process/heartbeat.h"
#include "runtime/process/signals.h"
#include "runtime/reload/loader.h"
#include "script/bounds/watchdog.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below, but the descriptors */
static pthread_cond_t reported = PTHREAD_COND_INITIALIZER;
static struct watchdog *watchdogs;
static unsigned expected, awaited, ready_count, failed_count, ended_count;
static struct wake wake = WAKE_NONE;

void supervision_log_script(void *context, enum script_log_level level, struct slice text)
{
    static const enum log_level levels[] = {[SCRIPT_LOG_DEBUG] = LOG_LEVEL_DEBUG,
                                            [SCRIPT_LOG_INFO] = LOG_LEVEL_INFO,
                                            [SCRIPT_LOG_WARN] = LOG_LEVEL_WARN,
                                            [SCRIPT_LOG_ERROR] = LOG_LEVEL_ERROR};
    static struct log_site sites[4] = {{.room = LOG_ROOM_SCRIPT, .name = "said"},
                                       {.room = LOG_ROOM_SCRIPT, .name = "said"},
                                       {.room = LOG_ROOM_SCRIPT, .name = "said"},
                                       {.room = LOG_ROOM_SCRIPT, .name = "said"}};
    (void)context;
    if (log_enabled(LOG_ROOM_SCRIPT, levels[level]))
        log_write(&sites[level], levels[level], "script: %.*s", (int)text.length, text.data);
}

void supervision_watch(struct watchdog *watchdog)
{
    pthread_mutex_lock(&mutex);
    watchdog->next = watchdogs;
    watchdog->previous = &watchdogs;
    if (watchdogs)
        watchdogs->previous = &watchdog->next;
    watchdogs = watchdog;
    pthread_mutex_unlock(&mutex);
    supervision_wake();
}

void supervision_unwatch(struct watchdog *watchdog)
{
    pthread_mutex_lock(&mutex);
    *watchdog->previous = watchdog->next;
    if (watchdog->next)
        watchdog->next->previous = watchdog->previous;
    pthread_mutex_unlock(&mutex);
}

int supervision_wake_fd(void)
{
    return wake.caller;
}

void supervision_report_ready(struct reactor *reactor, bool ready)
{
    (void)reactor;
    pthread_mutex_lock(&mutex);
    if (ready)
        ready_count++;
    else
        failed_count++;
    pthread_cond_signal(&reported);
    pthread_mutex_unlock(&mutex);
}

bool supervision_wait_ready(void)
{
    pthread_mutex_lock(&mutex);
    while (ready_count + failed_count < expected)
        pthread_cond_wait(&reported, &mutex);
    bool all = failed_count == 0;
    pthread_mutex_unlock(&mutex);
    return all;
}

void supervision_wake(void)
{
    wake_call(wake.caller);
}

void supervision_report_ended(void)
{
    pthread_mutex_lock(&mutex);
    ended_count++;
    pthread_mutex_unlock(&mutex);
    supervision_wake();
}

bool supervision_start(unsigned reactors)
{
    expected = reactors;
    ready_count = failed_count = ended_count = 0;
    sigset_t handled;
    sigemptyset(&handled);
    sigaddset(&handled, SIGTERM);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGHUP);
    sigaddset(&handled, SIGUSR1);
    sigaddset(&handled, SIGUSR2);
    signal(SIGPIPE, SIG_IGN);
    return signals_open(&handled) && wake_open(&wake) && watchdog_install();
}

void supervision_stop(void)
{
    signals_close();
    wake_close(&wake);
}

/* True while there is something to watch. */
static bool check_watchdogs(void)
{
    bool busy = false;
    uint64_t now_ns = clock_steady_ns();
    pthread_mutex_lock(&mutex);
    for (struct watchdog *watchdog = watchdogs; watchdog; watchdog = watchdog->next)
        busy |= watchdog_check(watchdog, now_ns);
    for (struct watchdog *watchdog = watchdogs; watchdog && !busy; watchdog = watchdog->next)
        busy |= !watchdog_sleep(watchdog);
    pthread_mutex_unlock(&mutex);
    return busy;
}

static void handle_signals(void)
{
    static bool told_to_stop;
    int number;
    while ((number = signals_take()) != 0) {
        switch (number) {
        case SIGHUP:
            loader_reload("SIGHUP");
            break;
        case SIGUSR1:
            log_reopen();
            break;
        case SIGUSR2:
            handover_begin();
            break;
        default:
            if (told_to_stop) {
                fprintf(stderr, "luaduct: told to stop a second time: leaving at once\n");
                _exit(1);
            }
            told_to_stop = true;
            drain_begin(number == SIGINT ? "SIGINT" : "SIGTERM");
        }
    }
}

/* As poll does: signals, then what wakes. */
static int wait_for(struct pollfd descriptors[2], int timeout_ms)
{
    descriptors[0] = (struct pollfd){.fd = signals_descriptor(), .events = POLLIN};
    descriptors[1] = (struct pollfd){.fd = wake.fd, .events = POLLIN};
    return signals_poll(descriptors, 2, timeout_ms);
}

/* For poll: until the steady clock shows `due_ms`, and no longer than a tick while hooks run. */
static int wait_ms(bool busy, uint64_t due_ms)
{
    uint64_t now_ms = clock_steady_ns() / 1000000, left = due_ms > now_ms ? due_ms - now_ms : 0;
    uint64_t most = busy ? WATCHDOG_TICK_MS : due_ms == UINT64_MAX ? UINT64_MAX : left;
    if (busy && due_ms != UINT64_MAX && left < most)
        most = left;
    return most == UINT64_MAX ? -1 : most < INT_MAX ? (int)most : INT_MAX;
}

void supervision_wait(bool (*done)(void))
{
    bool busy = true;
    while (!done()) {
        struct pollfd descriptors[2];
        uint64_t due_ms;
        drain_tick(clock_steady_ns() / 1000000, &due_ms);
        int count = wait_for(descriptors, wait_ms(busy, due_ms));
        if (count > 0 && descriptors[1].revents)
            wake_take(&wake);
        if (count > 0 && descriptors[0].revents)
            handle_signals();
        busy = check_watchdogs();
    }
}

static bool all_ended(void)
{
    pthread_mutex_lock(&mutex);
    bool all = ended_count >= awaited;
    pthread_mutex_unlock(&mutex);
    return all;
}

void supervision_wait_ended(unsigned running)
{
    awaited = running;
    supervision_wait(all_ended);
}

void supervision_run(void)
{
    bool busy = true;
    uint64_t due_ms = 0, drain_due_ms;
    while (!drain_tick(clock_steady_ns() / 1000000, &drain_due_ms)) {
        struct pollfd descriptors[2];
        int memory_ms = pressure_tick();
        int most_ms = wait_ms(busy, due_ms < drain_due_ms ? due_ms : drain_due_ms);
        int count = wait_for(descriptors, most_ms < 0 || (memory_ms >= 0 && memory_ms < most_ms) ? memory_ms : most_ms);
        if (count < 0 && errno != EINTR) {
            log_error(SERVER, "poll_failed", "poll: %s", strerror(errno));
            return;
        }
        if (count > 0 && descriptors[1].revents)
            wake_take(&wake);
        if (count > 0 && descriptors[0].revents)
            handle_signals();
        busy = check_watchdogs();
        uint64_t now_ms = clock_steady_ns() / 1000000, heartbeat_ms = heartbeat_tick(now_ms);
        due_ms = engines_tick(now_ms);
        due_ms = heartbeat_ms < due_ms ? heartbeat_ms : due_ms;
        api_tell_figures(now_ms);
    }
}
