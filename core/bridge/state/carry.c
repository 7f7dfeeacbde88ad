#include "bridge/state/carry.h"

#include "base/hash.h"
#include "bridge/queue/mailbox.h"
#include "bridge/queue/pending.h"
#include "bridge/queue/tasks.h"
#include "bridge/registry/agent.h"
#include "bridge/registry/attachment.h"
#include "bridge/state/history.h"
#include "memory/pool.h"

/* What one record has: so many frames, or as many as hold so many bytes, the last one past it. */
#define FRAMES_AT_ONCE 64u
#define RECORD_BYTES (1u << 20)

/* --- Writing --- */

void carry_put_registration(const struct endpoint *endpoint, struct frame_writer *writer)
{
    struct channel_writer *channel = writer->channel;
    const struct profile *profile = endpoint->profile;
    const struct agent *agent = endpoint->agent;
    channel_put_bytes(channel, profile->id);
    channel_put_bytes(channel, profile->role);
    channel_put_bytes(channel, profile->labels);
    channel_put_bytes(channel, profile->tools);
    channel_put_bytes(channel, profile->intents);
    channel_put_bytes(channel, profile->owner);
    channel_put(channel, profile->max_concurrent_tasks);
    channel_put(channel, profile->has_features | profile->wants_batches << 1 | profile->yields << 2);
    channel_put(channel, (uint64_t)agent->connected_at_ms);
    channel_put(channel, (uint64_t)atomic_load_explicit(&agent->last_seen_ms, memory_order_relaxed));
    channel_put(channel, atomic_load_explicit(&agent->message_count, memory_order_relaxed));
    channel_put(channel, atomic_load_explicit(&agent->error_count, memory_order_relaxed));
    channel_put(channel, atomic_load_explicit(&agent->last_chosen, memory_order_relaxed));
    channel_put(channel, atomic_load_explicit(&endpoint->received_count, memory_order_relaxed));
}

/* What goes into one record of the frames from `at` on. */
static uint32_t record_end(const struct frame_queue *queue, uint32_t at)
{
    uint32_t end = at;
    for (uint64_t bytes = 0; end < queue->count && end - at < FRAMES_AT_ONCE && bytes < RECORD_BYTES; end++)
        bytes += frame_queue_at(queue, end)->length;
    return end;
}

/* The same of those from `from` on that end with `end`. */
static uint32_t record_start(const struct frame_queue *queue, uint32_t from, uint32_t end)
{
    uint32_t at = end;
    for (uint64_t bytes = 0; at > from && end - at < FRAMES_AT_ONCE && bytes < RECORD_BYTES; at--)
        bytes += frame_queue_at(queue, at - 1)->length;
    return at;
}

/* The queue, in records of their own: each begins with a number of the caller's, and how many there are. */
static void put_queue(const struct frame_queue *queue, enum carry_kind kind, uint64_t number,
                      struct frame_writer *writer)
{
    for (uint32_t at = 0; at < queue->count;) {
        uint32_t end = record_end(queue, at);
        channel_begin(writer->channel, kind);
        channel_put(writer->channel, number);
        channel_put(writer->channel, end - at);
        for (; at < end; at++)
            frame_put(writer, frame_queue_at(queue, at));
        channel_end(writer->channel);
    }
}

void carry_put_waiting(const struct endpoint *endpoint, struct frame_writer *writer)
{
    const struct outbox *outbox = &endpoint->outbox;
    const struct levels *line_up = endpoint->line_up;
    put_queue(&outbox->queue, CARRY_OUTBOX, 0, writer);
    if (outbox->partial) { /* after the frames that it covers */
        channel_begin(writer->channel, CARRY_OUTBOX);
        channel_put(writer->channel, 1);
        channel_put(writer->channel, outbox->covered);
        channel_put(writer->channel, outbox->partial_sent);
        frame_put(writer, outbox->partial);
        channel_end(writer->channel);
    }
    for (unsigned level = 0; line_up && level < LEVEL_COUNT; level++)
        put_queue(&line_up->queues[level], CARRY_LINE_UP, line_up->turn, writer);
    if (endpoint->agent && endpoint->agent->task_count > 0) {
        channel_begin(writer->channel, CARRY_TASKS);
        tasks_put(endpoint->agent, writer->channel);
        channel_end(writer->channel);
    }
}

