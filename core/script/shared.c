/* Sixteen parts, each with its lock, a table of chains that never grows (one chain for each 256 bytes that the part may
 * hold, untouched until used), and one list in the order of use. Entries are made before the lock is taken and freed
 * after it was given back. An entry never changes once it is in, but for a number, which is increased in place, and its
 * time; small values, numbers among them, are copied out under the lock, larger ones counted.
 *
 * An entry whose time is over goes when somebody looks for it, or when it is at the cold end while another comes in. */
#include "script/shared.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"

#define PARTS 16u /* more than there are reactors and workers on most machines */
#define PART_BITS 4
#define BYTES_PER_CHAIN 256u
#define VALUE_CEILING ((size_t)1 << 20)

/* Entries that go under one lock: some microseconds. */
#define EVICT_AT_ONCE 32u
/* Of those whose time is over, when another comes in: more than come in, so that they do not gather. */
#define EXPIRE_AT_ONCE 2u
/* Chains that shared_list looks at under one lock. */
#define CHAINS_AT_ONCE 64u

struct shared_entry {
    struct shared_entry *next;            /* of its chain; of those to be freed */
    struct shared_entry *colder, *hotter; /* in the order of use */
    uint64_t hash, expires_ms;            /* 0: never */
    atomic_uint references;
    uint32_t key_length;
    size_t size;         /* of the whole */
    size_t value_length; /* the key lies behind the value */
    struct value value[];
};

struct part {
    pthread_mutex_t mutex; /* all below */
    struct shared_entry **chains;
    struct shared_entry *hottest, *coldest;
    uint64_t bytes, entries, hits, misses, evicted, expired;
} __attribute__((aligned(64)));

static struct part parts[PARTS];
static uint64_t part_bytes; /* 0: not started */
static uint64_t chain_mask;

bool shared_start(uint64_t bytes)
{
    uint64_t chains = 16;
    part_bytes = bytes / PARTS;
    while (chains * BYTES_PER_CHAIN < part_bytes)
        chains *= 2;
    chain_mask = chains - 1;
    for (unsigned i = 0; i < PARTS; i++) {
        parts[i] = (struct part){.mutex = PTHREAD_MUTEX_INITIALIZER};
        parts[i].chains = calloc(chains, sizeof(struct shared_entry *));
        if (!parts[i].chains) {
            shared_stop();
            return false;
        }
    }
    return true;
}

void shared_stop(void)
{
    for (unsigned i = 0; i < PARTS; i++) {
        while (parts[i].hottest) {
            struct shared_entry *entry = parts[i].hottest;
            parts[i].hottest = entry->colder;
            free(entry);
        }
        parts[i].coldest = NULL;
        free(parts[i].chains);
        parts[i].chains = NULL;
    }
    part_bytes = 0;
}

size_t shared_value_maximum(void)
{
    return part_bytes / 4 < VALUE_CEILING ? (size_t)part_bytes / 4 : VALUE_CEILING;
}

void shared_release(struct shared_entry *entry)
{
    if (entry && atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) == 1)
        free(entry);
}

static void release_all(struct shared_entry *gone)
{
    while (gone) {
        struct shared_entry *next = gone->next;
        shared_release(gone);
        gone = next;
    }
}

/* --- A part, locked ---------------------------------------------------------------------------------------------- */

static struct part *part_of(uint64_t hash)
{
    return &parts[hash >> (64 - PART_BITS)];
}

static uint64_t now_ms(void)
{
    return clock_coarse_ns() / 1000000;
}

static uint64_t expiry(uint64_t ttl_ms)
{
    return ttl_ms > 0 ? now_ms() + ttl_ms : 0;
}

static bool is_over(const struct shared_entry *entry, uint64_t now)
{
    return entry->expires_ms != 0 && entry->expires_ms <= now;
}

static struct slice key_of(const struct shared_entry *entry)
{
    return slice_from((const char *)entry->value + entry->value_length, entry->key_length);
}

static void leave_order(struct part *part, struct shared_entry *entry)
{
    *(entry->hotter ? &entry->hotter->colder : &part->hottest) = entry->colder;
    *(entry->colder ? &entry->colder->hotter : &part->coldest) = entry->hotter;
}

static void become_hottest(struct part *part, struct shared_entry *entry)
{
    entry->hotter = NULL;
    entry->colder = part->hottest;
    *(part->hottest ? &part->hottest->hotter : &part->coldest) = entry;
    part->hottest = entry;
}

static void put_in(struct part *part, struct shared_entry *entry)
{
    struct shared_entry **chain = &part->chains[entry->hash & chain_mask];
    entry->next = *chain;
    *chain = entry;
    become_hottest(part, entry);
    part->bytes += entry->size;
    part->entries++;
}

