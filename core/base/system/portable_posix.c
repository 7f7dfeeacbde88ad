#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/select.h>

#include "base/system/portable.h"

#undef socket
#undef socketpair
#undef recvmsg

#define ENTROPY_MOST 256 /* getentropy(3) gives no more at once */

/* --- Bytes --- */

/* The start of the largest suffix of `part` by the order of bytes, or by its reverse, and its period: Crochemore and
 * Perrin, "Two-way string matching". */
static size_t largest_suffix(const unsigned char *part, size_t length, bool reverse, size_t *period)
{
    size_t start = 0, other = 1, at = 0;
    *period = 1;
    while (other + at < length) {
        unsigned char a = part[other + at], b = part[start + at];
        if (a == b) {
            if (++at == *period) {
                other += *period;
                at = 0;
            }
        } else if (reverse ? a > b : a < b) {
            other += at + 1;
            at = 0;
            *period = other - start;
        } else {
            start = other++;
            at = 0;
            *period = 1;
        }
    }
    return start;
}

/* Linear whatever is looked for, for nobody could stop it (script/pattern/): `part` is cut where its period shows; its
 * right half is compared forwards, then the left one backwards. */
static const unsigned char *find_two_way(const unsigned char *text, size_t length, const unsigned char *part,
                                         size_t part_length)
{
    size_t period, other_period;
    size_t cut = largest_suffix(part, part_length, false, &period);
    size_t other_cut = largest_suffix(part, part_length, true, &other_period);
    if (other_cut > cut) {
        cut = other_cut;
        period = other_period;
    }
    bool periodic = cut + period <= part_length && memcmp(part, part + period, cut) == 0;
    if (!periodic)
        period = (cut > part_length - cut ? cut : part_length - cut) + 1;
    size_t known = 0; /* of the left half, from the last place on, where `part` is periodic */
    for (size_t at = 0; at + part_length <= length;) {
        size_t right = cut > known ? cut : known;
        while (right < part_length && part[right] == text[at + right])
            right++;
        if (right < part_length) {
            at += right - cut + 1;
            known = 0;
            continue;
        }
        size_t left = cut;
        while (left > known && part[left - 1] == text[at + left - 1])
            left--;
        if (left <= known)
            return text + at;
        at += period;
        known = periodic ? part_length - period : 0;
    }
    return NULL;
}

void *portable_memmem(const void *text, size_t length, const void *part, size_t part_length)
{
    if (part_length == 0)
        return (void *)(uintptr_t)text;
    const unsigned char *first = length >= part_length ? memchr(text, *(const unsigned char *)part, length) : NULL;
    if (!first || part_length == 1)
        return (void *)(uintptr_t)first;
    length -= (size_t)(first - (const unsigned char *)text);
    return (void *)(uintptr_t)find_two_way(first, length, part, part_length);
}

void *portable_memrchr(const void *bytes, int byte, size_t length)
{
    const unsigned char *from = bytes;
    while (length > 0)
        if (from[--length] == (unsigned char)byte)
            return (void *)(uintptr_t)(from + length);
    return NULL;
}

void portable_explicit_bzero(void *bytes, size_t length)
{
    memset(bytes, 0, length);
    __asm__ volatile("" : : "r"(bytes) : "memory"); /* somebody may look: it is not left out */
}

static _Thread_local struct {
    int (*compare)(const void *, const void *, void *);
    void *context;
} sorting;

static int compare_in_context(const void *a, const void *b)
{
    return sorting.compare(a, b, sorting.context);
}

void portable_qsort_r(void *items, size_t count, size_t size, int (*compare)(const void *, const void *, void *),
                      void *context)
{
    sorting.compare = compare;
    sorting.context = context;
    qsort(items, count, size, compare_in_context);
}

void *portable_reallocarray(void *memory, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(memory, count * size);
}

int portable_vasprintf(char **out, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    *out = length >= 0 ? malloc((size_t)length + 1) : NULL;
    if (*out)
        vsnprintf(*out, (size_t)length + 1, format, again);
    va_end(again);
    return *out ? length : -1;
}

int portable_asprintf(char **out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = portable_vasprintf(out, format, arguments);
    va_end(arguments);
    return length;
}

/* --- Files and sockets --- */

int portable_mkostemp(char *path, int flags)
{
    int fd = mkstemp(path);
    if (fd >= 0 && flags & O_CLOEXEC)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static bool mark(int fd, int flags)
{
    int status = flags & SOCK_NONBLOCK ? fcntl(fd, F_GETFL) : 0;
    return (!(flags & SOCK_CLOEXEC) || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) &&
           (!(flags & SOCK_NONBLOCK) || (status >= 0 && fcntl(fd, F_SETFL, status | O_NONBLOCK) == 0));
}

static int marked(int fd, int flags)
{
    if (fd < 0 || mark(fd, flags))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int portable_socket(int family, int kind, int protocol)
{
    return marked(socket(family, kind & ~(SOCK_CLOEXEC | SOCK_NONBLOCK), protocol), kind);
}

int portable_socketpair(int family, int kind, int protocol, int ends[2])
{
    if (socketpair(family, kind & ~(SOCK_CLOEXEC | SOCK_NONBLOCK), protocol, ends) != 0)
        return -1;
    if (mark(ends[0], kind) && mark(ends[1], kind))
        return 0;
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    errno = error;
    return -1;
}

int portable_accept(int listener, struct sockaddr *from, socklen_t *length, int flags)
{
    return marked(accept(listener, from, length), flags);
}

ssize_t portable_recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t got = recvmsg(fd, message, flags & ~MSG_CMSG_CLOEXEC);
    if (got < 0 || !(flags & MSG_CMSG_CLOEXEC))
        return got;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= part->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int passed;
            memcpy(&passed, CMSG_DATA(part) + at, sizeof passed);
            fcntl(passed, F_SETFD, FD_CLOEXEC);
        }
    }
    return got;
}

/* --- Time and chance --- */

int portable_ppoll(struct pollfd *descriptors, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    fd_set reads, writes;
    int highest = -1;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    for (nfds_t i = 0; i < count; i++) {
        descriptors[i].revents = 0;
        if (descriptors[i].fd < 0)
            continue;
        if (descriptors[i].fd >= FD_SETSIZE) {
            errno = EINVAL;
            return -1;
        }
        if (descriptors[i].events & POLLIN)
            FD_SET(descriptors[i].fd, &reads);
        if (descriptors[i].events & POLLOUT)
            FD_SET(descriptors[i].fd, &writes);
        highest = descriptors[i].fd > highest ? descriptors[i].fd : highest;
    }
    int ready = pselect(highest + 1, &reads, &writes, NULL, timeout, mask);
    for (nfds_t i = 0; ready > 0 && i < count; i++)
        if (descriptors[i].fd >= 0)
            descriptors[i].revents = (short)((FD_ISSET(descriptors[i].fd, &reads) ? POLLIN : 0) |
                                             (FD_ISSET(descriptors[i].fd, &writes) ? POLLOUT : 0));
    return ready;
}

ssize_t portable_getrandom(void *out, size_t length, unsigned flags)
{
    size_t piece = length < ENTROPY_MOST ? length : ENTROPY_MOST;
    (void)flags;
    return getentropy(out, piece) == 0 ? (ssize_t)piece : -1;
}
