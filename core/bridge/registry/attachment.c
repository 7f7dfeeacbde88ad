#include "bridge/registry/attachment.h"

#include <mbedtls/sha256.h>

#include "base/hash.h"
#include "bridge/queue/mailbox.h"
#include "bridge/queue/pending.h"
#include "bridge/queue/tasks.h"
#include "bridge/registry/agent.h"
#include "memory/pool.h"

static void link_endpoint(struct endpoint *endpoint)
{
    struct lane *lane = endpoint->lane;
    endpoint->next = lane->attached;
    endpoint->previous = &lane->attached;
    if (lane->attached)
        lane->attached->previous = &endpoint->next;
    lane->attached = endpoint;
    atomic_fetch_add_explicit(&lane->attached_count, 1, memory_order_relaxed);
}

static void unlink_endpoint(struct endpoint *endpoint)
{
    *endpoint->previous = endpoint->next;
    if (endpoint->next)
        endpoint->next->previous = endpoint->previous;
    endpoint->next = NULL;
    atomic_fetch_sub_explicit(&endpoint->lane->attached_count, 1, memory_order_relaxed);
}

/* What the mailbox holds is newer than the outbox of the leaving endpoint and older than anything that is still on its
 * way to it: it goes home between them, so that the order stays. Shard locked. */
static void start_detachment(struct agent *agent, struct detachment *detachment)
{
    struct detachment **last = &agent->detachments;
    while (*last)
        last = &(*last)->next;
    *last = detachment;
    mailbox_take(agent, &detachment->frames);
    mailbox_count_absent(agent, false);
}

static void detachment_free(struct detachment *detachment)
{
    levels_clear(&detachment->frames);
    pool_release(POOL_ARRAYS, detachment, sizeof *detachment);
}

/* After it can be seen: who counts first and looks afterwards misses nothing. */
static void note_change(void)
{
    atomic_fetch_add_explicit(&registry_change_count, 1, memory_order_release);
}

/* Without an owner there is no credential: then ids are nobody's. The number means the same to every bridge, because
 * mailboxes go from one to another (state.h), and nobody finds another name for one. */
static uint64_t owner_of(const struct profile *profile)
{
    unsigned char digest[32];
    uint64_t number;
    if (profile->owner.length == 0)
        return 0;
    mbedtls_sha256_ret((const unsigned char *)profile->owner.data, profile->owner.length, digest, 0);
    memcpy(&number, digest, sizeof number);
    return number ? number : 1;
}

uint64_t attachment_owner(const struct profile *profile)
{
    return profile->yields ? 0 : owner_of(profile);
}

struct endpoint *attachment_find(const struct lane *lane, struct slice id, uint64_t owner)
{
    uint64_t hash = hash_slice(id);
    struct lock *lock = agent_lock(hash);
    const struct agent *agent = agent_find(hash, id);
    struct endpoint *endpoint = agent && agent->owner == owner ? agent->endpoint : NULL;
    bool own = endpoint && endpoint->lane == lane; /* another lane's may go as soon as the lock is given back */
    lock_release(lock);
    return own ? endpoint : NULL;
}

enum code attachment_attach(struct endpoint *endpoint, struct profile *profile)
{
    struct detachment *reserve = pool_acquire(POOL_ARRAYS, sizeof *reserve);
    if (!reserve)
        return CODE_OVERLOADED;
    *reserve = (struct detachment){0};