/* To the list of those that are freed once the lock is given back. */
static void take_out(struct part *part, struct shared_entry *entry, struct shared_entry **gone)
{
    struct shared_entry **place = &part->chains[entry->hash & chain_mask];
    while (*place != entry)
        place = &(*place)->next;
    *place = entry->next;
    leave_order(part, entry);
    part->bytes -= entry->size;
    part->entries--;
    entry->next = *gone;
    *gone = entry;
}

static struct shared_entry *find(struct part *part, uint64_t hash, struct slice key, uint64_t now,
                                 struct shared_entry **gone)
{
    struct shared_entry *entry = part->chains[hash & chain_mask];
    while (entry && (entry->hash != hash || !slice_equal(key_of(entry), key)))
        entry = entry->next;
    if (entry && is_over(entry, now)) {
        part->expired++;
        take_out(part, entry, gone);
        return NULL;
    }
    return entry;
}

/* Makes room for so many bytes, beside `kept`, which is the hottest; false: not yet all of it. */
static bool make_room(struct part *part, size_t size, const struct shared_entry *kept, uint64_t now,
                      struct shared_entry **gone)
{
    for (unsigned i = 0; i < EXPIRE_AT_ONCE && part->coldest && part->coldest != kept; i++) {
        if (!is_over(part->coldest, now))
            break;
        part->expired++;
        take_out(part, part->coldest, gone);
    }
    uint64_t kept_size = kept ? kept->size : 0; /* it goes when the other comes */
    for (unsigned i = 0; part->bytes - kept_size + size > part_bytes; i++) {
        if (i == EVICT_AT_ONCE || part->coldest == kept)
            return false;
        *(is_over(part->coldest, now) ? &part->expired : &part->evicted) += 1;
        take_out(part, part->coldest, gone);
    }
    return true;
}

/* --- What others call -------------------------------------------------------------------------------------------- */

bool shared_get(struct slice key, struct shared_found *out)
{
    uint64_t hash = hash_slice(key), now = now_ms();
    struct part *part = part_of(hash);
    struct shared_entry *gone = NULL;
    out->value = NULL;
    out->held = NULL;
    if (part_bytes == 0)
        return false;
    pthread_mutex_lock(&part->mutex);
    struct shared_entry *entry = find(part, hash, key, now, &gone);
    *(entry ? &part->hits : &part->misses) += 1;
    if (entry && entry != part->hottest) {
        leave_order(part, entry);
        become_hottest(part, entry);
    }
    if (entry && entry->value_length <= SHARED_COPY_BYTES) {
        memcpy(out->copy.bytes, entry->value, entry->value_length);
        out->value = &out->copy.align;
    } else if (entry) {
        atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
        out->value = entry->value;
        out->held = entry;
    }
    pthread_mutex_unlock(&part->mutex);
    release_all(gone);
    return out->value != NULL;
}

static struct shared_entry *new_entry(uint64_t hash, struct slice key, struct slice value, uint64_t ttl_ms)
{
    size_t size = sizeof(struct shared_entry) + value.length + key.length;
    struct shared_entry *entry = part_bytes > 0 ? malloc(size) : NULL;
    if (!entry)
        return NULL;
    *entry = (struct shared_entry){.hash = hash,
                                   .expires_ms = expiry(ttl_ms),
                                   .references = 1,
                                   .key_length = (uint32_t)key.length,
                                   .size = size,
                                   .value_length = value.length};
    memcpy(entry->value, value.data, value.length);
    memcpy((char *)entry->value + value.length, key.data, key.length);
    return entry;
}

enum shared_result shared_set(struct slice key, struct slice value, uint64_t ttl_ms, bool only_absent)
{
    uint64_t hash = hash_slice(key);
    struct part *part = part_of(hash);
    struct shared_entry *entry = new_entry(hash, key, value, ttl_ms);
    if (!entry)
        return SHARED_NO_MEMORY;
    if (entry->size > part_bytes) {
        free(entry);
        return SHARED_NO_MEMORY;
    }
    for (bool fits = false; !fits;) {
        uint64_t now = now_ms();
        struct shared_entry *gone = NULL;
        pthread_mutex_lock(&part->mutex);
        struct shared_entry *before = find(part, hash, key, now, &gone);
        bool refused = before && only_absent;
        if (!refused) {
            if (before) {
                leave_order(part, before);
                become_hottest(part, before);
            }
            fits = make_room(part, entry->size, before, now, &gone);
            if (fits && before)
                take_out(part, before, &gone);
            if (fits)
                put_in(part, entry);
        }
        pthread_mutex_unlock(&part->mutex);
        release_all(gone);
        if (refused) {
            free(entry);
            return SHARED_PRESENT;
        }
    }
    return SHARED_DONE;
}

