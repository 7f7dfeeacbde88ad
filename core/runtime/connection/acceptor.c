/* Each reactor has listening sockets of its own on the shared ports; the kernel spreads new connections over them. A
 * descriptor is kept in reserve: when the process has no other left, it is given up for a moment to tell one waiting
 * peer why it is not served, and then accepting pauses. */
#include "runtime/connection/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/connection/proxied.h"
#include "runtime/limits/limits.h"
#include "runtime/reactor.h"
#include "runtime/tls/certificates.h"
#include "runtime/tls/handshakes.h"

/* To turn one away takes some 20 us: those who are connected wait for no more than these. */
#define ACCEPTS_PER_TURN 16
/* After descriptors ran out: how long until the listeners are tried again. */
#define ACCEPT_PAUSE_SECONDS 0.2

#define TURN_AWAY_HEAD(status, length)                                                                                 \
    "HTTP/1.1 " status                                                                                                 \
    "\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: application/json\r\nContent-Length: " length "\r\n\r\n"
#define OVERLOADED_BODY "{\"error\":\"the bridge can take no more connections\",\"code\":\"overloaded\"}"
#define RATE_LIMITED_BODY "{\"error\":\"too many new connections in too short a time\",\"code\":\"rate_limited\"}"
_Static_assert(sizeof OVERLOADED_BODY - 1 == 71 && sizeof RATE_LIMITED_BODY - 1 == 78, "the lengths below say it");

/* One answer for those that cannot be served, written without a connection of their own. */
static void turn_away(struct reactor *reactor, int fd, enum code code)
{
    static const char overloaded[] = TURN_AWAY_HEAD("503 Service Unavailable", "71") OVERLOADED_BODY;
    static const char rate_limited[] = TURN_AWAY_HEAD("429 Too Many Requests", "78") RATE_LIMITED_BODY;
    struct slice answer = code == CODE_RATE_LIMITED ? SLICE(rate_limited) : SLICE(overloaded);
    counter_add(&reactor->lane->counters.refused[code], 1);
    if (send(fd, answer.data, answer.length, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        /* Closing with unread bytes would reset the connection and take the answer with it. */
        char ignored[4096];
        shutdown(fd, SHUT_WR);
        (void)!recv(fd, ignored, sizeof ignored, MSG_DONTWAIT);
    }
    close(fd);
}

/* Whom that answer would only confuse, before hands are shaken, hears nothing. */
static void close_or_turn_away(struct reactor *reactor, int fd, bool speaks_tls, enum code code)
{
    if (!speaks_tls) {
        turn_away(reactor, fd, code);
        return;
    }
    counter_add(&reactor->lane->counters.refused[code], 1);
    close(fd);
}

static void pause_accepting(struct reactor *reactor)
{
    for (unsigned i = 0; i < reactor->listener_count; i++)
        ev_io_stop(reactor->loop, &reactor->listeners[i].watcher);
    ev_timer_stop(reactor->loop, &reactor->accept_timer);
    ev_timer_set(&reactor->accept_timer, ACCEPT_PAUSE_SECONDS, 0);
    ev_timer_start(reactor->loop, &reactor->accept_timer);
}

static void on_accept_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct reactor *reactor = watcher->data;
    (void)events;
    if (reactor->reserve_fd < 0)
        reactor->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (unsigned i = 0; i < reactor->listener_count; i++) {
        ev_io *listener = &reactor->listeners[i].watcher;
        if (!ev_is_active(listener))
            ev_io_set(listener, listener->fd, EV_READ); /* libev may have failed at it, and takes it for watched */
        ev_io_start(loop, listener);
    }
}

