/* The old process's side. One thread leads, the reactors come to it with an errand and stay until it has decided. */
#include "runtime/handover/handover.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/service.h"
#include "bridge/queue/pending.h"
#include "memory/pool.h"
#include "runtime/handover/part.h"
#include "runtime/handover/starter.h"
#include "runtime/process/drain.h"
#include "runtime/process/server.h"
#include "runtime/reactor.h"
#include "runtime/reload/loader.h"

/* For hooks that wait and tasks that run, while all goes on; then they are stopped. */
#define QUIET_MS 5000u
#define QUIET_LOOK_MS 5u
/* While the reactors stand still: for each of them to come, and for bytes to move. */
#define STILL_MS 2000u
/* How often lanes may have something for each other before they are taken not to come to rest. */
#define ROUNDS_MAXIMUM 1000u
/* For the new process's exit status, when its socket is closed. */
#define STATUS_MS 1000

static const struct config *config; /* the start's: what it listens on stays */

enum verdict { VERDICT_NONE, VERDICT_RESUME, VERDICT_GO };

static struct {
    pthread_t thread;
    bool started; /* main's */
    atomic_bool finished, done;
    int control, channels[LANES_MAXIMUM];
    uint32_t ready_ms;
    pid_t pid;
    char error[512];
    struct errand errands[LANES_MAXIMUM];
    atomic_bool busy; /* a hook waits, or a task runs */

