/* Each thread has a set of sockets; reactors put connections into the one with the fewest. A connection is on its
 * thread's list until it is done, in the order in which it came, which is the order of deadlines: when a reload
 * shortens the time, those behind older ones have as long as these.
 *
 * The threads are nice to the reactors: under load both get their share of the processors, and whoever is connected
 * already goes first. */
#include "runtime/tls/handshakes.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/threads/thread.h"
#include "base/threads/wake.h"
#include "memory/admission.h"
#include "memory/pool.h"
#include "net/poller.h"
#include "runtime/limits/limits.h"
#include "runtime/reactor.h"
#include "runtime/tls/certificates.h"

#define EVENTS_PER_POLL 64

/* The kernel gives a thread at 5 a third of what one at 0 gets, where both want the processor. */
#define NICE 5

/* What a session takes while hands are shaken: the library's two buffers and what it computes with. */
#define SESSION_BYTES (44u << 10)

/* How often memory that the thread's pools keep and do not use goes back. */
#define AGE_MS 10000u

/* RFC 5246 6.2.1: the first byte of a handshake. */
#define CONTENT_HANDSHAKE 22

struct handshake {
    struct errand errand; /* first: brings it to its reactor */
    struct handshake *next, **previous;
    struct reactor *reactor;
    struct tls_session *session; /* NULL: nothing came yet */
    uint64_t due_ms;             /* steady clock */
    uint64_t began_ns;           /* steady clock: when its first byte was seen */
    int fd;
    bool writes; /* waits for the socket to take bytes */
    struct poller_entry polled;
    struct arrival arrival;
};

static struct handshaker {
    pthread_t thread;
    unsigned index;
    struct poller poller;
    struct wake wake;
    struct poller_entry wake_polled;
    pthread_mutex_t mutex; /* the list, and the next */
    struct handshake *first, **last;
    uint64_t wakes_ms; /* steady clock: until when it waits at most */
    atomic_uint count; /* on the list */
    struct histogram full_times, resumed_times;
} handshakers[HANDSHAKE_THREADS_MAXIMUM];

static atomic_uint running; /* written before the first connection comes */
static atomic_bool stopping;
static atomic_uint timeout_ms, most, begun;
static atomic_ullong full, resumed, failed[HANDSHAKE_FAILURES];

