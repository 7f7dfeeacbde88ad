/* Parties live in a fixed table of small sharded chains, found by a keyed hash. One without references whose buckets
 * are full again and whose window is over is stale, and dropped when its chain is next walked, or when room is wanted.
 *
 * The number of parties is bounded. Who owns a network has as many addresses as the table has places, so all addresses
 * of an IPv6 /48 are in one shard and have a part of it between them: a new one takes the place of one of the same /48
 * that is idle, and in a full shard of any that is idle. One that finds no place shares the limits of a common party
 * rather than having none. */
#include "runtime/limits/party.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "memory/pool.h"
#include "runtime/limits/limits.h"
#include "runtime/limits/party_table.h"

#define SHARDS 64u
#define CHAINS 256u
/* 64 Ki parties of 200 bytes in all: no more than 13 MiB. */
#define PARTIES_PER_SHARD 1024u
/* Of one group: an IPv6 /48, or whatever else is known by itself. */
#define PARTIES_PER_GROUP 256u
#define GROUPS 1024u /* counters; groups that meet in one share it */

static struct shard {
    pthread_mutex_t mutex;
    struct party *chains[CHAINS];
    struct party common[PARTY_KINDS]; /* by kind: for those past PARTIES_PER_SHARD */
    uint32_t count;
    uint16_t groups[GROUPS]; /* parties */
    uint32_t hand;           /* the chain where the next idle one is looked for */
    uint64_t swept_ms;       /* when room was last made */
} shards[SHARDS];

const struct config *limits_config;
struct party_limits party_limits_by_kind[PARTY_KINDS];
static bool addresses_bounded, senders_bounded;

static void free_party(struct shard *shard, struct party *party)
{
    shard->count--;
    shard->groups[party->group]--;
    pool_release(POOL_ARRAYS, party, sizeof *party);
}

void party_table_start(const struct config *config)
{
    limits_config = config;
    party_limits_by_kind[PARTY_ADDRESS] = (struct party_limits){
        .connections = config->limits.connections_per_address,
        .agents = config->limits.agents_per_address,
        .handshakes = rate_of(config->limits.handshakes_per_second_per_address),
        .messages = rate_of(config->limits.messages_per_second_per_address),
        .bytes = rate_of(config->limits.bytes_per_second_per_address),
        .script_us =
            rate_of(config->limits.script_ms_per_second * 1000ull), /* of peers that nothing else is known of */
    };
    party_limits_by_kind[PARTY_AGENT] = party_limits_by_kind[PARTY_IDENTITY] = (struct party_limits){
        .connections = config->limits.connections_per_identity,
        .agents = config->limits.agents_per_identity,
        .messages = {config->limits.messages_per_second, config->limits.message_burst},
        .bytes = rate_of(config->limits.bytes_per_second),
        .script_us = rate_of(config->limits.script_ms_per_second * 1000ull),
    };
    const struct party_limits *address = &party_limits_by_kind[PARTY_ADDRESS],
                              *sender = &party_limits_by_kind[PARTY_IDENTITY];
    addresses_bounded = address->connections || address->agents || address->handshakes.per_second ||
                        address->messages.per_second || address->bytes.per_second || address->script_us.per_second;
    senders_bounded = sender->connections || sender->agents || sender->messages.per_second ||
                      sender->bytes.per_second || sender->script_us.per_second;
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&shards[i].mutex, NULL);
        for (unsigned kind = PARTY_ADDRESS; kind < PARTY_KINDS; kind++)
            shards[i].common[kind].kind = (enum party_kind)kind;
    }
}

void party_table_stop(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        for (unsigned chain = 0; chain < CHAINS; chain++) {
            for (struct party *party = shards[i].chains[chain], *next; party; party = next) {
                next = party->next;
                free_party(&shards[i], party);
            }
            shards[i].chains[chain] = NULL;
        }
        pthread_mutex_destroy(&shards[i].mutex);
    }
}

static bool full(const rate_bucket *bucket, uint64_t now_ns)
{
    return atomic_load_explicit(bucket, memory_order_relaxed) <= now_ns;
}

static bool stale(const struct party *party, uint64_t now_ms)
{
    uint64_t now_ns = now_ms * 1000000;
    return party->references == 0 && (party->requests == 0 || party_window_over(party, now_ms)) &&
           full(&party->handshakes, now_ns) && full(&party->messages, now_ns) && full(&party->bytes, now_ns) &&
           full(&party->script_us, now_ns) && full(&party->signatures, now_ns);
}

static void drop_stale(struct shard *shard, struct party **place, uint64_t now_ms)
{
    while (*place) {
        struct party *party = *place;
        if (stale(party, now_ms)) {
            *place = party->next;
            free_party(shard, party);
        } else {
            place = &party->next;
        }
    }
}

/* At most once a second: a walk of a thousand parties is nothing then. */
static void make_room(struct shard *shard, uint64_t now_ms)
{
    if (now_ms - shard->swept_ms < 1000)
        return;
    shard->swept_ms = now_ms;
    for (unsigned chain = 0; chain < CHAINS; chain++)
        drop_stale(shard, &shard->chains[chain], now_ms);
}

/* One that nobody refers to, of that group (GROUPS: of any), from where the last search ended. What it had used up is
 * forgotten. */
static bool drop_idle(struct shard *shard, unsigned group)
{
    for (unsigned looked = 0; looked < CHAINS; looked++) {
        struct party **place = &shard->chains[shard->hand++ % CHAINS];
        for (; *place; place = &(*place)->next) {
            struct party *party = *place;
            if (party->references > 0 || (group != GROUPS && party->group != group))
                continue;
            *place = party->next;
            free_party(shard, party);
            return true;
        }
    }
    return false;
}