/* Out of descriptors: the reserved one lets one waiting peer hear why, then accepting pauses. */
static void accept_without_descriptors(struct reactor *reactor, int listener)
{
    log_warn(SERVER, "out_of_descriptors", "out of file descriptors: new connections wait");
    if (reactor->reserve_fd >= 0) {
        close(reactor->reserve_fd);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            close_or_turn_away(reactor, fd, certificates_in_use(), CODE_OVERLOADED);
        reactor->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    pause_accepting(reactor);
}

static bool count_whole(struct reactor *reactor, int fd)
{
    /* At critical new connections come in and hear why at their first request (http_gate.c), so that probes are
     * answered; past that there is no room even for them. */
    if (atomic_load_explicit(&admission_state, memory_order_relaxed) == ADMISSION_CLOSED) {
        counter_add(&reactor->shed.refused_connections, 1);
        close_or_turn_away(reactor, fd, certificates_in_use(), CODE_OVERLOADED);
        return false;
    }
    enum limit limit = limits_take_connection(clock_coarse_ns());
    if (limit != LIMIT_NONE)
        close_or_turn_away(reactor, fd, certificates_in_use(), limit_code(limit));
    return limit == LIMIT_NONE;
}

void acceptor_open(struct reactor *reactor, int fd, const struct address *from, enum peer_kind kind)
{
    bool speaks_tls = kind != PEER_ADMIN && certificates_in_use();
    struct arrival arrival = {.address = peer_address_of(from), .kind = (uint8_t)kind, .counted = kind != PEER_ADMIN};
    /* Many come by one proxy: each is counted when the proxy has said who it is. */
    if (kind == PEER_DIRECT || kind == PEER_FORWARDED)
        arrival.party = party_of_address(&arrival.address);
    enum limit limit = party_take_connection(arrival.party, clock_coarse_ns());
    if (limit != LIMIT_NONE) {
        limits_return_handshake();
        party_release(arrival.party);
        arrival.party = NULL;
    } else if (speaks_tls ? handshakes_take(reactor, fd, &arrival)
                          : connection_open(reactor, (struct transport){.fd = fd}, &arrival)) {
        return;
    }
    arrival_leave(&arrival);
    close_or_turn_away(reactor, fd, speaks_tls, limit == LIMIT_NONE ? CODE_OVERLOADED : limit_code(limit));
}

static void on_accept(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct reactor_listener *listener = watcher->data;
    struct reactor *reactor = listener->reactor;
    const struct config *config = reactor->config;
    (void)loop;
    if (events & EV_ERROR) { /* libev could not have it watched, for want of memory, and has stopped it */
        pause_accepting(reactor);
        return;
    }
    reactor_begin_pass(reactor);
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t length = sizeof from;
        int fd = accept4(listener->fd, (struct sockaddr *)&from, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                accept_without_descriptors(reactor, listener->fd);
            else if (errno == EINTR || errno == ECONNABORTED)
                continue;
            break;
        }
        int on = 1;
        struct address address = address_of(&from);
        if (listener->is_admin) { /* whoever opens it may stop the process: no limit is in its way */
            acceptor_open(reactor, fd, &address, PEER_ADMIN);
            continue;
        }
        if (!count_whole(reactor, fd))
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        bool trusted = address_in_any(&address, &config->limits.trusted_proxies);
        if (trusted && config->listen.proxy_protocol)
            proxied_begin(reactor, fd, &address);
        else
            acceptor_open(reactor, fd, &address, trusted ? PEER_PROXY : PEER_DIRECT);
    }
    reactor_end_pass(reactor);
}

void acceptor_add(struct reactor *reactor, int fd, bool is_admin)
{
    struct reactor_listener *listener = &reactor->listeners[reactor->listener_count++];
    listener->reactor = reactor;
    listener->fd = fd;
    listener->is_admin = is_admin;
    ev_io_init(&listener->watcher, on_accept, fd, EV_READ);
    listener->watcher.data = listener;
}

void acceptor_start(struct reactor *reactor)
{
    reactor->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ev_init(&reactor->accept_timer, on_accept_timer);
    reactor->accept_timer.data = reactor;
    for (unsigned i = 0; i < reactor->listener_count; i++)
        ev_io_start(reactor->loop, &reactor->listeners[i].watcher);
}

void acceptor_stop(struct reactor *reactor)
{
    ev_timer_stop(reactor->loop, &reactor->accept_timer);
    for (unsigned i = 0; i < reactor->listener_count; i++) {
        ev_io_stop(reactor->loop, &reactor->listeners[i].watcher);
        close(reactor->listeners[i].fd);
    }
    reactor->listener_count = 0;
    if (reactor->reserve_fd >= 0)
        close(reactor->reserve_fd);
    reactor->reserve_fd = -1;
}
