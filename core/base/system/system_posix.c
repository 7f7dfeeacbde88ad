/* What POSIX, and what every system of today, says. */
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/system/system.h"

static const char *program; /* as it was called */

uint64_t system_cgroup_memory_limit(const char *root)
{
    (void)root;
    return UINT64_MAX;
}

struct system_cgroup_memory system_cgroup_memory(const char *root)
{
    (void)root;
    return (struct system_cgroup_memory){UINT64_MAX, UINT64_MAX};
}

bool system_memory_stall(const char *root, struct system_memory_stall *out)
{
    (void)root;
    *out = (struct system_memory_stall){0};
    return false;
}

uint64_t system_resident_bytes(void)
{
    return 0; /* getrusage knows only the most that it ever was */
}

uint64_t system_resident_bytes_of(pid_t pid)
{
    (void)pid;
    return 0;
}

uint32_t system_cpu_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (uint32_t)count : 1;
}

void system_trim_heap(void) {}

void system_start(const char *name)
{
    program = name;
    if (MSG_NOSIGNAL == 0) /* it cannot be said with each call */
        signal(SIGPIPE, SIG_IGN);
}

/* A name without a slash was found in PATH by whoever started it. */
bool system_program_path(char path[PATH_MAX])
{
    if (!program || strchr(program, '/'))
        return program && realpath(program, path);
    for (const char *folder = getenv("PATH"), *end; folder; folder = *end ? end + 1 : NULL) {
        char place[PATH_MAX];
        end = folder + strcspn(folder, ":");
        int length = snprintf(place, sizeof place, "%.*s/%s", (int)(end - folder), folder, program);
        if (length > 0 && length < (int)sizeof place && access(place, X_OK) == 0)
            return realpath(place, path);
    }
    return false;
}

void system_time_precisely(void) {}

bool system_become(uid_t user, gid_t group)
{
    return setgroups(0, NULL) == 0 && setgid(group) == 0 && setuid(user) == 0;
}

void system_refuse_privileges(void) {}

void system_hide_memory(void) {}
