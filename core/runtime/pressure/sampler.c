#include "runtime/pressure/sampler.h"

#include "base/system/system.h"
#include "bridge/queue/mailbox.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/websocket/deflate.h"
#include "runtime/http/api/api.h"
#include "script/state/collect.h"

void sampler_read(struct memory_sample *out)
{
    struct script_collections collections = {0};
    *out = (struct memory_sample){
        .mailboxes = mailbox_bytes_in_all(), .history = history_bytes(), .compression = deflate_state_bytes()};
    out->pools = pool_bytes_in_all();
    api_sum_heaps(&out->script_heaps, &out->api_heaps, &collections);
    out->collections = collections.manual + collections.automatic;
    out->collections_under_way = collections.under_way;
    uint64_t resident = system_resident_bytes();
    out->resident = resident ? resident : out->pools + out->script_heaps + out->api_heaps;
}

uint64_t sampler_read_used(void)
{
    uint64_t script_heaps = 0, api_heaps = 0, resident = system_resident_bytes();
    struct script_collections collections = {0};
    if (resident)
        return resident;
    api_sum_heaps(&script_heaps, &api_heaps, &collections);
    return pool_bytes_in_all() + script_heaps + api_heaps;
}

void sampler_read_surroundings(struct memory_surroundings *out)
{
    struct system_cgroup_memory cgroup = system_cgroup_memory("");
    struct system_memory_stall stall;
    *out = (struct memory_surroundings){.cgroup_used = cgroup.used, .cgroup_limit = cgroup.limit};
    out->has_stall = system_memory_stall("", &stall);
    out->stall_some = stall.some;
    out->stall_full = stall.full;
}
