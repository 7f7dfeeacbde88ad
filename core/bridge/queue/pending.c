/* One list under one lock, which is taken before the index's and the shards'. Nobody takes it while nothing waits: who
 * frees an agent looks at the number of those that wait, who begins to wait adds to that number and then looks for a
 * free agent. Both are sequentially consistent, so at least one of the two sees the other and no wake-up is lost. An
 * agent that becomes free is offered to the queue from its head, so a later envelope never overtakes one that it could
 * have gone to. */
#include "bridge/queue/pending.h"

#include "bridge/queue/mailbox.h"
#include "bridge/queue/tasks.h"
#include "memory/pool.h"
#include "protocol/websocket/frame_carry.h"

/* Of those at the head, how many pending_tend looks for an agent for: the rest follow when one is found. */
#define TRIED_AGAIN 16u

struct pending {
    struct pending *next;
    struct frame *frame;
    struct selector selector;
    uint64_t except;
    int64_t until_ms;
    size_t size; /* of the block */
    char text[];
};

static struct lock lock = LOCK_INITIALIZER; /* all below */
static struct pending_limits limits;
static struct pending *first, **last = &first;
static atomic_uint count; /* written with the lock held, read by all */
static atomic_ullong queued_in_all, refused, expired;

void pending_start(const struct pending_limits *configured)
{
    limits = *configured;
}

/* Its room has been given back. */
static void free_pending(struct pending *pending)
{
    frame_release(pending->frame);
    pool_release(POOL_ARRAYS, pending, pending->size);
}

/* Takes out what `place` points to. */
static void take_out(struct pending **place)
{
    struct pending *pending = *place;
    *place = pending->next;
    if (!pending->next)
        last = place;
    atomic_fetch_sub(&count, 1);
}

void pending_stop(void)
{
    lock_acquire(&lock);
    while (first) {
        struct pending *pending = first;
        take_out(&first);
        mailbox_unreserve(pending->frame);
        free_pending(pending);
    }
    lock_release(&lock);
}

bool pending_any(void)
{
    return atomic_load(&count) > 0;
}

void pending_read(struct pending_figures *out)
{
    *out = (struct pending_figures){
        .waiting = atomic_load_explicit(&count, memory_order_relaxed),
        .queued_in_all = atomic_load_explicit(&queued_in_all, memory_order_relaxed),
        .refused = atomic_load_explicit(&refused, memory_order_relaxed),
        .expired = atomic_load_explicit(&expired, memory_order_relaxed),
    };
}

/* --- Giving on: the lock is held --- */

/* CODE_OK, CODE_NO_RECIPIENT: it left or is full; anything else: it could take nothing now. */
static enum code hand_over(struct lane *lane, struct agent *agent, const struct pending *pending)
{
    enum code code;
    struct lock *shard = agent_lock(agent->hash);
    struct endpoint *endpoint = agent->endpoint;
    if (!endpoint || task_agent_is_full(agent, agent->profile)) {
        lock_release(shard);
        return CODE_NO_RECIPIENT;
    }
    if (pending->frame->task)
        task_open(agent, pending->frame->task);
    if (endpoint->lane == lane) {
        lock_release(shard); /* the endpoint is ours: it cannot go away under us */
        code = lane_deliver(lane, endpoint, pending->frame);
    } else {
        code = inbox_push(lane, endpoint->lane, endpoint, pending->frame, 0) ? CODE_OK : CODE_OVERLOADED;
        lock_release(shard);
    }
    if (code != CODE_OK && pending->frame->task) {
        shard = agent_lock(agent->hash);
        task_withdraw(agent, pending->frame->task);
        lock_release(shard);
    }
    return code;
}

/* NULL: it is not connected. */
static struct profile *profile_of(struct agent *agent)
{
    struct lock *shard = agent_lock(agent->hash);
    struct profile *profile = agent->endpoint ? profile_retain(agent->profile) : NULL;
    lock_release(shard);
    return profile;
}

/* Walks the queue from its head until the agent is full. */
static void offer(struct lane *lane, struct agent *agent)
{
    struct profile *profile = profile_of(agent);
    if (!profile)
        return;
    for (struct pending **place = &first; *place && !task_agent_is_full(agent, profile);) {
        struct pending *pending = *place;
        if (pending->except == agent->hash || pending->until_ms <= lane->wall_ms ||
            !profile_matches(profile, &pending->selector)) {
            place = &pending->next;
            continue;
        }
        mailbox_unreserve(pending->frame); /* first: the agent's mailbox may need that room for it */
        if (hand_over(lane, agent, pending) != CODE_OK) {
            mailbox_reserve_owed(pending->frame);
            break;
        }
        take_out(place);
        free_pending(pending);
    }
    profile_release(profile);
}

/* A free agent for this one, and the queue's turn with it. Gives whether it took anything. The selector may be gone
 * then. */
static bool look_for_agent(struct lane *lane, const struct selector *selector, uint64_t except)
{
    unsigned before = atomic_load(&count);
    struct agent *agent = directory_choose_free(selector, except);
    if (!agent)
        return false;
    offer(lane, agent);
    agent_release(agent);
    return atomic_load(&count) != before;
}

