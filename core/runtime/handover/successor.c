/* The new process's side. Main leads; the reactors wait for its word. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/system/service.h"
#include "memory/pool.h"
#include "runtime/connection/acceptor.h"
#include "runtime/handover/handover.h"
#include "runtime/handover/late.h"
#include "runtime/handover/part.h"
#include "runtime/handover/successor.h"
#include "runtime/process/drain.h"
#include "runtime/process/server.h"
#include "runtime/process/supervision.h"
#include "runtime/reactor.h"

/* For the old process's next word and for the next part of what it gives: in between it waits for hooks, and then for
 * all reactors. Longer than any of that: its end is noticed at once. */
#define GIVE_MS 60000u

enum stage { STAGE_WAIT, STAGE_TAKE, STAGE_GO, STAGE_LEAVE };

static struct {
    bool joined;
    struct channel_reader reader;
    struct channel_writer writer;
    char host[256], admin[4096];
    uint16_t ws_port, http_port;
    unsigned count; /* reactors */
    struct channel_reader channels[LANES_MAXIMUM];
    struct frame_reader frames[LANES_MAXIMUM];
    struct {
        int fds[REACTOR_LISTENERS_MAXIMUM];
        bool admin[REACTOR_LISTENERS_MAXIMUM];
        unsigned count;
    } listeners[LANES_MAXIMUM];

    pthread_mutex_t mutex; /* from here on */
    pthread_cond_t changed;
    enum stage stage;
    unsigned taken, here, round;
    pthread_t thread; /* of what comes late */
    bool follows, known;
    atomic_bool more_may_come;
    char problem[256]; /* why a reactor could not take its part; empty: none */
} successor = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

bool handover_joined(void)
{
    return successor.joined;
}

/* --- What it is to know --- */

static void get_text(struct channel_reader *reader, char *out, size_t size)
{
    struct slice text = channel_get_bytes(reader);
    if (text.length >= size)
        channel_reject(reader, "a text is too long");
    else
        snprintf(out, size, "%.*s", (int)text.length, text.data ? text.data : "");
}

static void get_listeners(struct channel_reader *reader, unsigned index)
{
    if (channel_next(reader) != HANDOVER_SETUP) {
        channel_reject(reader, "the listening sockets are missing");
        return;
    }
    successor.channels[index] = (struct channel_reader){.fd = channel_get_fd(reader)};
    successor.frames[index].channel = &successor.channels[index];
    uint64_t count = channel_get(reader);
    if (count > REACTOR_LISTENERS_MAXIMUM)
        channel_reject(reader, "there are more listening sockets than can be");
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        successor.listeners[index].admin[i] = channel_get(reader) != 0;
        successor.listeners[index].fds[i] = channel_get_fd(reader);
        successor.listeners[index].count++;
    }
}

bool handover_join(char *error, size_t size)
{
    const char *text = getenv(HANDOVER_VARIABLE);
    if (!text)
        return true;
    int fd = atoi(text);
    unsetenv(HANDOVER_VARIABLE);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        snprintf(error, size, HANDOVER_VARIABLE ": is not for you to set");
        return false;
    }
    struct channel_reader *reader = &successor.reader;
    reader->fd = successor.writer.fd = fd;
    successor.joined = true;
    if (channel_next(reader) != HANDOVER_SETUP) {
        snprintf(error, size, "handover: %s", channel_problem(reader));
        return false;
    }
    uint64_t version = channel_get(reader), key[2];
    if (version != HANDOVER_VERSION) {
        snprintf(error, size, "it hands over by version %llu, and this program knows version %u: a restart is needed",
                 (unsigned long long)version, HANDOVER_VERSION);
        handover_refuse(error);
        return false;
    }
    key[0] = channel_get(reader);
    key[1] = channel_get(reader);
    get_text(reader, successor.host, sizeof successor.host);
    get_text(reader, successor.admin, sizeof successor.admin);
    successor.ws_port = (uint16_t)channel_get(reader);
    successor.http_port = (uint16_t)channel_get(reader);
    successor.count = (unsigned)channel_get(reader);
    if (successor.count == 0 || successor.count > LANES_MAXIMUM)
        channel_reject(reader, "there are more reactors than can be");
    for (unsigned i = 0; !reader->failed && i < successor.count; i++)
        get_listeners(reader, i);
    if (reader->failed) {
        snprintf(error, size, "handover: %s", channel_problem(reader));
        return false;
    }
    hash_adopt(key);
    return true;
}

