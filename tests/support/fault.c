/* Preloaded into the bridge by tests/integration/faults_spec.lua: the n-th call of a kind fails as it would when the
 * machine has no more of what it asks for. The test sets what fails, and reads how often it was asked, in a file that
 * LUADUCT_FAULT_FILE names and that both have mapped (struct plan, fields of eight bytes). */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* In the order of the names in the spec. */
enum kind { MALLOC, RECEIVE, SEND, ACCEPT, EPOLL, OPEN, THREAD, MAP, KIND_COUNT };

static struct plan {
    _Atomic uint64_t kind;             /* 1 + enum kind; 0: nothing fails, and nothing is counted */
    _Atomic uint64_t nth, every;       /* that call fails, and each `every`-th after it (0: none) */
    _Atomic uint64_t asked;            /* calls of that kind since it was set */
    _Atomic uint64_t failed;           /* of these */
    _Atomic int64_t realtime_shift_ns; /* added to what the wall clock says */
    _Atomic uint64_t kill_at;          /* so-manieth step of a hand-over at which the new process is killed; 0: none */
    _Atomic uint64_t steps;            /* that a new process has taken since: calls on sockets to the old one */
    _Atomic uint64_t stop_at;          /* the same, but it is stopped (SIGSTOP) */
    _Atomic uint64_t stopped;          /* the process that was */
} * plan;

static struct plan none;
static pid_t successor; /* this process, where it was started for a hand-over; 0: it was not */

#define REAL(name) ((__typeof__(&name))real(#name))

/* dlsym itself allocates; the memory functions below have names of their own in glibc. */
static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void map_plan(void)
{
    const char *path = getenv("LUADUCT_FAULT_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = fd >= 0 ? mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    plan = mapped == MAP_FAILED ? &none : mapped;
    successor = getenv("LUADUCT_HANDOVER") ? getpid() : 0;
}

/* Not a process that the new one has forked. */
static void take_step(int fd)
{
    int domain = 0;
    socklen_t size = sizeof domain;
    if (!plan || (!plan->kill_at && !plan->stop_at) || successor != getpid() ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX)
        return;
    uint64_t step = atomic_fetch_add(&plan->steps, 1) + 1;
    if (step == plan->kill_at)
        kill(successor, SIGKILL);
    if (step == plan->stop_at) {
        plan->stopped = (uint64_t)successor;
        raise(SIGSTOP); /* this very thread goes no further */
    }
}

static int fails(enum kind kind)
{
    if (!plan || atomic_load_explicit(&plan->kind, memory_order_acquire) != kind + 1u)
        return 0;
    uint64_t number = atomic_fetch_add(&plan->asked, 1) + 1, nth = plan->nth, every = plan->every;
    if (number != nth && !(every > 0 && number > nth && (number - nth) % every == 0))
        return 0;
    atomic_fetch_add(&plan->failed, 1);
    return 1;
}

/* --- Memory --- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t size)
{
    return fails(MALLOC) ? no_memory() : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(MALLOC) ? no_memory() : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    return fails(MALLOC) ? no_memory() : __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(MALLOC) ? no_memory() : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    *out = fails(MALLOC) ? NULL : __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (fails(MAP)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return REAL(mmap)(address, length, protection, flags, fd, offset);
}

/* --- Sockets: a peer whose machine vanished, a kernel without buffers --- */

ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    if (fails(RECEIVE)) {
        errno = ECONNRESET;
        return -1;
    }
    return REAL(recv)(fd, buffer, size, flags);
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
    if (fails(SEND)) {
        errno = ENOBUFS;
        return -1;
    }
    return REAL(send)(fd, data, length, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    take_step(fd);
    return REAL(recvmsg)(fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    take_step(fd);
    if (fails(SEND)) {
        errno = ENOBUFS;
        return -1;
    }
    return REAL(sendmsg)(fd, message, flags);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    if (fails(ACCEPT)) {
        errno = EMFILE;
        return -1;
    }
    return REAL(accept4)(fd, address, length, flags);
}

int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL && fails(EPOLL)) {
        errno = ENOMEM;
        return -1;
    }
    return REAL(epoll_ctl)(set, operation, fd, event);
}

int epoll_wait(int set, struct epoll_event *events, int count, int timeout)
{
    if (fails(EPOLL)) {
        errno = EINTR;
        return -1;
    }
    return REAL(epoll_wait)(set, events, count, timeout);
}

/* --- Files, threads, the clock --- */

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    if (fails(OPEN)) {
        errno = EMFILE;
        return -1;
    }
    return (int)openat(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

typedef FILE *file_open(const char *, const char *);

static FILE *open_stream(const char *name, const char *path, const char *mode)
{
    if (fails(OPEN)) {
        errno = EMFILE;
        return NULL;
    }
    return ((file_open *)real(name))(path, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return open_stream("fopen", path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return open_stream("fopen64", path, mode);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    return fails(THREAD) ? EAGAIN : REAL(pthread_create)(thread, attributes, start, argument);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int status = REAL(clock_gettime)(clock, time);
    int64_t shift = plan ? plan->realtime_shift_ns : 0;
    if (status == 0 && shift != 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t moved = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + shift;
        time->tv_sec = moved / 1000000000;
        time->tv_nsec = moved % 1000000000;
    }
    return status;
}