/* Adds to the number that is there; SHARED_PRESENT: there is none. */
static enum shared_result increase_present(uint64_t hash, struct slice key, double by, double *out)
{
    struct part *part = part_of(hash);
    struct shared_entry *gone = NULL;
    enum shared_result result = SHARED_PRESENT;
    uint64_t now = now_ms();
    pthread_mutex_lock(&part->mutex);
    struct shared_entry *entry = find(part, hash, key, now, &gone);
    if (entry && entry->value->kind == VALUE_NUMBER) {
        *out = value_number(entry->value) + by;
        memcpy(entry->value + 1, out, sizeof *out);
        if (entry != part->hottest) {
            leave_order(part, entry);
            become_hottest(part, entry);
        }
        result = SHARED_DONE;
    } else if (entry) {
        result = SHARED_NOT_A_NUMBER;
    }
    pthread_mutex_unlock(&part->mutex);
    release_all(gone);
    return result;
}

enum shared_result shared_increase(struct slice key, double by, double initial, uint64_t ttl_ms, double *out)
{
    uint64_t hash = hash_slice(key);
    if (part_bytes == 0)
        return SHARED_NO_MEMORY;
    for (;;) {
        enum shared_result result = increase_present(hash, key, by, out);
        if (result != SHARED_PRESENT)
            return result;
        struct {
            struct value header;
            double number;
        } first = {{VALUE_NUMBER, 0, sizeof(double)}, initial + by};
        result = shared_set(key, slice_from((const char *)&first, sizeof first), ttl_ms, true);
        *out = first.number;
        if (result != SHARED_PRESENT) /* else another was faster: its number is there now */
            return result;
    }
}

static bool change(struct slice key, bool drop, uint64_t expires_ms)
{
    uint64_t hash = hash_slice(key), now = now_ms();
    struct part *part = part_of(hash);
    struct shared_entry *gone = NULL;
    if (part_bytes == 0)
        return false;
    pthread_mutex_lock(&part->mutex);
    struct shared_entry *entry = find(part, hash, key, now, &gone);
    if (entry && drop)
        take_out(part, entry, &gone);
    else if (entry)
        entry->expires_ms = expires_ms;
    pthread_mutex_unlock(&part->mutex);
    release_all(gone);
    return entry != NULL;
}

bool shared_expire(struct slice key, uint64_t ttl_ms)
{
    return change(key, false, expiry(ttl_ms));
}

bool shared_delete(struct slice key)
{
    return change(key, true, 0);
}

static bool begins_with(struct slice text, struct slice prefix)
{
    return text.length >= prefix.length && memcmp(text.data, prefix.data, prefix.length) == 0;
}

/* A chain's keys, all or none; false: they do not fit. A chain that alone is too long is cut. */
static bool list_chain(const struct shared_entry *entry, struct slice prefix, uint64_t now, struct shared_keys *out)
{
    size_t length = out->length;
    for (; entry; entry = entry->next) {
        struct slice key = key_of(entry);
        if (is_over(entry, now) || !begins_with(key, prefix))
            continue;
        if (length + 1 + key.length > sizeof out->texts) {
            if (out->length > 0)
                return false;
            break;
        }
        out->texts[length] = (char)(key.length - 1);
        memcpy(out->texts + length + 1, key.data, key.length);
        length += 1 + key.length;
    }
    out->length = length;
    return true;
}

bool shared_list(uint64_t *cursor, struct slice prefix, struct shared_keys *out)
{
    uint64_t chains = chain_mask + 1, number = *cursor / chains, at = *cursor % chains, now = now_ms();
    out->length = 0;
    if (part_bytes == 0 || number >= PARTS)
        return false;
    struct part *part = &parts[number];
    pthread_mutex_lock(&part->mutex);
    for (unsigned i = 0; i < CHAINS_AT_ONCE && at < chains && list_chain(part->chains[at], prefix, now, out); i++)
        at++;
    if (part->entries == 0)
        at = chains;
    pthread_mutex_unlock(&part->mutex);
    *cursor = number * chains + at;
    return true;
}

void shared_read_figures(struct shared_figures *out)
{
    *out = (struct shared_figures){.limit = part_bytes * PARTS};
    for (unsigned i = 0; i < PARTS && part_bytes > 0; i++) {
        pthread_mutex_lock(&parts[i].mutex);
        out->bytes += parts[i].bytes;
        out->entries += parts[i].entries;
        out->hits += parts[i].hits;
        out->misses += parts[i].misses;
        out->evicted += parts[i].evicted;
        out->expired += parts[i].expired;
        pthread_mutex_unlock(&parts[i].mutex);
    }
}