void pending_offer(struct lane *lane, struct agent *agent)
{
    if (!pending_any())
        return;
    lock_acquire(&lock);
    offer(lane, agent);
    lock_release(&lock);
}

/* --- Waiting --- */

static struct slice copy(char **at, struct slice text)
{
    if (!text.data)
        return text;
    struct slice copied = slice_from(memcpy(*at, text.data, text.length), text.length);
    *at += text.length;
    return copied;
}

static struct pending *new_pending(struct lane *lane, const struct pending_request *request)
{
    const struct selector *from = request->selector;
    size_t size = sizeof(struct pending) + from->role.length + from->label.length + from->intent.length +
                  from->tool.length + from->id.length;
    struct pending *pending = pool_acquire(POOL_ARRAYS, size);
    if (!pending)
        return NULL;
    char *at = pending->text;
    *pending = (struct pending){.frame = frame_retain(request->frame),
                                .except = request->except,
                                .until_ms = lane->wall_ms + limits.ttl_ms,
                                .size = size};
    if (request->frame->expires_ms && request->frame->expires_ms < pending->until_ms)
        pending->until_ms = request->frame->expires_ms;
    pending->selector.role = copy(&at, from->role);
    pending->selector.label = copy(&at, from->label);
    pending->selector.intent = copy(&at, from->intent);
    pending->selector.tool = copy(&at, from->tool);
    pending->selector.id = copy(&at, from->id);
    return pending;
}

enum code pending_add(struct lane *lane, const struct pending_request *request)
{
    enum code code = CODE_OVERLOADED;
    lock_acquire(&lock);
    if (atomic_load(&count) < limits.envelopes && mailbox_reserve(request->frame)) {
        struct pending *pending = new_pending(lane, request);
        if (pending) {
            *last = pending;
            last = &pending->next;
            atomic_fetch_add(&count, 1);
            atomic_fetch_add_explicit(&queued_in_all, 1, memory_order_relaxed);
            while (look_for_agent(lane, request->selector, request->except))
                continue;
            code = CODE_OK;
        } else {
            mailbox_unreserve(request->frame);
        }
    }
    lock_release(&lock);
    if (code != CODE_OK)
        atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
    return code;
}

static void put_text(struct channel_writer *channel, struct slice text)
{
    channel_put(channel, text.data != NULL);
    channel_put_bytes(channel, text);
}

static struct slice get_text(struct channel_reader *channel)
{
    bool there = channel_get(channel) != 0;
    struct slice text = channel_get_bytes(channel);
    return there ? text : slice_from(NULL, 0);
}

void pending_put(uint32_t kind, struct frame_writer *writer)
{
    struct channel_writer *channel = writer->channel;
    lock_acquire(&lock);
    for (const struct pending *pending = first; pending; pending = pending->next) {
        channel_begin(channel, kind);
        put_text(channel, pending->selector.role);
        put_text(channel, pending->selector.label);
        put_text(channel, pending->selector.intent);
        put_text(channel, pending->selector.tool);
        put_text(channel, pending->selector.id);
        channel_put(channel, pending->except);
        channel_put(channel, (uint64_t)pending->until_ms);
        frame_put(writer, pending->frame);
        channel_end(channel);
    }
    lock_release(&lock);
}

bool pending_get(struct lane *lane, struct frame_reader *reader)
{
    struct channel_reader *channel = reader->channel;
    struct selector selector = {.role = get_text(channel)};
    selector.label = get_text(channel);
    selector.intent = get_text(channel);
    selector.tool = get_text(channel);
    selector.id = get_text(channel);
    struct pending_request request = {.selector = &selector, .except = channel_get(channel)};
    int64_t until_ms = (int64_t)channel_get(channel);
    request.frame = frame_get(reader);
    if (!request.frame)
        return false;
    lock_acquire(&lock);
    struct pending *pending = new_pending(lane, &request);
    if (pending) {
        mailbox_reserve_owed(request.frame);
        pending->until_ms = until_ms;
        *last = pending;
        last = &pending->next;
        atomic_fetch_add(&count, 1);
    }
    lock_release(&lock);
    frame_release(request.frame);
    return pending != NULL;
}

void pending_tend(struct lane *lane)
{
    lane->room = false;
    if (!pending_any())
        return;
    lock_acquire(&lock);
    for (struct pending **place = &first; *place;) {
        struct pending *pending = *place;
        if (pending->until_ms > lane->wall_ms) {
            place = &pending->next;
            continue;
        }
        take_out(place);
        atomic_fetch_add_explicit(&expired, 1, memory_order_relaxed);
        lane_report_lost(lane, pending->frame, slice_from(NULL, 0), UNDELIVERABLE_EXPIRED);
        mailbox_unreserve(pending->frame);
        free_pending(pending);
    }
    unsigned tried = 0;
    for (struct pending *pending = first; pending && tried < TRIED_AGAIN; tried++) {
        bool changed = look_for_agent(lane, &pending->selector, pending->except);
        pending = changed ? first : pending->next;
    }
    lock_release(&lock);
}
