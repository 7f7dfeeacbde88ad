#include "runtime/handover/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/handover/handover.h"

/* How often the starter looks after what it started. */
#define LOOK_MS 20
#define ANSWER_MS 5000

enum order_kind { ORDER_SPAWN, ORDER_KILL };

struct order {
    enum order_kind kind;
    pid_t pid;
};

struct report {
    pid_t pid;  /* 0: it could not be started */
    int error;  /* errno, then */
    int status; /* of waitpid; -1: it runs */
};

static int ours = -1; /* the bridge's end */
static struct report ended;

/* --- The starter's side --- */

static char **program; /* its arguments, ended by NULL */

/* From the kernel, so that nobody has to hand them through. */
static bool read_program(void)
{
    size_t length = 0, capacity = 1 << 12, count = 1;
    char *text = malloc(capacity);
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t got = -1;
    while (text && fd >= 0 && (got = read(fd, text + length, capacity - length - 1)) > 0) {
        length += (size_t)got;
        char *grown = capacity - length > 1 ? text : realloc(text, capacity *= 2);
        if (!grown)
            break;
        text = grown;
    }
    if (fd >= 0)
        close(fd);
    if (!text || got != 0 || length == 0) {
        free(text);
        return false;
    }
    text[length] = '\0';
    for (size_t i = 0; i < length; i++)
        count += text[i] == '\0';
    program = calloc(count + 1, sizeof *program);
    for (size_t i = 0, at = 0; program && at < length; at += strlen(text + at) + 1)
        program[i++] = text + at;
    if (!program)
        free(text);
    return program != NULL;
}

static void become(int fd)
{
    char number[16];
    int kept = fcntl(fd, F_DUPFD, 3); /* not closed by the exec */
    snprintf(number, sizeof number, "%d", kept);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    bool good = kept >= 0 && setenv(HANDOVER_VARIABLE, number, 1) == 0;
    snprintf(number, sizeof number, "%d", (int)getpid());
    if (getenv("WATCHDOG_PID")) /* systemd's: the watchdog is for the main process, which this one becomes */
        good = good && setenv("WATCHDOG_PID", number, 1) == 0;
    if (good)
        execvp(program[0], program);
    fprintf(stderr, "luaduct: cannot start %s: %s\n", program[0], strerror(errno));
    _exit(127);
}

static void report(int fd, struct report text)
{
    (void)!send(fd, &text, sizeof text, MSG_NOSIGNAL);
}

/* False: the bridge is gone. */
static bool take_order(int fd, pid_t *child)
{
    struct order order;
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = {&order, sizeof order};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    if (got != (ssize_t)sizeof order)
        return false;
    if (order.kind == ORDER_KILL) {
        if (*child > 0 && order.pid == *child)
            kill(*child, SIGKILL);
        return true;
    }
    const struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    int passed = -1;
    if (part && part->cmsg_type == SCM_RIGHTS)
        memcpy(&passed, CMSG_DATA(part), sizeof passed);
    if (*child > 0) { /* one at a time, however often it is asked for: the one before has come to nothing */
        kill(*child, SIGKILL);
        waitpid(*child, NULL, 0);
    }
    pid_t pid = fork();
    if (pid == 0)
        become(passed);
    report(fd, pid > 0 ? (struct report){.pid = pid, .status = -1} : (struct report){.error = errno});
    if (pid > 0)
        *child = pid;
    if (passed >= 0)
        close(passed);
    return true;
}

static void serve(int fd)
{
    pid_t child = 0;
    int status;
    prctl(PR_SET_NAME, "luaduct-starter");
    prctl(PR_SET_DUMPABLE, 0); /* it has the bridge's environment and configuration; what it starts is its own again */
    /* What another process of the bridge has passed on is the bridge's alone. */
    if (fd > 3)
        close_range(3, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, UINT_MAX, 0);
    /* Who means the bridge by its name need not know that there are two. */
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    for (bool more = true; more;) {
        struct pollfd watched = {.fd = fd, .events = POLLIN};
        int count = poll(&watched, 1, child > 0 ? LOOK_MS : -1);
        if (count > 0)
            more = take_order(fd, &child);
        /* Once the bridge is gone it is somebody else's, who may want to know. */
        if (more && child > 0 && waitpid(child, &status, WNOHANG) == child) {
            report(fd, (struct report){.pid = child, .status = status});
            child = 0;
        }
    }
    _exit(0);
}

/* --- The bridge's side --- */

bool starter_start(void)
{
    int ends[2];
    struct timeval timeout = {.tv_sec = ANSWER_MS / 1000};
    if (!read_program() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        serve(ends[1]);
    }
    close(ends[1]);
    free(program[0]); /* all its text */
    free(program);
    program = NULL;
    ours = ends[0];
    setsockopt(ours, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    if (pid < 0)
        starter_stop();
    return pid > 0;
}

static bool send_order(const struct order *order, int fd)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec vector = {(void *)(uintptr_t)order, sizeof *order};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
    }
    return sendmsg(ours, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *order;
}

pid_t starter_spawn(int fd, char *error, size_t size)
{
    struct order order = {.kind = ORDER_SPAWN};
    struct report answer;
    while (recv(ours, &answer, sizeof answer, MSG_DONTWAIT) > 0)
        continue; /* of an earlier one */
    ended = (struct report){0};
    if (!send_order(&order, fd) || recv(ours, &answer, sizeof answer, 0) != (ssize_t)sizeof answer) {
        snprintf(error, size, "the starter, the process beside this one, does not answer: %s", strerror(errno));
        return 0;
    }
    if (answer.pid == 0)
        snprintf(error, size, "cannot make a process: %s", strerror(answer.error));
    return answer.pid;
}

int starter_wait(pid_t pid, int timeout_ms)
{
    struct pollfd watched = {.fd = ours, .events = POLLIN};
    if (ended.pid != pid && poll(&watched, 1, timeout_ms) > 0)
        (void)!recv(ours, &ended, sizeof ended, MSG_DONTWAIT);
    return ended.pid == pid ? ended.status : -1;
}

void starter_kill(pid_t pid)
{
    send_order(&(struct order){.kind = ORDER_KILL, .pid = pid}, -1);
}

void starter_stop(void)
{
    if (ours >= 0)
        close(ours);
    ours = -1;
}
