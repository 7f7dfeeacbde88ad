#include "bridge/queue/mailbox.h"

#include "bridge/queue/tasks.h"

static struct mailbox_limits limits;
static atomic_ullong envelopes_in_all, bytes_in_all, mailboxes_in_all;
static atomic_ullong bytes_by_share[UINT16_MAX + 1], share_refusals;
static bool shares_counted;

uint32_t mailbox_ttl_ms(void)
{
    return limits.ttl_ms;
}

void mailbox_start(const struct mailbox_limits *configured)
{
    limits = *configured;
    shares_counted = limits.share_bytes > 0;
}

void mailbox_count_absent(struct agent *agent, bool absent)
{
    bool count = absent && agent->mailbox.count > 0;
    if (count == agent->counted)
        return;
    agent->counted = count;
    atomic_fetch_add_explicit(&mailboxes_in_all, count ? 1u : -1ull, memory_order_relaxed);
}

static void account(uint64_t envelopes, uint64_t bytes, bool added)
{
    atomic_fetch_add_explicit(&envelopes_in_all, added ? envelopes : -envelopes, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes_in_all, added ? bytes : -bytes, memory_order_relaxed);
}

static void account_share(const struct frame *frame, bool added)
{
    if (__builtin_expect(shares_counted && frame->share, 0))
        atomic_fetch_add_explicit(&bytes_by_share[frame->share], added ? frame->length : -(uint64_t)frame->length,
                                  memory_order_relaxed);
}

static void account_frame(const struct frame *frame, bool added)
{
    account(1, frame->length, added);
    account_share(frame, added);
}

/* All of them at once; their sums are the caller's to account for. */
static void account_shares(const struct levels *frames, bool added)
{
    if (!shares_counted)
        return;
    for (unsigned level = 0; level < LEVEL_COUNT; level++)
        for (uint32_t i = 0; i < frames->queues[level].count; i++)
            account_share(frame_queue_at(&frames->queues[level], i), added);
}

static bool share_full(const struct frame *frame)
{
    return shares_counted && frame->share &&
           atomic_load_explicit(&bytes_by_share[frame->share], memory_order_relaxed) + frame->length >
               limits.share_bytes;
}

bool mailbox_reserve(const struct frame *frame)
{
    if (atomic_load_explicit(&bytes_in_all, memory_order_relaxed) + frame->length > limits.total_bytes)
        return false;
    if (__builtin_expect(share_full(frame), 0)) {
        atomic_fetch_add_explicit(&share_refusals, 1, memory_order_relaxed);
        return false;
    }
    account_frame(frame, true);
    return true;
}

void mailbox_reserve_owed(const struct frame *frame)
{
    account_frame(frame, true);
}

void mailbox_unreserve(const struct frame *frame)
{
    account_frame(frame, false);
}

struct frame *mailbox_pop(struct agent *agent, enum level level)
{
    struct frame *oldest = levels_pop(&agent->mailbox, level);
    account_frame(oldest, false);
    return oldest;
}

static void note_expiry(struct agent *agent, int64_t expires_ms)
{
    if (__builtin_expect(expires_ms != 0, 0) && (!agent->expires_ms || expires_ms < agent->expires_ms))
        agent->expires_ms = expires_ms;
}

/* Of what is out of the mailbox already. */
static void lose(struct lane *lane, struct agent *agent, struct frame *frame, enum undeliverable_reason reason)
{
    account_frame(frame, false);
    task_lost(lane, agent, frame);
    lane_report_lost(lane, frame, agent_id(agent), reason);
    frame_release(frame);
}

struct expiring {
    struct lane *lane;
    struct agent *agent;
};

static void expired(void *context, struct frame *frame)
{
    const struct expiring *expiring = context;
    lose(expiring->lane, expiring->agent, frame, UNDELIVERABLE_EXPIRED);
}

void mailbox_drop_expired(struct lane *lane, struct agent *agent)
{
    struct expiring expiring = {lane, agent};
    if (__builtin_expect(!agent->expires_ms || agent->expires_ms > lane->wall_ms, 1))
        return;
    agent->expires_ms = levels_expire(&agent->mailbox, lane->wall_ms, expired, &expiring);
    mailbox_count_absent(agent, agent->endpoint == NULL);
}

static void evict_oldest(struct lane *lane, struct agent *agent)
{
    lose(lane, agent, levels_pop_least(&agent->mailbox), UNDELIVERABLE_EVICTED);
}

static bool past_limits(const struct agent *agent)
{
    return agent->mailbox.count > limits.envelopes || agent->mailbox.bytes > limits.bytes;
}

