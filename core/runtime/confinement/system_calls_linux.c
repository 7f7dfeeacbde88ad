#include "runtime/confinement/system_calls.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "runtime/config/config.h"

/* By what needs them. Calls that this processor does not have are skipped. */
static const char *const allowed[] = {
    /* memory: malloc, LuaJIT's allocator and its machine code */
    "brk", "mmap", "munmap", "mremap", "mprotect", "madvise",
    /* threads */
    "futex", "set_robust_list", "get_robust_list", "rseq", "sched_yield", "sched_getaffinity", "sched_setaffinity",
    "exit", "exit_group", "gettid", "getpid", "getppid", "tgkill", "membarrier", "set_tid_address", "getcpu",
    "setpriority", "getpriority",
    /* signals and time */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "signalfd4", "restart_syscall",
    "clock_gettime", "clock_getres", "gettimeofday", "time", "nanosleep", "clock_nanosleep", "timerfd_create",
    "timerfd_settime", "timerfd_gettime",
    /* the loop */
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
    "eventfd2", "pipe2",
    /* sockets: agents, callers, the webhook and its name lookups */
    "bind", "listen", "accept4", "accept", "connect", "getsockname", "getpeername", "setsockopt", "getsockopt",
    "shutdown", "socketpair", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
    /* files: config, scripts, the log, /proc and cgroups */
    "read", "readv", "pread64", "write", "writev", "pwrite64", "close", "open", "openat", "lseek", "fstat", "stat",
    "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "getdents64", "readlink", "readlinkat",
    "fcntl", "dup", "dup2", "dup3", "unlink", "unlinkat", "rename", "renameat", "renameat2", "fsync", "fdatasync",
    "ftruncate", "fallocate", "getcwd", "umask", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "statfs",
    "fstatfs",
    /* who and how much */
    "getuid", "geteuid", "getgid", "getegid", "getrandom", "uname", "sysinfo", "getrusage", "prlimit64", "getrlimit",
    "times", "arch_prctl"};

/* Descriptors carry a terminal's size and how many bytes wait; nothing else of ioctl is needed. */
#define IOCTL_FIONREAD 0x541B
#define IOCTL_FIONBIO 0x5421
#define IOCTL_TCGETS 0x5401
#define IOCTL_TIOCGWINSZ 0x5413

static int allow(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        int call = seccomp_syscall_resolve_name(allowed[i]);
        if (call == __NR_SCMP_ERROR)
            continue;
        int failure = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
        if (failure != 0)
            return failure;
    }
    static const unsigned long ioctls[] = {IOCTL_FIONREAD, IOCTL_FIONBIO, IOCTL_TCGETS, IOCTL_TIOCGWINSZ};
    for (size_t i = 0; i < sizeof ioctls / sizeof ioctls[0]; i++) {
        int failure = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, ioctls[i], 0));
        if (failure != 0)
            return failure;
    }
    /* Netlink is how the C library asks which addresses this machine has. */
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        int failure = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                       SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
        if (failure != 0)
            return failure;
    }
    /* A thread's name, and that memory is hidden (privileges.h); more of prctl could undo what was given up. */
    int failure = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
    if (failure == 0)
        failure = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 2, SCMP_A0(SCMP_CMP_EQ, PR_SET_DUMPABLE, 0),
                                   SCMP_A1(SCMP_CMP_EQ, 0, 0));
    if (failure != 0)
        return failure;
    /* Threads, not processes. clone3 has its flags where a filter cannot look; "not there" makes the C library take
     * clone. */
    failure = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    return failure ? failure : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

bool system_calls_confine(const struct config *config, char *error, size_t size)
{
    if (config->confinement.system_calls == CONFIG_CONFINE_OFF)
        return true;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int failure = filter ? seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOMEM;
    if (failure == 0)
        failure = allow(filter);
    if (failure == 0)
        failure = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    if (failure == 0)
        return true;
    if (config->confinement.system_calls == CONFIG_CONFINE_AUTO) {
        log_warn(SERVER, "not_confined",
                 "confinement.systemCalls: this kernel takes no filter (%s): nothing is confined", strerror(-failure));
        return true;
    }
    snprintf(error, size, "confinement.systemCalls: this kernel takes no filter: %s", strerror(-failure));
    return false;
}
