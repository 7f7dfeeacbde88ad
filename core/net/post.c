/* Of the answer only the status line is read: the connection is closed after it, so nothing else needs to be
 * understood.
 */
#include "net/post.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* How often a wait looks at the stop flag. */
#define SLICE_MS 50

bool post_target_read(const char *url, struct post_target *out)
{
    static const char scheme[] = "http://";
    *out = (struct post_target){.port = "80"};
    if (strncmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *at = url + sizeof scheme - 1;
    for (const char *byte = at; *byte; byte++) /* none that would end a header line, or hide a name and password */
        if (*byte <= ' ' || *byte == 0x7f || *byte == '@' || *byte == '#')
            return false;
    out->ipv6 = *at == '[';
    at += out->ipv6;
    size_t length = strcspn(at, out->ipv6 ? "]" : ":/?");
    if (length == 0 || length >= sizeof out->host || (out->ipv6 && at[length] != ']'))
        return false;
    memcpy(out->host, at, length);
    at += length + out->ipv6;
    if (*at == ':') {
        size_t digits = strspn(++at, "0123456789");
        if (digits == 0 || digits >= sizeof out->port)
            return false;
        memset(out->port, 0, sizeof out->port);
        memcpy(out->port, at, digits);
        at += digits;
    }
    int needed = snprintf(out->path, sizeof out->path, "%s%s", *at == '/' ? "" : "/", at);
    return (*at == '\0' || *at == '/' || *at == '?') && needed < (int)sizeof out->path;
}

struct exchange {
    const struct post *post;
    int fd;
    uint64_t until_ms;
};

/* Until the socket is ready; false: errno says why not. */
static bool wait_for(const struct exchange *exchange, short events)
{
    for (;;) {
        uint64_t now_ms = clock_steady_ns() / 1000000;
        struct pollfd descriptor = {.fd = exchange->fd, .events = events};
        errno = ETIMEDOUT;
        if (now_ms >= exchange->until_ms)
            return false;
        errno = ECANCELED;
        if (atomic_load_explicit(exchange->post->stop, memory_order_relaxed))
            return false;
        uint64_t left = exchange->until_ms - now_ms;
        int count = poll(&descriptor, 1, left < SLICE_MS ? (int)left : SLICE_MS);
        if (count > 0)
            return true;
        if (count < 0 && errno != EINTR)
            return false;
    }
}

static bool connect_to(struct exchange *exchange, const struct addrinfo *address)
{
    exchange->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (exchange->fd < 0)
        return false;
    if (connect(exchange->fd, address->ai_addr, address->ai_addrlen) == 0)
        return true;
    int failure = errno;
    socklen_t size = sizeof failure;
    if (failure == EINPROGRESS && !wait_for(exchange, POLLOUT))
        failure = errno;
    else if (failure == EINPROGRESS && getsockopt(exchange->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
        failure = errno;
    if (failure == 0)
        return true;
    close(exchange->fd);
    exchange->fd = -1;
    errno = failure;
    return false;
}

static bool send_all(const struct exchange *exchange, struct slice text)
{
    while (text.length > 0) {
        ssize_t sent = send(exchange->fd, text.data, text.length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent < 0 && !wait_for(exchange, POLLOUT))
            return false;
        if (sent > 0)
            text = slice_from(text.data + sent, text.length - (size_t)sent);
    }
    return true;
}

/* 0: what came is no answer. */
static unsigned read_status(const struct exchange *exchange, char *error, size_t size)
{
    char line[64] = "";
    size_t length = 0;
    unsigned status = 0;
    while (length < sizeof "HTTP/1.1 200" - 1) {
        if (!wait_for(exchange, POLLIN)) {
            snprintf(error, size, "no answer: %s", strerror(errno));
            return 0;
        }
        ssize_t received = recv(exchange->fd, line + length, sizeof line - 1 - length, 0);
        if (received < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (received <= 0) {
            snprintf(error, size, "no answer: %s", received < 0 ? strerror(errno) : "the connection was closed");
            return 0;
        }
        length += (size_t)received;
    }
    if (sscanf(line, "HTTP/1.%*1[0-9] %3u", &status) != 1 || status < 100)
        snprintf(error, size, "what came is no HTTP answer");
    return status < 100 ? 0 : status;
}

unsigned post_send(const struct post *post, char *error, size_t size)
{
    const struct post_target *target = post->target;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    int failure = getaddrinfo(target->host, target->port, &hints, &found);
    if (failure != 0) {
        snprintf(error, size, "%s: %s", target->host, gai_strerror(failure));
        return 0;
    }
    struct exchange exchange = {.post = post, .fd = -1};
    exchange.until_ms = clock_steady_ns() / 1000000 + post->timeout_ms;
    for (const struct addrinfo *address = found; address && exchange.fd < 0; address = address->ai_next)
        connect_to(&exchange, address);
    if (exchange.fd < 0)
        snprintf(error, size, "cannot connect to %s port %s: %s", target->host, target->port, strerror(errno));
    freeaddrinfo(found);
    if (exchange.fd < 0)
        return 0;
    char head[2048];
    int length = snprintf(head, sizeof head,
                          "POST %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\nConnection: close\r\nUser-Agent: luaduct\r\n%.*s\r\n",
                          target->path, target->ipv6 ? "[" : "", target->host, target->ipv6 ? "]" : "", target->port,
                          post->body.length, (int)post->headers.length, post->headers.data);
    unsigned status = 0;
    if (length >= (int)sizeof head)
        snprintf(error, size, "the request is too long");
    else if (send_all(&exchange, slice_from(head, (size_t)length)) && send_all(&exchange, post->body))
        status = read_status(&exchange, error, size);
    else
        snprintf(error, size, "cannot send: %s", strerror(errno));
    close(exchange.fd);
    return status;
}