static void count(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- Ends --- */

static void leave_list(struct handshaker *own, struct handshake *handshake)
{
    poller_remove(&own->poller, &handshake->polled, handshake->fd);
    pthread_mutex_lock(&own->mutex);
    *handshake->previous = handshake->next;
    if (handshake->next)
        handshake->next->previous = handshake->previous;
    else
        own->last = handshake->previous;
    pthread_mutex_unlock(&own->mutex);
    atomic_fetch_sub_explicit(&own->count, 1, memory_order_relaxed);
    if (handshake->session)
        atomic_fetch_sub_explicit(&begun, 1, memory_order_relaxed);
}

/* What was sent last (an alert, an answer) is to arrive: closing with unread bytes would reset the connection. */
static void close_socket(int fd)
{
    char ignored[4096];
    shutdown(fd, SHUT_WR);
    (void)!recv(fd, ignored, sizeof ignored, MSG_DONTWAIT);
    close(fd);
}

static void release(struct handshake *handshake)
{
    if (handshake->session)
        tls_session_end_sending(handshake->session);
    tls_session_free(handshake->session);
    close_socket(handshake->fd);
    arrival_leave(&handshake->arrival);
    pool_release(POOL_ARRAYS, handshake, sizeof *handshake);
}

static void end(struct handshaker *own, struct handshake *handshake, unsigned failure)
{
    leave_list(own, handshake);
    count(&failed[failure]);
    release(handshake);
}

/* Authorities and revocation lists may have changed since it began: once it is the reactor's it is looked at whenever
 * they do. */
static bool still_stands(const struct handshake *handshake)
{
    struct tls_context *context = certificates_current();
    bool stands = tls_session_stands(handshake->session, context);
    tls_context_release(context);
    return stands;
}

/* On the reactor's thread, with the handshake done. */
static void arrive(struct reactor *reactor, struct errand *errand)
{
    struct handshake *handshake = (struct handshake *)errand;
    struct transport transport = {.fd = handshake->fd, .tls = handshake->session};
    if (!reactor->draining && still_stands(handshake) && connection_open(reactor, transport, &handshake->arrival))
        pool_release(POOL_ARRAYS, handshake, sizeof *handshake);
    else
        release(handshake);
}

static void hand_over(struct handshaker *own, struct handshake *handshake)
{
    leave_list(own, handshake);
    bool again = tls_session_resumed(handshake->session);
    count(again ? &resumed : &full);
    histogram_record(again ? &own->resumed_times : &own->full_times, clock_steady_ns() - handshake->began_ns, 1);
    handshake->errand.run = arrive;
    reactor_post(handshake->reactor, &handshake->errand);
}

/* --- The first byte --- */

#define PLAIN_BODY "{\"error\":\"this port speaks TLS: use https:// or wss://\",\"code\":\"bad_request\"}"
_Static_assert(sizeof PLAIN_BODY - 1 == 77, "Content-Length below says it");

/* What begins with a letter is a request of HTTP; other protocols hear nothing. */
static void refuse_plain(struct handshaker *own, struct handshake *handshake, unsigned char first)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 77\r\n\r\n" PLAIN_BODY;
    if ((first | 0x20) >= 'a' && (first | 0x20) <= 'z')
        (void)!send(handshake->fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    end(own, handshake, HANDSHAKE_PLAIN);
}

static bool may_begin(void)
{
    if (atomic_fetch_add_explicit(&begun, 1, memory_order_relaxed) <
            atomic_load_explicit(&most, memory_order_relaxed) &&
        admission_take(SESSION_BYTES))
        return true;
    atomic_fetch_sub_explicit(&begun, 1, memory_order_relaxed);
    return false;
}

/* False: it is gone, or nothing came yet. */
static bool begin(struct handshaker *own, struct handshake *handshake, uint32_t events)
{
    unsigned char first;
    ssize_t n = recv(handshake->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (n <= 0) {
        end(own, handshake, TLS_FAILURE_CLOSED);
        return false;
    }
    if (first != CONTENT_HANDSHAKE) {
        refuse_plain(own, handshake, first);
        return false;
    }
    if (events & POLLER_PEER_ENDED) { /* it will not answer: not worth the computing */
        end(own, handshake, TLS_FAILURE_CLOSED);
        return false;
    }
    bool may = may_begin();
    struct tls_context *context = may ? certificates_current() : NULL;
    if (context)
        handshake->session = tls_session_new(context, own->index, handshake->fd);
    tls_context_release(context);
    handshake->began_ns = clock_steady_ns();
    if (handshake->session)
        return true;
    if (may)
        atomic_fetch_sub_explicit(&begun, 1, memory_order_relaxed);
    static struct log_site site = {.room = LOG_ROOM_TLS, .name = "too_many_handshakes", .lines_per_second = 1};
    if (log_enabled(LOG_ROOM_TLS, LOG_LEVEL_WARN))
        log_write(&site, LOG_LEVEL_WARN, "TLS: too many handshakes at once, or no memory: connections are closed");
    end(own, handshake, HANDSHAKE_OVERLOADED);
    return false;
}

/* --- Going on --- */

static void want(struct handshaker *own, struct handshake *handshake, bool writes)
{
    if (handshake->writes == writes)
        return;
    handshake->writes = writes;
    poller_change(&own->poller, &handshake->polled, handshake->fd,
                  (writes ? POLLER_WRITE : POLLER_READ) | POLLER_PEER_ENDED, handshake);
}

static void fail(struct handshaker *own, struct handshake *handshake)
{
    if (log_enabled(LOG_ROOM_TLS, LOG_LEVEL_DEBUG)) {
        char why[160];
        unsigned failure = tls_session_failure(handshake->session);
        tls_session_explain(handshake->session, why, sizeof why);
        log_debug(TLS, "handshake_failed", "TLS: a handshake failed (%s): %s", handshake_failure_name(failure), why);
    }
    end(own, handshake, tls_session_failure(handshake->session));
}

static void go_on(struct handshaker *own, struct handshake *handshake, uint32_t events)
{
    if (!handshake->session && !begin(own, handshake, events))
        return;
    enum tls_step step = tls_session_handshake(handshake->session);
    if (step == TLS_STEP_DONE)
        hand_over(own, handshake);
    else if (step == TLS_STEP_FAILED)
        fail(own, handshake);
    else if (events & (POLLER_PEER_ENDED | POLLER_FAILED)) /* its last bytes were no alert that says why */
        end(own, handshake, TLS_FAILURE_CLOSED);
    else
        want(own, handshake, step == TLS_STEP_WANTS_WRITE);
}

/* --- The thread --- */

static struct handshake *oldest(struct handshaker *own)
{
    pthread_mutex_lock(&own->mutex);
    struct handshake *handshake = own->first;
    pthread_mutex_unlock(&own->mutex);
    return handshake;
}

/* Of the next wait. While connections come one after the other, a thread that has none waits as long as the next one
 * has time, so that nobody needs to wake it for that one's deadline; when nothing came it waits without an end. */
static int milliseconds_left(struct handshaker *own, bool came)
{
    uint64_t now_ms = clock_steady_ns() / 1000000;
    pthread_mutex_lock(&own->mutex);
    uint64_t until_ms = own->first ? own->first->due_ms
                        : came     ? now_ms + atomic_load_explicit(&timeout_ms, memory_order_relaxed)
                                   : UINT64_MAX;
    own->wakes_ms = until_ms;
    pthread_mutex_unlock(&own->mutex);
    if (until_ms == UINT64_MAX)
        return -1;
    /* One more, so that it is over when the wait is. */
    return until_ms > now_ms ? (int)(until_ms - now_ms) + 1 : 0;
}

static void end_late(struct handshaker *own, uint64_t now_ms)
{
    struct handshake *handshake;
    while ((handshake = oldest(own)) && handshake->due_ms <= now_ms)
        end(own, handshake, HANDSHAKE_TIMEOUT);
}

static void close_all(struct handshaker *own)
{
    struct handshake *handshake;
    while ((handshake = oldest(own))) {
        leave_list(own, handshake);
        release(handshake);
    }
}

static void *run(void *argument)
{
    struct handshaker *own = argument;
    char name[16];
    uint64_t aged_ms = 0;
    bool came = false;
    snprintf(name, sizeof name, "handshakes %u", own->index);
    log_name_thread(name);
    thread_be_nice(NICE);
    while (!atomic_load_explicit(&stopping, memory_order_acquire)) {
        struct poller_event events[EVENTS_PER_POLL];
        int n = poller_wait(&own->poller, events, EVENTS_PER_POLL, milliseconds_left(own, came));
        came = n > 0;
        for (int i = 0; i < n && !atomic_load_explicit(&stopping, memory_order_relaxed); i++) {
            if (poller_owner(&events[i]))
                go_on(own, poller_owner(&events[i]), events[i].events);
            else
                wake_take(&own->wake);
        }
        uint64_t now_ms = clock_steady_ns() / 1000000;
        end_late(own, now_ms);
        if (now_ms - aged_ms >= AGE_MS) {
            aged_ms = now_ms;
            pool_age_thread();
        }
    }
    close_all(own);
    pool_leave_thread();
    return NULL;
}

bool handshakes_take(struct reactor *reactor, int fd, const struct arrival *arrival)
{
    struct handshaker *chosen = &handshakers[reactor->index % running];
    for (unsigned i = 0; i < running; i++)
        if (atomic_load_explicit(&handshakers[i].count, memory_order_relaxed) <
            atomic_load_explicit(&chosen->count, memory_order_relaxed))
            chosen = &handshakers[i];
    struct handshake *handshake = pool_acquire(POOL_ARRAYS, sizeof *handshake);
    if (!handshake)
        return false;
    *handshake = (struct handshake){.reactor = reactor,
                                    .fd = fd,
                                    .due_ms = reactor->now_ms + atomic_load_explicit(&timeout_ms, memory_order_relaxed),
                                    .arrival = *arrival};
    pthread_mutex_lock(&chosen->mutex);
    /* Once the thread is told to stop it may have looked at its list for the last time. */
    bool taken = !atomic_load_explicit(&stopping, memory_order_acquire) &&
                 poller_add(&chosen->poller, &handshake->polled, fd, POLLER_READ | POLLER_PEER_ENDED, handshake);
    bool sooner = !chosen->first && handshake->due_ms < chosen->wakes_ms;
    if (taken) {
        handshake->previous = chosen->last;
        *chosen->last = handshake;
        chosen->last = &handshake->next;
        atomic_fetch_add_explicit(&chosen->count, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&chosen->mutex);
    if (!taken)
        pool_release(POOL_ARRAYS, handshake, sizeof *handshake);
    else if (sooner)
        wake_call(chosen->wake.caller);
    return taken;
}

/* --- Start and stop --- */

static bool start_one(struct handshaker *own, unsigned index, char *error, size_t size)
{
    own->index = index;
    own->last = &own->first;
    own->wake = WAKE_NONE;
    poller_clear(&own->poller);
    bool good = poller_open_alone(&own->poller) && wake_open(&own->wake) &&
                poller_add(&own->poller, &own->wake_polled, own->wake.fd, POLLER_READ, NULL);
    int failure = good ? 0 : errno;
    pthread_mutex_init(&own->mutex, NULL);
    if (failure == 0)
        failure = pthread_create(&own->thread, NULL, run, own);
    if (failure == 0)
        return true;
    snprintf(error, size, "cannot start a thread for TLS handshakes: %s", strerror(failure));
    poller_close(&own->poller);
    wake_close(&own->wake);
    pthread_mutex_destroy(&own->mutex);
    return false;
}

unsigned handshakes_threads(unsigned wanted)
{
    unsigned now = atomic_load_explicit(&running, memory_order_relaxed);
    return now > 0 ? now : wanted;
}

bool handshakes_start(unsigned threads, char *error, size_t size)
{
    if (running > 0)
        return true;
    while (running < threads) {
        if (!start_one(&handshakers[running], running, error, size))
            return running > 0; /* fewer are enough */
        running++;
    }
    return true;
}

void handshakes_configure(uint32_t timeout, uint32_t most_begun)
{
    atomic_store_explicit(&timeout_ms, timeout, memory_order_relaxed);
    atomic_store_explicit(&most, most_begun, memory_order_relaxed);
}

void handshakes_stop(void)
{
    for (unsigned i = 0; i < running; i++)
        pthread_mutex_lock(&handshakers[i].mutex);
    atomic_store_explicit(&stopping, true, memory_order_release);
    for (unsigned i = 0; i < running; i++) {
        pthread_mutex_unlock(&handshakers[i].mutex);
        wake_call(handshakers[i].wake.caller);
    }
    for (unsigned i = 0; i < running; i++) {
        pthread_join(handshakers[i].thread, NULL);
        poller_close(&handshakers[i].poller);
        wake_close(&handshakers[i].wake);
    }
}

/* --- Figures --- */

void handshakes_read(struct handshake_figures *out)
{
    uint32_t all = 0;
    *out = (struct handshake_figures){.full = atomic_load_explicit(&full, memory_order_relaxed),
                                      .resumed = atomic_load_explicit(&resumed, memory_order_relaxed),
                                      .in_progress = atomic_load_explicit(&begun, memory_order_relaxed),
                                      .threads = running};
    for (unsigned i = 0; i < HANDSHAKE_FAILURES; i++)
        out->failed[i] = atomic_load_explicit(&failed[i], memory_order_relaxed);
    for (unsigned i = 0; i < running; i++)
        all += atomic_load_explicit(&handshakers[i].count, memory_order_relaxed);
    out->waiting = all > out->in_progress ? all - out->in_progress : 0;
}

void handshakes_add_times(struct histogram_sums *full_times, struct histogram_sums *resumed_times)
{
    for (unsigned i = 0; i < running; i++) {
        histogram_add(&handshakers[i].full_times, full_times);
        histogram_add(&handshakers[i].resumed_times, resumed_times);
    }
}

const char *handshake_failure_name(unsigned failure)
{
    static const char *const names[HANDSHAKE_FAILURES] = {
        [TLS_FAILURE_CLOSED] = "closed",
        [TLS_FAILURE_ALERT] = "refusedByPeer",
        [TLS_FAILURE_VERSION] = "version",
        [TLS_FAILURE_CIPHER] = "cipher",
        [TLS_FAILURE_CERTIFICATE] = "certificate",
        [TLS_FAILURE_MEMORY] = "memory",
        [TLS_FAILURE_PROTOCOL] = "protocol",
        [HANDSHAKE_TIMEOUT] = "timeout",
        [HANDSHAKE_PLAIN] = "plain",
        [HANDSHAKE_OVERLOADED] = "overloaded",
    };
    return failure < HANDSHAKE_FAILURES ? names[failure] : NULL;
}
