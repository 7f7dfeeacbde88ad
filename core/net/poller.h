/* A set of sockets that one thread waits for. On Linux it is an epoll set, which costs the loop nothing however many
 * sockets are in it; elsewhere (a build with PORTABLE=1) each socket is a watcher of libev, and those that are ready
 * are gathered, so that both are served in the same batches.
 *
 * A set either belongs to a loop, which calls back when there is something to take (poller_open), or is waited for by
 * its thread (poller_open_alone). Linux tells of the end of a socket that is not waited for at all, the other does
 * not. */
#ifndef LUADUCT_NET_POLLER_H
#define LUADUCT_NET_POLLER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef LUADUCT_LINUX

#include <sys/epoll.h>

/* What is waited for, and what there is; POLLER_PEER_ENDED: the peer writes no more; POLLER_FAILED: the socket is dead.
 */
#define POLLER_READ EPOLLIN
#define POLLER_WRITE EPOLLOUT
#define POLLER_PEER_ENDED EPOLLRDHUP
#define POLLER_FAILED (EPOLLERR | EPOLLHUP)

struct poller {
    int fd;
    ev_io watcher; /* of the set, where it belongs to a loop */
};

/* What a socket in the set needs beside its number; it stays where it is until poller_remove. */
struct poller_entry {
};

#define poller_event epoll_event /* .events, and the owner: poller_owner */

#else

#include <pthread.h>

#define POLLER_READ 1u
#define POLLER_WRITE 2u
#define POLLER_PEER_ENDED 0u /* POSIX does not tell: one reads to the end */
#define POLLER_FAILED 4u     /* never told: reading, or writing, says why */

struct poller_entry {
    ev_io watcher;
    struct poller *poller;
    void *owner;
    struct poller_entry *next, **previous; /* of those that are ready, or that came from another thread */
    unsigned wanted, ready;
};

struct poller_list {
    struct poller_entry *first, **last;
};

struct poller {
    struct ev_loop *loop;
    ev_io watcher; /* of no descriptor: called back when something is ready */
    bool alone;    /* the loop is its own */
    ev_timer timer;
    bool over, arrived; /* of one wait: its time is over; it was for an arrival only */
    struct poller_list ready;
    pthread_mutex_t mutex; /* arrivals */
    struct poller_list arrivals;
    ev_async arrival;
};

struct poller_event {
    unsigned events;
    void *owner;
};

#endif

/* Whose socket it is, as poller_add was told. */
static inline void *poller_owner(const struct poller_event *event)
{
#ifdef LUADUCT_LINUX
    return event->data.ptr;
#else
    return event->owner;
#endif
}

/* A loop of libev, to be destroyed with ev_loop_destroy. Off Linux the environment variable LIBEV_FLAGS says how it
 * polls (ev(3), by the backend's number), for what libev takes by itself differs between systems: select, say, where
 * it does not trust kqueue. NULL: no memory. */
struct ev_loop *poller_loop_new(void);

/* `ready` is called by the loop, on its thread, with watcher->data as given; it begins with poller_renew, and takes
 * until there is nothing. False: errno says why, and poller_close is in order. */
bool poller_open(struct poller *poller, struct ev_loop *loop, void (*ready)(struct ev_loop *, ev_io *, int),
                 void *data);

/* One that is waited for with poller_wait. False as above. */
bool poller_open_alone(struct poller *poller);

/* Before any of these: so poller_close is in order whatever happens. */
void poller_clear(struct poller *poller);

/* Also what never was opened. The loop is still there. */
void poller_close(struct poller *poller);

/* Waits for `events` (POLLER_READ and POLLER_WRITE; POLLER_PEER_ENDED besides) at that socket from now on. Of a set
 * that is waited for alone it may be called on another thread. False: no memory; errno says so. */
bool poller_add(struct poller *poller, struct poller_entry *entry, int fd, unsigned events, void *owner);

/* The rest on the thread of the set. */

bool poller_change(struct poller *poller, struct poller_entry *entry, int fd, unsigned events, void *owner);

/* Either of the two. */
typedef bool poller_wanting(struct poller *poller, struct poller_entry *entry, int fd, unsigned events, void *owner);

/* Before the socket is closed. What was taken before may still name it. */
void poller_remove(struct poller *poller, struct poller_entry *entry, int fd);

/* The same of a socket that nobody else has and that is closed next: on Linux that alone takes it out. */
static inline void poller_forget(struct poller *poller, struct poller_entry *entry, int fd)
{
#ifdef LUADUCT_LINUX
    (void)poller, (void)entry, (void)fd;
#else
    poller_remove(poller, entry, fd);
#endif
}

/* Waits for so long (-1: without an end) and gives how many there are, at a signal perhaps none; negative: errno says
 * why. */
int poller_wait(struct poller *poller, struct poller_event *events, int most, int timeout_ms);
int poller_wait_ns(struct poller *poller, struct poller_event *events, int most, uint64_t timeout_ns);

#ifdef LUADUCT_LINUX

/* What is there now, in a set that belongs to a loop. */
static inline int poller_take(struct poller *poller, struct poller_event *events, int most)
{
    return epoll_wait(poller->fd, events, most, 0);
}

/* libev could not have the set watched, for want of memory: again. Without ev_io_set it takes it for watched. */
static inline void poller_renew(struct ev_loop *loop, ev_io *watcher, int revents)
{
    if (revents & EV_ERROR) {
        ev_io_set(watcher, watcher->fd, EV_READ);
        ev_io_start(loop, watcher);
    }
}

#else

int poller_take(struct poller *poller, struct poller_event *events, int most);

static inline void poller_renew(struct ev_loop *loop, ev_io *watcher, int revents)
{
    (void)loop, (void)watcher, (void)revents;
}

#endif

#endif
