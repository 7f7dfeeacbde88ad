/* What Linux shows below /proc and /sys, from a folder with copies of it. */
#include "../../support/unit.h"

#include <unistd.h>

#include "base/system/system.h"

/* A copy of the files that the kernel would show, below a folder of its own. */
static void write_below(const char *root, const char *name, const char *text)
{
    char file[512];
    snprintf(file, sizeof(file), "%s%s", root, name);
    for (char *slash = file + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        char command[600];
        snprintf(command, sizeof(command), "mkdir -p '%s'", file);
        CHECK(system(command) == 0);
        *slash = '/';
    }
    FILE *stream = fopen(file, "w");
    CHECK(stream != NULL);
    CHECK(fputs(text, stream) >= 0);
    CHECK(fclose(stream) == 0);
}

static void remove_folder(const char *root)
{
    char command[600];
    snprintf(command, sizeof(command), "rm -r '%s'", root);
    CHECK(system(command) == 0);
}

TEST("system: the least memory limit counts, of both cgroup versions and of every parent")
{
    char root[] = "/tmp/luaduct-system-XXXXXX";
    CHECK(mkdtemp(root) != NULL);
    CHECK(system_cgroup_memory_limit(root) == UINT64_MAX);

    write_below(root, "/proc/self/cgroup", "4:memory,pids:/docker/abc/job\n1:name=systemd:/\n0::/pod/box\n");
    write_below(root, "/proc/self/mountinfo",
                "30 23 0:26 / /proc rw - proc proc rw\n"
                "31 23 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
                "32 23 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                "33 23 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
    write_below(root, "/sys/fs/cgroup/unified/pod/box/memory.max", "max\n");
    write_below(root, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK(system_cgroup_memory_limit(root) == UINT64_MAX);

    write_below(root, "/sys/fs/cgroup/unified/pod/memory.max", "5000000\n");
    CHECK(system_cgroup_memory_limit(root) == 5000000);
    write_below(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n");
    CHECK(system_cgroup_memory_limit(root) == 4000000);
    write_below(root, "/sys/fs/cgroup/unified/pod/box/memory.max", "3000000\n");
    CHECK(system_cgroup_memory_limit(root) == 3000000);
    write_below(root, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2000000\n");
    CHECK(system_cgroup_memory_limit(root) == 2000000);
    remove_folder(root);
}

TEST("system: what the group uses, and the stalls, are read where the kernel shows them")
{
    char root[] = "/tmp/luaduct-system-XXXXXX";
    struct system_memory_stall stall;
    CHECK(mkdtemp(root) != NULL);
    CHECK(system_cgroup_memory(root).used == UINT64_MAX && !system_memory_stall(root, &stall));

    write_below(root, "/proc/self/mountinfo",
                "31 23 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
                "32 23 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    write_below(root, "/proc/self/cgroup", "4:memory,pids:/docker/abc/job\n");
    write_below(root, "/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1500000\n");
    write_below(root, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2000000\n");
    struct system_cgroup_memory memory = system_cgroup_memory(root);
    CHECK(memory.used == 1500000 && memory.limit == 2000000);

    write_below(root, "/proc/self/cgroup", "0::/pod/box\n");
    write_below(root, "/sys/fs/cgroup/unified/pod/box/memory.current", "700000\n");
    write_below(root, "/sys/fs/cgroup/unified/pod/memory.max", "5000000\n");
    memory = system_cgroup_memory(root);
    CHECK(memory.used == 700000 && memory.limit == 5000000);

    write_below(root, "/proc/pressure/memory",
                "some avg10=1.50 avg60=0.10 avg300=0.00 total=12\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=3\n");
    CHECK(system_memory_stall(root, &stall) && stall.some == 1.5 && stall.full == 0.25);
    write_below(root, "/sys/fs/cgroup/unified/pod/box/memory.pressure",
                "some avg10=7.00 avg60=0.10 avg300=0.00 total=12\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=3\n");
    CHECK(system_memory_stall(root, &stall) && stall.some == 7 && stall.full == 3);
    remove_folder(root);
}
