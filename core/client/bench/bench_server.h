/* What a server process has cost so far, seen from outside: processor time and memory. */
#ifndef LUADUCT_CLIENT_BENCH_SERVER_H
#define LUADUCT_CLIENT_BENCH_SERVER_H

#include <stdint.h>
#include <sys/types.h>

/* Nanoseconds of processor time, user and system, of all its threads, ended ones too; 0 when there is no such process.
 * The kernel's own accounting to the nanosecond, not the 10 ms ticks of /proc/PID/stat. */
uint64_t server_cpu_ns(pid_t pid);

/* What it has spent since it had spent `before`; 0 when it has ended meanwhile. */
uint64_t server_cpu_since(pid_t pid, uint64_t before);

/* Bytes of resident memory (VmRSS); 0 when there is no such process. */
uint64_t server_rss_bytes(pid_t pid);

#endif
