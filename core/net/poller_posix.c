/* Each socket's watcher puts its entry among the ready ones and has libev call the set's own watcher, which is of a
 * lower priority: so after all of them, in the same turn of the loop. */
#include "net/poller.h"

#include <errno.h>
#include <string.h>

#define LAST_PRIORITY (-1)

static void append(struct poller_list *list, struct poller_entry *entry)
{
    entry->next = NULL;
    entry->previous = list->last;
    *list->last = entry;
    list->last = &entry->next;
}

static void unlink_entry(struct poller_list *list, struct poller_entry *entry)
{
    *entry->previous = entry->next;
    if (entry->next)
        entry->next->previous = entry->previous;
    else
        list->last = entry->previous;
    entry->next = NULL;
    entry->previous = NULL;
}

static void on_socket(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct poller_entry *entry = watcher->data;
    struct poller *poller = entry->poller;
    unsigned ready = (revents & (EV_READ | EV_ERROR) ? POLLER_READ : 0) | (revents & EV_WRITE ? POLLER_WRITE : 0);
    /* EV_ERROR: libev could not watch it and has stopped; reading or writing goes on or says why. */
    if (revents & EV_ERROR) {
        ready = entry->wanted & (POLLER_READ | POLLER_WRITE);
        ev_io_set(watcher, watcher->fd, watcher->events & (EV_READ | EV_WRITE));
        ev_io_start(loop, watcher);
    }
    ready &= entry->wanted;
    if (ready == 0)
        return;
    if (!entry->previous)
        append(&poller->ready, entry);
    entry->ready |= ready;
    if (!poller->alone)
        ev_feed_event(loop, &poller->watcher, EV_READ);
}

static void watch(struct poller *poller, struct poller_entry *entry, int fd)
{
    int events = (entry->wanted & POLLER_READ ? EV_READ : 0) | (entry->wanted & POLLER_WRITE ? EV_WRITE : 0);
    ev_io_init(&entry->watcher, on_socket, fd, events);
    entry->watcher.data = entry;
    if (events)
        ev_io_start(poller->loop, &entry->watcher);
}

static void take_arrivals(struct poller *poller)
{
    pthread_mutex_lock(&poller->mutex);
    while (poller->arrivals.first) {
        struct poller_entry *entry = poller->arrivals.first;
        unlink_entry(&poller->arrivals, entry);
        watch(poller, entry, entry->watcher.fd);
    }
    pthread_mutex_unlock(&poller->mutex);
}

static void on_arrival(struct ev_loop *loop, ev_async *watcher, int revents)
{
    struct poller *poller = watcher->data;
    (void)loop, (void)revents;
    take_arrivals(poller);
    poller->arrived = true;
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct poller *poller = timer->data;
    (void)loop, (void)revents;
    poller->over = true;
}

struct ev_loop *poller_loop_new(void)
{
    return ev_loop_new(EVFLAG_AUTO);
}

void poller_clear(struct poller *poller)
{
    memset(poller, 0, sizeof *poller);
    poller->ready.last = &poller->ready.first;
    poller->arrivals.last = &poller->arrivals.first;
}

bool poller_open(struct poller *poller, struct ev_loop *loop, void (*ready)(struct ev_loop *, ev_io *, int), void *data)
{
    poller_clear(poller);
    poller->loop = loop;
    ev_io_init(&poller->watcher, ready, -1, 0);
    ev_set_priority(&poller->watcher, LAST_PRIORITY);
    poller->watcher.data = data;
    return true;
}

bool poller_open_alone(struct poller *poller)
{
    poller_clear(poller);
    poller->loop = poller_loop_new();
    if (!poller->loop) {
        errno = ENOMEM;
        return false;
    }
    poller->alone = true;
    pthread_mutex_init(&poller->mutex, NULL);
    ev_init(&poller->timer, on_timeout);
    poller->timer.data = poller;
    ev_async_init(&poller->arrival, on_arrival);
    poller->arrival.data = poller;
    ev_async_start(poller->loop, &poller->arrival);
    return true;
}

void poller_close(struct poller *poller)
{
    if (poller->alone) {
        ev_loop_destroy(poller->loop);
        pthread_mutex_destroy(&poller->mutex);
    }
    poller_clear(poller);
}

bool poller_add(struct poller *poller, struct poller_entry *entry, int fd, unsigned events, void *owner)
{
    *entry = (struct poller_entry){.poller = poller, .owner = owner, .wanted = events};
    if (!poller->alone) {
        watch(poller, entry, fd);
        return true;
    }
    ev_io_init(&entry->watcher, on_socket, fd, 0);
    pthread_mutex_lock(&poller->mutex);
    append(&poller->arrivals, entry);
    pthread_mutex_unlock(&poller->mutex);
    ev_async_send(poller->loop, &poller->arrival);
    return true;
}

/* Of the list that it is in, if it is in one. */
static void leave_lists(struct poller *poller, struct poller_entry *entry)
{
    if (poller->alone)
        take_arrivals(poller);
    if (entry->previous)
        unlink_entry(&poller->ready, entry);
    entry->ready = 0;
}

bool poller_change(struct poller *poller, struct poller_entry *entry, int fd, unsigned events, void *owner)
{
    unsigned ready = entry->ready & events;
    leave_lists(poller, entry);
    ev_io_stop(poller->loop, &entry->watcher);
    entry->wanted = events;
    entry->owner = owner;
    watch(poller, entry, fd);
    if (ready) { /* it was about to be told */
        append(&poller->ready, entry);
        entry->ready = ready;
    }
    return true;
}

void poller_remove(struct poller *poller, struct poller_entry *entry, int fd)
{
    (void)fd;
    leave_lists(poller, entry);
    ev_io_stop(poller->loop, &entry->watcher);
}

int poller_take(struct poller *poller, struct poller_event *events, int most)
{
    int count = 0;
    while (count < most && poller->ready.first) {
        struct poller_entry *entry = poller->ready.first;
        events[count++] = (struct poller_event){.events = entry->ready, .owner = entry->owner};
        unlink_entry(&poller->ready, entry);
        entry->ready = 0;
    }
    if (poller->ready.first && !poller->alone)
        ev_feed_event(poller->loop, &poller->watcher, EV_READ);
    return count;
}

int poller_wait_ns(struct poller *poller, struct poller_event *events, int most, uint64_t timeout_ns)
{
    take_arrivals(poller);
    poller->over = timeout_ns == 0 || poller->ready.first;
    if (!poller->over && timeout_ns != UINT64_MAX) {
        ev_now_update(poller->loop);
        ev_timer_set(&poller->timer, (double)timeout_ns / 1e9, 0);
        ev_timer_start(poller->loop, &poller->timer);
    }
    do {
        poller->arrived = false;
        ev_run(poller->loop, poller->over ? EVRUN_NOWAIT : EVRUN_ONCE);
    } while (poller->arrived && !poller->ready.first && !poller->over);
    ev_timer_stop(poller->loop, &poller->timer);
    return poller_take(poller, events, most);
}

int poller_wait(struct poller *poller, struct poller_event *events, int most, int timeout_ms)
{
    return poller_wait_ns(poller, events, most, timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000000);
}
