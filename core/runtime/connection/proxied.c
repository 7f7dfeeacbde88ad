/* What comes is looked at (MSG_PEEK) before it is taken, so that not a byte behind the header is: it may be a TLS
 * handshake's. What has come of a header that is not complete is taken, or the loop would be told of it for ever. */
#include "runtime/connection/proxied.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/pool.h"
#include "protocol/proxy_header.h"
#include "runtime/connection/acceptor.h"
#include "runtime/limits/limits.h"
#include "runtime/reactor.h"

#define EVENTS_PER_POLL 64

struct proxied {
    struct proxied *next, **previous; /* of the reactor */
    struct reactor *reactor;
    uint64_t due_ms; /* steady clock */
    int fd;
    struct poller_entry polled;
    struct address proxy;
    size_t length;
    char header[PROXY_HEADER_MOST];
};

/* Leaves the socket to the caller. */
static int forget(struct proxied *proxied)
{
    struct proxied_set *set = &proxied->reactor->proxied;
    int fd = proxied->fd;
    poller_remove(&set->poller, &proxied->polled, fd);
    *proxied->previous = proxied->next;
    if (proxied->next)
        proxied->next->previous = proxied->previous;
    else
        set->last = proxied->previous;
    pool_release(POOL_BUFFERS, proxied, sizeof *proxied);
    return fd;
}

static void give_up(struct proxied *proxied)
{
    limit_count(LIMIT_PROXY_HEADER);
    limits_drop_connection();
    close(forget(proxied));
}

static void hand_over(struct proxied *proxied, const struct proxy_header *header)
{
    struct reactor *reactor = proxied->reactor;
    const struct address_ranges *trusted = &reactor->config->limits.trusted_proxies;
    struct address address = header->known ? header->source : proxied->proxy;
    enum peer_kind peer = header->local                                        ? PEER_PROXY
                          : header->known && address_in_any(&address, trusted) ? PEER_PROXY
                                                                               : PEER_FORWARDED;
    acceptor_open(reactor, forget(proxied), &address, peer);
}

static void read_header(struct proxied *proxied)
{
    struct proxy_header header;
    char *at = proxied->header + proxied->length;
    ssize_t came = recv(proxied->fd, at, sizeof proxied->header - proxied->length, MSG_PEEK);
    if (came < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    enum proxy_step step =
        came > 0 ? proxy_header_parse(slice_from(proxied->header, proxied->length + (size_t)came), &header)
                 : PROXY_FAIL;
    size_t ours = step == PROXY_DONE ? header.length - proxied->length : step == PROXY_FAIL ? 0 : (size_t)came;
    if (step == PROXY_FAIL || recv(proxied->fd, at, ours, 0) != (ssize_t)ours)
        give_up(proxied);
    else if (step == PROXY_DONE)
        hand_over(proxied, &header);
    else
        proxied->length += ours;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct reactor *reactor = watcher->data;
    struct poller_event events[EVENTS_PER_POLL];
    poller_renew(loop, watcher, revents);
    int count = poller_take(&reactor->proxied.poller, events, EVENTS_PER_POLL);
    if (count <= 0) /* also before the reactor runs, when it has no scripts yet */
        return;
    reactor_begin_pass(reactor);
    for (int i = 0; i < count; i++)
        read_header(poller_owner(&events[i]));
    reactor_end_pass(reactor);
}

/* To the end of the one that came first; nothing to do while there is none. */
static void arm_timer(struct reactor *reactor)
{
    struct proxied_set *set = &reactor->proxied;
    if (!set->first || ev_is_active(&set->timer))
        return;
    uint64_t now_ms = clock_steady_ns() / 1000000;
    ev_timer_set(&set->timer, set->first->due_ms > now_ms ? (double)(set->first->due_ms - now_ms + 1) / 1000 : 0.001,
                 0);
    ev_now_update(reactor->loop);
    ev_timer_start(reactor->loop, &set->timer);
}

static void on_time(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct reactor *reactor = timer->data;
    uint64_t now_ms = clock_steady_ns() / 1000000;
    (void)loop, (void)events;
    while (reactor->proxied.first && reactor->proxied.first->due_ms <= now_ms)
        give_up(reactor->proxied.first);
    arm_timer(reactor);
}

bool proxied_prepare(struct reactor *reactor)
{
    struct proxied_set *set = &reactor->proxied;
    set->last = &set->first;
    ev_init(&set->timer, on_time);
    set->timer.data = reactor;
    return poller_open(&set->poller, reactor->loop, on_readable, reactor);
}

/* NULL: no memory, and the socket is closed. */
static struct proxied *add(struct reactor *reactor, int fd, const struct address *proxy)
{
    struct proxied_set *set = &reactor->proxied;
    struct proxied *proxied = pool_acquire(POOL_BUFFERS, sizeof *proxied);
    if (!proxied || !poller_add(&set->poller, &proxied->polled, fd, POLLER_READ, proxied)) {
        pool_release(POOL_BUFFERS, proxied, sizeof *proxied);
        limits_drop_connection();
        close(fd);
        return NULL;
    }
    proxied->reactor = reactor;
    proxied->fd = fd;
    proxied->proxy = *proxy;
    proxied->length = 0;
    proxied->due_ms = clock_steady_ns() / 1000000 + reactor->config->http.header_timeout_ms;
    proxied->next = NULL;
    proxied->previous = set->last;
    *set->last = proxied;
    set->last = &proxied->next;
    arm_timer(reactor);
    return proxied;
}

void proxied_begin(struct reactor *reactor, int fd, const struct address *proxy)
{
    add(reactor, fd, proxy);
}

/* The other process gives it the whole time again. */
void proxied_put(const struct reactor *reactor, uint32_t kind, struct channel_writer *channel)
{
    for (const struct proxied *proxied = reactor->proxied.first; proxied; proxied = proxied->next) {
        channel_begin(channel, kind);
        channel_put_fd(channel, proxied->fd);
        channel_put_bytes(channel, slice_from((const char *)proxied->proxy.bytes, sizeof proxied->proxy.bytes));
        channel_put_bytes(channel, slice_from(proxied->header, proxied->length));
        channel_end(channel);
    }
}

bool proxied_get(struct reactor *reactor, struct channel_reader *channel)
{
    int fd = channel_get_fd(channel);
    struct slice proxy = channel_get_bytes(channel), header = channel_get_bytes(channel);
    struct address address;
    if (!channel->failed && (proxy.length != sizeof address.bytes || header.length > PROXY_HEADER_MOST))
        channel_reject(channel, "a connection has no address");
    if (channel->failed) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    memcpy(address.bytes, proxy.data, sizeof address.bytes);
    limits_restore_connection(true, NULL);
    struct proxied *proxied = add(reactor, fd, &address);
    if (!proxied) {
        channel_reject(channel, "out of memory");
        return false;
    }
    memcpy(proxied->header, header.data, header.length);
    proxied->length = header.length;
    return true;
}

void proxied_stop(struct reactor *reactor)
{
    while (reactor->proxied.first) {
        limits_drop_connection();
        close(forget(reactor->proxied.first));
    }
    ev_timer_stop(reactor->loop, &reactor->proxied.timer);
}

void proxied_release(struct reactor *reactor)
{
    poller_close(&reactor->proxied.poller);
}
