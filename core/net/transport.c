#include "net/transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static long answer_for_errno(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? TRANSPORT_BLOCKED : TRANSPORT_BROKEN;
}

long transport_receive(struct transport *transport, void *buffer, size_t size)
{
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

void transport_close(struct transport *transport)
{
    if (transport->fd >= 0)
        close(transport->fd);
    transport->fd = -1;
}
