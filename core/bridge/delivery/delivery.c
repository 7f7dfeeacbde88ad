/* One shard lock per named recipient: lookup, push or mailbox, unlock. A recipient that several decisions name gets the
 * envelope once: each envelope has a stamp, and an agent remembers the last stamp it was given. */
#include "bridge/delivery/delivery.h"

#include <stdio.h>

#include "base/hash.h"
#include "bridge/delivery/expiry.h"
#include "bridge/queue/mailbox.h"
#include "bridge/queue/pending.h"
#include "bridge/queue/tasks.h"
#include "bridge/registry/agent.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/registration.h"

struct work {
    const struct delivery *delivery;
    struct delivery_result *result;
    struct agent *sender; /* NULL over HTTP, or when it is known no more */
    enum task_effect task_effect;
    uint64_t task; /* hash of the taskId */
    uint64_t stamp;
    bool everyone;
    uint32_t recipient_count, recipient_capacity;
    uint64_t *recipients;
    uint64_t first_recipient; /* where the list starts: most have one */
};

/* --- One recipient --- */

static void note_recipient(struct work *work, uint64_t hash)
{
    if (work->recipient_count == work->recipient_capacity) {
        uint32_t capacity = work->recipient_capacity * 8;
        uint64_t *recipients = pool_acquire(POOL_ARRAYS, capacity * sizeof *recipients);
        if (!recipients)
            return; /* the history then shows it to fewer */
        memcpy(recipients, work->recipients, work->recipient_count * sizeof *recipients);
        if (work->recipients != &work->first_recipient)
            pool_release(POOL_ARRAYS, work->recipients, work->recipient_capacity * sizeof *recipients);
        work->recipients = recipients;
        work->recipient_capacity = capacity;
    }
    work->recipients[work->recipient_count++] = hash;
}

static void report(const struct work *work, struct slice id, enum undeliverable_reason reason)
{
    struct lane *lane = work->delivery->lane;
    if (work->delivery->telling == TELL_ALL)
        lane_report_undeliverable(lane, work->result->frame, id, reason);
    else
        counter_add(&lane->counters.undeliverable[reason], 1);
}

static void settle(struct work *work, uint64_t hash, struct slice id, enum code code)
{
    if (code == CODE_OK) {
        work->result->taken++;
        note_recipient(work, hash);
        return;
    }
    if (work->result->refusal == CODE_OK)
        work->result->refusal = code;
    enum undeliverable_reason reason = code == CODE_MAILBOX_FULL   ? UNDELIVERABLE_MAILBOX_FULL
                                       : code == CODE_NO_RECIPIENT ? UNDELIVERABLE_NO_RECIPIENT
                                                                   : UNDELIVERABLE_SLOW_AGENT;
    report(work, id, reason);
}

/* Stamps of different lanes differ modulo LANES_MAXIMUM. 0 is nobody's. */
static uint64_t next_stamp(struct lane *lane)
{
    return (lane->stamp += LANES_MAXIMUM) + lane->index;
}

static enum code code_of_mailbox(enum mailbox_result result)
{
    return result == MAILBOX_STORED ? CODE_OK : result == MAILBOX_FULL ? CODE_MAILBOX_FULL : CODE_OVERLOADED;
}

enum given { GIVEN, HAS_IT, NOT_CONNECTED, FULL };
enum give_to { TO_ANYBODY, TO_CONNECTED, TO_FREE };

/* To this agent: connected or not, only if it is connected, only if it is not full either. GIVEN: tried, and the
 * outcome is settled. */
/* To its mailbox or its connection. The shard is locked, and is not any more afterwards. */
static inline enum code hand_over(struct lane *lane, struct agent *agent, struct frame *frame, struct lock *lock)
{
    struct endpoint *endpoint = agent->endpoint;
    enum code code;
    if (!endpoint) {
        code = code_of_mailbox(mailbox_push(lane, agent, frame));
        agent_forget_if_idle(agent);
        lock_release(lock);
    } else if (endpoint->lane == lane) {
        lock_release(lock); /* the endpoint is ours: it cannot go away under us */
        code = lane_deliver(lane, endpoint, frame);
    } else {
        code = inbox_push(lane, endpoint->lane, endpoint, frame, 0) ? CODE_OK : CODE_OVERLOADED;
        lock_release(lock);
    }
    return code;
}