    pthread_mutex_t mutex; /* from here on */
    pthread_cond_t changed;
    unsigned here, round, left,
        unrest; /* at the meeting point; its number; that have gone; in which round something moved */
    unsigned given;
    bool failed;
    enum verdict verdict;
} handover = {.control = -1, .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void due_in(uint32_t ms, struct timespec *out)
{
    clock_gettime(CLOCK_REALTIME, out);
    out->tv_sec += ms / 1000;
    out->tv_nsec += (long)(ms % 1000) * 1000000;
    if (out->tv_nsec >= 1000000000) {
        out->tv_sec++;
        out->tv_nsec -= 1000000000;
    }
}

/* The first reason counts. With the mutex. */
static void fail_locked(const char *why)
{
    if (!handover.failed)
        snprintf(handover.error, sizeof handover.error, "%s", why);
    handover.failed = true;
    pthread_cond_broadcast(&handover.changed);
}

/* --- Reactors --- */

/* All have come here. False: it has failed. */
static bool meet(void)
{
    struct timespec due;
    due_in(STILL_MS, &due);
    pthread_mutex_lock(&handover.mutex);
    unsigned round = handover.round;
    if (++handover.here == server_reactor_count()) {
        handover.here = 0;
        handover.round++;
        pthread_cond_broadcast(&handover.changed);
    }
    while (handover.round == round && !handover.failed)
        if (pthread_cond_timedwait(&handover.changed, &handover.mutex, &due) == ETIMEDOUT)
            fail_locked("a reactor did not stop in time");
    bool good = !handover.failed;
    pthread_mutex_unlock(&handover.mutex);
    return good;
}

/* Until no lane has anything for another one. */
static bool settle(struct reactor *reactor)
{
    for (unsigned round = 1; round < ROUNDS_MAXIMUM; round++) {
        bool settled = part_settle(reactor);
        if (!meet())
            return false;
        /* What others had for this one came before they met. */
        if (!settled || !lane_idle(reactor->lane)) {
            pthread_mutex_lock(&handover.mutex);
            handover.unrest = round;
            pthread_mutex_unlock(&handover.mutex);
        }
        if (!meet())
            return false;
        pthread_mutex_lock(&handover.mutex);
        bool rest = handover.unrest != round;
        pthread_mutex_unlock(&handover.mutex);
        if (rest)
            return true;
    }
    pthread_mutex_lock(&handover.mutex);
    fail_locked("the reactors have more and more for each other");
    pthread_mutex_unlock(&handover.mutex);
    return false;
}

static const char too_slow[] = "the new process does not take what it is given in time";

static const char *explain(int number)
{
    return number == 0                               ? "out of memory"
           : number == EAGAIN                        ? too_slow
           : number == EPIPE || number == ECONNRESET ? "the new process is gone"
                                                     : strerror(number);
}

static void give(struct reactor *reactor)
{
    struct channel_writer channel = {.fd = handover.channels[reactor->index]};
    bool good = part_give(reactor, &channel);
    pthread_mutex_lock(&handover.mutex);
    if (good)
        handover.given++;
    else
        fail_locked(explain(channel.error));
    pthread_cond_broadcast(&handover.changed);
    pthread_mutex_unlock(&handover.mutex);
    channel_writer_free(&channel);
}

static enum verdict wait_for_verdict(void)
{
    pthread_mutex_lock(&handover.mutex);
    while (handover.verdict == VERDICT_NONE)
        pthread_cond_wait(&handover.changed, &handover.mutex);
    enum verdict verdict = handover.verdict;
    pthread_mutex_unlock(&handover.mutex);
    return verdict;
}

static void stand_still(struct reactor *reactor, struct errand *errand)
{
    (void)errand;
    if (meet() && settle(reactor))
        give(reactor);
    if (wait_for_verdict() == VERDICT_GO) {
        pending_stop(); /* nobody here is given what waits, when agents go */
        meet();
        part_let_go(reactor);
    } else {
        part_resume(reactor);
    }
    pthread_mutex_lock(&handover.mutex);
    handover.left++;
    pthread_cond_broadcast(&handover.changed);
    pthread_mutex_unlock(&handover.mutex);
}

static void look(struct reactor *reactor, struct errand *errand)
{
    (void)errand;
    if (part_busy(reactor))
        atomic_store(&handover.busy, true);
    pthread_mutex_lock(&handover.mutex);
    handover.left++;
    pthread_cond_broadcast(&handover.changed);
    pthread_mutex_unlock(&handover.mutex);
}

static void post_all(void (*run)(struct reactor *reactor, struct errand *errand))
{
    handover.left = 0;
    for (unsigned i = 0; i < server_reactor_count(); i++) {
        handover.errands[i].run = run;
        reactor_post(server_reactor(i), &handover.errands[i]);
    }
}

static void wait_all_left(void)
{
    pthread_mutex_lock(&handover.mutex);
    while (handover.left < server_reactor_count())
        pthread_cond_wait(&handover.changed, &handover.mutex);
    pthread_mutex_unlock(&handover.mutex);
}

/* --- The control channel --- */

static bool fail(const char *why)
{
    pthread_mutex_lock(&handover.mutex);
    fail_locked(why);
    pthread_mutex_unlock(&handover.mutex);
    return false;
}

static void put_setup(struct channel_writer *control, const int *theirs)
{
    uint64_t key[2];
    hash_key(key);
    channel_begin(control, HANDOVER_SETUP);
    channel_put(control, HANDOVER_VERSION);
    channel_put(control, key[0]);
    channel_put(control, key[1]);
    channel_put_bytes(control, slice_from_string(config->listen.host));
    channel_put_bytes(control, slice_from_string(config->listen.admin ? config->listen.admin : ""));
    channel_put(control, server_ws_port());
    channel_put(control, server_http_port());
    channel_put(control, server_reactor_count());
    channel_end(control);
    for (unsigned i = 0; i < server_reactor_count(); i++) {
        const struct reactor *reactor = server_reactor(i);
        channel_begin(control, HANDOVER_SETUP);
        channel_put_fd(control, theirs[i]);
        channel_put(control, reactor->listener_count);
        for (unsigned k = 0; k < reactor->listener_count; k++) {
            channel_put(control, reactor->listeners[k].is_admin);
            channel_put_fd(control, reactor->listeners[k].fd);
        }
        channel_end(control);
        channel_flush(control);
    }
}

static bool expect(uint32_t kind, struct channel_reader *reader, uint32_t timeout_ms)
{
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    char why[384];
    setsockopt(handover.control, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    uint32_t got = channel_next(reader);
    if (got == kind)
        return true;
    if (got == HANDOVER_REFUSE) {
        struct slice text = channel_get_bytes(reader);
        snprintf(why, sizeof why, "the new process says: %.*s", (int)(text.length < 300 ? text.length : 300),
                 text.data ? text.data : "");
        return fail(why);
    }
    snprintf(why, sizeof why, "the new process: %s", got ? "it does not speak as it should" : channel_problem(reader));
    return fail(why);
}

static bool say(struct channel_writer *control, uint32_t kind)
{
    channel_begin(control, kind);
    channel_end(control);
    return channel_flush(control) || fail("the new process is gone");
}

/* --- The way --- */

static void wait_until_quiet(void)
{
    uint64_t end_ms = clock_steady_ns() / 1000000 + QUIET_MS;
    do {
        atomic_store(&handover.busy, false);
        post_all(look);
        wait_all_left();
        if (!atomic_load(&handover.busy))
            return;
        nanosleep(&(struct timespec){.tv_nsec = QUIET_LOOK_MS * 1000000l}, NULL);
    } while (clock_steady_ns() / 1000000 < end_ms);
    log_warn(SERVER, "handover_hurried",
             "handover: hooks that wait and tasks that run are stopped: they take too long");
}

/* The reactors stand still meanwhile. */
static bool give_all(struct channel_writer *control, struct channel_reader *reader)
{
    struct timespec due;
    if (!say(control, HANDOVER_GIVE))
        return false;
    due_in(STILL_MS, &due);
    pthread_mutex_lock(&handover.mutex);
    while (handover.given < server_reactor_count() && !handover.failed)
        if (pthread_cond_timedwait(&handover.changed, &handover.mutex, &due) == ETIMEDOUT)
            fail_locked(too_slow);
    bool good = !handover.failed;
    pthread_mutex_unlock(&handover.mutex);
    return good && expect(HANDOVER_TAKEN, reader, STILL_MS) && say(control, HANDOVER_GO);
}

static bool hand_over(struct channel_writer *control, struct channel_reader *reader)
{
    if (!expect(HANDOVER_READY, reader, handover.ready_ms))
        return false;
    wait_until_quiet();
    if (drain_begun())
        return fail("this process is going away");
    uint64_t began_ns = clock_steady_ns();
    post_all(stand_still);
    bool good = give_all(control, reader);
    pthread_mutex_lock(&handover.mutex);
    handover.verdict = good ? VERDICT_GO : VERDICT_RESUME;
    pthread_cond_broadcast(&handover.changed);
    pthread_mutex_unlock(&handover.mutex);
    for (unsigned i = 0; !good && i < server_reactor_count(); i++)
        shutdown(handover.channels[i], SHUT_RDWR); /* one that still writes stops */
    double still_ms = (double)(clock_steady_ns() - began_ns) / 1e6;
    wait_all_left();
    if (good)
        log_info(SERVER, "handed_over", "handover: process %d serves now; nobody did for %.1f ms", (int)handover.pid,
                 still_ms);
    return good;
}

/* How it ended by itself may be the reason for all. */
static void end_successor(void)
{
    int status = starter_wait(handover.pid, STATUS_MS);
    size_t length = strlen(handover.error), room = sizeof handover.error - length;
    if (status >= 0 && WIFEXITED(status))
        snprintf(handover.error + length, room, "; it ended with status %d", WEXITSTATUS(status));
    else if (status >= 0)
        snprintf(handover.error + length, room, "; it ended by signal %d", WTERMSIG(status));
    else
        starter_kill(handover.pid);
}

static bool lead(void)
{
    int control[2], pair[2], theirs[LANES_MAXIMUM];
    unsigned count = server_reactor_count(), made = 0;
    if (!channel_pair(control, STILL_MS))
        return fail(strerror(errno));
    pthread_mutex_lock(&handover.mutex);
    handover.control = control[0];
    pthread_mutex_unlock(&handover.mutex);
    struct channel_writer writer = {.fd = control[0]};
    struct channel_reader reader = {.fd = control[0]};
    for (; made < count && channel_pair(pair, STILL_MS); made++) {
        handover.channels[made] = pair[0];
        theirs[made] = pair[1];
    }
    char error[256];
    bool good = made == count || fail(strerror(errno));
    if (good) {
        handover.pid = starter_spawn(control[1], error, sizeof error);
        good = handover.pid > 0 || fail(error);
    }
    close(control[1]);
    if (good)
        put_setup(&writer, theirs);
    for (unsigned i = 0; i < made; i++)
        close(theirs[i]);
    good = good && hand_over(&writer, &reader);
    if (!good && handover.pid > 0)
        end_successor();
    for (unsigned i = 0; i < made; i++)
        close(handover.channels[i]);
    pthread_mutex_lock(&handover.mutex);
    handover.control = -1;
    pthread_mutex_unlock(&handover.mutex);
    close(control[0]);
    channel_writer_free(&writer);
    channel_reader_free(&reader);
    return good;
}

static void *run(void *nothing)
{
    (void)nothing;
    log_name_thread("upgrade");
    log_info(SERVER, "handover_started", "handover: starting the program anew");
    bool good = lead();
    pool_leave_thread();
    if (good) {
        atomic_store(&handover.done, true);
        service_main_process((int)handover.pid);
        drain_end("handover");
    } else {
        log_error(SERVER, "handover_failed", "handover: %s: this process goes on", handover.error);
    }
    atomic_store(&handover.finished, true);
    return NULL;
}

void handover_start(const struct config *chosen)
{
    config = chosen;
}

void handover_begin(void)
{
    struct canary_view trial;
    const char *why = NULL;
    if (handover.started && !atomic_load(&handover.finished))
        why = "one is under way already";
    else if (drain_begun())
        why = "this process is going away";
    else if (getpid() == 1)
        why = "this is process 1 of its container, whose end would be the new one's too: start a new container";
    else if (loader_canary(&trial))
        why = "a version of the scripts is on trial: promote or abort it first";
    if (why) {
        log_error(SERVER, "handover_failed", "handover: %s: this process goes on", why);
        return;
    }
    if (handover.started)
        pthread_join(handover.thread, NULL);
    handover.here = handover.round = handover.unrest = handover.given = 0;
    handover.failed = false;
    handover.verdict = VERDICT_NONE;
    handover.pid = 0;
    handover.ready_ms = config->upgrade.timeout_ms;
    atomic_store(&handover.finished, false);
    int failure = pthread_create(&handover.thread, NULL, run, NULL);
    handover.started = failure == 0;
    if (failure != 0)
        log_error(SERVER, "handover_failed", "handover: cannot start a thread: %s: this process goes on",
                  strerror(failure));
}

void handover_stop(void)
{
    pthread_mutex_lock(&handover.mutex);
    if (handover.started && handover.control >= 0 && !atomic_load(&handover.done))
        shutdown(handover.control, SHUT_RDWR); /* the new process is not waited for */
    pthread_mutex_unlock(&handover.mutex);
    if (handover.started)
        pthread_join(handover.thread, NULL);
    handover.started = false;
}

bool handover_done(void)
{
    return atomic_load(&handover.done);
}
