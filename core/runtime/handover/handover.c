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
#include "base/system/service.h"
#include "bridge/queue/pending.h"
#include "bridge/state/carry.h"
#include "memory/pool.h"
#include "runtime/guest.h"
#include "runtime/handover/late.h"
#include "runtime/handover/part.h"
#include "runtime/handover/starter.h"
#include "runtime/handover/successor.h"
#include "runtime/process/drain.h"
#include "runtime/process/server.h"
#include "runtime/process/supervision.h"
#include "runtime/reactor.h"
#include "runtime/reload/loader.h"

/* For hooks that wait, while all goes on; then they are stopped. */
#define QUIET_MS 5000u
#define QUIET_LOOK_MS 5u
/* For the new process to take some of what it is sent. */
#define MOVE_MS 2000u
/* What is sent ahead is so little that the rest may be sent while nobody is served; and how often that is tried. */
#define AHEAD_ENOUGH 2000u
#define AHEAD_PASSES 8u
/* How often lanes may have something for each other before they are taken not to come to rest. */
#define ROUNDS_MAXIMUM 1000u
/* For the new process's exit status, when its socket is closed. */
#define STATUS_MS 1000

static const struct config *config; /* the start's: what it listens on stays */

enum verdict { VERDICT_NONE, VERDICT_RESUME, VERDICT_GO };

/* What each reactor does while nobody is served: who is waited for when that takes too long. */
enum place { PLACE_AWAY, PLACE_SETTLING, PLACE_GIVING, PLACE_GIVEN };

static struct {
    pthread_t thread;
    bool started; /* main's */
    atomic_bool finished, under_way, done;
    int control;
    struct channel_writer channels[LANES_MAXIMUM]; /* the leader's, but while nobody is served its reactor's */
    struct frame_writer frames[LANES_MAXIMUM];     /* the same */
    pid_t pid;
    char error[512];
    struct errand errands[LANES_MAXIMUM];
    atomic_bool busy; /* a hook waits; in the end: a task of an agent runs */

    pthread_mutex_t mutex; /* from here on */
    pthread_cond_t changed;
    unsigned here, round, left,
        unrest; /* at the meeting point; its number; that have gone; in which round something moved */
    unsigned given;
    enum place places[LANES_MAXIMUM];
    bool failed, given_up;
    enum verdict verdict;
} handover = {.control = -1, .mutex = PTHREAD_MUTEX_INITIALIZER};