/* The envelopes among the frames from `at` to before `end`. */
static void put_mail(const struct frame_queue *queue, uint32_t at, uint32_t end, enum carry_kind kind,
                     const struct agent *agent, struct frame_writer *writer)
{
    struct channel_writer *channel = writer->channel;
    uint32_t count = 0;
    for (uint32_t i = at; i < end; i++)
        count += frame_queue_at(queue, i)->kind == FRAME_ENVELOPE;
    channel_begin(channel, kind);
    channel_put_bytes(channel, agent_id(agent));
    channel_put(channel, agent->owner);
    channel_put(channel, (uint64_t)agent->stored_at_ms);
    channel_put(channel, agent->mailbox.turn);
    channel_put(channel, count);
    for (; at < end; at++)
        if (frame_queue_at(queue, at)->kind == FRAME_ENVELOPE)
            frame_put(writer, frame_queue_at(queue, at));
    channel_end(channel);
}

/* Each record goes in front of the mailbox, so the last ones come first. */
static void put_rest(const struct frame_queue *queue, uint32_t from, const struct agent *agent,
                     struct frame_writer *writer)
{
    for (uint32_t end = queue->count; end > from;) {
        uint32_t at = record_start(queue, from, end);
        put_mail(queue, at, end, CARRY_REST, agent, writer);
        end = at;
    }
}

static void put_rest_of_levels(const struct levels *levels, const struct agent *agent, struct frame_writer *writer)
{
    for (unsigned level = 0; level < LEVEL_COUNT; level++)
        put_rest(&levels->queues[level], 0, agent, writer);
}

/* They go in front of the mailbox one after the other, so the newest come first. */
void carry_put_rest(const struct endpoint *endpoint, struct frame_writer *writer)
{
    const struct outbox *outbox = &endpoint->outbox;
    if (!endpoint->agent)
        return;
    if (endpoint->state == ENDPOINT_LEAVING)
        put_rest_of_levels(&endpoint->detachment->frames, endpoint->agent, writer);
    if (endpoint->line_up)
        put_rest_of_levels(endpoint->line_up, endpoint->agent, writer);
    put_rest(&outbox->queue, outbox->covered, endpoint->agent, writer);
}

void carry_drop_rest(struct endpoint *endpoint)
{
    struct frame *frame;
    while ((frame = outbox_take_oldest(&endpoint->outbox)))
        frame_release(frame);
    if (endpoint->line_up)
        levels_clear(endpoint->line_up);
    if (endpoint->state == ENDPOINT_LEAVING)
        levels_clear(&endpoint->detachment->frames);
}

static void put_agent(struct agent *agent, void *writer)
{
    for (unsigned level = 0; level < LEVEL_COUNT; level++) {
        const struct frame_queue *queue = &agent->mailbox.queues[level];
        for (uint32_t at = 0, end; at < queue->count; at = end) {
            end = record_end(queue, at);
            put_mail(queue, at, end, CARRY_MAIL, agent, writer);
        }
    }
}

void carry_put_mailboxes(const struct lane *lane, struct frame_writer *writer)
{
    registry_each(lane, put_agent, writer);
}

void carry_put_holders(const struct lane *lane, struct frame_writer *writer)
{
    registry_put_holders(lane, CARRY_HOLDERS, writer->channel);
}

void carry_put_history(struct frame_writer *writer)
{
    struct history_entry entry;
    for (uint64_t number = 0; !writer->channel->failed && history_read(&number, &entry);) {
        channel_begin(writer->channel, CARRY_HISTORY);
        channel_put(writer->channel, entry.parties.sender);
        channel_put(writer->channel, entry.parties.everyone);
        channel_put_bytes(writer->channel, slice_from((const char *)entry.parties.recipients,
                                                      entry.parties.recipient_count * sizeof(uint64_t)));
        frame_put(writer, entry.frame);
        channel_end(writer->channel);
        history_entry_free(&entry);
    }
}

/* --- Ahead --- */

#define AGENTS_AT_ONCE 32u

static bool put_ahead(struct frame_writer *writer, struct frame *frame)
{
    if (frame_writer_knows(writer, frame))
        return false;
    channel_begin(writer->channel, CARRY_FRAME);
    frame_put(writer, frame);
    channel_end(writer->channel);
    return true;
}

/* What that mailbox holds and the writer does not know, with a reference each; NULL: nothing, or no memory for it now.
 * No socket is written to while the shard is locked. */
static struct frame **take_unknown(struct agent *agent, const struct frame_writer *writer, uint32_t *count,
                                   uint32_t *capacity)
{
    struct lock *lock = agent_lock(agent->hash);
    struct frame **frames =
        agent->mailbox.count > 0 ? pool_acquire(POOL_ARRAYS, agent->mailbox.count * sizeof *frames) : NULL;
    *capacity = agent->mailbox.count;
    *count = 0;
    for (unsigned level = 0; frames && level < LEVEL_COUNT; level++) {
        const struct frame_queue *queue = &agent->mailbox.queues[level];
        for (uint32_t i = 0; i < queue->count; i++) {
            struct frame *frame = frame_queue_at(queue, i);
            if (!frame_writer_knows(writer, frame))
                frames[(*count)++] = frame_retain(frame);
        }
    }
    lock_release(lock);
    return frames;
}

