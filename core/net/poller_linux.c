#include "net/poller.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

struct ev_loop *poller_loop_new(void)
{
    return ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
}

void poller_clear(struct poller *poller)
{
    poller->fd = -1;
}

bool poller_open_alone(struct poller *poller)
{
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    return poller->fd >= 0;
}

bool poller_open(struct poller *poller, struct ev_loop *loop, void (*ready)(struct ev_loop *, ev_io *, int), void *data)
{
    if (!poller_open_alone(poller))
        return false;
    ev_io_init(&poller->watcher, ready, poller->fd, EV_READ);
    poller->watcher.data = data;
    ev_io_start(loop, &poller->watcher);
    return true;
}

void poller_close(struct poller *poller)
{
    if (poller->fd >= 0)
        close(poller->fd);
    poller->fd = -1;
}

bool poller_add(struct poller *poller, struct poller_entry *entry, int fd, unsigned events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    (void)entry;
    return epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool poller_change(struct poller *poller, struct poller_entry *entry, int fd, unsigned events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    (void)entry;
    return epoll_ctl(poller->fd, EPOLL_CTL_MOD, fd, &event) == 0;
}

void poller_remove(struct poller *poller, struct poller_entry *entry, int fd)
{
    (void)entry;
    epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, NULL);
}

int poller_wait(struct poller *poller, struct poller_event *events, int most, int timeout_ms)
{
    return epoll_wait(poller->fd, events, most, timeout_ms);
}

int poller_wait_ns(struct poller *poller, struct poller_event *events, int most, uint64_t timeout_ns)
{
    struct timespec timeout = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
    return epoll_pwait2(poller->fd, events, most, &timeout, NULL);
}
