/* Limits as Linux shows them. The cgroup part takes the way that the kernel documents: /proc/self/cgroup names the
 * process's group in each hierarchy, /proc/self/mountinfo where a hierarchy is mounted and which part of it; a limit of
 * any parent counts too, so the path is shortened to the mount's top. What cannot be read sets no limit: a container
 * without /proc or /sys still starts, on the machine's RAM. */
#include "base/system/system.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Not the machine's: a kernel may show a limit of nearly 2^63 for "none" (cgroup v1 rounds down to pages). */
#define NO_LIMIT ((uint64_t)1 << 62)

/* Of mountinfo; a machine with more mounts than fit shows those of control groups among its first. */
#define MOUNTS_BYTES (128u << 10)

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The first bytes of a small file, NUL-terminated; false: there is none. These are read every second, so without the
 * memory that a FILE takes. */
static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t length = 0;
    for (ssize_t got; length < size - 1 && (got = read(fd, text + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    close(fd);
    text[length] = '\0';
    return length > 0;
}

/* The line at *rest, its end cut off, and *rest moved behind it; NULL: there is none. */
static char *next_line(char **rest)
{
    char *line = *rest;
    if (*line == '\0')
        return NULL;
    char *end = strchrnul(line, '\n');
    *rest = *end ? end + 1 : end;
    *end = '\0';
    return line;
}

/* The number in a one-line file; UINT64_MAX for "max", for no number and for no file. */
static uint64_t read_limit(const char *path)
{
    char text[64], *end;
    if (!read_text(path, text, sizeof(text)))
        return UINT64_MAX;
    uint64_t value = strtoull(text, &end, 10);
    return end != text && value < NO_LIMIT ? value : UINT64_MAX;
}

/* The least limit from `mount` + `group` up to `mount` itself. */
static uint64_t read_hierarchy(const char *root, const char *mount, const char *group, const char *file)
{
    char directory[PATH_MAX], path[PATH_MAX + 64];
    int length = snprintf(directory, sizeof(directory), "%s%s%s", root, mount, group);
    size_t top = strlen(root) + strlen(mount);
    if (length < 0 || (size_t)length >= sizeof(directory))
        return UINT64_MAX;
    uint64_t limit = UINT64_MAX;
    for (;;) {
        snprintf(path, sizeof(path), "%s/%s", directory, file);
        limit = least(limit, read_limit(path));
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < top)
            return limit;
        *slash = '\0';
    }
}

/* Whether a comma-separated list has the word. */
static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *item = list; item; item = strchr(item, ',')) {
        item += *item == ',';
        if (strncmp(item, word, length) == 0 && (item[length] == ',' || item[length] == '\0' || item[length] == '\n'))
            return true;
    }
    return false;
}

/* This process's group in the hierarchy whose controllers contain `controller` ("" is v2's). False: not in one. */
static bool find_group(const char *root, const char *controller, char group[PATH_MAX])
{
    char path[PATH_MAX + 64], text[16 * 1024], *rest = text, *line;
    bool found = false;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (!read_text(path, text, sizeof(text)))
        return false;
    /* hierarchy ":" controllers ":" path; v2's line is "0::path". */
    while (!found && (line = next_line(&rest))) {
        char *controllers = strchr(line, ':');
        char *name = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!name)
            continue;
        *name++ = '\0';
        controllers++;
        found = *controller ? list_has(controllers, controller) : *controllers == '\0';
        if (found)
            snprintf(group, PATH_MAX, "%s", name);
    }
    return found;
}

/* Where a group lies below a mount that shows the hierarchy from `top` on; NULL when it is outside of it. */
static const char *below(const char *group, const char *top)
{
    size_t length = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(group, top, length) != 0 || (group[length] != '/' && group[length] != '\0'))
        return NULL;
    return strcmp(group + length, "/") == 0 ? "" : group + length;
}

/* Calls `visit` for each mount that shows this process's memory group, with where the mount is and the group below it.
 */
static void each_hierarchy(const char *root,
                           void (*visit)(const char *root, const char *mount, const char *group, bool v2,
                                         void *context),
                           void *context)
{
    char group_v1[PATH_MAX], group_v2[PATH_MAX], path[PATH_MAX + 64], text[MOUNTS_BYTES], *rest = text, *line;
    bool has_v1 = find_group(root, "memory", group_v1), has_v2 = find_group(root, "", group_v2);
    snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
    if (!read_text(path, text, sizeof(text)))
        return;
    /* proc(5): id parent device top mount options [optional fields …] "-" type source super-options */
    while ((line = next_line(&rest))) {
        char top[PATH_MAX], mount[PATH_MAX], type[32], options[512];
        const char *dash = strstr(line, " - ");
        _Static_assert(PATH_MAX > 4095, "the field widths below are PATH_MAX less the NUL");
        if (!dash || sscanf(line, "%*s %*s %*s %4095s %4095s", top, mount) != 2 ||
            sscanf(dash + 3, "%31s %*s %511s", type, options) != 2)
            continue;
        const char *group;
        if (has_v2 && strcmp(type, "cgroup2") == 0 && (group = below(group_v2, top)))
            visit(root, mount, group, true, context);
        else if (has_v1 && strcmp(type, "cgroup") == 0 && list_has(options, "memory") && (group = below(group_v1, top)))
            visit(root, mount, group, false, context);
    }
}