void handover_refuse(const char *why)
{
    if (!successor.joined)
        return;
    channel_begin(&successor.writer, HANDOVER_REFUSE);
    channel_put_bytes(&successor.writer, slice_from_string(why));
    channel_end(&successor.writer);
    channel_flush(&successor.writer);
}

/* --- Listening --- */

static bool differs(const char *key, char *error, size_t size)
{
    snprintf(error, size, "%s: is another one than that of the bridge that hands over, so a restart is needed", key);
    return false;
}

bool handover_listen(const struct config *config, uint16_t *ws_port, uint16_t *http_port, char *error, size_t size)
{
    if (successor.count != server_reactor_count())
        return differs("performance.worker_threads", error, size);
    if (strcmp(config->listen.host, successor.host) != 0)
        return differs("listen.host", error, size);
    if (strcmp(config->listen.admin ? config->listen.admin : "", successor.admin) != 0)
        return differs("listen.admin", error, size);
    if (config->listen.ws_port != 0 && config->listen.ws_port != successor.ws_port)
        return differs("listen.wsPort", error, size);
    if (config->listen.http_port != 0 && config->listen.http_port != successor.http_port)
        return differs("listen.httpPort", error, size);
    for (unsigned i = 0; i < successor.count; i++)
        for (unsigned k = 0; k < successor.listeners[i].count; k++)
            acceptor_add(server_reactor(i), successor.listeners[i].fds[k], successor.listeners[i].admin[k]);
    *ws_port = successor.ws_port;
    *http_port = successor.http_port;
    return true;
}

/* --- Taking --- */

static bool meet(void)
{
    pthread_mutex_lock(&successor.mutex);
    unsigned round = successor.round;
    if (++successor.here == successor.count) {
        successor.here = 0;
        successor.round++;
        pthread_cond_broadcast(&successor.changed);
    }
    while (successor.round == round && !successor.problem[0])
        pthread_cond_wait(&successor.changed, &successor.mutex);
    bool good = !successor.problem[0];
    pthread_mutex_unlock(&successor.mutex);
    return good;
}

static enum stage wait_past(enum stage stage)
{
    pthread_mutex_lock(&successor.mutex);
    while (successor.stage == stage)
        pthread_cond_wait(&successor.changed, &successor.mutex);
    enum stage now = successor.stage;
    pthread_mutex_unlock(&successor.mutex);
    return now;
}

static void enter(enum stage stage)
{
    pthread_mutex_lock(&successor.mutex);
    successor.stage = stage;
    pthread_cond_broadcast(&successor.changed);
    pthread_mutex_unlock(&successor.mutex);
}

