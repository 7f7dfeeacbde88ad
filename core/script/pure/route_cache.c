/* A chained hash table and a clock: a find marks its entry, and the hand of who needs room passes over a marked one
 * once. That is as good as a list in order of use, and a find writes one byte. An entry is one block: the items, the
 * ids that they point to, their texts and the key. */
#include "script/pure/route_cache.h"

#include <string.h>

#include "base/hash.h"
#include "script/state/state.h"

struct kept_route {
    struct kept_route *next; /* of its bucket */
    uint64_t hash;
    uint64_t registry; /* the registry's changes when it asked for agents; 0: it did not */
    const char *key;
    uint32_t key_length;
    uint32_t size;  /* of the block */
    uint32_t place; /* in the ring */
    bool used;      /* found since the hand came by */
    unsigned count; /* of items; 0: nil */
    struct decision_item items[];
};

static void show(struct route_cache *cache)
{
    atomic_store_explicit(&cache->shown_entries, cache->count, memory_order_relaxed);
    atomic_store_explicit(&cache->shown_bytes, cache->bytes, memory_order_relaxed);
}

/* --- Keys --------------------------------------------------------------------------------------------------------- */

static bool add_to_key(struct route_cache *cache, struct slice text)
{
    uint32_t length = text.data ? (uint32_t)text.length : UINT32_MAX; /* nil is not "" */
    if (text.length > ROUTE_CACHE_KEY_BYTES || cache->key_length + sizeof length + text.length > sizeof cache->key)
        return false;
    memcpy(cache->key + cache->key_length, &length, sizeof length);
    cache->key_length += sizeof length;
    if (text.data)
        memcpy(cache->key + cache->key_length, text.data, text.length);
    cache->key_length += text.length;
    return true;
}

static bool add_sender(struct route_cache *cache, const struct script_sender *sender)
{
    static const struct script_sender nobody;
    if (!sender)
        sender = &nobody;
    return add_to_key(cache, sender->id) && add_to_key(cache, sender->role) && add_to_key(cache, sender->labels) &&
           add_to_key(cache, sender->identity);
}

/* The script, and what its route can read. False: too long. */
static bool make_key(struct script_state *state, const struct script *script)
{
    struct route_cache *cache = &state->route_cache;
    cache->key[0] = (char)(script - state->scripts);
    cache->key[1] = (char)((script - state->scripts) >> 8);
    cache->key_length = 2;
    for (uint32_t rest = script->declared; rest; rest &= rest - 1) {
        unsigned field = (unsigned)__builtin_ctz(rest);
        bool added = field == CACHE_SENDER
                         ? add_sender(cache, state->sender)
                         : add_to_key(cache, envelope_text(state->envelope, (enum field)field, state->defaults));
        if (!added) {
            cache->key_length = 0;
            return false;
        }
    }
    cache->key_hash = hash_slice(slice_from(cache->key, cache->key_length));
    return true;
}

/* --- Going -------------------------------------------------------------------------------------------------------- */

static struct kept_route **bucket_of(const struct route_cache *cache, uint64_t hash)
{
    return &cache->buckets[hash % ROUTE_CACHE_ENTRIES];
}

static void forget(struct script_state *state, struct kept_route *kept)
{
    struct route_cache *cache = &state->route_cache;
    struct kept_route **link = bucket_of(cache, kept->hash);
    while (*link != kept)
        link = &(*link)->next;
    *link = kept->next;
    struct kept_route *last = cache->ring[--cache->count];
    cache->ring[kept->place] = last;
    last->place = kept->place;
    cache->bytes -= kept->size;
    state_allocate(state, kept, kept->size, 0);
}

