/* 256 shards by the top byte of the id's keyed hash, each a chained hash table that doubles as it fills. A shard's
 * lock is held for a lookup and a push: so briefly that reactors hardly ever meet there. */
#include "bridge/registry/registry.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "bridge/queue/mailbox.h"
#include "bridge/queue/tasks.h"
#include "bridge/registry/agent.h"
#include "bridge/registry/holders.h"
#include "memory/pool.h"
#include "net/channel.h"

#define SHARDS 256u
#define FIRST_BUCKETS 8u

static struct shard {
    struct lock lock;
    struct agent **buckets;
    uint32_t bucket_count; /* a power of two, 0 before the first agent */
    uint32_t agent_count;
    struct holders *holders; /* NULL: nobody has left yet */
} shards[SHARDS];

static struct shard *shard_of(uint64_t hash)
{
    return &shards[hash >> 56];
}

__attribute__((constructor)) static void prepare_shards(void)
{
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&shards[i].lock.mutex, NULL);
}

unsigned agent_lane(uint64_t hash)
{
    return (unsigned)(hash >> 56) % lanes_count();
}

struct lock *agent_lock(uint64_t hash)
{
    struct lock *lock = &shard_of(hash)->lock;
    lock_acquire(lock);
    return lock;
}

struct agent *agent_find(uint64_t hash, struct slice id)
{
    struct shard *shard = shard_of(hash);
    if (shard->bucket_count == 0)
        return NULL;
    struct agent *agent = shard->buckets[hash & (shard->bucket_count - 1)];
    while (agent && (agent->hash != hash || !slice_equal(agent_id(agent), id)))
        agent = agent->next;
    return agent;
}

void registry_prefetch(struct slice id)
{
    uint64_t hash = hash_slice(id);
    struct shard *shard = shard_of(hash);
    /* With several reactors the table may be moved meanwhile: then only the shard itself is asked for. */
    if (!lock_shared && shard->bucket_count > 0) {
        struct agent *first = shard->buckets[hash & (shard->bucket_count - 1)];
        if (first)
            __builtin_prefetch(&first->next);
    } else {
        __builtin_prefetch(shard);
    }
}

static bool grow(struct shard *shard)
{
    uint32_t count = shard->bucket_count ? shard->bucket_count * 2 : FIRST_BUCKETS;
    struct agent **buckets = calloc(count, sizeof(struct agent *));
    if (!buckets)
        return shard->bucket_count > 0; /* longer chains serve as well */
    for (uint32_t i = 0; i < shard->bucket_count; i++) {
        for (struct agent *agent = shard->buckets[i], *next; agent; agent = next) {
            struct agent **place = &buckets[agent->hash & (count - 1)];
            next = agent->next;
            agent->next = *place;
            *place = agent;
        }
    }
    free(shard->buckets);
    shard->buckets = buckets;
    shard->bucket_count = count;
    return true;
}

static uint64_t recall(const struct shard *shard, uint64_t hash)
{
    return shard->holders ? holders_recall(shard->holders, hash, clock_wall_ms(), mailbox_ttl_ms()) : 0;
}

uint64_t agent_owner(uint64_t hash, struct slice id)
{
    const struct agent *agent = agent_find(hash, id);
    return agent ? agent->owner : recall(shard_of(hash), hash);
}

struct agent *agent_find_or_add(uint64_t hash, struct slice id)
{
    struct agent *agent = agent_find(hash, id);
    if (agent)
        return agent;
    struct shard *shard = shard_of(hash);
    if (shard->agent_count >= shard->bucket_count && !grow(shard))
        return NULL;
    agent = pool_acquire(POOL_ARRAYS, sizeof *agent + id.length);
    if (!agent)
        return NULL;
    memset(agent, 0, sizeof *agent);
    atomic_init(&agent->references, 1);
    agent->hash = hash;
    agent->id_length = (uint32_t)id.length;
    memcpy(agent->id, id.data, id.length);
    agent->owner = recall(shard, hash);
    struct agent **place = &shard->buckets[hash & (shard->bucket_count - 1)];
    agent->next = *place;
    *place = agent;
    shard->agent_count++;
    return agent;
}

void agent_release(struct agent *agent)
{
    if (!agent || atomic_fetch_sub_explicit(&agent->references, 1, memory_order_acq_rel) != 1)
        return;
    tasks_free(agent);
    pool_release(POOL_ARRAYS, agent, sizeof *agent + agent->id_length);
}

void agent_forget_if_idle(struct agent *agent)
{
    if (agent->endpoint || agent->mailbox.count > 0 || agent->detachments)
        return;
    struct shard *shard = shard_of(agent->hash);
    struct agent **place = &shard->buckets[agent->hash & (shard->bucket_count - 1)];
    while (*place && *place != agent)
        place = &(*place)->next;
    if (!*place)
        return; /* forgotten before */
    *place = agent->next;
    shard->agent_count--;
    if (agent->owner)
        holders_remember(&shard->holders, agent->hash, agent->owner, clock_wall_ms());
    agent_release(agent);
}

