/* What a server has cost so far, seen from outside: processor time and memory of its processes. */
#ifndef LUADUCT_CLIENT_BENCH_SERVER_H
#define LUADUCT_CLIENT_BENCH_SERVER_H

#include <stdint.h>
#include <sys/types.h>

#define SERVER_PROCESSES 8

/* A server and, for example, the proxy in front of it: their costs are added. Up to the first 0. */
struct server_processes {
    pid_t pids[SERVER_PROCESSES + 1];
};

/* Nanoseconds of processor time, user and system, of all their threads, ended ones too; 0 when there is none, or one of
 * them does not exist. The kernel's own accounting to the nanosecond, not the 10 ms ticks of /proc/PID/stat. */
uint64_t server_cpu_ns(const struct server_processes *server);

/* What they have spent since they had spent `before`; 0 when one has ended meanwhile. */
uint64_t server_cpu_since(const struct server_processes *server, uint64_t before);

/* Bytes of resident memory (VmRSS); 0 when there is none. */
uint64_t server_rss_bytes(const struct server_processes *server);

#endif