    struct lane *lane = endpoint->lane;
    uint64_t hash = hash_slice(profile->id), owner = owner_of(profile);
    struct lock *lock = agent_lock(hash);
    uint64_t holder = owner ? agent_owner(hash, profile->id) : 0;
    bool foreign = holder && holder != owner;
    struct agent *agent = foreign ? NULL : agent_find_or_add(hash, profile->id);
    if (!agent) {
        lock_release(lock);
        detachment_free(reserve);
        return foreign ? CODE_FORBIDDEN : CODE_OVERLOADED;
    }
    agent_retain(agent);
    struct profile *old_profile = agent->profile;
    uint64_t next_broadcast = lane_next_broadcast();
    if (agent->endpoint) { /* the newest connection wins */
        start_detachment(agent, agent->endpoint->detachment);
        agent->endpoint->detachment->until_broadcast = next_broadcast;
        atomic_store_explicit(&agent->endpoint->replaced, true, memory_order_release);
        inbox_notify(lane, agent->endpoint, NOTICE_REPLACED);
    }
    endpoint->agent = agent;
    endpoint->profile = profile_retain(profile);
    endpoint->detachment = reserve;
    endpoint->from_broadcast = next_broadcast;
    endpoint->state = ENDPOINT_HOLDING;
    agent->endpoint = endpoint;
    agent->profile = profile;
    agent->owner = attachment_owner(profile);
    agent->connected_at_ms = lane->wall_ms;
    atomic_store_explicit(&agent->last_seen_ms, lane->wall_ms, memory_order_relaxed);
    atomic_store_explicit(&agent->message_count, 0, memory_order_relaxed);
    atomic_store_explicit(&endpoint->received_count, 0, memory_order_relaxed);
    atomic_store_explicit(&agent->error_count, 0, memory_order_relaxed);
    mailbox_count_absent(agent, false);
    lock_release(lock);
    note_change();

    profile_release(old_profile);
    link_endpoint(endpoint);
    if (!directory_sync(agent)) {
        profile_retain(profile); /* stays the caller's */
        attachment_detach(endpoint);
        return CODE_OVERLOADED;
    }
    pending_offer(lane, agent);
    return CODE_OK;
}

bool attachment_change_profile(struct endpoint *endpoint, struct profile *profile)
{
    struct agent *agent = endpoint->agent;
    struct profile *before = NULL;
    struct lock *lock = agent_lock(agent->hash);
    if (agent->endpoint == endpoint) {
        before = agent->profile;
        agent->profile = profile_retain(profile);
        agent->owner = attachment_owner(profile);
    }
    lock_release(lock);
    note_change();
    if (before && !directory_sync(agent)) {
        lock = agent_lock(agent->hash);
        if (agent->endpoint == endpoint) {
            profile_release(agent->profile);
            agent->profile = before;
            before = NULL;
        }
        lock_release(lock);
        note_change();
        profile_release(before);
        directory_sync(agent); /* the old tags held as much, so putting them back finds room */
        return false;
    }
    profile_release(before);
    profile_release(endpoint->profile);
    endpoint->profile = profile;
    pending_offer(endpoint->lane, agent);
    return true;
}

static void free_line_up(struct endpoint *endpoint)
{
    pool_release(POOL_ARRAYS, endpoint->line_up, sizeof *endpoint->line_up);
    endpoint->line_up = NULL;
    endpoint->lined_up = false;
}

static void count_wait(struct lane *lane, const struct frame *frame)
{
    int64_t waited_ms = lane->wall_ms - frame->accepted_ms;
    if (frame->accepted_ms != 0)
        histogram_record(&lane->mailbox_waits, waited_ms > 0 ? (uint64_t)waited_ms * 1000000 : 0, 1);
}

/* Moves the next frame of the line-up and, where it may be had (shard locked), the mailbox to the outbox: within each
 * level the line-up's are older. False: there is none, or no memory for it. */
static bool move_one(struct endpoint *endpoint, struct agent *mailbox_of)
{
    struct levels *line_up = endpoint->line_up, *mailbox = mailbox_of ? &mailbox_of->mailbox : NULL;
    struct levels *turns = line_up ? line_up : mailbox;
    if ((line_up ? line_up->count : 0) + (mailbox ? mailbox->count : 0) == 0)
        return false;
    enum level level = levels_next(turns, line_up ? mailbox : NULL);
    bool lined_up = line_up && (!mailbox || line_up->queues[level].count > 0);
    if (!outbox_push(&endpoint->outbox, levels_peek(lined_up ? line_up : mailbox, level)))
        return false;
    levels_take_turn(turns, level);
    if (lined_up) /* the reference is the outbox's now */
        levels_pop(line_up, level);
    else
        count_wait(endpoint->lane, mailbox_pop(mailbox_of, level));
    if (line_up && line_up->count == 0) {
        if (mailbox)
            mailbox->turn = line_up->turn;
        free_line_up(endpoint);
    }
    return true;
}