/* --- Views --- */

static void view_agent(const struct agent *agent, struct agent_view *out)
{
    out->profile = profile_retain(agent->profile);
    out->connected_at_ms = agent->connected_at_ms;
    out->last_seen_ms = atomic_load_explicit(&agent->last_seen_ms, memory_order_relaxed);
    out->message_count = atomic_load_explicit(&agent->message_count, memory_order_relaxed);
    out->error_count = atomic_load_explicit(&agent->error_count, memory_order_relaxed);
    out->open_tasks = atomic_load_explicit(&agent->open_tasks, memory_order_relaxed);
    const struct endpoint *endpoint = agent->endpoint;
    out->received_count = atomic_load_explicit(&endpoint->received_count, memory_order_relaxed);
    out->waiting_count = agent->mailbox.count + atomic_load_explicit(&endpoint->waiting_count, memory_order_relaxed);
    out->waiting_bytes = agent->mailbox.bytes + atomic_load_explicit(&endpoint->waiting_bytes, memory_order_relaxed);
}

void agent_view_release(struct agent_view *view)
{
    profile_release(view->profile);
    view->profile = NULL;
}

bool registry_find(struct slice id, struct agent_view *out)
{
    uint64_t hash = hash_slice(id);
    struct lock *lock = agent_lock(hash);
    struct agent *agent = agent_find(hash, id);
    bool connected = agent && agent->endpoint;
    if (connected)
        view_agent(agent, out);
    lock_release(lock);
    return connected;
}

struct lane *registry_lane(struct slice id)
{
    uint64_t hash = hash_slice(id);
    struct lock *lock = agent_lock(hash);
    struct agent *agent = agent_find(hash, id);
    struct lane *lane = agent && agent->endpoint ? agent->endpoint->lane : NULL;
    lock_release(lock);
    return lane;
}

struct endpoint *registry_endpoint(const struct lane *lane, struct slice id)
{
    uint64_t hash = hash_slice(id);
    struct lock *lock = agent_lock(hash);
    struct agent *agent = agent_find(hash, id);
    struct endpoint *endpoint = agent && agent->endpoint && agent->endpoint->lane == lane ? agent->endpoint : NULL;
    lock_release(lock);
    return endpoint;
}

