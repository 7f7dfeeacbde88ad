/* What the two bodies of the system's part promise alike; a portable build has its own of what POSIX lacks too. */
#include "../../support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "base/system/system.h"
#include "base/threads/thread.h"
#include "base/threads/wake.h"

static const char *find_plainly(const char *text, size_t length, const char *part, size_t part_length)
{
    for (size_t at = 0; at + part_length <= length; at++)
        if (memcmp(text + at, part, part_length) == 0)
            return text + at;
    return NULL;
}

TEST("system: memmem finds what a plain search finds")
{
    char text[48], part[12];
    for (int round = 0; round < 200000; round++) {
        uint64_t chance = random_u64();
        size_t letters = 1 + chance % 3, length = chance / 3 % sizeof text, part_length = chance / 256 % sizeof part;
        random_bytes(text, sizeof text);
        random_bytes(part, sizeof part);
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)('a' + (unsigned char)text[i] % letters);
        for (size_t i = 0; i < sizeof part; i++)
            part[i] = (char)('a' + (unsigned char)part[i] % letters);
        if (chance >> 60 == 0 && part_length > 4)
            memmove(part + part_length / 2, part, part_length - part_length / 2);
        CHECK(memmem(text, length, part, part_length) == find_plainly(text, length, part, part_length));
    }
}

TEST("system: memmem takes its time by the text's length alone")
{
    size_t length = 8u << 20, part_length = 1u << 20;
    char *text = malloc(length), *part = malloc(part_length);
    CHECK(text && part);
    memset(text, 'a', length);
    memset(part, 'a', part_length);
    part[part_length / 2] = 'b'; /* a plain search would make 10^12 steps here, and be ended by the runner */
    CHECK(memmem(text, length, part, part_length) == NULL);
    part[part_length / 2] = 'a';
    part[0] = 'b';
    CHECK(memmem(text, length, part, part_length) == NULL);
    free(text);
    free(part);
}

static int compare_by(const void *a, const void *b, void *context)
{
    const int *keys = context;
    return keys[*(const unsigned char *)a] - keys[*(const unsigned char *)b];
}

TEST("system: what C's own library lacks on some systems")
{
    const char *text = "one\ntwo\nthree";
    int keys[] = {30, 10, 20};
    unsigned char order[] = {0, 1, 2}, random[600] = {0};
    char copy[8], *made;
    CHECK(memrchr(text, '\n', strlen(text)) == text + 7 && !memrchr(text, 'x', strlen(text)));
    CHECK(strchrnul(text, '\n') == text + 3 && strchrnul(text, 'x') == text + strlen(text));
    CHECK(mempcpy(copy, "abc", 3) == copy + 3 && memcmp(copy, "abc", 3) == 0);
    qsort_r(order, 3, 1, compare_by, keys);
    CHECK(order[0] == 1 && order[1] == 2 && order[2] == 0);
    CHECK(asprintf(&made, "%s-%d", "a", 7) == 3 && strcmp(made, "a-7") == 0);
    free(made);
#ifdef reallocarray /* a sanitizer ends the process where the C library's overflows */
    volatile size_t many = SIZE_MAX / 2;
    CHECK(!reallocarray(NULL, many, 3));
#endif
    explicit_bzero(copy, 3);
    CHECK(copy[0] == 0 && copy[2] == 0);
    CHECK(random_kernel_bytes(random, sizeof random));
    unsigned sum = 0;
    for (size_t i = sizeof random - 20; i < sizeof random; i++)
        sum += random[i];
    CHECK(sum > 0);
}

static bool has(int fd, int command, int flag)
{
    return fcntl(fd, command) & flag;
}

TEST("system: sockets are marked as asked")
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ends[2];
    CHECK(listener >= 0 && has(listener, F_GETFD, FD_CLOEXEC) && !has(listener, F_GETFL, O_NONBLOCK));
    CHECK(accept4(listener, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EINVAL);
    close(listener);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(has(ends[i], F_GETFD, FD_CLOEXEC) && has(ends[i], F_GETFL, O_NONBLOCK));
}

static atomic_int came;

static void on_signal(int number)
{
    (void)number;
    came++;
}

TEST("system: ppoll waits for descriptors, a time, and signals that are blocked else")
{
    int ends[2];
    sigset_t blocked, before;
    struct timespec brief = {.tv_nsec = 1000000};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    struct pollfd watched[2] = {{.fd = ends[0], .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    CHECK(ppoll(watched, 2, &brief, NULL) == 0);
    CHECK(send(ends[1], "x", 1, 0) == 1);
    CHECK(ppoll(watched, 2, NULL, NULL) == 1 && watched[0].revents == POLLIN);
    signal(SIGUSR1, on_signal);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    raise(SIGUSR1);
    CHECK(came == 0);
    ppoll(watched + 1, 1, NULL, &before);
    CHECK(came == 1);
}

TEST("system: a call wakes who polls, once")
{
    struct wake wake;
    CHECK(wake_open(&wake));
    struct pollfd watched = {.fd = wake.fd, .events = POLLIN};
    CHECK(poll(&watched, 1, 0) == 0);
    for (int i = 0; i < 100000; i++) /* more than a pipe holds */
        wake_call(wake.caller);
    while (poll(&watched, 1, 0) == 1)
        wake_take(&wake);
    wake_call(wake.caller);
    CHECK(poll(&watched, 1, -1) == 1);
    wake_take(&wake);
    CHECK(poll(&watched, 1, 0) == 0);
    wake_close(&wake);
    wake_close(&wake);
    CHECK(wake.fd == -1 && wake.caller == -1);
}

static atomic_bool may_end;

static void *wait_to_end(void *argument)
{
    while (!may_end)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return argument;
}

TEST("system: a thread is joined when it has ended, or left")
{
    pthread_t thread, other;
    CHECK(pthread_create(&thread, NULL, wait_to_end, NULL) == 0);
    CHECK(pthread_create(&other, NULL, wait_to_end, NULL) == 0);
    CHECK(!thread_join_within(thread, 10));
    CHECK(!thread_join_within(other, 10));
    thread_leave(other);
    CHECK(!thread_join_within(thread, 0));
    may_end = true;
    CHECK(thread_join_within(thread, 10000));
}

TEST("system: the stack's bounds hold where the caller is")
{
    uintptr_t lowest;
    size_t size;
    char here;
    CHECK(thread_stack(&lowest, &size));
    CHECK(size >= 65536 && (uintptr_t)&here > lowest && (uintptr_t)&here - lowest > 32768);
}

TEST("system: the machine has processors, memory and a program")
{
    char path[PATH_MAX];
    system_start("build/no/such/program");
    CHECK(system_cpu_count() > 0 && system_memory_limit() > 1u << 20 && system_file_limit() > 0);
    system_start("/bin/sh");
    CHECK(system_program_path(path) && path[0] == '/');
}
