#include "bridge/registry/holders.h"

#include <stdlib.h>

/* The top byte chose the shard, the low bits its chain. */
static unsigned set_of(uint64_t id)
{
    return (unsigned)(id >> 40) & (HOLDERS_SETS - 1);
}

void holders_remember(struct holders **holders, uint64_t id, uint64_t owner, int64_t now_ms)
{
    if (!*holders && !(*holders = calloc(1, sizeof **holders)))
        return;
    struct holder *set = (*holders)->sets[set_of(id)], *place = &set[0];
    for (unsigned i = 0; i < HOLDERS_WAYS; i++) {
        if (set[i].id == id && set[i].owner) {
            place = &set[i];
            break;
        }
        if (!set[i].owner || (place->owner && set[i].left_ms < place->left_ms))
            place = &set[i];
    }
    *place = (struct holder){id, owner, now_ms};
}

uint64_t holders_recall(const struct holders *holders, uint64_t id, int64_t now_ms, uint32_t ttl_ms)
{
    const struct holder *set = holders ? holders->sets[set_of(id)] : NULL;
    for (unsigned i = 0; set && i < HOLDERS_WAYS; i++)
        if (set[i].id == id && set[i].owner && now_ms - set[i].left_ms < (int64_t)ttl_ms)
            return set[i].owner;
    return 0;
}
