#include "client/bench/bench_server.h"

#include <stdio.h>
#include <time.h>

uint64_t server_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec spent;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
        return 0;
    return (uint64_t)spent.tv_sec * 1000000000 + (uint64_t)spent.tv_nsec;
}

uint64_t server_cpu_since(pid_t pid, uint64_t before)
{
    uint64_t now = server_cpu_ns(pid);
    return now > before ? now - before : 0;
}

uint64_t server_rss_bytes(pid_t pid)
{
    char path[64], line[128];
    unsigned long long kibibytes = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    if (!status)
        return 0;
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "VmRSS: %llu kB", &kibibytes) == 1)
            break;
    fclose(status);
    return kibibytes * 1024;
}
