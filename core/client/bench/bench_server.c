#include "client/bench/bench_server.h"

#include <time.h>

#include "base/system/system.h"

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

uint64_t server_rss_bytes(const struct server_processes *server)
{
    uint64_t sum = 0;
    for (const pid_t *pid = server->pids; *pid; pid++)
        sum += system_resident_bytes_of(*pid);
    return sum;
}