enum code delivery_restore(struct lane *lane, struct slice id, uint64_t owner, struct frame *frame)
{
    uint64_t hash = hash_slice(id);
    struct lock *lock = agent_lock(hash);
    uint64_t holder = agent_owner(hash, id);
    struct agent *agent = agent_find(hash, id);
    /* What nobody held may be had by whoever holds it now; what somebody held, by nobody else. */
    bool foreign = owner && holder != owner && (holder || (agent && agent->endpoint));
    if (!foreign)
        agent = agent_find_or_add(hash, id);
    if (foreign || !agent) {
        lock_release(lock);
        return foreign ? CODE_FORBIDDEN : CODE_OVERLOADED;
    }
    if (owner)
        agent->owner = owner;
    return hand_over(lane, agent, frame, lock);
}

static enum given give(struct work *work, uint64_t hash, struct slice id, enum give_to to)
{
    bool with_mailbox = to == TO_ANYBODY;
    struct lane *lane = work->delivery->lane;
    struct frame *frame = work->result->frame;
    enum code code;
    struct lock *lock = agent_lock(hash);
    struct agent *agent = with_mailbox ? agent_find_or_add(hash, id) : agent_find(hash, id);
    struct endpoint *endpoint = agent ? agent->endpoint : NULL;
    if (!endpoint && !with_mailbox) {
        lock_release(lock);
        return NOT_CONNECTED;
    }
    if (!agent) {
        lock_release(lock);
        settle(work, hash, id, CODE_OVERLOADED);
        return GIVEN;
    }
    /* The broadcast beside this decision reaches every connected agent but the sender. */
    if (agent->last_stamp == work->stamp || (work->everyone && endpoint && agent != work->sender)) {
        lock_release(lock);
        return HAS_IT;
    }
    if (to == TO_FREE && task_agent_is_full(agent, agent->profile)) {
        lock_release(lock);
        return FULL;
    }
    agent->last_stamp = work->stamp;
    bool opens = frame->task && endpoint;
    if (__builtin_expect(opens, 0)) {
        task_open(agent, frame->task);
        agent_retain(agent); /* in case it has to be closed again */
    }
    code = hand_over(lane, agent, frame, lock);
    if (__builtin_expect(opens, 0)) {
        if (code != CODE_OK) {
            lock = agent_lock(hash);
            task_lost(lane, agent, frame);
            lock_release(lock);
        }
        agent_release(agent);
    }
    settle(work, hash, id, code);
    return GIVEN;
}

static void give_to_id(struct work *work, struct slice id)
{
    if (client_id_reserved(id)) { /* nobody would ever fetch it */
        if (work->result->refusal == CODE_OK)
            work->result->reason = SLICE("no agent can have that id: api, bridge and unknown are reserved");
        settle(work, hash_slice(id), id, CODE_NO_RECIPIENT);
        return;
    }
    give(work, hash_slice(id), id, TO_ANYBODY);
}

static void refuse_nobody(struct work *work)
{
    settle(work, 0, slice_from(NULL, 0), CODE_NO_RECIPIENT);
}

/* --- Decisions --- */

static bool only_by_id(const struct selector *selector)
{
    return selector->id.data && !selector->role.data && !selector->label.data && !selector->tool.data &&
           !selector->intent.data;
}

static void give_to_matching(struct work *work, const struct selector *selector)
{
    if (only_by_id(selector)) {
        bool is_sender = work->sender && slice_equal(agent_id(work->sender), selector->id);
        if (is_sender || give(work, hash_slice(selector->id), selector->id, TO_CONNECTED) == NOT_CONNECTED)
            refuse_nobody(work);
        return;
    }
    struct agent *few[32], **agents = few;
    unsigned total, room = sizeof few / sizeof *few, matched = 0;
    unsigned found = directory_match(selector, agents, room, &total);
    if (total > room) {
        struct agent **more = pool_acquire(POOL_ARRAYS, total * sizeof(struct agent *));
        if (more) {
            for (unsigned i = 0; i < found; i++)
                agent_release(agents[i]);
            agents = more;
            room = total;
            found = directory_match(selector, agents, room, &total);
        }
    }
    for (unsigned i = 0; i < found; i++) {
        if (agents[i] != work->sender)
            matched += give(work, agents[i]->hash, agent_id(agents[i]), TO_CONNECTED) != NOT_CONNECTED;
        agent_release(agents[i]);
    }
    if (agents != few)
        pool_release(POOL_ARRAYS, agents, room * sizeof(struct agent *));
    if (matched == 0)
        refuse_nobody(work);
}

