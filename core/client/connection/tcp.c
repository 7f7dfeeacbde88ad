#include "client/connection/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/tls/tls_client.h"

const char *tcp_error(int error)
{
    return error == -EPROTO ? tls_problem() : error == -EADDRNOTAVAIL ? "the host name is unknown" : strerror(-error);
}

int tcp_start(struct tcp_stream *stream, const struct sockaddr *address, socklen_t length)
{
    *stream =
        (struct tcp_stream){.descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (stream->descriptor < 0)
        return -errno;
    int on = 1; /* messages are sent whole: waiting to fill a segment could only delay them */
    setsockopt(stream->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(stream->descriptor, address, length) == 0 || errno == EINPROGRESS)
        return 0;
    int error = -errno;
    tcp_close(stream);
    return error;
}

int tcp_connected(const struct tcp_stream *stream)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(stream->descriptor, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return -errno;
    return -error;
}

static int wait_connected(struct tcp_stream *stream, int timeout_ms)
{
    struct pollfd watched = {stream->descriptor, POLLOUT, 0};
    int ready = poll(&watched, 1, timeout_ms);
    if (ready < 0)
        return -errno;
    return ready == 0 ? -ETIMEDOUT : tcp_connected(stream);
}

int tcp_secure(struct tcp_stream *stream, const struct bridge_url *url)
{
    if (!url->secure)
        return 0;
    stream->tls = tls_stream_new(url->tls, url->host, stream->descriptor);
    return stream->tls ? 0 : -ENOMEM;
}

static int wait_secure(struct tcp_stream *stream, const struct bridge_url *url, int timeout_ms)
{
    uint64_t deadline = clock_steady_ns() + (uint64_t)timeout_ms * 1000000;
    int result = tcp_secure(stream, url);
    while (result == 0 && stream->tls && (result = tls_stream_handshake(stream->tls)) == 0) {
        uint64_t now = clock_steady_ns();
        struct pollfd watched = {stream->descriptor, tcp_wants_write(stream) ? POLLOUT : POLLIN, 0};
        if (now >= deadline || poll(&watched, 1, (int)((deadline - now) / 1000000) + 1) == 0)
            result = -ETIMEDOUT;
    }
    return result > 0 ? 0 : result;
}

int tcp_connect(struct tcp_stream *stream, const struct bridge_url *url, int timeout_ms)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *addresses = NULL;
    *stream = (struct tcp_stream){.descriptor = -1};
    if (url->socket[0]) {
        struct sockaddr_un local = {.sun_family = AF_UNIX};
        memcpy(local.sun_path, url->socket, sizeof local.sun_path);
        return tcp_start(stream, (struct sockaddr *)&local, sizeof local);
    }
    if (getaddrinfo(url->host, url->port, &hints, &addresses) != 0)
        return -EADDRNOTAVAIL;
    int result = -EADDRNOTAVAIL;
    for (struct addrinfo *address = addresses; address && result != 0; address = address->ai_next) {
        result = tcp_start(stream, address->ai_addr, address->ai_addrlen);
        if (result != 0)
            continue;
        result = wait_connected(stream, timeout_ms);
        if (result != 0)
            tcp_close(stream);
    }
    freeaddrinfo(addresses);
    if (result == 0)
        result = wait_secure(stream, url, timeout_ms);
    if (result != 0)
        tcp_close(stream);
    return result;
}

/* How much the kernel took, or a negative errno; a full socket buffer took nothing. */
static ssize_t send_some(struct tcp_stream *stream, const char *data, size_t length)
{
    if (stream->tls)
        return tls_stream_write(stream->tls, data, length);
    ssize_t sent = send(stream->descriptor, data, length, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int tcp_send(struct tcp_stream *stream, struct slice bytes)
{
    if (!tcp_has_unsent(stream) && bytes.length > 0) {
        ssize_t sent = send_some(stream, bytes.data, bytes.length);
        if (sent < 0)
            return (int)sent;
        bytes = slice_from(bytes.data + sent, bytes.length - (size_t)sent);
    }
    buffer_append_slice(&stream->unsent, bytes);
    return stream->unsent.failed ? -ENOMEM : 0;
}

int tcp_flush(struct tcp_stream *stream)
{
    if (!tcp_has_unsent(stream))
        return 0;
    ssize_t sent = send_some(stream, stream->unsent.data, stream->unsent.length);
    if (sent < 0)
        return (int)sent;
    buffer_consume(&stream->unsent, (size_t)sent);
    return 0;
}

bool tcp_wants_write(const struct tcp_stream *stream)
{
    return stream->tls ? tls_stream_wants_write(stream->tls) : tcp_has_unsent(stream);
}

/* Room for at least as much again as is held, so that a large message is copied a few times and not once a segment. */
static int make_room(struct read_buffer *buffer, size_t held_length)
{
    size_t capacity = buffer->capacity ? buffer->capacity : READ_BUFFER_START;
    while (capacity < held_length * 2)
        capacity *= 2;
    if (capacity == buffer->capacity)
        return 0;
    if (capacity > READ_BUFFER_MAXIMUM)
        return -EMSGSIZE;
    char *grown = realloc(buffer->data, capacity);
    if (!grown)
        return -ENOMEM;
    buffer->data = grown;
    buffer->capacity = capacity;
    return 0;
}

/* How much came, 0 for nothing, or a negative errno. */
static ssize_t receive_some(struct tcp_stream *stream, char *data, size_t capacity)
{
    if (stream->tls) {
        ssize_t got = tls_stream_read(stream->tls, data, capacity);
        int sent = got == 0 ? tcp_flush(stream) : 0; /* what waited for the handshake */
        return sent < 0 ? sent : got;
    }
    ssize_t got = recv(stream->descriptor, data, capacity, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return got > 0 ? got : -ECONNRESET;
}

int tcp_receive(struct tcp_stream *stream, struct read_buffer *buffer, struct slice *bytes)
{
    size_t held = stream->held.length;
    int made = make_room(buffer, held);
    if (made != 0)
        return made;
    ssize_t got = receive_some(stream, buffer->data + held, buffer->capacity - held);
    if (got <= 0)
        return (int)got;
    if (held > 0)
        memcpy(buffer->data, stream->held.data, held);
    stream->held.length = 0; /* its block stays: a stream with one partial message soon has another */
    *bytes = slice_from(buffer->data, held + (size_t)got);
    return 1;
}

int tcp_hold(struct tcp_stream *stream, struct slice rest)
{
    buffer_append_slice(&stream->held, rest);
    return stream->held.failed ? -ENOMEM : 0;
}

void tcp_close(struct tcp_stream *stream)
{
    tls_stream_free(stream->tls);
    stream->tls = NULL;
    if (stream->descriptor >= 0)
        close(stream->descriptor);
    buffer_free(&stream->held);
    buffer_free(&stream->unsent);
    stream->descriptor = -1;
}