static void make_room(struct script_state *state, size_t bytes)
{
    struct route_cache *cache = &state->route_cache;
    while (cache->count > 0 && (cache->count == ROUTE_CACHE_ENTRIES || cache->bytes + bytes > cache->bytes_most)) {
        if (cache->hand >= cache->count)
            cache->hand = 0;
        struct kept_route *kept = cache->ring[cache->hand++];
        if (kept->used) {
            kept->used = false;
        } else {
            forget(state, kept); /* the newest is in its place now, behind the hand */
            count_up(&cache->evicted);
        }
    }
}

#define TABLE_BYTES (ROUTE_CACHE_ENTRIES * sizeof(struct kept_route *))

void route_cache_clear(struct script_state *state)
{
    struct route_cache *cache = &state->route_cache;
    if (!cache->buckets)
        return;
    while (cache->count > 0)
        forget(state, cache->ring[cache->count - 1]);
    state_allocate(state, cache->buckets, TABLE_BYTES, 0);
    state_allocate(state, cache->ring, TABLE_BYTES, 0);
    cache->buckets = cache->ring = NULL;
    cache->bytes = 0;
    cache->key_length = 0; /* what is under way is not kept either */
    show(cache);
}

/* --- Finding ------------------------------------------------------------------------------------------------------ */

static enum route_found miss(struct route_cache *cache)
{
    cache->registry = registry_changes();
    count_up(&cache->misses);
    return ROUTE_UNKNOWN;
}

enum route_found route_cache_find(struct script_state *state, const struct script *script, struct decision **out)
{
    struct route_cache *cache = &state->route_cache;
    if (!make_key(state, script)) {
        count_up(&cache->uncached);
        return ROUTE_UNKNOWN;
    }
    if (!cache->buckets)
        return miss(cache);
    struct kept_route *kept = *bucket_of(cache, cache->key_hash);
    while (kept && (kept->hash != cache->key_hash || kept->key_length != cache->key_length ||
                    memcmp(kept->key, cache->key, kept->key_length) != 0))
        kept = kept->next;
    if (!kept)
        return miss(cache);
    if (kept->registry != 0 && kept->registry != registry_changes()) {
        forget(state, kept);
        count_up(&cache->outdated);
        show(cache);
        return miss(cache);
    }
    kept->used = true;
    count_up(&cache->hits);
    if (kept->count == 0)
        return ROUTE_NOTHING;
    struct decision *decision = &state->listed;
    decision->count = kept->count;
    memcpy(decision->items, kept->items, kept->count * sizeof *kept->items);
    *out = decision;
    return ROUTE_DECIDED;
}

/* --- Keeping ------------------------------------------------------------------------------------------------------ */

/* The texts of an item, as its kind uses them; gives how many. */
#define ITEM_TEXTS 5
static unsigned list_texts(struct decision_item *item, struct slice *texts[ITEM_TEXTS])
{
    unsigned count = 0;
    switch (item->kind) {
    case DECISION_ALL:
    case DECISION_ANY:
        texts[count++] = &item->selector.role;
        texts[count++] = &item->selector.label;
        texts[count++] = &item->selector.intent;
        texts[count++] = &item->selector.tool;
        texts[count++] = &item->selector.id;
        break;
    case DECISION_REPLY:
        texts[count++] = &item->payload;
        break;
    case DECISION_DROP:
        texts[count++] = &item->reason;
        break;
    default:
        break;
    }
    return count;
}

/* Only what this kind uses is set in an item that a constructor has filled in. */
static struct decision_item take_item(const struct decision_item *from)
{
    struct decision_item item = {.kind = from->kind, .expires_ms = from->expires_ms};
    struct slice *to[ITEM_TEXTS], *texts[ITEM_TEXTS];
    struct decision_item source = *from;
    unsigned count = list_texts(&item, to);
    list_texts(&source, texts);
    for (unsigned i = 0; i < count; i++)
        *to[i] = *texts[i];
    if (from->kind == DECISION_TO) {
        item.ids = from->ids;
        item.id_count = from->id_count;
    }
    item.wait = from->kind == DECISION_ANY && from->wait;
    item.tell = from->kind == DECISION_DROP && from->tell;
    return item;
}