static uint32_t reverse_bits(uint32_t value)
{
    value = (value >> 1 & 0x55555555u) | (value & 0x55555555u) << 1;
    value = (value >> 2 & 0x33333333u) | (value & 0x33333333u) << 2;
    value = (value >> 4 & 0x0f0f0f0fu) | (value & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(value);
}

/* The next bucket when counting from the highest bit down: a table that doubles meanwhile splits each bucket into two
 * that this order visits where the one would have stood, so nothing is seen twice and nothing skipped. 0: done. */
static uint32_t next_bucket(uint32_t bucket, uint32_t bucket_count)
{
    uint32_t reversed = reverse_bits(bucket | ~(bucket_count - 1));
    return reverse_bits(reversed + 1);
}

/* Up to `capacity` agents that are wanted, each handed to `take` with its shard locked. */
struct walk {
    bool (*wanted)(const struct agent *agent);
    void (*take)(struct agent *agent, unsigned index, void *out);
    void *out;
};

static unsigned walk_agents(uint64_t *cursor, unsigned capacity, const struct walk *walk)
{
    unsigned given = 0;
    uint32_t shard_index = (uint32_t)(*cursor >> 32), bucket = (uint32_t)*cursor;
    while (shard_index < SHARDS) {
        struct shard *shard = &shards[shard_index];
        bool full = false;
        lock_acquire(&shard->lock);
        while (shard->bucket_count > 0) {
            unsigned in_bucket = 0;
            for (struct agent *agent = shard->buckets[bucket & (shard->bucket_count - 1)]; agent; agent = agent->next)
                in_bucket += walk->wanted(agent);
            if (in_bucket > capacity - given && given > 0) {
                full = true;
                break;
            }
            for (struct agent *agent = shard->buckets[bucket & (shard->bucket_count - 1)]; agent && given < capacity;
                 agent = agent->next)
                if (walk->wanted(agent))
                    walk->take(agent, given++, walk->out);
            bucket = next_bucket(bucket, shard->bucket_count);
            if (bucket == 0)
                break;
        }
        lock_release(&shard->lock);
        if (full)
            break;
        shard_index++;
        bucket = 0;
        if (given == capacity)
            break;
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): it loses the cast, and sees 32 bits */
    *cursor = (uint64_t)shard_index << 32 | bucket;
    return given;
}

static bool is_connected(const struct agent *agent)
{
    return agent->endpoint != NULL;
}

static void take_view(struct agent *agent, unsigned index, void *out)
{
    view_agent(agent, &((struct agent_view *)out)[index]);
}

unsigned registry_list(uint64_t *cursor, struct agent_view *out, unsigned capacity)
{
    return walk_agents(cursor, capacity, &(struct walk){is_connected, take_view, out});
}

static bool has_mail(const struct agent *agent)
{
    return agent->mailbox.count > 0;
}

static void take_reference(struct agent *agent, unsigned index, void *out)
{
    ((struct agent **)out)[index] = agent_retain(agent);
}

unsigned agents_with_mail(uint64_t *cursor, struct agent **out, unsigned capacity)
{
    return walk_agents(cursor, capacity, &(struct walk){has_mail, take_reference, (void *)out});
}

void registry_each(const struct lane *lane, void (*call)(struct agent *agent, void *context), void *context)
{
    for (unsigned i = lane->index; i < SHARDS; i += lanes_count()) {
        struct shard *shard = &shards[i];
        lock_acquire(&shard->lock);
        for (uint32_t bucket = 0; bucket < shard->bucket_count; bucket++)
            for (struct agent *agent = shard->buckets[bucket]; agent; agent = agent->next)
                if (has_mail(agent))
                    call(agent, context);
        lock_release(&shard->lock);
    }
}

static void clear_mailbox(struct agent *agent, void *nothing)
{
    struct levels gone;
    (void)nothing;
    mailbox_take(agent, &gone);
    mailbox_count_absent(agent, agent->endpoint == NULL);
    levels_clear(&gone);
}

void registry_clear_mailboxes(const struct lane *lane)
{
    registry_each(lane, clear_mailbox, NULL);
}

void registry_put_holders(const struct lane *lane, uint32_t kind, struct channel_writer *channel)
{
    for (unsigned i = lane->index; i < SHARDS; i += lanes_count()) {
        struct shard *shard = &shards[i];
        lock_acquire(&shard->lock);
        if (shard->holders) {
            channel_begin(channel, kind);
            channel_put(channel, i);
            channel_put_bytes(channel, slice_from((const char *)shard->holders, sizeof *shard->holders));
            channel_end(channel);
        }
        lock_release(&shard->lock);
    }
}

bool registry_get_holders(struct channel_reader *channel)
{
    uint64_t index = channel_get(channel);
    struct slice bytes = channel_get_bytes(channel);
    if (!channel->failed && (index >= SHARDS || bytes.length != sizeof(struct holders)))
        channel_reject(channel, "who held ids is not said as it should be");
    if (channel->failed)
        return false;
    struct shard *shard = &shards[index];
    lock_acquire(&shard->lock);
    if (!shard->holders)
        shard->holders = malloc(sizeof *shard->holders);
    if (shard->holders)
        memcpy(shard->holders, bytes.data, bytes.length);
    lock_release(&shard->lock);
    return shard->holders != NULL;
}

size_t agent_name(uint64_t hash, char out[TEXT_BYTES_MAXIMUM])
{
    struct shard *shard = shard_of(hash);
    size_t length = 0;
    lock_acquire(&shard->lock);
    struct agent *agent = shard->bucket_count > 0 ? shard->buckets[hash & (shard->bucket_count - 1)] : NULL;
    while (agent && agent->hash != hash)
        agent = agent->next;
    if (agent && agent->id_length <= TEXT_BYTES_MAXIMUM) {
        length = agent->id_length;
        memcpy(out, agent->id, length);
    }
    lock_release(&shard->lock);
    return length;
}

_Atomic uint64_t registry_change_count = 1;

uint64_t registry_connected_count(void)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < lanes_count(); i++)
        count += atomic_load_explicit(&lanes_get(i)->attached_count, memory_order_relaxed);
    return count;
}

uint64_t registry_queued_count(void)
{
    return mailbox_envelopes_in_all();
}

void registry_expire_mailboxes(struct lane *lane, int64_t now_ms)
{
    for (unsigned i = lane->index; i < SHARDS; i += lanes_count()) {
        struct shard *shard = &shards[i];
        lock_acquire(&shard->lock);
        for (uint32_t bucket = 0; bucket < shard->bucket_count; bucket++) {
            for (struct agent *agent = shard->buckets[bucket], *next; agent; agent = next) {
                next = agent->next;
                if (agent->mailbox.count == 0)
                    continue;
                mailbox_drop_expired(lane, agent);
                if (agent->mailbox.count == 0)
                    agent_forget_if_idle(agent);
                else if (!agent->endpoint)
                    mailbox_expire_one(lane, agent, now_ms);
            }
        }
        lock_release(&shard->lock);
    }
}

void registry_stop(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &shards[i];
        for (uint32_t bucket = 0; bucket < shard->bucket_count; bucket++) {
            for (struct agent *agent = shard->buckets[bucket], *next; agent; agent = next) {
                next = agent->next;
                struct levels left;
                mailbox_take(agent, &left);
                levels_clear(&left);
                agent_release(agent);
            }
        }
        free(shard->buckets);
        free(shard->holders);
        *shard = (struct shard){.lock = LOCK_INITIALIZER};
    }
    directory_stop();
}
