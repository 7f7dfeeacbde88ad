/* What comes is looked at (MSG_PEEK) before it is taken, so that not a byte behind the header is: it may be a TLS
 * handshake's. What has come of a header that is not complete is taken, or the loop would be told of it for ever. */
#include "runtime/proxied.h"

#include <errno.h>
#include <ev.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/pool.h"
#include "protocol/proxy_header.h"
#include "runtime/acceptor.h"
#include "runtime/limits.h"
#include "runtime/reactor.h"

struct proxied {
    struct proxied *next, **previous; /* of the reactor */
    struct reactor *reactor;
    ev_io readable;
    ev_timer timer;
    int fd;
    struct address proxy;
    size_t length;
    char header[PROXY_HEADER_MOST];
};

/* Leaves the socket to the caller. */
static int forget(struct proxied *proxied)
{
    struct ev_loop *loop = proxied->reactor->loop;
    int fd = proxied->fd;
    ev_io_stop(loop, &proxied->readable);
    ev_timer_stop(loop, &proxied->timer);
    *proxied->previous = proxied->next;
    if (proxied->next)
        proxied->next->previous = proxied->previous;
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

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct proxied *proxied = watcher->data;
    struct reactor *reactor = proxied->reactor;
    struct proxy_header header;
    (void)loop;
    if (events & EV_ERROR) { /* libev had no memory to watch it */
        give_up(proxied);
        return;
    }
    reactor_begin_pass(reactor);
    char *at = proxied->header + proxied->length;
    ssize_t came = recv(proxied->fd, at, sizeof proxied->header - proxied->length, MSG_PEEK);
    if (came < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return reactor_end_pass(reactor);
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
    reactor_end_pass(reactor);
}

static void on_time(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    give_up(timer->data);
}

void proxied_begin(struct reactor *reactor, int fd, const struct address *proxy)
{
    struct proxied *proxied = pool_acquire(POOL_BUFFERS, sizeof *proxied);
    if (!proxied) {
        limits_drop_connection();
        close(fd);
        return;
    }
    proxied->reactor = reactor;
    proxied->fd = fd;
    proxied->proxy = *proxy;
    proxied->length = 0;
    proxied->next = reactor->proxied;
    proxied->previous = &reactor->proxied;
    if (proxied->next)
        proxied->next->previous = &proxied->next;
    reactor->proxied = proxied;
    ev_io_init(&proxied->readable, on_readable, fd, EV_READ);
    ev_timer_init(&proxied->timer, on_time, reactor->config->http.header_timeout_ms / 1000.0, 0);
    proxied->readable.data = proxied->timer.data = proxied;
    ev_io_start(reactor->loop, &proxied->readable);
    ev_timer_start(reactor->loop, &proxied->timer);
}

void proxied_stop(struct reactor *reactor)
{
    while (reactor->proxied) {
        limits_drop_connection();
        close(forget(reactor->proxied));
    }
}