static void give_to_any(struct work *work, const struct selector *selector)
{
    /* The chosen one may leave in between: then choose again. */
    for (int tries = 0; tries < 4; tries++) {
        struct agent *chosen = directory_choose(selector, work->sender);
        if (!chosen)
            break;
        enum given given = give(work, chosen->hash, agent_id(chosen), TO_CONNECTED);
        agent_release(chosen);
        if (given != NOT_CONNECTED)
            return;
    }
    refuse_nobody(work);
}

/* Without overtaking those that wait already. */
static void give_to_free(struct work *work, const struct selector *selector)
{
    struct lane *lane = work->delivery->lane;
    uint64_t except = work->sender ? work->sender->hash : 0;
    for (int tries = 0; tries < 4 && !pending_any(); tries++) {
        struct agent *chosen = directory_choose_free(selector, except);
        if (!chosen)
            break;
        enum given given = give(work, chosen->hash, agent_id(chosen), TO_FREE);
        agent_release(chosen);
        if (given == GIVEN || given == HAS_IT)
            return;
    }
    struct pending_request request = {.selector = selector, .frame = work->result->frame, .except = except};
    if (pending_add(lane, &request) == CODE_OK) {
        work->result->taken++;
        return;
    }
    if (work->result->refusal == CODE_OK) {
        work->result->refusal = CODE_OVERLOADED;
        work->result->reason = SLICE("all agents that match are full, and as many envelopes as may wait for one do");
    }
    report(work, slice_from(NULL, 0), UNDELIVERABLE_MAILBOX_FULL);
}

/* Its newest connection, which may be another lane's: for comparing only. */
static struct endpoint *connection_of_sender(const struct work *work)
{
    struct endpoint *sender = work->delivery->sender;
    if (!work->sender || (sender && !atomic_load_explicit(&sender->replaced, memory_order_acquire)))
        return sender;
    struct lock *lock = agent_lock(work->sender->hash);
    sender = work->sender->endpoint;
    lock_release(lock);
    return sender;
}

static void give_to_everyone(struct work *work)
{
    work->result->taken += lane_broadcast(work->delivery->lane, work->result->frame, connection_of_sender(work));
    work->result->accepted = true;
}

static void append_to_history(const struct work *work, struct frame *frame)
{
    history_append(frame, &(struct history_parties){.sender = work->sender ? work->sender->hash : 0,
                                                    .everyone = work->everyone,
                                                    .recipient_count = work->recipient_count,
                                                    .recipients = work->recipients});
}

#define TRACE_TEXT_BYTES (sizeof "{\"traceparent\":\"\"}" + TRACEPARENT_LENGTH)

/* The answer to an envelope that is traced says whose it is; `text` has to stay until its frame is built. */
static bool say_trace(const struct frame_trace *trace, struct envelope *answer, char text[TRACE_TEXT_BYTES])
{
    char error[ERROR_TEXT_BYTES], parent[TRACEPARENT_LENGTH];
    traceparent_write(parent, &trace->context);
    int length = snprintf(text, TRACE_TEXT_BYTES, "{\"traceparent\":\"%.*s\"}", TRACEPARENT_LENGTH, parent);
    return envelope_set_json(answer, FIELD_TRACE, slice_from(text, (size_t)length), error) == CODE_OK;
}

/* The same for its frame; without memory it goes untraced. */
static struct frame_trace *copy_trace(const struct frame_trace *trace)
{
    struct frame_trace *copy = pool_acquire(POOL_ARRAYS, sizeof *copy);
    if (copy)
        *copy = *trace;
    return copy;
}