static uint64_t put_mailbox_ahead(struct agent *agent, struct frame_writer *writer)
{
    uint32_t count, capacity;
    uint64_t sent = 0;
    struct frame **frames = take_unknown(agent, writer, &count, &capacity);
    for (uint32_t i = 0; frames && i < count; i++) {
        sent += put_ahead(writer, frames[i]);
        frame_release(frames[i]);
    }
    pool_release(POOL_ARRAYS, frames, capacity * sizeof *frames);
    return sent;
}

uint64_t carry_put_ahead(struct frame_writer *writers)
{
    struct agent *agents[AGENTS_AT_ONCE];
    struct history_entry entry;
    unsigned count;
    uint64_t sent = 0, cursor = 0, end = history_next_number();
    bool failed = false;
    while ((count = agents_with_mail(&cursor, agents, AGENTS_AT_ONCE)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            struct frame_writer *writer = &writers[agent_lane(agents[i]->hash)];
            failed = failed || writer->channel->failed;
            if (!failed)
                sent += put_mailbox_ahead(agents[i], writer);
            agent_release(agents[i]);
        }
        if (failed)
            break;
    }
    for (uint64_t number = 0; !writers->channel->failed && number < end && history_read(&number, &entry);) {
        sent += put_ahead(writers, entry.frame);
        history_entry_free(&entry);
    }
    for (unsigned i = 0; i < lanes_count(); i++)
        channel_flush(writers[i].channel);
    return sent;
}

void carry_put_pending(struct frame_writer *writer)
{
    pending_put(CARRY_PENDING, writer);
}

/* --- Reading --- */

bool carry_get_registration(struct endpoint *endpoint, struct channel_reader *reader)
{
    struct profile_source source = {.id = channel_get_bytes(reader)};
    source.role = channel_get_bytes(reader);
    source.labels = channel_get_bytes(reader);
    source.tools = channel_get_bytes(reader);
    source.intents = channel_get_bytes(reader);
    source.owner = channel_get_bytes(reader);
    source.max_concurrent_tasks = (uint32_t)channel_get(reader);
    uint64_t bits = channel_get(reader);
    source.has_features = bits & 1;
    source.wants_batches = bits >> 1 & 1;
    source.yields = bits >> 2 & 1;
    int64_t connected_at_ms = (int64_t)channel_get(reader), last_seen_ms = (int64_t)channel_get(reader);
    uint64_t message_count = channel_get(reader), error_count = channel_get(reader), chosen = channel_get(reader);
    uint64_t received_count = channel_get(reader);
    struct profile *profile = reader->failed ? NULL : profile_new(&source);
    if (!profile)
        return false;
    enum code code = attachment_attach(endpoint, profile);
    if (code != CODE_OK) {
        profile_release(profile);
        if (code == CODE_FORBIDDEN)
            channel_reject(reader, "two identities hold the id of one agent");
        return false;
    }
    struct agent *agent = endpoint->agent;
    struct lock *lock = agent_lock(agent->hash);
    agent->connected_at_ms = connected_at_ms;
    atomic_store_explicit(&agent->last_seen_ms, last_seen_ms, memory_order_relaxed);
    atomic_store_explicit(&agent->message_count, message_count, memory_order_relaxed);
    atomic_store_explicit(&agent->error_count, error_count, memory_order_relaxed);
    atomic_store_explicit(&agent->last_chosen, chosen, memory_order_relaxed);
    atomic_store_explicit(&endpoint->received_count, received_count, memory_order_relaxed);
    lock_release(lock);
    return true;
}

/* Its priority counts only where the configuration says so, which may be another by now. */
static struct frame *get_frame(struct frame_reader *reader)
{
    struct frame *frame = frame_get(reader);
    if (frame && !levels_ordered)
        frame->level = 0;
    return frame;
}

