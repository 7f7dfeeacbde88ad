/* A table of fixed size: a sender has a place among eight by its hash, and a new one takes that of whose last overrun
 * is longest ago. */
#include "runtime/dispatch/slowdown.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "runtime/identity/identity.h"
#include "runtime/limits/limits.h"

#define SETS 128u
#define WAYS 8u

struct culprit {
    uint64_t sender, until_ms, last_ms;
    unsigned overruns; /* 0: a free place */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct culprit table[SETS][WAYS];
static _Atomic uint64_t latest_until_ms; /* no pause lasts longer */

/* Its place, or NULL. */
static struct culprit *find(uint64_t sender, uint64_t now_ms)
{
    struct culprit *set = table[sender % SETS];
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].overruns > 0 && set[i].sender == sender &&
            (int64_t)(now_ms - set[i].last_ms) < (int64_t)SLOWDOWN_FORGET_MS)
            return &set[i];
    return NULL;
}

static struct culprit *take_place(uint64_t sender)
{
    struct culprit *set = table[sender % SETS], *oldest = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].overruns == 0 || set[i].sender == sender)
            return &set[i];
        if (set[i].last_ms < oldest->last_ms)
            oldest = &set[i];
    }
    return oldest;
}

uint64_t slowdown_key(const struct identity *identity, struct slice agent, const struct peer_address *address)
{
    if ((identity = identity_counted(identity)))
        return ~identity_key(identity); /* an agent may be called as an identity is */
    return agent.data ? hash_slice(agent) : peer_address_hash(address);
}

uint32_t slowdown_strike(uint64_t sender, uint32_t budget_ms, uint64_t now_ms)
{
    pthread_mutex_lock(&mutex);
    struct culprit *culprit = find(sender, now_ms);
    if (!culprit) {
        culprit = take_place(sender);
        *culprit = (struct culprit){.sender = sender};
    }
    if (culprit->overruns < SLOWDOWN_STEPS)
        culprit->overruns++;
    uint32_t pause_ms = budget_ms * culprit->overruns; /* a budget is a minute at most */
    if (pause_ms > SLOWDOWN_MOST_MS)
        pause_ms = SLOWDOWN_MOST_MS;
    culprit->last_ms = now_ms;
    culprit->until_ms = now_ms + pause_ms;
    if (culprit->until_ms > atomic_load_explicit(&latest_until_ms, memory_order_relaxed))
        atomic_store_explicit(&latest_until_ms, culprit->until_ms, memory_order_relaxed);
    pthread_mutex_unlock(&mutex);
    return pause_ms;
}

uint32_t slowdown_left(uint64_t sender, uint64_t now_ms)
{
    if (now_ms >= atomic_load_explicit(&latest_until_ms, memory_order_relaxed))
        return 0;
    pthread_mutex_lock(&mutex);
    const struct culprit *culprit = find(sender, now_ms);
    uint32_t left = culprit && culprit->until_ms > now_ms ? (uint32_t)(culprit->until_ms - now_ms) : 0;
    pthread_mutex_unlock(&mutex);
    return left;
}

void slowdown_reset(void)
{
    pthread_mutex_lock(&mutex);
    memset(table, 0, sizeof table);
    atomic_store_explicit(&latest_until_ms, 0, memory_order_relaxed);
    pthread_mutex_unlock(&mutex);
}