/* A new envelope from the bridge back to the sender. */
static void reply(struct work *work, const struct decision_item *item)
{
    const struct delivery *delivery = work->delivery;
    struct slice to = work->sender               ? agent_id(work->sender)
                      : delivery->sender_id.data ? delivery->sender_id
                                                 : delivery->answer_to;
    if (!to.data) {
        refuse_nobody(work);
        return;
    }
    static const enum field kept[] = {FIELD_INTENT, FIELD_TASK_ID, FIELD_CHANNEL};
    struct envelope *asked = delivery->envelope, answer;
    struct text_store store = {0};
    char error[ERROR_TEXT_BYTES];
    envelope_clear(&answer, &store);
    bool good = envelope_set_text(&answer, FIELD_FROM, SLICE("bridge"), error) == CODE_OK &&
                envelope_set_text(&answer, FIELD_ROLE, SLICE("bridge"), error) == CODE_OK &&
                envelope_set_text(&answer, FIELD_TO, to, error) == CODE_OK &&
                envelope_set_text(&answer, FIELD_REPLY_TO, envelope_text(asked, FIELD_ID, delivery->defaults), error) ==
                    CODE_OK &&
                envelope_set_json(&answer, FIELD_PAYLOAD, item->payload, error) == CODE_OK;
    for (unsigned i = 0; good && i < sizeof kept / sizeof *kept; i++)
        if (envelope_has(asked, kept[i]))
            good = envelope_set_json(&answer, kept[i], asked->json[kept[i]], error) == CODE_OK;
    char trace[TRACE_TEXT_BYTES];
    if (__builtin_expect(delivery->trace != NULL, 0))
        good = good && say_trace(delivery->trace, &answer, trace);
    struct frame *frame = good ? envelope_build(&answer, delivery->defaults, FRAME_ENVELOPE) : NULL;
    text_store_free(&store);
    if (__builtin_expect(delivery->trace != NULL, 0) && frame)
        frame->trace = copy_trace(delivery->trace);
    if (!frame) {
        settle(work, hash_slice(to), to, CODE_OVERLOADED);
        return;
    }
    struct delivery_result answered = {.frame = frame};
    struct work back = {
        .delivery = delivery, .result = &answered, .stamp = next_stamp(delivery->lane), .recipient_capacity = 1};
    back.recipients = &back.first_recipient;
    give_to_id(&back, to);
    if (answered.taken > 0) {
        append_to_history(&back, frame);
        work->result->taken++;
    } else if (work->result->refusal == CODE_OK) {
        work->result->refusal = answered.refusal;
    }
    delivery->lane->pass_bytes += frame->length;
    frame_release(frame);
}

static void carry_out_item(struct work *work, const struct decision_item *item)
{
    switch (item->kind) {
    case DECISION_DEFAULT: {
        struct slice to = envelope_text(work->delivery->envelope, FIELD_TO, work->delivery->defaults);
        if (to.data)
            give_to_id(work, to);
        break; /* absent: a broadcast, done before */
    }
    case DECISION_TO:
        for (unsigned i = 0; i < item->id_count; i++)
            give_to_id(work, item->ids[i]);
        break;
    case DECISION_ALL:
        give_to_matching(work, &item->selector);
        break;
    case DECISION_ANY:
        if (item->wait)
            give_to_free(work, &item->selector);
        else
            give_to_any(work, &item->selector);
        break;
    case DECISION_REPLY:
        reply(work, item);
        break;
    case DECISION_BROADCAST: /* done before */
    case DECISION_DROP:
        break;
    }
}

static bool is_broadcast(const struct delivery *delivery, const struct decision_item *item)
{
    return item->kind == DECISION_BROADCAST ||
           (item->kind == DECISION_DEFAULT && !envelope_has(delivery->envelope, FIELD_TO));
}

/* What the intent and the taskId mean for the accounts of open tasks. */
static void read_task(struct work *work, const struct envelope *envelope)
{
    work->task_effect = task_effect_of(envelope_sent_text(envelope, FIELD_INTENT));
    if (__builtin_expect(work->task_effect == TASK_NONE, 1))
        return;
    if (envelope_has(envelope, FIELD_TASK_ID))
        work->task = hash_slice(envelope_sent_text(envelope, FIELD_TASK_ID));
    else
        work->task_effect = TASK_NONE;
}

/* Borrowed with its connection, or, without one, with a reference: let_go_of_sender. */
static struct agent *find_sender(const struct delivery *delivery)
{
    if (delivery->sender)
        return delivery->sender->agent;
    if (!delivery->sender_id.data)
        return NULL;
    uint64_t hash = hash_slice(delivery->sender_id);
    struct lock *lock = agent_lock(hash);
    struct agent *agent = agent_find(hash, delivery->sender_id);
    if (agent)
        agent_retain(agent);
    lock_release(lock);
    return agent;
}

static void let_go_of_sender(const struct work *work)
{
    if (!work->delivery->sender)
        agent_release(work->sender);
}

