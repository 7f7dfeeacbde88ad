#include "client/bench/bench_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t server_cpu_ns(const struct server_processes *server)
{
    uint64_t sum_ns = 0;
    for (const pid_t *pid = server->pids; *pid; pid++) {
        clockid_t clock;
        struct timespec spent;
        if (clock_getcpuclockid(*pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
            return 0;
        sum_ns += (uint64_t)spent.tv_sec * 1000000000 + (uint64_t)spent.tv_nsec;
    }
    return sum_ns;
}

uint64_t server_cpu_since(const struct server_processes *server, uint64_t before)
{
    uint64_t now = server_cpu_ns(server);
    return now > before ? now - before : 0;
}

static uint64_t rss_bytes(pid_t pid)
{
    char path[64], line[128];
    uint64_t kibibytes = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    if (!status)
        return 0;
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kibibytes = strtoull(line + 6, NULL, 10);
            break;
        }
    fclose(status);
    return kibibytes * 1024;
}

uint64_t server_rss_bytes(const struct server_processes *server)
{
    uint64_t sum = 0;
    for (const pid_t *pid = server->pids; *pid; pid++)
        sum += rss_bytes(*pid);
    return sum;
}