/* What is in the outbox is not ordered any more: so that little is, it gets no more than one good send at a time. */
#define ORDERED_PORTION (64u << 10)

static bool has_room(const struct endpoint *endpoint)
{
    const struct frame_queue *queue = &endpoint->outbox.queue;
    uint64_t most = lane_send_queue_bytes();
    return queue->count == 0 || queue->bytes < (levels_ordered && most > ORDERED_PORTION ? ORDERED_PORTION : most);
}

void attachment_go_live(struct endpoint *endpoint)
{
    bool moved = false;
    if (endpoint->state == ENDPOINT_HOLDING && endpoint->grace_over && !endpoint->close_status) {
        struct agent *agent = endpoint->agent;
        struct lock *lock = agent_lock(agent->hash);
        if (agent->endpoint == endpoint && !agent->detachments) {
            mailbox_drop_expired(endpoint->lane, agent);
            while (agent->mailbox.count > 0 && has_room(endpoint) && move_one(endpoint, agent))
                moved = true;
            if (moved)
                endpoint->mailbox_ns = clock_steady_ns();
            if (agent->mailbox.count == 0)
                endpoint->state = ENDPOINT_LIVE;
        }
        lock_release(lock);
    }
    while (endpoint->state == ENDPOINT_LIVE && endpoint->lined_up && has_room(endpoint) && move_one(endpoint, NULL))
        moved = true;
    if (moved)
        lane_mark_dirty(endpoint->lane, endpoint);
}

bool attachment_line_up(struct endpoint *endpoint, struct frame *frame, uint8_t turn)
{
    if (lane_line_up(endpoint, frame) != CODE_OK)
        return false;
    endpoint->line_up->turn = turn;
    return true;
}

void attachment_detach(struct endpoint *endpoint)
{
    if (endpoint->state != ENDPOINT_HOLDING && endpoint->state != ENDPOINT_LIVE)
        return;
    struct lane *lane = endpoint->lane;
    struct agent *agent = endpoint->agent;
    struct lock *lock = agent_lock(agent->hash);
    bool replaced = agent->endpoint != endpoint;
    struct profile *profile = NULL;
    if (!replaced) {
        start_detachment(agent, endpoint->detachment);
        profile = agent->profile;
        agent->endpoint = NULL;
        agent->profile = NULL;
        task_close_all(agent);
    }
    lock_release(lock);
    if (!replaced)
        note_change();
    endpoint->state = ENDPOINT_LEAVING;
    unlink_endpoint(endpoint);
    if (replaced) {
        endpoint->lingers = false;
        return; /* the notice is in the inbox, behind all that was sent before: it finishes this endpoint */
    }
    directory_sync(agent);
    profile_release(profile);
    pending_tend(lane); /* somebody may have chosen this one in its last moment */
    endpoint->next_leaving = lane->leaving;
    lane->leaving = endpoint;
    lane->woke[lane->index] = true;
    lane->woke_any = true;
}

void attachment_linger(struct endpoint *endpoint)
{
    while (endpoint->lined_up && move_one(endpoint, NULL))
        continue;
    endpoint->lingers = endpoint->state == ENDPOINT_HOLDING || endpoint->state == ENDPOINT_LIVE;
}

void attachment_linger_end(struct endpoint *endpoint)
{
    if (!endpoint->lingers)
        return;
    endpoint->lingers = false;
    endpoint->lane->woke[endpoint->lane->index] = true;
    endpoint->lane->woke_any = true;
}

