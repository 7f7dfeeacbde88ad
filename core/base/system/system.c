#include "base/system/system.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t soft_limit(const struct rlimit *limit)
{
    return limit->rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit->rlim_cur;
}

uint64_t system_memory_limit(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
    struct rlimit all, data;
    /* 1 GiB is a modest guess where the system does not say, as a Linux whose /proc is masked. */
    uint64_t limit = pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : (uint64_t)1 << 30;
    if (getrlimit(RLIMIT_AS, &all) == 0)
        limit = least(limit, soft_limit(&all));
    if (getrlimit(RLIMIT_DATA, &data) == 0)
        limit = least(limit, soft_limit(&data));
    limit = least(limit, system_cgroup_memory_limit(""));
    return limit ? limit : 1;
}

/* Whether the folder of PATH has that file under that name. */
static bool folder_has(const char *folder, size_t length, const char *name, const struct stat *file)
{
    char path[PATH_MAX];
    struct stat found;
    int needed = snprintf(path, sizeof path, "%.*s/%s", (int)length, length > 0 ? folder : ".", name);
    return needed < (int)sizeof path && stat(path, &found) == 0 && found.st_dev == file->st_dev &&
           found.st_ino == file->st_ino;
}

static bool path_has(const char *called, const char *name)
{
    const char *path = getenv("PATH");
    struct stat file;
    if (!path || stat(called, &file) != 0)
        return false;
    for (size_t length; *path; path += length + (path[length] == ':')) {
        length = strcspn(path, ":");
        if (folder_has(path, length, name, &file))
            return true;
    }
    return false;
}

void system_command_name(const char *called, char out[SYSTEM_COMMAND_BYTES])
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@%,:=";
    const char *slash = strrchr(called, '/');
    const char *name = slash && path_has(called, slash + 1) ? slash + 1 : called;
    bool quotes = name[strspn(name, plain)] != '\0' && !strchr(name, '\'');
    snprintf(out, SYSTEM_COMMAND_BYTES, quotes ? "'%s'" : "%s", *name ? name : "luaduct");
}

uint64_t system_file_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? soft_limit(&limit) : UINT64_MAX;
}

uint64_t system_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        /* Refused means that the soft limit stays as it was, and that is what the caller is told. */
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    return system_file_limit();
}
