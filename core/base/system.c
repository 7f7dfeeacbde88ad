#include "base/system.h"

#include <sys/resource.h>
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
