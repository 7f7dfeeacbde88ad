/* Shards by the top bits of the key. A shard is a ring of entries in the order of their coming, which is the order of
 * their going, and an index of chains through the ring. One that is forgotten early leaves a gap until its turn comes,
 * or none if it is still the newest. */
#include "bridge/delivery/dedup.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/threads/lock.h"

#define SHARDS_MAXIMUM 64u
/* Fewer ids than this to a shard and the bound of one shard would show before that of all. */
#define SHARD_LEAST 1024u
#define NONE UINT32_MAX

struct entry {
    uint64_t key; /* 0: a gap */
    uint64_t until_ms;
    uint32_t next; /* in its chain; NONE: the last */
    uint32_t number;
};

static struct shard {
    struct lock lock;
    struct entry *ring;
    uint32_t *chains; /* first entry of each; NONE: empty */
    uint32_t first, count;
    uint32_t last_number;
    atomic_uint kept; /* entries without gaps */
    atomic_ullong evicted;
} * shards;

bool dedup_on;
static uint32_t shard_count, capacity, chain_count, window_ms;

static bool make_shard(struct shard *shard)
{
    pthread_mutex_init(&shard->lock.mutex, NULL);
    shard->ring = malloc(capacity * sizeof *shard->ring);
    shard->chains = malloc(chain_count * sizeof *shard->chains);
    if (!shard->ring || !shard->chains)
        return false;
    for (uint32_t i = 0; i < chain_count; i++)
        shard->chains[i] = NONE;
    return true;
}

bool dedup_start(uint32_t window, uint32_t ids)
{
    if (window == 0)
        return true;
    window_ms = window;
    shard_count = 1;
    while (shard_count < SHARDS_MAXIMUM && ids / (shard_count * 2) >= SHARD_LEAST)
        shard_count *= 2;
    capacity = (uint32_t)(((uint64_t)ids + shard_count - 1) / shard_count);
    chain_count = 1;
    while (chain_count < capacity)
        chain_count *= 2;
    shards = calloc(shard_count, sizeof *shards);
    bool good = shards != NULL;
    for (uint32_t i = 0; good && i < shard_count; i++)
        good = make_shard(&shards[i]);
    dedup_on = good;
    if (!good)
        dedup_stop();
    return good;
}

void dedup_stop(void)
{
    for (uint32_t i = 0; shards && i < shard_count; i++) {
        free(shards[i].ring);
        free(shards[i].chains);
    }
    free(shards);
    shards = NULL;
    dedup_on = false;
}

uint64_t dedup_key(struct slice sender, struct slice id)
{
    uint64_t key = hash_slice(id) ^ (hash_slice(sender) * 0x9e3779b97f4a7c15u);
    return key ? key : 1;
}

static struct shard *shard_of(uint64_t key)
{
    return &shards[key >> 32 & (shard_count - 1)];
}

static uint32_t *chain_of(struct shard *shard, uint64_t key)
{
    return &shard->chains[key & (chain_count - 1)];
}

static uint32_t place_of(const struct shard *shard, uint32_t index)
{
    uint64_t place = (uint64_t)shard->first + index;
    return (uint32_t)(place < capacity ? place : place - capacity);
}

/* Out of its chain; what is left is a gap. */
static void unlink_entry(struct shard *shard, uint32_t place)
{
    struct entry *entry = &shard->ring[place];
    uint32_t *at = chain_of(shard, entry->key);
    while (*at != place)
        at = &shard->ring[*at].next;
    *at = entry->next;
    entry->key = 0;
    atomic_fetch_sub_explicit(&shard->kept, 1, memory_order_relaxed);
}

static void drop_oldest(struct shard *shard)
{
    if (shard->ring[shard->first].key)
        unlink_entry(shard, shard->first);
    shard->first = place_of(shard, 1);
    shard->count--;
}

struct dedup_entry dedup_take(uint64_t key, uint64_t now_ms)
{
    struct shard *shard = shard_of(key);
    struct dedup_entry taken = {.key = key};
    bool fresh = true;
    lock_acquire(&shard->lock);
    while (shard->count > 0 && shard->ring[shard->first].until_ms <= now_ms)
        drop_oldest(shard);
    for (uint32_t at = *chain_of(shard, key); fresh && at != NONE; at = shard->ring[at].next)
        fresh = shard->ring[at].key != key || shard->ring[at].until_ms <= now_ms;
    if (fresh) {
        if (shard->count == capacity) {
            if (shard->ring[shard->first].key)
                atomic_fetch_add_explicit(&shard->evicted, 1, memory_order_relaxed);
            drop_oldest(shard);
        }
        uint32_t place = place_of(shard, shard->count++), *chain = chain_of(shard, key);
        if (++shard->last_number == 0)
            shard->last_number = 1;
        taken.number = shard->last_number;
        shard->ring[place] =
            (struct entry){.key = key, .until_ms = now_ms + window_ms, .next = *chain, .number = taken.number};
        *chain = place;
        atomic_fetch_add_explicit(&shard->kept, 1, memory_order_relaxed);
    }
    lock_release(&shard->lock);
    return taken;
}

void dedup_forget(struct dedup_entry entry)
{
    struct shard *shard = shard_of(entry.key);
    lock_acquire(&shard->lock);
    uint32_t at = *chain_of(shard, entry.key);
    while (at != NONE && (shard->ring[at].key != entry.key || shard->ring[at].number != entry.number))
        at = shard->ring[at].next;
    if (at != NONE) {
        unlink_entry(shard, at);
        while (shard->count > 0 && shard->ring[place_of(shard, shard->count - 1)].key == 0)
            shard->count--;
    }
    lock_release(&shard->lock);
}

void dedup_read(struct dedup_figures *out)
{
    *out = (struct dedup_figures){0};
    for (uint32_t i = 0; dedup_on && i < shard_count; i++) {
        out->remembered += atomic_load_explicit(&shards[i].kept, memory_order_relaxed);
        out->evicted += atomic_load_explicit(&shards[i].evicted, memory_order_relaxed);
    }
}
