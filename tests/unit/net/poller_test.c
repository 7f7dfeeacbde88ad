#include "../../support/unit.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/poller.h"

static struct poller *polled;
static unsigned calls, taken;
static int closing;

static void on_ready(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct poller_event events[4];
    poller_renew(loop, watcher, revents);
    calls++;
    for (int count; (count = poller_take(polled, events, 4)) > 0;)
        for (int i = 0; i < count; i++) {
            int *number = poller_owner(&events[i]);
            char byte;
            taken++;
            CHECK(events[i].events & POLLER_READ);
            CHECK(recv(*number, &byte, 1, 0) == 1);
        }
    (void)watcher->data;
}

static void make_pair(int ends[2])
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
}

TEST("poller: what is ready is told in batches, more than fit into one too")
{
    enum { COUNT = 10 };
    int ends[COUNT][2];
    struct poller poller;
    struct poller_entry entries[COUNT];
    struct ev_loop *loop = ev_loop_new(0);
    poller_clear(&poller);
    polled = &poller;
    CHECK(poller_open(&poller, loop, on_ready, NULL));
    for (int i = 0; i < COUNT; i++) {
        make_pair(ends[i]);
        CHECK(poller_add(&poller, &entries[i], ends[i][0], POLLER_READ, &ends[i][0]));
        CHECK(send(ends[i][1], "x", 1, 0) == 1);
    }
    for (int turn = 0; taken < COUNT && turn < 100; turn++)
        ev_run(loop, EVRUN_NOWAIT);
    CHECK(taken == COUNT && calls > 0);
    for (int i = 0; i < COUNT; i++) {
        poller_remove(&poller, &entries[i], ends[i][0]);
        CHECK(send(ends[i][1], "y", 1, 0) == 1);
    }
    ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT);
    CHECK(taken == COUNT); /* those that were removed are not told of */
    poller_close(&poller);
    ev_loop_destroy(loop);
}

TEST("poller: reading and writing are told of as they are asked for")
{
    int ends[2], filled = 0;
    char bytes[4096] = "";
    struct poller poller;
    struct poller_entry entry;
    struct poller_event event;
    CHECK(poller_open_alone(&poller));
    make_pair(ends);
    CHECK(poller_add(&poller, &entry, ends[0], POLLER_WRITE, ends));
    CHECK(poller_wait(&poller, &event, 1, 1000) == 1);
    CHECK(poller_owner(&event) == ends && event.events == POLLER_WRITE);
    while (send(ends[0], bytes, sizeof bytes, 0) > 0)
        filled++;
    CHECK(filled > 0 && poller_wait(&poller, &event, 1, 0) == 0);
    CHECK(send(ends[1], "x", 1, 0) == 1);
    CHECK(poller_wait(&poller, &event, 1, 0) == 0); /* nobody asked for reading */
    CHECK(poller_change(&poller, &entry, ends[0], POLLER_READ | POLLER_WRITE, &filled));
    CHECK(poller_wait_ns(&poller, &event, 1, 1000000000) == 1);
    CHECK(poller_owner(&event) == &filled && event.events == POLLER_READ);
    CHECK(poller_change(&poller, &entry, ends[0], 0, ends));
    CHECK(poller_wait(&poller, &event, 1, 0) == 0);
    CHECK(poller_change(&poller, &entry, ends[0], POLLER_READ | POLLER_PEER_ENDED, ends));
    CHECK(recv(ends[0], bytes, sizeof bytes, 0) == 1);
    close(ends[1]);
    CHECK(poller_wait(&poller, &event, 1, 1000) == 1 && event.events & POLLER_READ);
    poller_remove(&poller, &entry, ends[0]);
    CHECK(poller_wait(&poller, &event, 1, 0) == 0);
    poller_close(&poller);
}

static void *add_later(void *argument)
{
    static struct poller_entry entry;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    CHECK(poller_add(polled, &entry, closing, POLLER_READ, argument));
    return NULL;
}

TEST("poller: another thread adds to one that is waited for")
{
    int ends[2];
    pthread_t thread;
    struct poller poller;
    struct poller_event event;
    CHECK(poller_open_alone(&poller));
    make_pair(ends);
    CHECK(send(ends[1], "x", 1, 0) == 1);
    polled = &poller;
    closing = ends[0];
    CHECK(pthread_create(&thread, NULL, add_later, ends) == 0);
    int count = 0;
    for (int turn = 0; count == 0 && turn < 100; turn++)
        count = poller_wait(&poller, &event, 1, -1);
    CHECK(count == 1 && poller_owner(&event) == ends);
    pthread_join(thread, NULL);
    poller_close(&poller);
}