/* By the clock of the condition. */
static void due_in(uint32_t ms, struct timespec *out)
{
    clock_gettime(CLOCK_MONOTONIC, out);
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

static bool fail(const char *why)
{
    pthread_mutex_lock(&handover.mutex);
    fail_locked(why);
    pthread_mutex_unlock(&handover.mutex);
    return false;
}

/* --- Reactors --- */

/* All have come here. False: it has failed. The leader alone looks at the clock. */
static bool meet(void)
{
    pthread_mutex_lock(&handover.mutex);
    unsigned round = handover.round;
    if (++handover.here == server_reactor_count()) {
        handover.here = 0;
        handover.round++;
        pthread_cond_broadcast(&handover.changed);
    }
    while (handover.round == round && !handover.failed)
        pthread_cond_wait(&handover.changed, &handover.mutex);
    bool good = !handover.failed;
    pthread_mutex_unlock(&handover.mutex);
    return good;
}

static void enter(const struct reactor *reactor, enum place place)
{
    pthread_mutex_lock(&handover.mutex);
    handover.places[reactor->index] = place;
    if (place == PLACE_GIVEN)
        handover.given++;
    pthread_cond_broadcast(&handover.changed);
    pthread_mutex_unlock(&handover.mutex);
}

/* Until no lane has anything for another one. */
static bool settle(struct reactor *reactor)
{
    part_read(reactor);
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
    return fail("the reactors have more and more for each other");
}

static const char *explain(int number)
{
    return number == 0                               ? "out of memory"
           : number == EAGAIN                        ? "the new process does not take what it is given in time"
           : number == EPIPE || number == ECONNRESET ? "the new process is gone"
                                                     : strerror(number);
}

static void give(struct reactor *reactor)
{
    struct channel_writer *channel = &handover.channels[reactor->index];
    enter(reactor, PLACE_GIVING);
    if (part_give(reactor, &handover.frames[reactor->index]))
        enter(reactor, PLACE_GIVEN);
    else
        fail(explain(channel->error));
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
    enter(reactor, PLACE_SETTLING);
    if (meet() && settle(reactor))
        give(reactor);
    if (wait_for_verdict() == VERDICT_GO) {
        pending_stop(); /* nobody here is given what waits, when agents go */
        meet();
        part_let_go(reactor);
        if (reactor->executing)
            atomic_store(&handover.busy, true);
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
    log_warn(SERVER, "handover_hurried", "handover: hooks that wait are stopped: they take too long");
}

/* Until little is new. While all goes on. */
static bool send_ahead(void)
{
    uint64_t sent = AHEAD_ENOUGH;
    bool good = true;
    for (unsigned pass = 0; good && sent >= AHEAD_ENOUGH && pass < AHEAD_PASSES; pass++) {
        guest_enter(server_reactor(0));
        sent = carry_put_ahead(handover.frames);
        guest_leave(server_reactor(0));
        for (unsigned i = 0; good && i < server_reactor_count(); i++)
            good = !handover.channels[i].failed || fail(explain(handover.channels[i].error));
    }
    return good;
}

/* Nobody is served for so long that it is better to go on. What for? With the mutex. */
static void fail_slow_locked(void)
{
    static const char *const does[] = {[PLACE_AWAY] = "has not stopped: what runs there takes long",
                                       [PLACE_SETTLING] = "ends what cannot go along, or waits for one that does",
                                       [PLACE_GIVING] = "hands over, and the new process does not take it in time"};
    enum place least = PLACE_GIVEN;
    unsigned which = 0;
    char why[256];
    for (unsigned i = 0; i < server_reactor_count(); i++) {
        if (handover.places[i] < least) {
            least = handover.places[i];
            which = i;
        }
    }
    if (least == PLACE_GIVEN)
        snprintf(why, sizeof why, "nobody was served for %u ms (upgrade.stillMs)", config->upgrade.still_ms);
    else
        snprintf(why, sizeof why, "nobody was served for %u ms (upgrade.stillMs): reactor %u %s",
                 config->upgrade.still_ms, which, does[least]);
    fail_locked(why);
}

/* What is left of the time, at least a moment. */
static uint32_t left_until(uint64_t till_ms)
{
    uint64_t now_ms = clock_steady_ns() / 1000000;
    return till_ms > now_ms ? (uint32_t)(till_ms - now_ms) : 1;
}

/* The reactors stand still meanwhile. Up to the last word of the new process. */
static bool give_all(struct channel_writer *control, struct channel_reader *reader)
{
    uint64_t till_ms = clock_steady_ns() / 1000000 + config->upgrade.still_ms;
    struct timespec due;
    due_in(config->upgrade.still_ms, &due);
    pthread_mutex_lock(&handover.mutex);
    while (handover.given < server_reactor_count() && !handover.failed)
        if (pthread_cond_timedwait(&handover.changed, &handover.mutex, &due) == ETIMEDOUT)
            fail_slow_locked();
    bool good = !handover.failed;
    pthread_mutex_unlock(&handover.mutex);
    return good && expect(HANDOVER_TAKEN, reader, left_until(till_ms)) && say(control, HANDOVER_GO) &&
           expect(HANDOVER_SERVES, reader, left_until(till_ms));
}

/* It has not come so far: from here on it cannot. True: it came in the last moment. */
static bool has_served(void)
{
    struct channel_reader late = {.fd = handover.control};
    shutdown(handover.control, SHUT_RD);
    bool served = channel_next(&late) == HANDOVER_SERVES;
    channel_reader_free(&late);
    return served;
}

static void stop_writing(void)
{
    for (unsigned i = 0; i < server_reactor_count(); i++)
        shutdown(handover.channels[i].fd, SHUT_RDWR);
}

static bool hand_over(struct channel_writer *control, struct channel_reader *reader)
{
    if (!expect(HANDOVER_READY, reader, config->upgrade.timeout_ms) || !say(control, HANDOVER_GIVE) || !send_ahead())
        return false;
    wait_until_quiet();
    if (!send_ahead())
        return false;
    if (drain_begun())
        return fail("this process is going away");
    atomic_store(&handover.busy, false);
    uint64_t began_ns = clock_steady_ns();
    post_all(stand_still);
    bool good = give_all(control, reader) || has_served();
    double still_ms = (double)(clock_steady_ns() - began_ns) / 1e6;
    if (good) { /* first of all: the service manager takes no word from a process that it does not know */
        atomic_store(&handover.done, true);
        service_main_process((int)handover.pid);
        say(control, HANDOVER_KNOWN);
    }
    pthread_mutex_lock(&handover.mutex);
    handover.failed = !good;
    handover.verdict = good ? VERDICT_GO : VERDICT_RESUME;
    pthread_cond_broadcast(&handover.changed);
    pthread_mutex_unlock(&handover.mutex);
    if (!good)
        stop_writing(); /* one that still writes stops */
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

/* Made: so many channels. */
static unsigned open_channels(int *theirs)
{
    int pair[2];
    unsigned made = 0;
    for (; made < server_reactor_count() && channel_pair(pair, MOVE_MS); made++) {
        handover.channels[made] = (struct channel_writer){.fd = pair[0]};
        handover.frames[made] = (struct frame_writer){.channel = &handover.channels[made]};
        theirs[made] = pair[1];
    }
    return made;
}

static void close_channels(unsigned made)
{
    for (unsigned i = 0; i < made; i++) {
        frame_writer_free(&handover.frames[i]);
        channel_writer_free(&handover.channels[i]);
        close(handover.channels[i].fd);
    }
}

static bool lead(void)
{
    int control[2], theirs[LANES_MAXIMUM];
    if (!channel_pair(control, MOVE_MS))
        return fail(strerror(errno));
    pthread_mutex_lock(&handover.mutex);
    handover.control = control[0];
    if (handover.given_up)
        shutdown(control[0], SHUT_RDWR);
    pthread_mutex_unlock(&handover.mutex);
    struct channel_writer writer = {.fd = control[0]};
    struct channel_reader reader = {.fd = control[0]};
    char error[256];
    unsigned made = open_channels(theirs);
    bool good = made == server_reactor_count() || fail(strerror(errno));
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
    close_channels(made);
    if (!good) { /* otherwise it stays, for answers that come late */
        pthread_mutex_lock(&handover.mutex);
        handover.control = -1;
        pthread_mutex_unlock(&handover.mutex);
        close(control[0]);
    }
    channel_writer_free(&writer);
    channel_reader_free(&reader);
    return good;
}

/* Who told this process to stop meanwhile meant the bridge. */
static void end(void)
{
    struct channel_writer control = {.fd = handover.control};
    if (!drain_end("handover"))
        say(&control, HANDOVER_DRAIN);
    channel_writer_free(&control);
    if (!atomic_load(&handover.busy))
        shutdown(handover.control, SHUT_WR); /* nothing will come late */
}

static void *run(void *nothing)
{
    (void)nothing;
    log_name_thread("upgrade");
    log_info(SERVER, "handover_started", "handover: starting the program anew");
    bool good = lead();
    if (good)
        end();
    atomic_store(&handover.under_way, false);
    supervision_wake();
    if (good)
        late_pass_on(handover.control);
    pool_leave_thread();
    atomic_store(&handover.finished, true); /* who reads that it failed may try again */
    if (!good)
        log_error(SERVER, "handover_failed", "handover: %s: this process goes on", handover.error);
    supervision_wake();
    return NULL;
}

void handover_start(const struct config *chosen)
{
    pthread_condattr_t attributes;
    config = chosen;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&handover.changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void handover_begin(void)
{
    const char *why = NULL;
    bool first = !handover.started || atomic_load(&handover.finished);
    if (first)
        atomic_store(&handover.under_way, true); /* before it looks for a trial, which does the reverse */
    if (drain_begun())
        why = "this process is going away";
    else if (!first)
        why = "one is under way already";
    else if (handover_follows())
        why = "the process before this one still has tasks to finish: try again when it has ended";
    else if (getpid() == 1)
        why = "this is process 1 of its container, whose end would be the new one's too: start a new container";
    else if (loader_tries())
        why = "a version of the scripts is on trial: promote or abort it first";
    if (why) {
        if (first)
            atomic_store(&handover.under_way, false);
        log_error(SERVER, "handover_failed", "handover: %s: this process goes on", why);
        return;
    }
    if (handover.started)
        pthread_join(handover.thread, NULL);
    handover.here = handover.round = handover.unrest = handover.given = 0;
    handover.failed = false;
    handover.verdict = VERDICT_NONE;
    handover.pid = 0;
    memset(handover.places, 0, sizeof handover.places);
    atomic_store(&handover.finished, false);
    int failure = pthread_create(&handover.thread, NULL, run, NULL);
    handover.started = failure == 0;
    if (handover.started)
        return;
    atomic_store(&handover.under_way, false);
    log_error(SERVER, "handover_failed", "handover: cannot start a thread: %s: this process goes on",
              strerror(failure));
}

void handover_give_up(void)
{
    pthread_mutex_lock(&handover.mutex);
    handover.given_up = true;
    if (handover.started && handover.control >= 0 && !atomic_load(&handover.done))
        shutdown(handover.control, SHUT_RDWR); /* the new process is not waited for */
    pthread_mutex_unlock(&handover.mutex);
    successor_unfollow();
}

bool handover_is_over(void)
{
    return !handover_under_way() && !successor_listens();
}

void handover_end(void)
{
    late_end();
}

bool handover_has_ended(void)
{
    return !handover.started || atomic_load(&handover.finished);
}

void handover_stop(void)
{
    if (handover.started)
        pthread_join(handover.thread, NULL);
    handover.started = false;
    successor_stop();
}

bool handover_under_way(void)
{
    return atomic_load(&handover.under_way);
}

bool handover_done(void)
{
    return atomic_load(&handover.done);
}
