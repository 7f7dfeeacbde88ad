/* By whose identity ids were held that nobody holds at the moment: an agent that is away for a while is still itself. A
 * fixed number is remembered, each for as long as a mailbox lives. */
#ifndef LUADUCT_BRIDGE_HOLDERS_H
#define LUADUCT_BRIDGE_HOLDERS_H

#include <stdint.h>

/* In one shard of the registry: 65,536 in all. */
#define HOLDERS_SETS 64u
#define HOLDERS_WAYS 4u

struct holder {
    uint64_t id, owner; /* keyed hashes; owner 0: the place is free */
    int64_t left_ms;    /* wall clock */
};

struct holders {
    struct holder sets[HOLDERS_SETS][HOLDERS_WAYS];
};

/* Remembers who held the id; the one of its set that left first may have to go. Makes *holders when it is NULL; without
 * memory nothing is remembered. With the shard locked. */
void holders_remember(struct holders **holders, uint64_t id, uint64_t owner, int64_t now_ms);

/* Who held it within the last `ttl_ms`; 0: nobody that is remembered. `holders` may be NULL. With the shard locked. */
uint64_t holders_recall(const struct holders *holders, uint64_t id, int64_t now_ms, uint32_t ttl_ms);

#endif
