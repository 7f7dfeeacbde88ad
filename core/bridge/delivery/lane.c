/* Each inbox is two arrays: lanes push to one under its lock while the owner works through the other. Notices
 * (replaced, flush) are a list through the endpoints themselves, taken in the same step as the entries, so they need no
 * memory and come after every delivery that was pushed before them. */
#include "bridge/delivery/lane.h"

#include <stdlib.h>

#include "bridge/delivery/dead_letter.h"
#include "bridge/queue/mailbox.h"
#include "bridge/queue/tasks.h"
#include "bridge/registry/agent.h"
#include "bridge/registry/attachment.h"
#include "memory/admission.h"
#include "memory/pool.h"

/* Entries that wait for one lane: 1 MiB of them. A lane that far behind is overloaded, and its senders hear so. */
#define INBOX_MAXIMUM 65536u
#define INBOX_FIRST 256u
/* Failures that wait for the script; past it they are only counted. */
#define UNDELIVERABLE_WAITING 10000u

static struct lane *lanes;
static atomic_ullong broadcasts = 1; /* the number of the next one, of all lanes */
static struct lane_options options;

static const char *const reason_names[UNDELIVERABLE_REASONS] = {
    [UNDELIVERABLE_NO_RECIPIENT] = "no_recipient", [UNDELIVERABLE_MAILBOX_FULL] = "mailbox_full",
    [UNDELIVERABLE_EVICTED] = "evicted",           [UNDELIVERABLE_EXPIRED] = "expired",
    [UNDELIVERABLE_SLOW_AGENT] = "slow_agent",
};

const char *undeliverable_reason_name(enum undeliverable_reason reason)
{
    return reason_names[reason];
}

bool lanes_start(const struct lane_options *chosen)
{
    options = *chosen;
    lock_shared = options.count > 1;
    size_t size = (options.count * sizeof *lanes + 63) / 64 * 64;
    lanes = aligned_alloc(64, size);
    if (!lanes)
        return false;
    memset(lanes, 0, size);
    for (unsigned i = 0; i < options.count; i++) {
        lanes[i].index = i;
        lanes[i].wake = options.wake;
        lanes[i].undeliverable_last = &lanes[i].undeliverable_first;
        pthread_mutex_init(&lanes[i].inbox.lock.mutex, NULL);
    }
    return true;
}

static void release_entries(struct inbox_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        frame_release(entries[i].frame);
}

void lanes_stop(void)
{
    for (unsigned i = 0; i < options.count; i++) {
        struct lane *lane = &lanes[i];
        struct undeliverable *undeliverable;
        while ((undeliverable = lane_take_undeliverable(lane)))
            undeliverable_free(undeliverable);
        release_entries(lane->inbox.entries, lane->inbox.count);
        if (lane->batch.entries)
            release_entries(lane->batch.entries + lane->batch.at, lane->batch.count - lane->batch.at);
        free(lane->batch.entries);
        free(lane->inbox.entries);
        free(lane->inbox.spare);
        pthread_mutex_destroy(&lane->inbox.lock.mutex);
    }
    free(lanes);
    lanes = NULL;
    options.count = 0;
}

unsigned lanes_count(void)
{
    return options.count;
}

struct lane *lanes_get(unsigned index)
{
    return &lanes[index];
}

uint64_t lane_send_queue_bytes(void)
{
    return admission_is_tight() && options.send_queue_bytes > ADMISSION_QUEUE_BYTES ? ADMISSION_QUEUE_BYTES
                                                                                    : options.send_queue_bytes;
}

/* --- Inbox --- */

static void remember_to_wake(struct lane *from, struct lane *to)
{
    from->woke[to->index] = true;
    from->woke_any = true;
}

bool inbox_push(struct lane *from, struct lane *to, struct endpoint *endpoint, struct frame *frame, uint64_t broadcast)
{
    struct inbox *inbox = &to->inbox;
    bool pushed = false;
    lock_acquire(&inbox->lock);
    if (inbox->count == inbox->capacity && inbox->capacity < INBOX_MAXIMUM) {
        uint32_t capacity = inbox->capacity ? inbox->capacity * 2 : INBOX_FIRST;
        struct inbox_entry *entries = realloc(inbox->entries, capacity * sizeof *entries);
        if (entries) {
            inbox->entries = entries;
            inbox->capacity = capacity;
        }
    }
    if (inbox->count < inbox->capacity) {
        inbox->entries[inbox->count++] = (struct inbox_entry){endpoint, frame_retain(frame), broadcast};
        pushed = true;
    }
    lock_release(&inbox->lock);
    remember_to_wake(from, to);
    return pushed;
}