/* A read there waits for so long. */
static void patient(int fd, uint32_t ms)
{
    struct timeval timeout = {.tv_sec = ms / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

bool handover_take(struct reactor *reactor)
{
    if (!successor.joined)
        return true;
    if (wait_past(STAGE_WAIT) != STAGE_TAKE)
        return false;
    struct channel_reader *channel = &successor.channels[reactor->index];
    patient(channel->fd, GIVE_MS);
    bool good = part_take(reactor, &successor.frames[reactor->index], meet);
    pthread_mutex_lock(&successor.mutex);
    successor.taken += good;
    if (!good && !successor.problem[0])
        snprintf(successor.problem, sizeof successor.problem, "reactor %u: %s", reactor->index,
                 channel_problem(channel));
    pthread_cond_broadcast(&successor.changed);
    pthread_mutex_unlock(&successor.mutex);
    if (wait_past(STAGE_TAKE) != STAGE_GO)
        return false;
    part_begin(reactor);
    return true;
}

static bool expect(uint32_t kind, char *error, size_t size)
{
    patient(successor.reader.fd, GIVE_MS);
    if (channel_next(&successor.reader) == kind)
        return true;
    snprintf(error, size, "the bridge that hands over: %s",
             successor.reader.failed ? channel_problem(&successor.reader) : "it does not speak as it should");
    return false;
}

static bool say(uint32_t kind, char *error, size_t size)
{
    channel_begin(&successor.writer, kind);
    channel_end(&successor.writer);
    if (channel_flush(&successor.writer))
        return true;
    snprintf(error, size, "the bridge that hands over is gone");
    return false;
}

static bool wait_taken(char *error, size_t size)
{
    pthread_mutex_lock(&successor.mutex);
    while (successor.taken < successor.count && !successor.problem[0])
        pthread_cond_wait(&successor.changed, &successor.mutex);
    bool good = !successor.problem[0];
    if (!good)
        snprintf(error, size, "%s", successor.problem);
    pthread_mutex_unlock(&successor.mutex);
    return good;
}

bool handover_take_over(char *error, size_t size)
{
    if (!successor.joined)
        return true;
    bool good = say(HANDOVER_READY, error, size) && expect(HANDOVER_GIVE, error, size);
    if (good)
        enter(STAGE_TAKE);
    good = good && wait_taken(error, size) && say(HANDOVER_TAKEN, error, size) && expect(HANDOVER_GO, error, size);
    if (!good) {
        handover_refuse(error);
        return false;
    }
    if (!say(HANDOVER_SERVES, error, size)) /* the old one has waited enough, and goes on */
        return false;
    enter(STAGE_GO);
    return true;
}

/* --- What comes late --- */

/* On no reactor: there may be many. */
static void free_frames(void)
{
    for (unsigned i = 0; i < successor.count; i++) {
        frame_reader_free(&successor.frames[i]);
        channel_reader_free(&successor.channels[i]);
        close(successor.channels[i].fd);
    }
}

/* Until the old process ends, which closes its end, or this one does not want more. */
static void *follow(void *status)
{
    uint32_t kind;
    log_name_thread("upgrade");
    free_frames();
    patient(successor.reader.fd, 0);
    while ((kind = channel_next(&successor.reader))) {
        if (kind == HANDOVER_KNOWN && !successor.known)
            service_ready(status);
        else if (kind == HANDOVER_DRAIN)
            drain_begin("the process before this one was told to stop");
        else if (kind == HANDOVER_LATE)
            late_get_answer(&successor.reader);
        successor.known = successor.known || kind == HANDOVER_KNOWN;
    }
    if (!successor.known) /* it ended in between: then this process is told of by nobody else */
        service_ready(status);
    late_answer_rest();
    pool_leave_thread();
    atomic_store(&successor.more_may_come, false);
    supervision_wake();
    return NULL;
}

/* Its end may be in the socket before the thread has seen it. */
bool handover_follows(void)
{
    char byte;
    return atomic_load(&successor.more_may_come) &&
           (late_any() || recv(successor.reader.fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) != 0);
}

void handover_follow(const char *status)
{
    atomic_store(&successor.more_may_come, true);
    int failure = pthread_create(&successor.thread, NULL, follow, (void *)(uintptr_t)status);
    successor.follows = failure == 0;
    if (successor.follows)
        return;
    log_warn(SERVER, "handover_unheard",
             "handover: cannot start a thread: %s: what tasks of the old process come to is "
             "lost",
             strerror(failure));
    atomic_store(&successor.more_may_come, false);
    free_frames();
    service_ready(status);
}

void successor_unfollow(void)
{
    if (successor.follows)
        shutdown(successor.reader.fd, SHUT_RDWR);
}

bool successor_listens(void)
{
    return atomic_load(&successor.more_may_come);
}

void successor_stop(void)
{
    if (successor.follows)
        pthread_join(successor.thread, NULL);
    successor.follows = false;
    if (successor.joined)
        close(successor.reader.fd);
    channel_reader_free(&successor.reader);
    channel_writer_free(&successor.writer);
}
