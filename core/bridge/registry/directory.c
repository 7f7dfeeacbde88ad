/* Connected agents by tag, so that a role or a label finds its agents without walking all of them. A tag's posting is a
 * plain array; a selector walks the shortest of its postings and asks each agent's profile for the rest. One lock: it
 * is taken when agents come and go and by decisions that select, never by direct messages. It may be held while a
 * shard's is taken, never the other way round. */
#include <stdlib.h>

#include "bridge/queue/tasks.h"
#include "bridge/registry/agent.h"
#include "memory/pool.h"

struct posting {
    struct posting *next;
    uint64_t hash;
    struct agent **agents;
    uint32_t count, capacity;
};

/* The posting of all connected agents, for selectors that name nothing else. No tag's text gives this kind. */
#define EVERYONE 0x5eed5eed5eed5eedull

static struct lock lock = LOCK_INITIALIZER;
static struct posting **buckets;
static uint32_t bucket_count, posting_count;

static struct posting *find(uint64_t hash)
{
    if (bucket_count == 0)
        return NULL;
    struct posting *posting = buckets[hash & (bucket_count - 1)];
    while (posting && posting->hash != hash)
        posting = posting->next;
    return posting;
}

static bool grow_table(void)
{
    uint32_t count = bucket_count ? bucket_count * 2 : 64;
    struct posting **fresh = calloc(count, sizeof(struct posting *));
    if (!fresh)
        return bucket_count > 0;
    for (uint32_t i = 0; i < bucket_count; i++) {
        for (struct posting *posting = buckets[i], *next; posting; posting = next) {
            next = posting->next;
            posting->next = fresh[posting->hash & (count - 1)];
            fresh[posting->hash & (count - 1)] = posting;
        }
    }
    free(buckets);
    buckets = fresh;
    bucket_count = count;
    return true;
}

static bool add_to(uint64_t hash, struct agent *agent)
{
    struct posting *posting = find(hash);
    if (!posting) {
        if (posting_count >= bucket_count && !grow_table())
            return false;
        posting = pool_acquire(POOL_ARRAYS, sizeof *posting);
        if (!posting)
            return false;
        *posting = (struct posting){.next = buckets[hash & (bucket_count - 1)], .hash = hash};
        buckets[hash & (bucket_count - 1)] = posting;
        posting_count++;
    }
    if (posting->count == posting->capacity) {
        uint32_t capacity = posting->capacity ? posting->capacity * 2 : 8;
        struct agent **agents = pool_acquire(POOL_ARRAYS, capacity * sizeof(struct agent *));
        if (!agents)
            return false;
        if (posting->count > 0)
            memcpy(agents, posting->agents, posting->count * sizeof(struct agent *));
        pool_release(POOL_ARRAYS, posting->agents, posting->capacity * sizeof(struct agent *));
        posting->agents = agents;
        posting->capacity = capacity;
    }
    posting->agents[posting->count++] = agent;
    return true;
}

static void remove_from(uint64_t hash, struct agent *agent)
{
    struct posting *posting = find(hash);
    if (!posting)
        return;
    for (uint32_t i = posting->count; i-- > 0;) { /* from the end: who came last often leaves first */
        if (posting->agents[i] == agent) {
            posting->agents[i] = posting->agents[--posting->count];
            break;
        }
    }
    if (posting->count > 0)
        return;
    struct posting **place = &buckets[hash & (bucket_count - 1)];
    while (*place != posting)
        place = &(*place)->next;
    *place = posting->next;
    posting_count--;
    pool_release(POOL_ARRAYS, posting->agents, posting->capacity * sizeof(struct agent *));
    pool_release(POOL_ARRAYS, posting, sizeof *posting);
}

static void remove_all(struct agent *agent, struct profile *profile)
{
    remove_from(EVERYONE, agent);
    for (uint32_t i = 0; i < profile->tag_count; i++)
        remove_from(profile->tags[i].hash, agent);
}