void inbox_notify(struct lane *from, struct endpoint *endpoint, unsigned notice)
{
    struct inbox *inbox = &endpoint->lane->inbox;
    lock_acquire(&inbox->lock);
    if (!endpoint->notices) {
        endpoint->next_notice = inbox->notices;
        inbox->notices = endpoint;
    }
    endpoint->notices |= (uint8_t)notice;
    lock_release(&inbox->lock);
    remember_to_wake(from, endpoint->lane);
}

static enum undeliverable_reason reason_of(enum code code)
{
    return code == CODE_MAILBOX_FULL ? UNDELIVERABLE_MAILBOX_FULL : UNDELIVERABLE_SLOW_AGENT;
}

/* What this endpoint's agent was to get. No shard locked. */
static void lose(struct lane *lane, struct endpoint *endpoint, struct frame *frame, enum undeliverable_reason reason)
{
    if (__builtin_expect(frame->task != 0, 0)) {
        struct lock *lock = agent_lock(endpoint->agent->hash);
        task_lost(lane, endpoint->agent, frame);
        lock_release(lock);
    }
    lane_report_lost(lane, frame, endpoint->profile->id, reason);
}

uint64_t lane_next_broadcast(void)
{
    return atomic_load_explicit(&broadcasts, memory_order_acquire);
}

/* To the attached endpoints of this lane whose broadcast it is; gives how many took it. */
static unsigned broadcast_here(struct lane *lane, struct frame *frame, uint64_t number, const struct endpoint *except)
{
    unsigned reached = 0;
    for (struct endpoint *endpoint = lane->attached, *next; endpoint; endpoint = next) {
        next = endpoint->next;
        if (endpoint == except || number < endpoint->from_broadcast)
            continue;
        if (__builtin_expect(atomic_load_explicit(&endpoint->replaced, memory_order_acquire), 0) &&
            number >= endpoint->detachment->until_broadcast)
            continue;
        enum code code = lane_deliver(lane, endpoint, frame);
        if (code == CODE_OK)
            reached++;
        else
            lose(lane, endpoint, frame, reason_of(code));
    }
    return reached;
}

static void deliver_entry(struct lane *lane, const struct inbox_entry *entry)
{
    if (entry->broadcast) {
        broadcast_here(lane, entry->frame, entry->broadcast, entry->endpoint);
        return;
    }
    enum code code = lane_deliver(lane, entry->endpoint, entry->frame);
    if (code != CODE_OK)
        lose(lane, entry->endpoint, entry->frame, reason_of(code));
}

/* Takes all that the inbox holds, and whoever has left before: nothing more can come in for those than what is here. */
static void take_batch(struct lane *lane)
{
    struct inbox *inbox = &lane->inbox;
    struct inbox_batch *batch = &lane->batch;
    batch->leaving = lane->leaving;
    lane->leaving = NULL;
    batch->at = 0;
    batch->busy = true;
    lock_acquire(&inbox->lock);
    batch->entries = inbox->entries;
    batch->count = inbox->count;
    batch->capacity = inbox->capacity;
    inbox->entries = inbox->spare;
    inbox->capacity = inbox->spare_capacity;
    inbox->count = 0;
    inbox->spare = NULL;
    inbox->spare_capacity = 0;
    batch->notices = inbox->notices;
    inbox->notices = NULL;
    lock_release(&inbox->lock);
}

static void give_back_array(struct lane *lane)
{
    struct inbox *inbox = &lane->inbox;
    lock_acquire(&inbox->lock);
    inbox->spare = lane->batch.entries;
    inbox->spare_capacity = lane->batch.capacity;
    lock_release(&inbox->lock);
    lane->batch.entries = NULL;
}

static void handle_notices(struct lane *lane)
{
    struct inbox *inbox = &lane->inbox;
    while (lane->batch.notices) {
        struct endpoint *endpoint = lane->batch.notices;
        lock_acquire(&inbox->lock);
        lane->batch.notices = endpoint->next_notice;
        unsigned said = endpoint->notices;
        endpoint->notices = 0;
        lock_release(&inbox->lock);
        if (said & NOTICE_REPLACED) {
            if (endpoint->state != ENDPOINT_LEAVING)
                attachment_detach(endpoint);
            endpoint->close_status = 4001;
            attachment_finish(endpoint);
            lane_mark_dirty(lane, endpoint);
        } else if (said & NOTICE_FLUSH) {
            attachment_go_live(endpoint);
        }
    }
}

static void handle_leaving(struct lane *lane)
{
    while (lane->batch.leaving) {
        struct endpoint *endpoint = lane->batch.leaving;
        lane->batch.leaving = endpoint->next_leaving;
        if (endpoint->lingers) { /* attachment_linger's end puts it back to work */
            endpoint->next_leaving = lane->leaving;
            lane->leaving = endpoint;
        } else {
            attachment_finish(endpoint);
        }
    }
}

