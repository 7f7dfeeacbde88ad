/* Addresses live in a fixed table of small sharded chains. An entry is dropped once it holds no connection and its
 * window is over, found when its chain is next walked; the number of entries is bounded, and an address that finds no
 * place shares the limit of a common entry rather than none. */
#include "runtime/limits.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "memory/pool.h"

#define SHARDS 64u
#define CHAINS 256u
/* 64 KiB entries of 56 bytes in all: as many as one attacker with a /48 could fill, and no more than 4 MiB. */
#define ENTRIES_PER_SHARD 1024u

struct entry {
    struct entry *next;
    struct peer_address address;
    uint32_t connections, requests;
    uint64_t window_start_ms;
};

static struct shard {
    pthread_mutex_t mutex;
    struct entry *chains[CHAINS];
    struct entry common; /* for those past ENTRIES_PER_SHARD */
    uint32_t count;
} shards[SHARDS];

static const struct config *config;
static atomic_uint connections;

bool limits_start(const struct config *from)
{
    config = from;
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&shards[i].mutex, NULL);
    return true;
}

void limits_stop(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        for (unsigned chain = 0; chain < CHAINS; chain++) {
            for (struct entry *entry = shards[i].chains[chain], *next; entry; entry = next) {
                next = entry->next;
                pool_release(POOL_ARRAYS, entry, sizeof *entry);
            }
            shards[i].chains[chain] = NULL;
        }
        shards[i].count = 0;
        pthread_mutex_destroy(&shards[i].mutex);
    }
}

/* The clocks of two reactors may be a pass apart: a start in the future is now. */
static bool window_over(const struct entry *entry, uint64_t now_ms)
{
    return (int64_t)(now_ms - entry->window_start_ms) >= (int64_t)config->http.rate_window_ms;
}

static bool stale(const struct entry *entry, uint64_t now_ms)
{
    return entry->connections == 0 && window_over(entry, now_ms);
}

/* The address's entry with its shard locked. now_ms 0: nothing is dropped on the way. */
static struct entry *lock_entry(const struct peer_address *address, uint64_t now_ms, struct shard **locked)
{
    uint64_t hash = hash_slice(slice_from((const char *)address->bytes, sizeof address->bytes));
    struct shard *shard = *locked = &shards[hash % SHARDS];
    pthread_mutex_lock(&shard->mutex);
    struct entry **place = &shard->chains[hash / SHARDS % CHAINS];
    while (*place) {
        struct entry *entry = *place;
        if (memcmp(entry->address.bytes, address->bytes, sizeof address->bytes) == 0)
            return entry;
        if (now_ms > 0 && stale(entry, now_ms)) {
            *place = entry->next;
            shard->count--;
            pool_release(POOL_ARRAYS, entry, sizeof *entry);
        } else {
            place = &entry->next;
        }
    }
    struct entry *fresh = shard->count < ENTRIES_PER_SHARD ? pool_acquire(POOL_ARRAYS, sizeof *fresh) : NULL;
    if (!fresh)
        return &shard->common;
    *fresh = (struct entry){.address = *address};
    *place = fresh;
    shard->count++;
    return fresh;
}

bool limits_connection_opened(const struct peer_address *address)
{
    uint32_t before = atomic_fetch_add_explicit(&connections, 1, memory_order_relaxed);
    bool allowed = before < config->limits.connections;
    if (allowed && config->limits.connections_per_address > 0) {
        struct shard *shard;
        struct entry *entry = lock_entry(address, 0, &shard);
        allowed = entry->connections < config->limits.connections_per_address;
        entry->connections += allowed;
        pthread_mutex_unlock(&shard->mutex);
    }
    if (!allowed)
        atomic_fetch_sub_explicit(&connections, 1, memory_order_relaxed);
    return allowed;
}

void limits_connection_closed(const struct peer_address *address)
{
    atomic_fetch_sub_explicit(&connections, 1, memory_order_relaxed);
    if (config->limits.connections_per_address == 0)
        return;
    struct shard *shard;
    struct entry *entry = lock_entry(address, 0, &shard);
    if (entry->connections == 0) /* it came while the shard was full */
        entry = &shard->common;
    if (entry->connections > 0)
        entry->connections--;
    pthread_mutex_unlock(&shard->mutex);
}

unsigned limits_http_request(const struct peer_address *address, uint64_t now_ms)
{
    if (config->http.rate_max == 0)
        return 0;
    struct shard *shard;
    unsigned wait = 0;
    struct entry *entry = lock_entry(address, now_ms, &shard);
    if (entry->requests == 0 || window_over(entry, now_ms)) {
        entry->window_start_ms = now_ms;
        entry->requests = 0;
    }
    if (entry->requests >= config->http.rate_max)
        wait = (unsigned)((entry->window_start_ms + config->http.rate_window_ms - now_ms + 999) / 1000);
    else
        entry->requests++;
    pthread_mutex_unlock(&shard->mutex);
    return wait;
}

/* --- One agent's rate --- */

struct rate_bucket *rate_bucket_new(const struct config *from, uint64_t now_ms)
{
    if (from->limits.messages_per_second == 0 && from->limits.bytes_per_second == 0)
        return NULL;
    struct rate_bucket *bucket = pool_acquire(POOL_ARRAYS, sizeof *bucket);
    if (bucket)
        *bucket = (struct rate_bucket){from->limits.message_burst, (double)from->limits.bytes_per_second, now_ms};
    return bucket;
}

void rate_bucket_free(struct rate_bucket *bucket)
{
    pool_release(POOL_ARRAYS, bucket, sizeof *bucket);
}

static double filled(double left, double per_second, double most, double seconds)
{
    left += per_second * seconds;
    return left < most ? left : most;
}

bool rate_bucket_take(struct rate_bucket *bucket, const struct config *from, size_t bytes, uint64_t now_ms)
{
    if (!bucket)
        return true;
    double seconds = (double)(now_ms - bucket->filled_ms) / 1000;
    double rate = from->limits.messages_per_second, byte_rate = (double)from->limits.bytes_per_second;
    bucket->filled_ms = now_ms;
    bucket->messages = filled(bucket->messages, rate, from->limits.message_burst, seconds);
    bucket->bytes = filled(bucket->bytes, byte_rate, byte_rate, seconds);
    if (rate > 0 && bucket->messages < 1)
        return false;
    /* One message larger than a second's worth may pass on a full bucket and is paid off afterwards. */
    if (byte_rate > 0 && bucket->bytes < (double)bytes && bucket->bytes < byte_rate)
        return false;
    bucket->messages -= 1;
    bucket->bytes -= (double)bytes;
    return true;
}