/* The sender says that a task of its own is over. */
static void close_senders_task(const struct work *work)
{
    if (work->task_effect != TASK_CLOSES || !work->sender)
        return;
    task_close(work->sender, work->task);
    pending_offer(work->delivery->lane, work->sender);
}

struct frame *delivery_take(const struct delivery *delivery, struct slice name)
{
    struct work work = {.delivery = delivery, .recipient_count = 1, .first_recipient = hash_slice(name)};
    struct frame *frame = envelope_build(delivery->envelope, delivery->defaults, FRAME_ENVELOPE);
    if (!frame)
        return NULL;
    work.recipients = &work.first_recipient;
    work.sender = find_sender(delivery);
    append_to_history(&work, frame);
    read_task(&work, delivery->envelope);
    close_senders_task(&work);
    let_go_of_sender(&work);
    return frame;
}

static void drop(const struct work *work, const struct decision_item *item)
{
    work->result->dropped = true;
    work->result->tell = item->tell;
    work->result->reason = item->reason;
    counter_add(&work->delivery->lane->counters.dropped_by_script, 1);
    close_senders_task(work);
}

static void send_to(struct work *work, const struct decision *decision)
{
    const struct delivery *delivery = work->delivery;
    struct delivery_result *result = work->result;
    struct lane *lane = delivery->lane;
    int64_t expires_ms = 0;
    if (!delivery->again)
        result->refusal = expiry_of(delivery->envelope, lane->wall_ms, &expires_ms, &result->reason);
    if (__builtin_expect(result->refusal != CODE_OK, 0))
        return;
    work->stamp = next_stamp(lane);
    result->frame = envelope_build(delivery->envelope, delivery->defaults, FRAME_ENVELOPE);
    if (!result->frame) {
        result->refusal = CODE_OVERLOADED;
        return;
    }
    lane->pass_bytes += result->frame->length;

    for (unsigned i = 0; i < decision->count; i++) {
        const struct decision_item *item = &decision->items[i];
        work->everyone = work->everyone || is_broadcast(delivery, item);
        if (item->expires_ms && (!expires_ms || lane->wall_ms + item->expires_ms < expires_ms))
            expires_ms = lane->wall_ms + item->expires_ms;
    }
    result->frame->expires_ms = expires_ms;
    result->frame->accepted_ms = lane->wall_ms;
    result->frame->dead_letter = delivery->dead_letter;
    result->frame->share = delivery->share;
    if (__builtin_expect(work->task_effect == TASK_OPENS, 0) && !work->everyone) /* what goes to all is nobody's task */
        result->frame->task = work->task;
    if (__builtin_expect(delivery->trace != NULL, 0))
        result->frame->trace = delivery->trace;
    if (__builtin_expect(levels_ordered, 0))
        result->frame->level = level_of(envelope_sent_text(delivery->envelope, FIELD_PRIORITY)) & 3;
    if (work->everyone)
        give_to_everyone(work);
    for (unsigned i = 0; i < decision->count; i++)
        carry_out_item(work, &decision->items[i]);

    result->accepted = result->accepted || result->taken > 0;
    if (result->accepted) {
        if (!delivery->dead_letter)
            append_to_history(work, result->frame);
        close_senders_task(work);
    }
    if (work->recipients != &work->first_recipient)
        pool_release(POOL_ARRAYS, work->recipients, work->recipient_capacity * sizeof *work->recipients);
}

void delivery_carry_out(const struct delivery *delivery, const struct decision *decision,
                        struct delivery_result *result)
{
    *result = (struct delivery_result){0};
    struct work work = {
        .delivery = delivery, .result = result, .sender = find_sender(delivery), .recipient_capacity = 1};
    struct lane *lane = delivery->lane;
    bool told = lane->report_undeliverable;
    lane->report_undeliverable = told && delivery->telling != TELL_NOTHING;
    work.recipients = &work.first_recipient;
    read_task(&work, delivery->envelope);
    if (decision->count == 1 && decision->items[0].kind == DECISION_DROP)
        drop(&work, &decision->items[0]);
    else
        send_to(&work, decision);
    if (__builtin_expect(delivery->trace != NULL, 0) && !(result->frame && result->frame->trace))
        pool_release(POOL_ARRAYS, delivery->trace, sizeof *delivery->trace);
    let_go_of_sender(&work);
    lane->report_undeliverable = told;
}
