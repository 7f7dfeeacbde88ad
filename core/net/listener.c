#include "net/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* How often a free port is looked for when the kernel's pick is taken on the other loopback. */
#define PORT_TRIES 64
#define BACKLOG 4096

static void add_loopback(struct listener_address *out, int family)
{
    memset(out, 0, sizeof *out);
    if (family == AF_INET) {
        struct sockaddr_in *address = (struct sockaddr_in *)&out->storage;
        address->sin_family = AF_INET;
        address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        out->length = sizeof *address;
    } else {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)&out->storage;
        address->sin6_family = AF_INET6;
        address->sin6_addr = in6addr_loopback;
        out->length = sizeof *address;
    }
}

static bool can_bind(const struct listener_address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool can = bind(fd, (const struct sockaddr *)&address->storage, address->length) == 0;
    close(fd);
    return can;
}

unsigned listener_resolve(const char *host, struct listener_address out[LISTENER_ADDRESSES_MAXIMUM], char *error,
                          size_t error_size)
{
    if (strcmp(host, "localhost") == 0) {
        add_loopback(&out[0], AF_INET);
        add_loopback(&out[1], AF_INET6);
        return can_bind(&out[1]) ? 2 : 1;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    int failure = getaddrinfo(host, NULL, &hints, &found);
    if (failure != 0) {
        snprintf(error, error_size, "listen.host: cannot find the address of \"%s\": %s", host, gai_strerror(failure));
        return 0;
    }
    unsigned count = 0;
    for (struct addrinfo *at = found; at && count < LISTENER_ADDRESSES_MAXIMUM; at = at->ai_next) {
        memset(&out[count], 0, sizeof out[count]);
        memcpy(&out[count].storage, at->ai_addr, at->ai_addrlen);
        out[count++].length = at->ai_addrlen;
    }
    freeaddrinfo(found);
    return count;
}

void listener_set_port(struct listener_address *address, uint16_t port)
{
    if (address->storage.ss_family == AF_INET)
        ((struct sockaddr_in *)&address->storage)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = htons(port);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    if (getsockname(fd, (struct sockaddr *)&storage, &length) != 0)
        return 0;
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): getsockname fills it in */
    return ntohs(storage.ss_family == AF_INET ? ((struct sockaddr_in *)&storage)->sin_port
                                              : ((struct sockaddr_in6 *)&storage)->sin6_port);
}

/* SO_REUSEADDR lets a restart bind while connections of the last run wait out their time; SO_REUSEPORT shares the port
 * with the other reactors. */
static int bound_socket(const struct listener_address *address, bool share)
{
    int on = 1, fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (address->storage.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (share)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address->storage, address->length) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static bool reserve_all(struct listener_address *addresses, unsigned count, uint16_t *port, int *descriptors)
{
    uint16_t chosen = *port;
    for (unsigned i = 0; i < count; i++) {
        listener_set_port(&addresses[i], chosen);
        descriptors[i] = bound_socket(&addresses[i], false);
        /* Only listening finds out that somebody else listens on the port with SO_REUSEADDR too. */
        if (descriptors[i] < 0 || listen(descriptors[i], 1) != 0) {
            int saved = errno;
            for (unsigned opened = 0; opened <= i; opened++)
                if (descriptors[opened] >= 0)
                    close(descriptors[opened]);
            errno = saved;
            return false;
        }
        if (chosen == 0)
            chosen = port_of(descriptors[i]);
    }
    *port = chosen;
    return true;
}

bool listener_reserve(struct listener_address *addresses, unsigned count, uint16_t *port, int *descriptors, char *error,
                      size_t error_size)
{
    for (int tries = *port == 0 ? PORT_TRIES : 1; tries > 0; tries--)
        if (reserve_all(addresses, count, port, descriptors))
            return true;
    int failure = errno;
    if (failure == EADDRINUSE)
        snprintf(error, error_size, "port %u is in use: stop what listens there, or choose another port", *port);
    else
        snprintf(error, error_size, "cannot listen on port %u: %s", *port, strerror(failure));
    errno = failure;
    return false;
}

int listener_open(const struct listener_address *address)
{
    int fd = bound_socket(address, true);
    if (fd < 0)
        return -1;
    if (listen(fd, BACKLOG) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* Whether somebody answers at that address. */
static bool is_served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                              (errno != ECONNREFUSED && errno != ENOENT));
    if (fd >= 0)
        close(fd);
    return served;
}

int listener_open_unix(const char *path, char *error, size_t error_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
        snprintf(error, error_size, "listen.admin: %s is there and no socket", path);
        return -1;
    }
    if (is_served(&address)) {
        snprintf(error, error_size, "listen.admin: %s is in use by a process that runs", path);
        return -1;
    }
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t before = umask(0177); /* never open to others, not even for a moment */
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    umask(before);
    if (bound && listen(fd, BACKLOG) == 0)
        return fd;
    snprintf(error, error_size, "listen.admin: cannot listen at %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}