/* All detachments are home: what they bring goes before what the mailbox gathered meanwhile. Shard locked. */
static void merge_detachments(struct lane *lane, struct agent *agent)
{
    struct levels all = {0};
    for (struct detachment *detachment = agent->detachments, *next; detachment; detachment = next) {
        next = detachment->next;
        uint32_t lost = levels_prepend(&detachment->frames, &all);
        if (lost > 0)
            counter_add(&lane->counters.lost_without_memory, lost);
        all = detachment->frames;
        detachment->frames = (struct levels){0};
        detachment_free(detachment);
    }
    agent->detachments = NULL;
    if (all.count > 0)
        mailbox_return(lane, agent, &all);
    else
        mailbox_count_absent(agent, agent->endpoint == NULL);
}

/* The outbox is older than the line-up, and that than all that the detachment has. */
static void take_outbox_home(struct endpoint *endpoint)
{
    struct frame_queue mixed = {0};
    struct levels unsent = {0};
    uint32_t lost = outbox_take_unsent(&endpoint->outbox, &mixed);
    lost += levels_append_mixed(&unsent, &mixed);
    if (endpoint->line_up) {
        lost += levels_prepend(&endpoint->detachment->frames, endpoint->line_up);
        free_line_up(endpoint);
    }
    lost += levels_prepend(&endpoint->detachment->frames, &unsent);
    if (lost > 0)
        counter_add(&endpoint->lane->counters.lost_without_memory, lost);
}

void attachment_withdraw(struct endpoint *endpoint)
{
    if (endpoint->state == ENDPOINT_LEAVING)
        take_outbox_home(endpoint);
}

void attachment_finish(struct endpoint *endpoint)
{
    struct lane *lane = endpoint->lane;
    struct agent *agent = endpoint->agent;
    struct lock *lock = agent_lock(agent->hash);
    take_outbox_home(endpoint);
    endpoint->detachment->home = true;
    bool all_home = true;
    for (struct detachment *detachment = agent->detachments; detachment; detachment = detachment->next)
        all_home = all_home && detachment->home;
    if (all_home) {
        merge_detachments(lane, agent);
        if (agent->endpoint)
            inbox_notify(lane, agent->endpoint, NOTICE_FLUSH);
        agent_forget_if_idle(agent);
    }
    lock_release(lock);
    profile_release(endpoint->profile);
    agent_release(agent);
    endpoint->detachment = NULL;
    endpoint->profile = NULL;
    endpoint->agent = NULL;
    endpoint->state = ENDPOINT_DETACHED;
}

void attachment_touch(struct endpoint *endpoint, unsigned messages, unsigned errors)
{
    struct agent *agent = endpoint->agent;
    atomic_store_explicit(&agent->last_seen_ms, endpoint->lane->wall_ms, memory_order_relaxed);
    if (messages)
        counter_add(&agent->message_count, messages);
    if (errors)
        counter_add(&agent->error_count, errors);
}

void attachment_view(const struct endpoint *endpoint, struct agent_view *out)
{
    struct agent *agent = endpoint->agent;
    struct lock *lock = agent_lock(agent->hash);
    *out = (struct agent_view){
        .profile = profile_retain(endpoint->profile),
        .connected_at_ms = agent->connected_at_ms,
        .last_seen_ms = atomic_load_explicit(&agent->last_seen_ms, memory_order_relaxed),
        .message_count = atomic_load_explicit(&agent->message_count, memory_order_relaxed),
        .error_count = atomic_load_explicit(&agent->error_count, memory_order_relaxed),
        .open_tasks = atomic_load_explicit(&agent->open_tasks, memory_order_relaxed),
        .received_count = atomic_load_explicit(&endpoint->received_count, memory_order_relaxed),
        .waiting_count = agent->mailbox.count,
        .waiting_bytes = agent->mailbox.bytes,
    };
    lock_release(lock);
}