static bool get_mail(struct lane *lane, struct frame_reader *reader, bool in_front)
{
    struct channel_reader *channel = reader->channel;
    struct slice id = channel_get_bytes(channel);
    uint64_t owner = channel_get(channel);
    int64_t stored_at_ms = (int64_t)channel_get(channel);
    uint8_t turn = (uint8_t)channel_get(channel);
    uint64_t count = channel_get(channel);
    struct levels frames = {0};
    bool good = true;
    for (; good && count > 0; count--) {
        struct frame *frame = get_frame(reader);
        good = frame && levels_push(&frames, frame);
        if (!good)
            frame_release(frame);
    }
    uint64_t hash = hash_slice(id);
    struct lock *lock = agent_lock(hash);
    struct agent *agent = good ? agent_find_or_add(hash, id) : NULL;
    if (agent) {
        if (!agent->endpoint)
            agent->owner = owner;
        mailbox_restore(lane, agent, &frames, in_front);
        agent->mailbox.turn = turn;
        agent->stored_at_ms = stored_at_ms;
        agent_forget_if_idle(agent);
    }
    lock_release(lock);
    levels_clear(&frames);
    return agent != NULL;
}

static bool get_history(struct frame_reader *reader)
{
    struct channel_reader *channel = reader->channel;
    struct history_parties parties = {.sender = channel_get(channel)};
    parties.everyone = channel_get(channel) != 0;
    struct slice recipients = channel_get_bytes(channel);
    struct frame *frame = frame_get(reader);
    if (!frame)
        return false;
    uint64_t *hashes = recipients.length > 0 ? pool_acquire(POOL_ARRAYS, recipients.length) : NULL;
    if (hashes) { /* aligned */
        memcpy(hashes, recipients.data, recipients.length);
        parties.recipients = hashes;
        parties.recipient_count = (uint32_t)(recipients.length / sizeof(uint64_t));
    }
    history_append(frame, &parties);
    pool_release(POOL_ARRAYS, hashes, recipients.length);
    frame_release(frame);
    return true;
}

static bool get_outbox(struct endpoint *endpoint, struct frame_reader *reader)
{
    struct outbox *outbox = &endpoint->outbox;
    struct channel_reader *channel = reader->channel;
    bool partial = channel_get(channel) != 0;
    uint64_t count = channel_get(channel);
    if (partial) {
        uint64_t sent = channel_get(channel);
        struct frame *wire = frame_get(reader);
        if (!wire || sent > wire->length || count > outbox->queue.count || count > UINT16_MAX) {
            frame_release(wire);
            channel_reject(channel, "a frame is written in part that does not wait");
            return false;
        }
        outbox->partial = wire;
        outbox->partial_sent = (uint32_t)sent;
        outbox->covered = (uint16_t)count;
        return true;
    }
    for (; count > 0; count--) {
        struct frame *frame = get_frame(reader);
        if (!frame || !outbox_push(outbox, frame)) {
            frame_release(frame);
            return false;
        }
    }
    return true;
}

static bool get_line_up(struct endpoint *endpoint, struct frame_reader *reader)
{
    uint8_t turn = (uint8_t)channel_get(reader->channel);
    uint64_t count = channel_get(reader->channel);
    for (; count > 0; count--) {
        struct frame *frame = get_frame(reader);
        bool good = frame && attachment_line_up(endpoint, frame, turn);
        frame_release(frame);
        if (!good)
            return false;
    }
    return true;
}

bool carry_get(uint32_t kind, struct lane *lane, struct endpoint *endpoint, struct frame_reader *reader)
{
    bool of_endpoint = kind == CARRY_OUTBOX || kind == CARRY_LINE_UP || kind == CARRY_TASKS;
    bool good = !of_endpoint || (endpoint && (kind == CARRY_OUTBOX || endpoint->agent));
    if (good) {
        switch (kind) {
        case CARRY_MAIL:
        case CARRY_REST:
            good = get_mail(lane, reader, kind == CARRY_REST);
            break;
        case CARRY_HOLDERS:
            good = registry_get_holders(reader->channel);
            break;
        case CARRY_HISTORY:
            good = get_history(reader);
            break;
        case CARRY_PENDING:
            good = pending_get(lane, reader);
            break;
        case CARRY_OUTBOX:
            good = get_outbox(endpoint, reader);
            break;
        case CARRY_LINE_UP:
            good = get_line_up(endpoint, reader);
            break;
        case CARRY_FRAME: {
            struct frame *frame = frame_get(reader);
            good = frame != NULL;
            frame_release(frame);
            break;
        }
        case CARRY_TASKS:
            good = tasks_get(endpoint->agent, reader->channel);
            break;
        default:
            channel_reject(reader->channel, "a record is of no known kind");
            break;
        }
    } else {
        channel_reject(reader->channel, "a record belongs to no connection");
    }
    if (!good) /* nothing else is left unsaid */
        channel_reject(reader->channel, "out of memory");
    return !reader->channel->failed;
}