bool lane_drain(struct lane *lane)
{
    struct inbox_batch *batch = &lane->batch;
    if (!batch->busy)
        take_batch(lane);
    for (uint64_t bytes = 0; batch->at < batch->count; batch->at++) {
        if (bytes > LANE_DRAIN_BYTES)
            return true;
        struct inbox_entry *entry = &batch->entries[batch->at];
        bytes += entry->frame->length;
        deliver_entry(lane, entry);
        frame_release(entry->frame);
    }
    give_back_array(lane);
    handle_notices(lane);
    handle_leaving(lane);
    batch->busy = false;
    return false;
}

bool lane_idle(struct lane *lane)
{
    bool leaving = false;
    for (const struct endpoint *endpoint = lane->leaving; endpoint; endpoint = endpoint->next_leaving)
        leaving = leaving || !endpoint->lingers;
    lock_acquire(&lane->inbox.lock);
    bool idle = lane->inbox.count == 0 && !lane->inbox.notices;
    lock_release(&lane->inbox.lock);
    return idle && !leaving && !lane->batch.busy && !lane->dirty;
}

void lane_wake_others(struct lane *lane)
{
    if (!lane->woke_any)
        return;
    lane->woke_any = false;
    for (unsigned i = 0; i < options.count; i++) {
        if (lane->woke[i]) {
            lane->woke[i] = false;
            lanes[i].wake(&lanes[i]);
        }
    }
}

/* --- Delivery to an endpoint of this lane --- */

static enum code push(struct endpoint *endpoint, struct frame *frame)
{
    if (!frame_queue_admits(&endpoint->outbox.queue) || !outbox_push(&endpoint->outbox, frame))
        return CODE_OVERLOADED;
    frame_retain(frame);
    return CODE_OK;
}

/* To a leaving endpoint: newer than its outbox and than what its mailbox held. */
static enum code take_home(struct endpoint *endpoint, struct frame *frame)
{
    if (!levels_push(&endpoint->detachment->frames, frame))
        return CODE_OVERLOADED;
    frame_retain(frame);
    return CODE_OK;
}

static enum code hold(struct lane *lane, struct endpoint *endpoint, struct frame *frame)
{
    static const enum code answers[] = {
        [MAILBOX_STORED] = CODE_OK, [MAILBOX_FULL] = CODE_MAILBOX_FULL, [MAILBOX_NO_MEMORY] = CODE_OVERLOADED};
    struct agent *agent = endpoint->agent;
    struct lock *lock = agent_lock(agent->hash);
    bool ours = agent->endpoint == endpoint;
    enum mailbox_result result = ours ? mailbox_push(lane, agent, frame) : MAILBOX_STORED;
    lock_release(lock);
    if (ours)
        return answers[result];
    /* Replaced, and the notice of it is still to come: the mailbox is the newer connection's, and this is older than
     * what that one gathers. */
    attachment_detach(endpoint);
    return take_home(endpoint, frame);
}

enum code lane_line_up(struct endpoint *endpoint, struct frame *frame)
{
    if (!endpoint->line_up) {
        endpoint->line_up = pool_acquire(POOL_ARRAYS, sizeof *endpoint->line_up);
        if (!endpoint->line_up)
            return CODE_OVERLOADED;
        *endpoint->line_up = (struct levels){0};
        endpoint->lined_up = true;
    }
    if (!levels_admit(endpoint->line_up, frame) || !levels_push(endpoint->line_up, frame))
        return CODE_OVERLOADED;
    frame_retain(frame);
    return CODE_OK;
}

static uint64_t waiting_bytes(const struct endpoint *endpoint)
{
    return endpoint->outbox.queue.bytes + (endpoint->line_up ? endpoint->line_up->bytes : 0);
}

/* The new one is lined up first: it may be what has to go. */
static enum code drop_and_line_up(struct lane *lane, struct endpoint *endpoint, struct frame *frame)
{
    enum code code = lane_line_up(endpoint, frame);
    struct frame *least;
    while (code == CODE_OK && waiting_bytes(endpoint) > lane_send_queue_bytes() &&
           (least = levels_pop_least(endpoint->line_up))) {
        lose(lane, endpoint, least, UNDELIVERABLE_SLOW_AGENT);
        frame_release(least);
    }
    return code;
}

static enum code deliver_slowly(struct lane *lane, struct endpoint *endpoint, struct frame *frame)
{
    if (options.slow_agent == SLOW_AGENT_DROP && levels_ordered)
        return drop_and_line_up(lane, endpoint, frame);
    if (options.slow_agent == SLOW_AGENT_DROP) {
        struct frame *oldest;
        while (endpoint->outbox.queue.bytes + frame->length > lane_send_queue_bytes() &&
               (oldest = outbox_take_oldest(&endpoint->outbox))) {
            lose(lane, endpoint, oldest, UNDELIVERABLE_SLOW_AGENT);
            frame_release(oldest);
        }
        if (endpoint->outbox.queue.bytes + frame->length > lane_send_queue_bytes()) {
            /* All that waits is half written or not an envelope: then the new one is what goes. */
            lose(lane, endpoint, frame, UNDELIVERABLE_SLOW_AGENT);
            return CODE_OK;
        }
        return push(endpoint, frame);
    }
    endpoint->state = ENDPOINT_HOLDING;
    if (options.slow_agent == SLOW_AGENT_CLOSE) {
        endpoint->close_status = (uint16_t)code_close_status(CODE_OVERLOADED);
        lane_mark_dirty(lane, endpoint);
    }
    return hold(lane, endpoint, frame);
}