bool directory_sync(struct agent *agent)
{
    bool added = true;
    lock_acquire(&lock);
    struct lock *shard = agent_lock(agent->hash);
    struct profile *wanted = agent->profile ? profile_retain(agent->profile) : NULL;
    lock_release(shard);
    struct profile *before = agent->indexed;
    if (before != wanted) {
        if (before)
            remove_all(agent, before);
        agent->indexed = NULL;
        if (wanted) {
            added = add_to(EVERYONE, agent);
            for (uint32_t i = 0; added && i < wanted->tag_count; i++)
                added = add_to(wanted->tags[i].hash, agent);
            if (added)
                agent->indexed = profile_retain(wanted);
            else
                remove_all(agent, wanted);
        }
    }
    bool indexed_before = before != NULL, indexed_now = agent->indexed != NULL;
    bool changed = before != agent->indexed;
    lock_release(&lock);

    /* The index holds a reference on the agent and on the profile it was entered with. */
    if (indexed_now && !indexed_before)
        agent_retain(agent);
    if (changed)
        profile_release(before);
    profile_release(wanted);
    if (indexed_before && !indexed_now)
        agent_release(agent);
    return added;
}

static const struct posting *shortest(const struct selector *selector)
{
    const struct {
        enum tag_kind kind;
        struct slice text;
    } wanted[] = {{TAG_ROLE, selector->role},
                  {TAG_LABEL, selector->label},
                  {TAG_TOOL, selector->tool},
                  {TAG_INTENT, selector->intent}};
    const struct posting *best = find(EVERYONE);
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!wanted[i].text.data)
            continue;
        const struct posting *posting = find(tag_hash(wanted[i].kind, wanted[i].text));
        if (!posting)
            return NULL;
        if (posting->count < best->count)
            best = posting;
    }
    return best;
}

unsigned directory_match(const struct selector *selector, struct agent **out, unsigned capacity, unsigned *total)
{
    unsigned given = 0;
    *total = 0;
    lock_acquire(&lock);
    const struct posting *posting = shortest(selector);
    for (uint32_t i = 0; posting && i < posting->count; i++) {
        struct agent *agent = posting->agents[i];
        if (!profile_matches(agent->indexed, selector))
            continue;
        ++*total;
        if (given < capacity)
            out[given++] = agent_retain(agent);
    }
    lock_release(&lock);
    return given;
}

/* Less busy relative to what it may do at once; among equals the one that was chosen longest ago. */
static bool goes_before(const struct agent *a, const struct agent *b)
{
    uint64_t load_a = (uint64_t)atomic_load_explicit(&a->open_tasks, memory_order_relaxed);
    uint64_t load_b = (uint64_t)atomic_load_explicit(&b->open_tasks, memory_order_relaxed);
    load_a *= b->indexed->max_concurrent_tasks;
    load_b *= a->indexed->max_concurrent_tasks;
    if (load_a != load_b)
        return load_a < load_b;
    return atomic_load_explicit(&a->last_chosen, memory_order_relaxed) <
           atomic_load_explicit(&b->last_chosen, memory_order_relaxed);
}

/* Without `looks`, the one who is found counts as chosen. */
static struct agent *choose(const struct selector *selector, uint64_t except, bool free_only, bool looks)
{
    static uint64_t chosen; /* protected by the lock */
    struct agent *best = NULL;
    lock_acquire(&lock);
    const struct posting *posting = shortest(selector);
    for (uint32_t i = 0; posting && i < posting->count; i++) {
        struct agent *agent = posting->agents[i];
        if (agent->hash != except && profile_matches(agent->indexed, selector) &&
            !(free_only && task_agent_is_full(agent, agent->indexed)) && (!best || goes_before(agent, best)))
            best = agent;
    }
    if (best && !looks)
        atomic_store_explicit(&best->last_chosen, ++chosen, memory_order_relaxed);
    if (best)
        agent_retain(best);
    lock_release(&lock);
    return best;
}

struct agent *directory_choose(const struct selector *selector, const struct agent *except)
{
    return choose(selector, except ? except->hash : 0, false, false);
}

struct agent *directory_choose_free(const struct selector *selector, uint64_t except)
{
    return choose(selector, except, true, false);
}

struct agent *directory_look(const struct selector *selector, uint64_t except, bool free_only)
{
    return choose(selector, except, free_only, true);
}

void directory_stop(void)
{
    free(buckets);
    buckets = NULL;
    bucket_count = 0;
}
