/* Each reactor has listening sockets of its own on the shared ports; the kernel spreads new connections over them. A
 * descriptor is kept in reserve: when the process has no other left, it is given up for a moment to tell one waiting
 * peer why it is not served, and then accepting pauses. */
#include "runtime/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/limits.h"
#include "runtime/reactor.h"
#include "runtime/tls/certificates.h"
#include "runtime/tls/handshakes.h"

#define ACCEPTS_PER_TURN 64
/* After descriptors ran out: how long until the listeners are tried again. */
#define ACCEPT_PAUSE_SECONDS 0.2

static void peer_address_from(const struct sockaddr_storage *from, struct peer_address *out)
{
    memset(out, 0, sizeof *out);
    if (from->ss_family == AF_INET) {
        out->bytes[10] = out->bytes[11] = 0xff;
        memcpy(out->bytes + 12, &((const struct sockaddr_in *)from)->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        memcpy(out->bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
        if (!IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)from)->sin6_addr))
            memset(out->bytes + 8, 0, 8);
    }
}

#define TURN_AWAY_BODY "{\"error\":\"the bridge can take no more connections\",\"code\":\"overloaded\"}"
_Static_assert(sizeof TURN_AWAY_BODY - 1 == 71, "Content-Length below says it");

/* One answer for those that cannot be served, written without a connection of their own. */
static void turn_away(int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
                                 "Content-Type: application/json\r\nContent-Length: 71\r\n\r\n" TURN_AWAY_BODY;
    if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        /* Closing with unread bytes would reset the connection and take the answer with it. */
        char ignored[4096];
        shutdown(fd, SHUT_WR);
        (void)!recv(fd, ignored, sizeof ignored, MSG_DONTWAIT);
    }
    close(fd);
}

/* Whom that answer would only confuse, before hands are shaken, hears nothing. */
static void close_or_turn_away(int fd, bool speaks_tls)
{
    if (speaks_tls)
        close(fd);
    else
        turn_away(fd);
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
    for (unsigned i = 0; i < reactor->listener_count; i++)
        ev_io_start(loop, &reactor->listeners[i].watcher);
}

/* Out of descriptors: the reserved one lets one waiting peer hear why, then accepting pauses. */
static void accept_without_descriptors(struct reactor *reactor, int listener)
{
    log_warn("out of file descriptors: new connections wait");
    if (reactor->reserve_fd >= 0) {
        close(reactor->reserve_fd);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            close_or_turn_away(fd, certificates_in_use());
        reactor->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    pause_accepting(reactor);
}

static void on_accept(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct reactor_listener *listener = watcher->data;
    struct reactor *reactor = listener->reactor;
    (void)loop;
    if (events & EV_ERROR) { /* libev could not have it watched, for want of memory, and has stopped it */
        pause_accepting(reactor);
        return;
    }
    bool speaks_tls = !listener->is_admin && certificates_in_use();
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
        struct peer_address address;
        peer_address_from(&from, &address);
        /* At critical new connections come in and hear why at their first request (http_gate.c), so that probes are
         * answered; past that there is no room even for them. */
        if (atomic_load_explicit(&admission_state, memory_order_relaxed) == ADMISSION_CLOSED) {
            counter_add(&reactor->lane->counters.refused[CODE_OVERLOADED], 1);
            counter_add(&reactor->shed.refused_connections, 1);
            close_or_turn_away(fd, speaks_tls);
            continue;
        }
        if (!limits_connection_opened(&address)) {
            counter_add(&reactor->lane->counters.refused[CODE_OVERLOADED], 1);
            close_or_turn_away(fd, speaks_tls);
            continue;
        }
        int on = 1;
        if (!listener->is_admin)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        bool taken = speaks_tls ? handshakes_take(reactor, fd, &address)
                                : connection_open(reactor, (struct transport){.fd = fd}, &address, listener->is_admin);
        if (!taken) {
            limits_connection_closed(&address);
            close_or_turn_away(fd, speaks_tls);
        }
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
    if (reactor->reserve_fd >= 0)
        close(reactor->reserve_fd);
    reactor->reserve_fd = -1;
}
