/* Included first into every file of a portable build (make PORTABLE=1), and by none itself: what Linux and its C
 * library have and POSIX.1-2008 has not, under the same names. They are macros, so that a system that has some of them
 * too does not disagree. The functions do what their manual pages say, as far as this program needs it. */
#ifndef LUADUCT_BASE_PORTABLE_H
#define LUADUCT_BASE_PORTABLE_H

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* --- Bytes --- */

void *portable_memmem(const void *text, size_t length, const void *part, size_t part_length);
void *portable_memrchr(const void *bytes, int byte, size_t length);
void portable_explicit_bzero(void *bytes, size_t length);
void portable_qsort_r(void *items, size_t count, size_t size, int (*compare)(const void *, const void *, void *),
                      void *context);

static inline void *portable_mempcpy(void *to, const void *from, size_t length)
{
    return (char *)memcpy(to, from, length) + length;
}

static inline char *portable_strchrnul(const char *text, int byte)
{
    const char *found = strchr(text, byte);
    return (char *)(uintptr_t)(found ? found : text + strlen(text));
}

#define memmem portable_memmem
#define memrchr portable_memrchr
#define mempcpy portable_mempcpy
#define strchrnul portable_strchrnul
#define explicit_bzero portable_explicit_bzero
#define qsort_r portable_qsort_r

void *portable_reallocarray(void *memory, size_t count, size_t size);
int portable_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int portable_vasprintf(char **out, const char *format, va_list arguments);

#define reallocarray portable_reallocarray
#define asprintf portable_asprintf
#define vasprintf portable_vasprintf

/* --- Files and sockets --- */

int portable_mkostemp(char *path, int flags); /* of the flags O_CLOEXEC counts */

#define mkostemp portable_mkostemp

#undef SOCK_CLOEXEC
#undef SOCK_NONBLOCK
#define SOCK_CLOEXEC 0x10000000
#define SOCK_NONBLOCK 0x20000000

/* The two flags may be among the kinds; between making a socket and marking it another thread may not start programs,
 * which the bridge does not. */
int portable_socket(int family, int kind, int protocol);
int portable_socketpair(int family, int kind, int protocol, int ends[2]);
int portable_accept(int listener, struct sockaddr *from, socklen_t *length, int flags);
ssize_t portable_recvmsg(int fd, struct msghdr *message, int flags);

#define socket(family, kind, protocol) portable_socket(family, kind, protocol)
#define socketpair(family, kind, protocol, ends) portable_socketpair(family, kind, protocol, ends)
#define accept4(listener, from, length, flags) portable_accept(listener, from, length, flags)
#define recvmsg(fd, message, flags) portable_recvmsg(fd, message, flags)

/* Descriptors that come along are closed when a program is started. */
#undef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0x40000000

/* Where there is none, system_start has the process ignore SIGPIPE. */
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* --- Time and chance --- */

#undef CLOCK_MONOTONIC_COARSE
#define CLOCK_MONOTONIC_COARSE CLOCK_MONOTONIC

/* Few descriptors, of small numbers. */
int portable_ppoll(struct pollfd *descriptors, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
ssize_t portable_getrandom(void *out, size_t length, unsigned flags);

#define ppoll portable_ppoll
#define getrandom portable_getrandom

#endif