static bool has_room(struct shard *shard, unsigned group, uint64_t now_ms)
{
    if (shard->groups[group] >= PARTIES_PER_GROUP && !drop_idle(shard, group))
        return false;
    if (shard->count >= PARTIES_PER_SHARD)
        make_room(shard, now_ms);
    return shard->count < PARTIES_PER_SHARD || drop_idle(shard, GROUPS);
}

/* By which parties share the part of a shard: an IPv6 address's /48, else the key itself. */
static struct slice group_key(enum party_kind kind, struct slice key)
{
    static const unsigned char nothing[10] = {0};
    bool is_address = kind != PARTY_AGENT && kind != PARTY_IDENTITY;
    return is_address && memcmp(key.data, nothing, sizeof nothing) != 0 ? slice_from(key.data, 6) : key;
}

/* With its shard locked. NULL: there is none, and none is to be made. */
static struct party *find_party(enum party_kind kind, struct slice key, bool make, uint64_t now_ms,
                                struct shard **locked)
{
    /* The kind is folded in behind the keyed hash, where nobody can aim at it. */
    uint64_t hash = hash_slice(key) + kind * 0x9e3779b97f4a7c15u;
    uint64_t group_hash = hash_slice(group_key(kind, key));
    struct shard *shard = *locked = &shards[group_hash % SHARDS];
    unsigned group = group_hash / SHARDS % GROUPS;
    pthread_mutex_lock(&shard->mutex);
    struct party **chain = &shard->chains[hash / SHARDS % CHAINS];
    for (struct party *party = *chain; party; party = party->next)
        if (party->hash == hash)
            return party;
    if (!make)
        return NULL;
    drop_stale(shard, chain, now_ms);
    struct party *fresh = has_room(shard, group, now_ms) ? pool_acquire(POOL_ARRAYS, sizeof *fresh) : NULL;
    if (!fresh)
        return &shard->common[kind];
    memset(fresh, 0, sizeof *fresh);
    fresh->hash = hash;
    fresh->shard = shard;
    fresh->group = (uint16_t)group;
    shard->groups[group]++;
    fresh->kind = kind;
    fresh->next = *chain;
    *chain = fresh;
    shard->count++;
    return fresh;
}

struct party *party_lock(enum party_kind kind, struct slice key, uint64_t now_ms, struct shard **shard)
{
    return find_party(kind, key, true, now_ms, shard);
}

struct party *party_lock_known(enum party_kind kind, struct slice key, uint64_t now_ms, struct shard **shard)
{
    return find_party(kind, key, false, now_ms, shard);
}

void party_unlock(struct shard *shard)
{
    pthread_mutex_unlock(&shard->mutex);
}

/* A common party is never dropped: its references do not matter. */
static struct party *hold_party(enum party_kind kind, struct slice key, bool make)
{
    struct shard *shard;
    struct party *party = find_party(kind, key, make, clock_coarse_ns() / 1000000, &shard);
    if (party && party->shard)
        party->references++;
    pthread_mutex_unlock(&shard->mutex);
    return party;
}

struct party *party_of_address(const struct peer_address *address)
{
    return addresses_bounded ? hold_party(PARTY_ADDRESS, peer_address_key(address), true) : NULL;
}

struct party *party_of_agent(struct slice client_id)
{
    return senders_bounded ? hold_party(PARTY_AGENT, client_id, true) : NULL;
}

static void set_own_limits(struct party *party, const struct own_limits *own)
{
    atomic_store_explicit(&party->own.connections, own->connections, memory_order_relaxed);
    atomic_store_explicit(&party->own.messages_per_second, own->messages_per_second, memory_order_relaxed);
    atomic_store_explicit(&party->own.message_burst, own->message_burst, memory_order_relaxed);
    atomic_store_explicit(&party->own.bytes_per_second, own->bytes_per_second, memory_order_relaxed);
    if (own->messages_per_second || own->bytes_per_second)
        atomic_store_explicit(&limits_messages_bounded, true, memory_order_relaxed);
}

struct party *party_of_identity(struct slice owner, const struct own_limits *own)
{
    /* One that is there had limits of its own before, which may be gone now. */
    bool needed = senders_bounded || own->connections || own->messages_per_second || own->bytes_per_second;
    struct party *party = hold_party(PARTY_IDENTITY, owner, needed);
    if (party && party->shard) /* the common party's are the config's */
        set_own_limits(party, own);
    return party;
}

struct own_limits party_limits_of_identity(struct slice owner)
{
    struct own_limits own = {0};
    struct shard *shard;
    const struct party *party = find_party(PARTY_IDENTITY, owner, false, 0, &shard);
    if (party) {
        own.connections = atomic_load_explicit(&party->own.connections, memory_order_relaxed);
        own.messages_per_second = atomic_load_explicit(&party->own.messages_per_second, memory_order_relaxed);
        own.message_burst = atomic_load_explicit(&party->own.message_burst, memory_order_relaxed);
        own.bytes_per_second = atomic_load_explicit(&party->own.bytes_per_second, memory_order_relaxed);
    }
    pthread_mutex_unlock(&shard->mutex);
    return own;
}

struct party *party_retain(struct party *party)
{
    if (!party || !party->shard)
        return party;
    pthread_mutex_lock(&party->shard->mutex);
    party->references++;
    pthread_mutex_unlock(&party->shard->mutex);
    return party;
}

void party_release(struct party *party)
{
    if (!party || !party->shard)
        return;
    pthread_mutex_lock(&party->shard->mutex);
    party->references--;
    pthread_mutex_unlock(&party->shard->mutex);
}
