/* What the machine and the container allow this process: memory, processors, file descriptors; and what the process
 * asks the system for that POSIX has no call for. */
#ifndef LUADUCT_BASE_SYSTEM_H
#define LUADUCT_BASE_SYSTEM_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes: the least of the cgroup's limit, RLIMIT_AS, RLIMIT_DATA and the machine's RAM. Never 0. Any thread. */
uint64_t system_memory_limit(void);

/* Bytes: the least memory limit of this process's cgroups (v2 and v1) and all their parents, UINT64_MAX when there is
 * none, as where there are no cgroups. Reads /proc/self/{cgroup,mountinfo} below `root` ("" for the real ones, a folder
 * for tests). Any thread. */
uint64_t system_cgroup_memory_limit(const char *root);

/* What the process's own memory cgroup holds (page cache included) and its limit; UINT64_MAX where there is no such
 * group, or no limit. `root` as above; the search costs a few file reads. Any thread. */
struct system_cgroup_memory {
    uint64_t used, limit;
};
struct system_cgroup_memory system_cgroup_memory(const char *root);

/* Pressure stall information: the share of the last ten seconds, in percent, in which some tasks, or all, waited for
 * memory; of the cgroup (v2) where it says, else of the machine. False: the kernel does not tell. Any thread. */
struct system_memory_stall {
    double some, full;
};
bool system_memory_stall(const char *root, struct system_memory_stall *out);

/* Bytes of this process, or another, in RAM; 0 where the system does not say. Any thread. */
uint64_t system_resident_bytes(void);
uint64_t system_resident_bytes_of(pid_t pid);

/* Processors that the calling thread may run on, at least 1. */
uint32_t system_cpu_count(void);

/* What a user types to call the program that was called as `called` (argv[0]), in `out`: its file name where PATH has
 * the same file under it, else `called` as it is, in quotes where a shell needs them. Main thread, for it reads the
 * environment. */
#define SYSTEM_COMMAND_BYTES 4352
void system_command_name(const char *called, char out[SYSTEM_COMMAND_BYTES]);

/* Descriptors that the process may have open: the soft RLIMIT_NOFILE. */
uint64_t system_file_limit(void);

/* Raises the soft RLIMIT_NOFILE to the hard one, as far as the kernel lets, and returns what it is then. */
uint64_t system_raise_file_limit(void);

/* Gives back what malloc keeps and nobody uses. Where the system can be told. */
void system_trim_heap(void);

/* main's argv[0], before system_program_path is asked for. */
void system_start(const char *program);

/* Where the running program lies. False: the system does not say. */
bool system_program_path(char path[PATH_MAX]);

/* The calling thread wants to be woken when it asked for it, not some 50 us later. Where the system can be told. */
void system_time_precisely(void);

/* As root: becomes that user and group for good, all threads, without supplementary groups. False: errno says why. */
bool system_become(uid_t user, gid_t group);

/* No program that this process executes gains privileges by that; and no other process of the same user may look into
 * its memory. Where the system can be told. */
void system_refuse_privileges(void);
void system_hide_memory(void);

#endif