/* The socket is full, or was and what waited then has not all joined the outbox. */
static enum code deliver_congested(struct lane *lane, struct endpoint *endpoint, struct frame *frame)
{
    if (endpoint->blocked && waiting_bytes(endpoint) + frame->length > lane_send_queue_bytes())
        return deliver_slowly(lane, endpoint, frame);
    enum code code = levels_ordered ? lane_line_up(endpoint, frame) : push(endpoint, frame);
    if (code == CODE_OK)
        lane_mark_dirty(lane, endpoint);
    endpoint_count(endpoint, 0);
    return code;
}

enum code lane_deliver(struct lane *lane, struct endpoint *endpoint, struct frame *frame)
{
    switch ((enum endpoint_state)endpoint->state) {
    case ENDPOINT_LIVE:
        if (__builtin_expect(endpoint->blocked | endpoint->lined_up, 0))
            return deliver_congested(lane, endpoint, frame);
        if (push(endpoint, frame) != CODE_OK)
            return CODE_OVERLOADED;
        lane_mark_dirty(lane, endpoint);
        return CODE_OK;
    case ENDPOINT_HOLDING:
        return hold(lane, endpoint, frame);
    case ENDPOINT_LEAVING:
        return take_home(endpoint, frame);
    case ENDPOINT_DETACHED:
        break;
    }
    return CODE_NO_RECIPIENT;
}

unsigned lane_broadcast(struct lane *lane, struct frame *frame, struct endpoint *except)
{
    uint64_t number = atomic_fetch_add_explicit(&broadcasts, 1, memory_order_acq_rel);
    unsigned reached = broadcast_here(lane, frame, number, except);
    for (unsigned i = 0; i < options.count; i++) {
        if (i == lane->index)
            continue;
        unsigned there = atomic_load_explicit(&lanes[i].attached_count, memory_order_relaxed);
        if (inbox_push(lane, &lanes[i], except, frame, number))
            reached += there;
        else /* too far behind: who would have got it is not known here */
            counter_add(&lane->counters.undeliverable[UNDELIVERABLE_SLOW_AGENT], there);
    }
    return reached;
}

/* --- What could not be delivered --- */

static void remember_failure(struct lane *lane, struct frame *frame, struct slice recipient,
                             enum undeliverable_reason reason, bool letter)
{
    if (lane->given_away)
        return;
    counter_add(&lane->counters.undeliverable[reason], 1);
    if (!lane->report_undeliverable && !letter)
        return;
    struct undeliverable *entry = NULL;
    if (lane->undeliverable_count < UNDELIVERABLE_WAITING)
        entry = pool_acquire(POOL_ARRAYS, sizeof *entry + recipient.length);
    if (!entry) {
        if (letter)
            dead_letter_count_lost();
        return;
    }
    entry->next = NULL;
    entry->frame = frame_retain(frame);
    entry->reason = reason;
    entry->tell = lane->report_undeliverable;
    entry->letter = letter;
    entry->recipient_length = (uint32_t)recipient.length;
    if (recipient.length > 0)
        memcpy(entry->recipient, recipient.data, recipient.length);
    *lane->undeliverable_last = entry;
    lane->undeliverable_last = &entry->next;
    lane->undeliverable_count++;
}

void lane_report_undeliverable(struct lane *lane, struct frame *frame, struct slice recipient,
                               enum undeliverable_reason reason)
{
    remember_failure(lane, frame, recipient, reason, false);
}

void lane_report_lost(struct lane *lane, struct frame *frame, struct slice recipient, enum undeliverable_reason reason)
{
    remember_failure(lane, frame, recipient, reason, dead_letter_wanted(frame, recipient));
}

struct undeliverable *lane_take_undeliverable(struct lane *lane)
{
    struct undeliverable *entry = lane->undeliverable_first;
    if (!entry)
        return NULL;
    lane->undeliverable_first = entry->next;
    if (!entry->next)
        lane->undeliverable_last = &lane->undeliverable_first;
    lane->undeliverable_count--;
    return entry;
}

void undeliverable_free(struct undeliverable *entry)
{
    frame_release(entry->frame);
    pool_release(POOL_ARRAYS, entry, sizeof *entry + entry->recipient_length);
}
