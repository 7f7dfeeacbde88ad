/* Of the answer only the status line is read, unless the caller wants more: the connection is closed after it, so
 * nothing else needs to be understood. */
#include "net/post.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/tls/tls_client.h"

/* How often a wait looks at the stop flag. */
#define SLICE_MS 50

/* False: it is something else. */
static bool read_target(const char *url, struct post_target *out)
{
    static const char plain[] = "http://", secure[] = "https://";
    *out = (struct post_target){.secure = strncmp(url, secure, sizeof secure - 1) == 0};
    snprintf(out->port, sizeof out->port, "%s", out->secure ? "443" : "80");
    if (!out->secure && strncmp(url, plain, sizeof plain - 1) != 0)
        return false;
    const char *at = url + (out->secure ? sizeof secure : sizeof plain) - 1;
    for (const char *byte = at; *byte; byte++) /* none that would end a header line, or hide a name and password */
        if (*byte <= ' ' || *byte == 0x7f || *byte == '@' || *byte == '#')
            return false;
    out->ipv6 = *at == '[';
    if (out->ipv6)
        at++;
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

bool post_target_open(const char *url, const char *key, struct post_target *out, struct tls_client **tls, char *error,
                      size_t size)
{
    char problem[TLS_ERROR_SIZE];
    *tls = NULL;
    if (!read_target(url, out)) {
        snprintf(error, size, "%s: expected http://host[:port][/path] or https://…, got something else", key);
        return false;
    }
    if (out->secure && !(*tls = tls_client_new(&(struct tls_client_options){0}, problem))) {
        snprintf(error, size, "%s: whom to trust is not known: %s", key, problem);
        return false;
    }
    return true;
}

struct exchange {
    const struct post *post;
    int fd;
    struct tls_stream *tls; /* NULL: plain */
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

/* Until TLS can go on. */
static bool wait_for_tls(const struct exchange *exchange)
{
    return wait_for(exchange, tls_stream_wants_write(exchange->tls) ? POLLOUT : POLLIN);
}

static const char *reason(void)
{
    return errno == EPROTO ? tls_problem() : strerror(errno);
}

/* True: plain, or the other side has shown who it is. */
static bool secure(struct exchange *exchange)
{
    if (!exchange->post->target->secure)
        return true;
    exchange->tls = tls_stream_new(exchange->post->tls, exchange->post->target->host, exchange->fd);
    errno = ENOMEM;
    if (!exchange->tls)
        return false;
    int result;
    while ((result = tls_stream_handshake(exchange->tls)) == 0)
        if (!wait_for_tls(exchange))
            return false;
    errno = result < 0 ? -result : 0;
    return result > 0;
}

/* How much was sent, 0 after a wait; negative: errno says why. */
static ssize_t send_some(const struct exchange *exchange, struct slice text)
{
    if (exchange->tls) {
        ssize_t taken = tls_stream_write(exchange->tls, text.data, text.length);
        if (taken < 0)
            errno = (int)-taken;
        return taken == 0 && !wait_for_tls(exchange) ? -1 : taken;
    }
    ssize_t sent = send(exchange->fd, text.data, text.length, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return wait_for(exchange, POLLOUT) ? 0 : -1;
    return sent;
}

static bool send_all(const struct exchange *exchange, struct slice text)
{
    while (text.length > 0) {
        ssize_t sent = send_some(exchange, text);
        if (sent < 0)
            return false;
        text = slice_from(text.data + sent, text.length - (size_t)sent);
    }
    return true;
}

/* How much came; 0: the end; negative: errno says why not. */
static ssize_t receive_some(const struct exchange *exchange, char *data, size_t size)
{
    for (;;) {
        ssize_t got;
        if (exchange->tls) {
            got = tls_stream_read(exchange->tls, data, size);
            if (got > 0 || got == -ECONNRESET)
                return got > 0 ? got : 0;
            errno = got == 0 ? EAGAIN : (int)-got;
        } else {
            got = recv(exchange->fd, data, size, 0);
            if (got >= 0)
                return got;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -1;
        if (exchange->tls ? !wait_for_tls(exchange) : !wait_for(exchange, POLLIN))
            return -1;
    }
}

/* Of a status line, as far as it is looked at, with the byte behind. */
#define STATUS_BYTES (sizeof "HTTP/1.1 200 " - 1)

/* As much as the caller wants, or comes. False: not even a status. */
static bool receive_answer(const struct exchange *exchange, struct post_answer *answer, char *error, size_t size)
{
    size_t room = exchange->post->answer ? sizeof answer->text : STATUS_BYTES;
    while (answer->length < room && !post_answer_whole(answer)) {
        ssize_t received = receive_some(exchange, answer->text + answer->length, room - answer->length);
        if (received <= 0 && answer->length < STATUS_BYTES) {
            snprintf(error, size, "no answer: %s", received < 0 ? reason() : "the connection was closed");
            return false;
        }
        if (received <= 0)
            break;
        answer->length += (size_t)received;
    }
    return true;
}

/* 0: what came is no answer. */
static unsigned read_status(const struct exchange *exchange, char *error, size_t size)
{
    struct post_answer own, *answer = exchange->post->answer;
    unsigned status = 0;
    if (!answer)
        answer = &own; /* for the status alone */
    answer->length = 0;
    if (!receive_answer(exchange, answer, error, size))
        return 0;
    char line[STATUS_BYTES + 1];
    memcpy(line, answer->text, STATUS_BYTES);
    line[STATUS_BYTES] = '\0';
    if (strncmp(line, "HTTP/1.", 7) == 0 && strspn(line + 7, "0123456789") == 1 && line[8] == ' ' &&
        strspn(line + 9, "0123456789") == 3)
        status = (unsigned)strtoul(line + 9, NULL, 10);
    post_answer_read(answer);
    if (status < 100)
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
    else if (!secure(&exchange))
        snprintf(error, size, "no TLS with %s port %s: %s", target->host, target->port, reason());
    else if (send_all(&exchange, slice_from(head, (size_t)length)) && send_all(&exchange, post->body))
        status = read_status(&exchange, error, size);
    else
        snprintf(error, size, "cannot send: %s", reason());
    tls_stream_free(exchange.tls);
    close(exchange.fd);
    return status;
}
