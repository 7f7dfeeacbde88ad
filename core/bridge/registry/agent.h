/* The registry's entry, for the files of this room only. Protected by its shard's lock except where a field says
 * otherwise. */
#ifndef LUADUCT_BRIDGE_AGENT_H
#define LUADUCT_BRIDGE_AGENT_H

#include "base/threads/lock.h"

#include "bridge/delivery/lane.h"
#include "bridge/queue/levels.h"
#include "bridge/registry/profile.h"
#include "bridge/registry/registry.h"
#include "protocol/envelope.h"

struct agent {
    atomic_uint open_tasks; /* bridge/queue/tasks.h; written with the shard locked, read without */
    bool counted;           /* an absent agent's mailbox, one of maxMailboxes */
    atomic_ullong last_chosen;
    struct profile *profile; /* while connected */
    struct profile *indexed; /* the one whose tags are in the directory; the directory's lock */
    struct levels mailbox;
    uint64_t owner;       /* a hash of the owner's name, also while absent (holders.h); 0: anybody may take the id */
    int64_t expires_ms;   /* when the first of the mailbox expires; 0: none does. May be early, never late */
    int64_t stored_at_ms; /* when the mailbox last grew (wall clock) */
    struct detachment *detachments; /* in the order of their connections */
    struct open_task *tasks;        /* bridge/queue/tasks.c; NULL while none */
    uint32_t task_count, task_capacity;
    int64_t connected_at_ms;
    atomic_llong last_seen_ms;                /* written by its lane, read by all */
    atomic_ullong message_count, error_count; /* the same */
    /* From here on what every delivery looks at, beside each other and the id for the cache's sake. */
    struct agent *next;        /* in the shard's chain */
    uint64_t hash;             /* of the id */
    struct endpoint *endpoint; /* the connection that serves it; NULL: absent */
    uint64_t last_stamp;       /* the last envelope delivered to it: each recipient gets one once */
    atomic_uint references;    /* the shard's table, the endpoint, whoever looks */
    uint32_t id_length;
    char id[];
};

static inline struct slice agent_id(const struct agent *agent)
{
    return slice_from(agent->id, agent->id_length);
}

static inline struct agent *agent_retain(struct agent *agent)
{
    atomic_fetch_add_explicit(&agent->references, 1, memory_order_relaxed);
    return agent;
}

void agent_release(struct agent *agent);

unsigned agent_lane(uint64_t hash);                       /* the index of the lane whose share of the shards it is in */
struct lock *agent_lock(uint64_t hash);                   /* takes the shard's lock and gives it */
struct agent *agent_find(uint64_t hash, struct slice id); /* shard locked; borrowed */

/* Found, or made; shard locked; borrowed; NULL when memory is out. */
struct agent *agent_find_or_add(uint64_t hash, struct slice id);

/* Who holds that id, present or not; 0: nobody. Shard locked. */
uint64_t agent_owner(uint64_t hash, struct slice id);

/* Agents whose mailbox holds something, each with a reference, piece by piece as registry_list. Any thread. */
unsigned agents_with_mail(uint64_t *cursor, struct agent **out, unsigned capacity);

/* The id of a known agent by its hash, and its length; 0: there is none. Any thread. */
size_t agent_name(uint64_t hash, char out[TEXT_BYTES_MAXIMUM]);

/* Each agent with mail of the lane's share of the shards, with its shard locked. */
void registry_each(const struct lane *lane, void (*call)(struct agent *agent, void *context), void *context);

/* Who held ids of that share, in a record for each shard, and out of one. See carry.h. */
struct channel_writer;
struct channel_reader;
void registry_put_holders(const struct lane *lane, uint32_t kind, struct channel_writer *channel);
bool registry_get_holders(struct channel_reader *channel);

/* Forgets the agent if nothing keeps it: no endpoint, no mailbox, nothing on its way home. Shard locked. */
void agent_forget_if_idle(struct agent *agent);

/* The index of tags: connected agents by role, label, tool and intent. */

/* Enters the agent with the tags of the profile that it has now, or takes it out when it has none. Call after every
 * change of agent->profile, no shard locked, with a reference held. False: no memory, and it is not in the index. */
bool directory_sync(struct agent *agent);

/* Up to `capacity` connected agents that match, each with a reference; *total is how many there are. A selector that
 * names nothing matches all. */
unsigned directory_match(const struct selector *selector, struct agent **out, unsigned capacity, unsigned *total);

/* Frees the index, which is empty by then. Main thread, when no lane runs. */
void directory_stop(void);

/* The least busy of them but `except`, with a reference; NULL when nobody matches. */
struct agent *directory_choose(const struct selector *selector, const struct agent *except);

/* The same among those that have room for one more task; `except` is the hash of an id, 0 for nobody. */
struct agent *directory_choose_free(const struct selector *selector, uint64_t except);

/* Whom one of these would give, without choosing it. */
struct agent *directory_look(const struct selector *selector, uint64_t except, bool free_only);

#endif