/* What has expired makes room first. */
static void evict_past_limits(struct lane *lane, struct agent *agent)
{
    if (past_limits(agent))
        mailbox_drop_expired(lane, agent);
    while (past_limits(agent))
        evict_oldest(lane, agent);
}

enum mailbox_result mailbox_push(struct lane *lane, struct agent *agent, struct frame *frame)
{
    bool absent = agent->endpoint == NULL;
    if (limits.envelopes == 0 || frame->length > limits.bytes)
        return MAILBOX_FULL;
    if (atomic_load_explicit(&bytes_in_all, memory_order_relaxed) + frame->length > limits.total_bytes)
        return MAILBOX_FULL;
    if (__builtin_expect(share_full(frame), 0)) {
        atomic_fetch_add_explicit(&share_refusals, 1, memory_order_relaxed);
        return MAILBOX_FULL;
    }
    if (absent && !agent->counted && !agent->detachments &&
        atomic_load_explicit(&mailboxes_in_all, memory_order_relaxed) >= limits.mailboxes)
        return MAILBOX_FULL;
    if (!levels_admit(&agent->mailbox, frame) || !levels_push(&agent->mailbox, frame))
        return MAILBOX_NO_MEMORY;
    frame_retain(frame);
    note_expiry(agent, frame->expires_ms);
    account_frame(frame, true);
    agent->stored_at_ms = lane->wall_ms;
    mailbox_count_absent(agent, absent);
    evict_past_limits(lane, agent);
    return MAILBOX_STORED;
}

static void settle_return(struct lane *lane, struct agent *agent)
{
    agent->stored_at_ms = lane->wall_ms;
    evict_past_limits(lane, agent);
    /* The outboxes of many slow agents may hold more than all mailboxes may: what comes home must not. */
    while (agent->mailbox.count > 0 && atomic_load_explicit(&bytes_in_all, memory_order_relaxed) > limits.total_bytes)
        evict_oldest(lane, agent);
    mailbox_count_absent(agent, agent->endpoint == NULL);
}

void mailbox_return(struct lane *lane, struct agent *agent, struct levels *frames)
{
    for (unsigned level = 0; level < LEVEL_COUNT; level++)
        for (uint32_t i = 0; i < frames->queues[level].count; i++)
            note_expiry(agent, frame_queue_at(&frames->queues[level], i)->expires_ms);
    account(frames->count, frames->bytes, true);
    uint64_t before = agent->mailbox.bytes + frames->bytes;
    account_shares(&agent->mailbox, false); /* what is lost on the way is not named */
    uint32_t lost = levels_prepend(&agent->mailbox, frames);
    account_shares(&agent->mailbox, true);
    if (lost > 0) {
        account(lost, before - agent->mailbox.bytes, false);
        counter_add(&lane->counters.lost_without_memory, lost);
    }
    settle_return(lane, agent);
}

void mailbox_take(struct agent *agent, struct levels *into)
{
    account(agent->mailbox.count, agent->mailbox.bytes, false);
    account_shares(&agent->mailbox, false);
    *into = agent->mailbox;
    agent->mailbox = (struct levels){0};
}

void mailbox_restore(struct lane *lane, struct agent *agent, struct levels *frames, bool in_front)
{
    struct frame *frame;
    if (in_front || agent->mailbox.count == 0) {
        mailbox_return(lane, agent, frames);
        return;
    }
    for (unsigned level = 0; level < LEVEL_COUNT; level++) {
        while ((frame = levels_peek(frames, (enum level)level))) {
            levels_pop(frames, (enum level)level);
            if (!levels_push(&agent->mailbox, frame)) {
                counter_add(&lane->counters.lost_without_memory, 1);
                frame_release(frame);
                continue;
            }
            note_expiry(agent, frame->expires_ms);
            account_frame(frame, true);
        }
    }
    settle_return(lane, agent);
}

void mailbox_expire_one(struct lane *lane, struct agent *agent, int64_t now_ms)
{
    if (now_ms - agent->stored_at_ms < (int64_t)limits.ttl_ms)
        return;
    struct frame *frame;
    while ((frame = levels_pop_least(&agent->mailbox)))
        lose(lane, agent, frame, UNDELIVERABLE_EXPIRED);
    mailbox_count_absent(agent, true);
    agent_forget_if_idle(agent);
}

uint64_t mailbox_envelopes_in_all(void)
{
    return atomic_load_explicit(&envelopes_in_all, memory_order_relaxed);
}

uint64_t mailbox_share_refusals(void)
{
    return atomic_load_explicit(&share_refusals, memory_order_relaxed);
}

uint64_t mailbox_bytes_in_all(void)
{
    return atomic_load_explicit(&bytes_in_all, memory_order_relaxed);
}