static void find_limit(const char *root, const char *mount, const char *group, bool v2, void *context)
{
    uint64_t *limit = context;
    *limit = least(*limit, read_hierarchy(root, mount, group, v2 ? "memory.max" : "memory.limit_in_bytes"));
}

uint64_t system_cgroup_memory_limit(const char *root)
{
    uint64_t limit = UINT64_MAX;
    each_hierarchy(root, find_limit, &limit);
    return limit;
}

static void find_usage(const char *root, const char *mount, const char *group, bool v2, void *context)
{
    struct system_cgroup_memory *memory = context;
    char path[PATH_MAX + 64];
    int length =
        snprintf(path, sizeof(path), "%s%s%s/%s", root, mount, group, v2 ? "memory.current" : "memory.usage_in_bytes");
    if (length > 0 && (size_t)length < sizeof(path))
        memory->used = least(memory->used, read_limit(path));
    find_limit(root, mount, group, v2, &memory->limit);
}

struct system_cgroup_memory system_cgroup_memory(const char *root)
{
    struct system_cgroup_memory memory = {UINT64_MAX, UINT64_MAX};
    each_hierarchy(root, find_usage, &memory);
    return memory;
}

static bool take_share(const char *text, const char *name, double *out)
{
    const char *at = strstr(text, name);
    char *end;
    if (!at)
        return false;
    at += strlen(name);
    *out = strtod(at, &end);
    return end != at;
}

/* "some avg10=0.00 avg60=… " and the same for "full". */
static bool read_stall(const char *path, struct system_memory_stall *out)
{
    char text[256];
    return read_text(path, text, sizeof(text)) && take_share(text, "some avg10=", &out->some) &&
           take_share(text, "full avg10=", &out->full);
}

struct stall_search {
    struct system_memory_stall *out;
    bool found;
};

static void find_stall(const char *root, const char *mount, const char *group, bool v2, void *context)
{
    struct stall_search *search = context;
    char path[PATH_MAX + 64];
    int length = snprintf(path, sizeof(path), "%s%s%s/memory.pressure", root, mount, group);
    if (v2 && !search->found && length > 0 && (size_t)length < sizeof(path))
        search->found = read_stall(path, search->out);
}

bool system_memory_stall(const char *root, struct system_memory_stall *out)
{
    struct stall_search search = {.out = out};
    char path[PATH_MAX + 64];
    *out = (struct system_memory_stall){0};
    each_hierarchy(root, find_stall, &search);
    if (search.found)
        return true;
    snprintf(path, sizeof(path), "%s/proc/pressure/memory", root);
    return read_stall(path, out);
}

static uint64_t resident_bytes(const char *statm)
{
    char text[128];
    const char *resident = read_text(statm, text, sizeof(text)) ? strchr(text, ' ') : NULL;
    return resident ? strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t system_resident_bytes(void)
{
    return resident_bytes("/proc/self/statm");
}

uint64_t system_resident_bytes_of(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    return resident_bytes(path);
}

uint32_t system_cpu_count(void)
{
    /* The kernel refuses a set that is smaller than its own; 64 Ki processors are past any machine. */
    for (int processors = CPU_SETSIZE; processors <= 65536; processors *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)processors);
        if (!set)
            break;
        size_t size = CPU_ALLOC_SIZE((size_t)processors);
        bool known = sched_getaffinity(0, size, set) == 0;
        int count = known ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (known)
            return count > 0 ? (uint32_t)count : 1;
    }
    return 1;
}

void system_trim_heap(void)
{
    malloc_trim(0);
}

bool system_program_path(char path[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
    return length > 0;
}

void system_start(const char *program)
{
    (void)program; /* the kernel knows it */
}

void system_time_precisely(void)
{
    prctl(PR_SET_TIMERSLACK, 1); /* nanoseconds; the default is 50 µs */
}

bool system_become(uid_t user, gid_t group)
{
    /* The groups first: without root they cannot be changed any more. */
    return setgroups(0, NULL) == 0 && setresgid(group, group, group) == 0 && setresuid(user, user, user) == 0;
}

void system_refuse_privileges(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

void system_hide_memory(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
