#include "net/transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls/tls_session.h"

_Static_assert(TRANSPORT_RECEIVE_LEAST == TLS_RECEIVE_LEAST, "one promise, said twice");

static long answer_for_errno(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? TRANSPORT_BLOCKED : TRANSPORT_BROKEN;
}

long transport_receive(struct transport *transport, void *buffer, size_t size)
{
    if (__builtin_expect(transport->tls != NULL, 0))
        return tls_session_receive(transport->tls, buffer, size);
    for (;;) {
        ssize_t n = recv(transport->fd, buffer, size, 0);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return answer_for_errno();
    }
}

long transport_send(struct transport *transport, const void *data, size_t length)
{
    if (__builtin_expect(transport->tls != NULL, 0))
        return tls_session_send(transport->tls, data, length);
    for (;;) {
        ssize_t n = send(transport->fd, data, length, MSG_NOSIGNAL);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return answer_for_errno();
    }
}

long transport_send_vector(struct transport *transport, const struct iovec *vector, unsigned count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = count};
    for (;;) {
        ssize_t n = sendmsg(transport->fd, &message, MSG_NOSIGNAL);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return answer_for_errno();
    }
}

size_t transport_record_bytes(const struct transport *transport)
{
    return transport->tls ? tls_session_record_bytes(transport->tls) : 0;
}

bool transport_in_flight(const struct transport *transport)
{
    return transport->tls && tls_session_in_flight(transport->tls);
}

long transport_send_rest(struct transport *transport)
{
    return transport->tls ? tls_session_send_rest(transport->tls) : 0;
}

const struct tls_peer *transport_peer_certificate(const struct transport *transport)
{
    return transport->tls ? tls_session_peer(transport->tls) : NULL;
}

bool transport_peer_stands(const struct transport *transport, const struct tls_context *now)
{
    return !transport->tls || tls_session_stands(transport->tls, now);
}

bool transport_end_sending(struct transport *transport)
{
    if (transport->tls)
        tls_session_end_sending(transport->tls);
    return shutdown(transport->fd, SHUT_WR) == 0;
}

void transport_close(struct transport *transport)
{
    if (transport->tls) {
        tls_session_end_sending(transport->tls);
        tls_session_free(transport->tls);
        transport->tls = NULL;
    }
    if (transport->fd >= 0)
        close(transport->fd);
    transport->fd = -1;
}