static size_t measure(const struct decision *decision)
{
    size_t size = 0;
    for (unsigned i = 0; i < decision->count; i++) {
        struct decision_item item = take_item(&decision->items[i]);
        struct slice *texts[ITEM_TEXTS];
        for (unsigned n = list_texts(&item, texts); n > 0; n--)
            size += texts[n - 1]->length;
        size += item.id_count * sizeof *item.ids;
        for (unsigned n = 0; n < item.id_count; n++)
            size += item.ids[n].length;
    }
    return size;
}

static struct slice put(char **at, struct slice text)
{
    if (!text.data)
        return text;
    struct slice copy = slice_from(*at, text.length);
    memcpy(*at, text.data, text.length);
    *at += text.length;
    return copy;
}

/* Behind the items: the ids of all, then all texts, then the key. */
static void fill(struct kept_route *kept, const struct route_cache *cache, const struct decision *decision)
{
    struct slice *ids = (struct slice *)(void *)&kept->items[kept->count];
    unsigned id_count = 0;
    for (unsigned i = 0; i < kept->count; i++) {
        kept->items[i] = take_item(&decision->items[i]);
        id_count += kept->items[i].id_count;
    }
    char *at = (char *)&ids[id_count];
    for (unsigned i = 0; i < kept->count; i++) {
        struct decision_item *item = &kept->items[i];
        struct slice *texts[ITEM_TEXTS];
        for (unsigned n = list_texts(item, texts); n > 0; n--)
            *texts[n - 1] = put(&at, *texts[n - 1]);
        for (unsigned n = 0; n < item->id_count; n++)
            ids[n] = put(&at, item->ids[n]);
        if (item->id_count > 0)
            item->ids = ids;
        ids += item->id_count;
    }
    kept->key = put(&at, slice_from(cache->key, cache->key_length)).data;
}

static bool has_tables(struct script_state *state)
{
    struct route_cache *cache = &state->route_cache;
    if (cache->buckets)
        return true;
    struct kept_route **buckets = state_allocate(state, NULL, 0, TABLE_BYTES);
    struct kept_route **ring = buckets ? state_allocate(state, NULL, 0, TABLE_BYTES) : NULL;
    if (!ring) {
        if (buckets)
            state_allocate(state, buckets, TABLE_BYTES, 0);
        return false;
    }
    memset(buckets, 0, TABLE_BYTES);
    cache->buckets = buckets;
    cache->ring = ring;
    cache->hand = 0;
    cache->bytes_most = state->memory_limit / 16 < ROUTE_CACHE_BYTES ? state->memory_limit / 16 : ROUTE_CACHE_BYTES;
    return true;
}

void route_cache_keep(struct script_state *state, const struct decision *decision)
{
    static const struct decision nothing;
    struct route_cache *cache = &state->route_cache;
    if (cache->key_length == 0)
        return;
    if (!decision)
        decision = &nothing;
    struct kept_route *kept;
    size_t size = sizeof *kept + decision->count * sizeof *kept->items + measure(decision) + cache->key_length;
    if (size > ROUTE_CACHE_ENTRY_BYTES) {
        count_up(&cache->uncached);
        return;
    }
    if (!has_tables(state))
        return;
    make_room(state, size);
    if (cache->bytes + size > cache->bytes_most || !(kept = state_allocate(state, NULL, 0, size))) {
        show(cache);
        return;
    }
    struct kept_route **bucket = bucket_of(cache, cache->key_hash);
    *kept = (struct kept_route){.next = *bucket,
                                .hash = cache->key_hash,
                                .registry = state->asked_agents ? cache->registry : 0,
                                .key_length = (uint32_t)cache->key_length,
                                .size = (uint32_t)size,
                                .place = cache->count,
                                .count = decision->count};
    fill(kept, cache, decision);
    *bucket = kept;
    cache->ring[cache->count++] = kept;
    cache->bytes += size;
    show(cache);
}
