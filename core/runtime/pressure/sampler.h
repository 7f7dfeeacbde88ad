/* Where the memory is: what the process uses, and who of it. */
#ifndef LUADUCT_RUNTIME_SAMPLER_H
#define LUADUCT_RUNTIME_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes. */
struct memory_sample {
    uint64_t resident;                        /* of the process: what the levels go by */
    uint64_t pools;                           /* blocks in use and kept for use */
    uint64_t script_heaps, api_heaps;         /* of all reactors' Lua states */
    uint64_t mailboxes, history, compression; /* envelopes there lie in the pools too */
    uint64_t collections;                     /* completed in all script states */
    uint64_t collections_under_way;           /* ordered and not done */
};

/* Any thread: the process's memory, as above; where the system does not say how much that is, the pools and the Lua
 * heaps alone. */
uint64_t sampler_read_used(void);

/* Main thread. */
void sampler_read(struct memory_sample *out);

/* What lies outside of the process: read less often. */
struct memory_surroundings {
    uint64_t cgroup_used, cgroup_limit; /* UINT64_MAX: none */
    bool has_stall;
    double stall_some, stall_full; /* percent of the last ten seconds */
};

void sampler_read_surroundings(struct memory_surroundings *out);

#endif
