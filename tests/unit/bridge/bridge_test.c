/* The bridge without sockets: lanes are driven by hand on one thread, and what their outboxes give up counts as
 * delivered. */
#include "../../support/unit.h"

#include <stdint.h>

#include "bridge/delivery/delivery.h"
#include "bridge/delivery/preview.h"
#include "bridge/queue/mailbox.h"
#include "bridge/queue/pending.h"
#include "bridge/registry/agent.h"
#include "bridge/registry/attachment.h"
#include "bridge/registry/registry.h"
#include "bridge/state/history.h"

static void wake_nobody(struct lane *lane)
{
    (void)lane;
}

static const struct mailbox_limits wide = {
    .envelopes = 1000000, .mailboxes = 1000000, .bytes = 1u << 30, .total_bytes = 1u << 30, .ttl_ms = 1000};

static void start(unsigned lanes, const struct mailbox_limits *limits, uint64_t send_queue_bytes,
                  enum slow_agent_rule rule)
{
    mailbox_start(limits);
    pending_start(&(struct pending_limits){.envelopes = 100, .ttl_ms = 1000});
    CHECK(history_start(100, 1u << 20));
    CHECK(lanes_start(&(struct lane_options){
        .count = lanes, .send_queue_bytes = send_queue_bytes, .slow_agent = rule, .wake = wake_nobody}));
    for (unsigned i = 0; i < lanes; i++) {
        lanes_get(i)->wall_ms = 1000;
        memset(lanes_get(i)->timestamp, '0', CLOCK_ISO_LENGTH);
    }
}

static void drain_all(void)
{
    for (int turn = 0; turn < 4; turn++)
        for (unsigned i = 0; i < lanes_count(); i++)
            while (lane_drain(lanes_get(i)))
                continue;
}

static void stop(void)
{
    drain_all();
    pending_stop();
    registry_stop();
    history_stop();
    lanes_stop();
}

static struct endpoint *join_as(unsigned lane, const char *id, const char *role, const char *labels, unsigned tasks,
                                bool live)
{
    struct endpoint *endpoint = calloc(1, sizeof *endpoint);
    endpoint->lane = lanes_get(lane);
    struct profile *profile = profile_new(&(struct profile_source){.id = slice_from_string(id),
                                                                   .role = slice_from_string(role),
                                                                   .labels = slice_from_string(labels),
                                                                   .max_concurrent_tasks = tasks});
    CHECK(profile && attachment_attach(endpoint, profile) == CODE_OK);
    endpoint->grace_over = live;
    attachment_go_live(endpoint);
    return endpoint;
}

static struct endpoint *join(unsigned lane, const char *id)
{
    return join_as(lane, id, "agent", "[]", 1, true);
}

static void leave(struct endpoint *endpoint)
{
    attachment_detach(endpoint);
    drain_all();
    CHECK(endpoint->state == ENDPOINT_DETACHED);
    free(endpoint);
}

static const char *send_priority; /* of what is sent; NULL: none is said */

/* One envelope with a number as payload, by this decision; gives the result without its frame. */
static struct delivery_result send_by(struct lane *lane, struct endpoint *sender, const struct decision *decision,
                                      const char *to, const char *intent, const char *task, unsigned number)
{
    struct envelope envelope;
    struct text_store store = {0};
    char error[ERROR_TEXT_BYTES], payload[16];
    int length = snprintf(payload, sizeof payload, "%u", number);
    struct envelope_defaults defaults = {.timestamp = lane->timestamp};
    envelope_clear(&envelope, &store);
    if (to)
        CHECK(envelope_set_text(&envelope, FIELD_TO, slice_from_string(to), error) == CODE_OK);
    if (intent)
        CHECK(envelope_set_text(&envelope, FIELD_INTENT, slice_from_string(intent), error) == CODE_OK);
    if (send_priority)
        CHECK(envelope_set_text(&envelope, FIELD_PRIORITY, slice_from_string(send_priority), error) == CODE_OK);
    if (task)
        CHECK(envelope_set_text(&envelope, FIELD_TASK_ID, slice_from_string(task), error) == CODE_OK);
    CHECK(envelope_set_json(&envelope, FIELD_PAYLOAD, slice_from(payload, (size_t)length), error) == CODE_OK);
    struct delivery delivery = {.lane = lane, .envelope = &envelope, .defaults = &defaults, .sender = sender};
    struct delivery_result result;
    delivery_carry_out(&delivery, decision, &result);
    frame_release(result.frame);
    result.frame = NULL;
    text_store_free(&store);
    return result;
}

static const struct decision by_default = {.count = 1, .items = {{.kind = DECISION_DEFAULT}}};

static struct delivery_result send_to(struct lane *lane, const char *to, unsigned number)
{
    return send_by(lane, NULL, &by_default, to, NULL, NULL, number);
}

/* The payload of the next frame that this endpoint would write; -1 when there is none. */
static long take(struct endpoint *endpoint)
{
    struct frame *frame = frame_queue_pop_front(&endpoint->outbox.queue);
    if (!frame)
        return -1;
    struct slice text = frame_envelope(frame);
    const char *payload = memmem(text.data, text.length, "\"payload\":", 10);
    long number = strtol(payload + 10, NULL, 10);
    frame_release(frame);
    return number;
}

TEST("an absent agent's envelopes wait in its mailbox and come in order")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    for (unsigned i = 0; i < 20; i++)
        CHECK(send_to(lanes_get(0), "bob", i).accepted);
    CHECK(registry_queued_count() == 20);
    struct endpoint *bob = join(0, "bob");
    for (unsigned i = 0; i < 20; i++)
        CHECK(take(bob) == (long)i);
    CHECK(take(bob) == -1 && registry_queued_count() == 0);
    leave(bob);
    stop();
}

TEST("what was not handed over returns to the head of the mailbox when the connection ends")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *bob = join(0, "bob");
    for (unsigned i = 0; i < 5; i++)
        send_to(lanes_get(0), "bob", i);
    CHECK(take(bob) == 0);
    attachment_detach(bob);
    send_to(lanes_get(0), "bob", 5); /* arrives while the rest is still on its way home */
    drain_all();
    struct endpoint *again = join(0, "bob");
    for (unsigned i = 1; i <= 5; i++)
        CHECK(take(again) == (long)i);
    leave(again);
    CHECK(bob->state == ENDPOINT_DETACHED);
    free(bob);
    stop();
}

TEST("what waits for an agent that says goodbye is taken home at once, before what comes after")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *bob = join(0, "bob");
    send_to(lanes_get(0), "bob", 0);
    send_to(lanes_get(0), "bob", 1);
    attachment_detach(bob);
    attachment_withdraw(bob);
    CHECK(bob->outbox.queue.count == 0);
    send_to(lanes_get(0), "bob", 2);
    drain_all();
    struct endpoint *again = join(0, "bob");
    CHECK(take(again) == 0 && take(again) == 1 && take(again) == 2 && take(again) == -1);
    leave(again);
    free(bob);
    stop();
}

TEST("the newest connection of an id wins and gets what the old one had not sent")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *old = join(0, "bob");
    for (unsigned i = 0; i < 3; i++)
        send_to(lanes_get(1), "bob", i); /* through lane 0's inbox */
    struct endpoint *fresh = join(1, "bob");
    CHECK(fresh->state == ENDPOINT_HOLDING); /* lane 0 still has the first three */
    send_to(lanes_get(1), "bob", 3);
    drain_all();
    CHECK(old->close_status == 4001 && old->state == ENDPOINT_DETACHED);
    CHECK(fresh->state == ENDPOINT_LIVE);
    for (unsigned i = 0; i < 4; i++)
        CHECK(take(fresh) == (long)i);
    struct agent_view view;
    CHECK(registry_find(SLICE("bob"), &view));
    agent_view_release(&view);
    leave(fresh);
    free(old);
    CHECK(!registry_find(SLICE("bob"), &view));
    stop();
}

TEST("before its grace period is over an agent gets nothing")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *bob = join_as(0, "bob", "agent", "[]", 1, false);
    send_to(lanes_get(0), "bob", 1);
    CHECK(bob->outbox.queue.count == 0);
    bob->grace_over = true;
    attachment_go_live(bob);
    CHECK(take(bob) == 1);
    leave(bob);
    stop();
}

TEST("a full mailbox drops its oldest and counts them")
{
    struct mailbox_limits limits = wide;
    limits.envelopes = 3;
    start(1, &limits, 1u << 20, SLOW_AGENT_QUEUE);
    lanes_get(0)->report_undeliverable = true;
    for (unsigned i = 0; i < 5; i++)
        CHECK(send_to(lanes_get(0), "bob", i).accepted);
    CHECK(atomic_load(&lanes_get(0)->counters.undeliverable[UNDELIVERABLE_EVICTED]) == 2);
    struct undeliverable *told = lane_take_undeliverable(lanes_get(0));
    CHECK(told && told->reason == UNDELIVERABLE_EVICTED);
    CHECK_TEXT(told->recipient, told->recipient_length, "bob");
    undeliverable_free(told);
    struct endpoint *bob = join(0, "bob");
    for (unsigned i = 2; i < 5; i++)
        CHECK(take(bob) == (long)i);
    leave(bob);
    stop();
}

TEST("past the number of mailboxes a further absent agent is refused with mailbox_full")
{
    struct mailbox_limits limits = wide;
    limits.mailboxes = 2;
    start(1, &limits, 1u << 20, SLOW_AGENT_QUEUE);
    CHECK(send_to(lanes_get(0), "a", 1).accepted && send_to(lanes_get(0), "b", 1).accepted);
    struct delivery_result third = send_to(lanes_get(0), "c", 1);
    CHECK(!third.accepted && third.refusal == CODE_MAILBOX_FULL);
    CHECK(send_to(lanes_get(0), "a", 2).accepted);
    leave(join(0, "a")); /* its envelopes return: the mailbox is counted again */
    CHECK(send_to(lanes_get(0), "c", 1).refusal == CODE_MAILBOX_FULL);
    struct endpoint *b = join(0, "b");
    CHECK(send_to(lanes_get(0), "c", 1).accepted);
    leave(b);
    stop();
}

TEST("past the bytes of all mailboxes nothing more is stored")
{
    struct mailbox_limits limits = wide;
    limits.total_bytes = 1000;
    start(1, &limits, 1u << 20, SLOW_AGENT_QUEUE);
    unsigned stored = 0;
    while (stored < 100 && send_to(lanes_get(0), "a", stored).accepted)
        stored++;
    CHECK(stored > 0 && stored < 100 && mailbox_bytes_in_all() <= 1000);
    stop();
    CHECK(mailbox_bytes_in_all() == 0);
}

TEST("a mailbox that nobody fills for its time to live is given up")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    send_to(lanes_get(0), "a", 1);
    registry_expire_mailboxes(lanes_get(0), 1999);
    CHECK(registry_queued_count() == 1);
    registry_expire_mailboxes(lanes_get(0), 2000);
    CHECK(registry_queued_count() == 0);
    CHECK(atomic_load(&lanes_get(0)->counters.undeliverable[UNDELIVERABLE_EXPIRED]) == 1);
    stop();
}

TEST("a slow agent's surplus waits in its mailbox and follows in order")
{
    start(1, &wide, 1000, SLOW_AGENT_QUEUE);
    struct endpoint *bob = join(0, "bob");
    bob->blocked = true;
    for (unsigned i = 0; i < 20; i++)
        CHECK(send_to(lanes_get(0), "bob", i).accepted);
    CHECK(bob->outbox.queue.bytes <= 1000 && registry_queued_count() > 0);
    for (unsigned i = 0; i < 20; i++) {
        if (bob->outbox.queue.count == 0)
            attachment_go_live(bob);
        CHECK(take(bob) == (long)i);
    }
    leave(bob);
    stop();
}

TEST("with the rule drop a slow agent loses its oldest waiting envelopes")
{
    start(1, &wide, 1000, SLOW_AGENT_DROP);
    struct endpoint *bob = join(0, "bob");
    bob->blocked = true;
    for (unsigned i = 0; i < 20; i++)
        send_to(lanes_get(0), "bob", i);
    uint32_t kept = bob->outbox.queue.count;
    CHECK(kept > 0 && kept < 20);
    CHECK(atomic_load(&lanes_get(0)->counters.undeliverable[UNDELIVERABLE_SLOW_AGENT]) == 20 - kept);
    CHECK(take(bob) == (long)(20 - kept));
    leave(bob);
    stop();
}

TEST("with the rule close a slow agent is to be closed with 1013 and loses nothing")
{
    start(1, &wide, 1000, SLOW_AGENT_CLOSE);
    struct endpoint *bob = join(0, "bob");
    bob->blocked = true;
    for (unsigned i = 0; i < 20; i++)
        send_to(lanes_get(0), "bob", i);
    CHECK(bob->close_status == 1013);
    leave(bob);
    CHECK(registry_queued_count() == 20);
    stop();
}

TEST("a broadcast reaches every connected agent of every lane but the sender")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *a = join(0, "a"), *b = join(0, "b"), *c = join(1, "c");
    CHECK(send_by(lanes_get(0), a, &by_default, NULL, NULL, NULL, 7).taken == 2);
    drain_all();
    CHECK(take(a) == -1 && take(b) == 7 && take(c) == 7);
    leave(a), leave(b), leave(c);
    CHECK(send_by(lanes_get(0), NULL, &by_default, NULL, NULL, NULL, 8).accepted); /* nobody there: fine */
    stop();
}

static struct decision one(enum decision_kind kind, struct selector selector)
{
    return (struct decision){.count = 1, .items = {{.kind = kind, .selector = selector}}};
}

TEST("an agent that reads gets everything, however much arrives before it is written to")
{
    start(1, &wide, 1000, SLOW_AGENT_DROP);
    struct endpoint *bob = join(0, "bob");
    for (unsigned i = 0; i < 200; i++)
        send_to(lanes_get(0), "bob", i);
    for (unsigned i = 0; i < 200; i++)
        CHECK(take(bob) == (long)i);
    leave(bob);
    stop();
}

TEST("a takeover neither repeats nor loses a broadcast that is on its way between lanes")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *sender = join(1, "sender"), *old = join(0, "bob");
    send_by(lanes_get(1), sender, &by_default, NULL, NULL, NULL, 1); /* the old connection's */
    struct endpoint *fresh = join(1, "bob");
    send_by(lanes_get(1), sender, &by_default, NULL, NULL, NULL, 2); /* the new one's */
    drain_all();
    send_by(lanes_get(1), sender, &by_default, NULL, NULL, NULL, 3);
    drain_all();
    CHECK(old->state == ENDPOINT_DETACHED && old->outbox.queue.count == 0);
    CHECK(take(fresh) == 1 && take(fresh) == 2 && take(fresh) == 3 && take(fresh) == -1);
    leave(fresh), leave(sender);
    free(old);
    stop();
}

TEST("an agent that takes over does not hear its own broadcast on the connection it replaced")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *old = join(0, "bob"), *fresh = join(1, "bob");
    send_by(lanes_get(1), fresh, &by_default, NULL, NULL, NULL, 1);
    drain_all();
    CHECK(take(fresh) == -1 && registry_queued_count() == 0);
    leave(fresh);
    free(old);
    stop();
}

TEST("nor on the connection that it took over with, whichever lane that is of")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *old = join(0, "bob"), *fresh = join(1, "bob"), *other = join(1, "carol");
    CHECK(send_by(lanes_get(0), old, &by_default, NULL, NULL, NULL, 1).accepted);
    drain_all();
    CHECK(take(fresh) == -1 && take(other) == 1 && registry_queued_count() == 0);
    leave(fresh), leave(other);
    free(old);
    stop();
}

TEST("an open task counts only once its envelope was taken, and closes only with an accepted answer")
{
    struct mailbox_limits none = wide;
    none.total_bytes = 1;
    start(1, &none, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *held = join_as(0, "worker", "agent", "[]", 1, false);
    CHECK(send_by(lanes_get(0), NULL, &by_default, "worker", "task.assign", "t1", 1).refusal == CODE_MAILBOX_FULL);
    CHECK(atomic_load(&held->agent->open_tasks) == 0);
    held->grace_over = true;
    attachment_go_live(held);
    CHECK(send_by(lanes_get(0), NULL, &by_default, "worker", "task.assign", "t1", 1).accepted);
    CHECK(!send_by(lanes_get(0), held, &by_default, "absent", "task.complete", "t1", 1).accepted);
    CHECK(atomic_load(&held->agent->open_tasks) == 1);
    CHECK(send_by(lanes_get(0), held, &by_default, "worker", "task.complete", "t1", 1).accepted);
    CHECK(atomic_load(&held->agent->open_tasks) == 0);
    leave(held);
    stop();
}

static struct delivery_result assign(unsigned lane, const char *to, const char *task, unsigned number)
{
    return send_by(lanes_get(lane), NULL, &by_default, to, "task.assign", task, number);
}

TEST("a task whose envelope a limit takes from its agent is open no more")
{
    struct mailbox_limits narrow = wide;
    narrow.envelopes = 2;
    start(2, &narrow, 4096, SLOW_AGENT_DROP);
    struct endpoint *worker = join_as(0, "worker", "w", "[]", 9, false);
    struct agent *agent = worker->agent;
    CHECK(assign(0, "worker", "t1", 1).accepted && assign(1, "worker", "t2", 2).accepted);
    drain_all();
    CHECK(atomic_load(&agent->open_tasks) == 2 && !lanes_get(0)->room);
    assign(0, "worker", "t3", 3); /* evicts t1's */
    CHECK(atomic_load(&agent->open_tasks) == 2 && lanes_get(0)->room);
    /* What was given twice is open until both are lost, or its agent says that it is over. */
    assign(0, "worker", "t3", 4), assign(0, "worker", "t4", 5);
    CHECK(atomic_load(&agent->open_tasks) == 2);
    assign(0, "worker", "t4", 6);
    CHECK(atomic_load(&agent->open_tasks) == 1);
    send_by(lanes_get(0), worker, &by_default, "nobody", "task.complete", "t4", 7);
    CHECK(atomic_load(&agent->open_tasks) == 0);

    struct slice id = SLICE("worker");
    struct decision soon = {.count = 1, .items = {{.kind = DECISION_TO, .ids = &id, .id_count = 1, .expires_ms = 10}}};
    CHECK(send_by(lanes_get(0), NULL, &soon, NULL, "task.assign", "t5", 8).accepted);
    CHECK(atomic_load(&agent->open_tasks) == 1);
    lanes_get(0)->wall_ms = lanes_get(1)->wall_ms = 2000;
    registry_expire_mailboxes(lanes_get(0), 2000), registry_expire_mailboxes(lanes_get(1), 2000);
    CHECK(atomic_load(&agent->open_tasks) == 0);

    worker->grace_over = true;
    attachment_go_live(worker);
    worker->blocked = true;
    for (unsigned i = 0; i < 100; i++) {
        char task[8];
        snprintf(task, sizeof task, "s%u", i);
        CHECK(assign(i % 2, "worker", task, i).accepted);
    }
    drain_all();
    unsigned left = 0;
    while (take(worker) != -1)
        left++;
    CHECK(left > 0 && left < 100);
    CHECK(atomic_load(&agent->open_tasks) == left);
    leave(worker);
    stop();
}

TEST("a task is open no more when its envelope crossed lanes and found no room")
{
    struct mailbox_limits none = wide;
    none.total_bytes = 1;
    start(2, &none, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *worker = join_as(0, "worker", "w", "[]", 9, false);
    CHECK(assign(1, "worker", "t1", 1).accepted);
    CHECK(atomic_load(&worker->agent->open_tasks) == 1);
    drain_all();
    CHECK(atomic_load(&worker->agent->open_tasks) == 0);
    leave(worker);
    stop();
}

TEST("a second envelope of an open task that is refused leaves it open")
{
    struct mailbox_limits narrow = wide;
    start(1, &narrow, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *worker = join_as(0, "worker", "w", "[]", 9, false);
    CHECK(assign(0, "worker", "t1", 1).accepted);
    narrow.bytes = 1;
    mailbox_start(&narrow);
    CHECK(assign(0, "worker", "t2", 2).refusal == CODE_MAILBOX_FULL);
    CHECK(assign(0, "worker", "t1", 3).refusal == CODE_MAILBOX_FULL);
    CHECK(atomic_load(&worker->agent->open_tasks) == 1);
    leave(worker);
    stop();
}

TEST("bridge.all finds every agent with role and label, not the sender")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *a = join_as(0, "a", "coder", "[\"lua\",\"c\"]", 1, true);
    struct endpoint *b = join_as(1, "b", "coder", "[\"lua\"]", 1, true);
    struct endpoint *c = join_as(0, "c", "coder", "[\"go\"]", 1, true);
    struct endpoint *d = join_as(0, "d", "tester", "[\"lua\"]", 1, true);
    struct decision coders = one(DECISION_ALL, (struct selector){.role = SLICE("coder"), .label = SLICE("lua")});
    CHECK(send_by(lanes_get(0), a, &coders, NULL, NULL, NULL, 1).taken == 1);
    drain_all();
    CHECK(take(a) == -1 && take(b) == 1 && take(c) == -1 && take(d) == -1);
    struct decision nobody = one(DECISION_ALL, (struct selector){.role = SLICE("pilot")});
    CHECK(send_by(lanes_get(0), a, &nobody, NULL, NULL, NULL, 1).refusal == CODE_NO_RECIPIENT);
    struct decision by_id = one(DECISION_ALL, (struct selector){.id = SLICE("c")});
    CHECK(send_by(lanes_get(0), a, &by_id, NULL, NULL, NULL, 2).taken == 1 && take(c) == 2);
    leave(a), leave(b), leave(c), leave(d);
    CHECK(send_by(lanes_get(0), NULL, &coders, NULL, NULL, NULL, 1).refusal == CODE_NO_RECIPIENT);
    stop();
}

TEST("bridge.any takes the least busy agent relative to what it may do at once, then the least recently chosen")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *small = join_as(0, "small", "w", "[]", 1, true), *big = join_as(0, "big", "w", "[]", 2, true);
    struct decision any = one(DECISION_ANY, (struct selector){.role = SLICE("w")});
    char task[8];
    unsigned got_small = 0, got_big = 0;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(task, sizeof task, "t%u", i);
        CHECK(send_by(lanes_get(0), NULL, &any, NULL, "task.assign", task, i).taken == 1);
    }
    while (take(small) >= 0)
        got_small++;
    while (take(big) >= 0)
        got_big++;
    CHECK(got_small == 1 && got_big == 2);
    /* big finishes one: it is less busy now. */
    for (unsigned i = 0; i < 3; i++) {
        snprintf(task, sizeof task, "t%u", i);
        send_by(lanes_get(0), big, &by_default, "nobody", "task.complete", task, 9);
    }
    CHECK(send_by(lanes_get(0), NULL, &any, NULL, "task.assign", "t9", 9).taken == 1 && take(big) == 9);
    leave(small), leave(big);
    stop();
}

TEST("what waits for a free agent goes to whoever has room, oldest first, and never to one that is full")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *worker[2] = {join_as(0, "a", "w", "[]", 2, true), join_as(1, "b", "w", "[]", 1, true)};
    struct decision any = one(DECISION_ANY, (struct selector){.role = SLICE("w")});
    any.items[0].wait = true;
    char task[8];
    long got[2] = {-1, -1};
    for (unsigned i = 0; i < 9; i++) {
        snprintf(task, sizeof task, "t%u", i);
        CHECK(send_by(lanes_get(0), NULL, &any, NULL, "task.assign", task, i).accepted);
    }
    drain_all();
    CHECK(take(worker[0]) == 0 && take(worker[0]) == 2 && take(worker[1]) == 1 && take(worker[1]) == -1);
    struct pending_figures figures;
    pending_read(&figures);
    CHECK(figures.waiting == 6 && registry_queued_count() == 6);
    /* Each report makes room for the oldest that waits, on whichever lane. */
    for (unsigned i = 0; i < 2; i++) {
        snprintf(task, sizeof task, "t%u", i);
        send_by(lanes_get(i), worker[i], &by_default, "nobody", "task.complete", task, 9);
        drain_all();
        got[i] = take(worker[i]);
    }
    CHECK(got[0] == 3 && got[1] == 4);
    /* A report of what is not open makes none. */
    send_by(lanes_get(0), worker[0], &by_default, "nobody", "task.complete", "t1", 9);
    CHECK(take(worker[0]) == -1);
    lanes_get(1)->wall_ms = 2000;
    pending_tend(lanes_get(1));
    pending_read(&figures);
    CHECK(figures.waiting == 0 && figures.expired == 4);
    leave(worker[0]), leave(worker[1]);
    stop();
}

TEST("what expires in a mailbox is not given out, whether the agent comes before it is looked for or after")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct lane *lane = lanes_get(0);
    struct slice ids[] = {SLICE("a"), SLICE("b"), SLICE("c")};
    struct decision to = {.count = 1, .items = {{.kind = DECISION_TO, .ids = ids, .id_count = 3}}};
    for (unsigned i = 0; i < 40; i++) {
        to.items[0].expires_ms = i % 3 == 0 ? 10 : i % 3 == 1 ? 500 : 0;
        to.items[0].id_count = i == 3 ? 3 : 2;
        CHECK(send_by(lane, NULL, &to, NULL, NULL, NULL, i).taken >= 2);
    }
    CHECK(registry_queued_count() == 81);
    lane->wall_ms = 1010;
    registry_expire_mailboxes(lane, 1010);
    CHECK(registry_queued_count() == 52); /* c's only one is gone, and c with it */
    lane->wall_ms = 1500;
    struct endpoint *a = join(0, "a");
    for (unsigned i = 2; i < 40; i += 3)
        CHECK(take(a) == (long)i);
    CHECK(take(a) == -1 && registry_queued_count() == 26);
    CHECK(atomic_load(&lane->counters.undeliverable[UNDELIVERABLE_EXPIRED]) == 29 + 13);
    /* What comes home expires like the rest. */
    to.items[0].expires_ms = 100;
    to.items[0].id_count = 1;
    CHECK(send_by(lane, NULL, &to, NULL, NULL, NULL, 50).taken == 1);
    leave(a);
    lane->wall_ms = 1600;
    registry_expire_mailboxes(lane, 1600);
    CHECK(registry_queued_count() == 13);
    stop();
}

TEST("what has expired goes first where a mailbox is full")
{
    struct mailbox_limits narrow = wide;
    narrow.envelopes = 2;
    start(1, &narrow, 1u << 20, SLOW_AGENT_QUEUE);
    struct lane *lane = lanes_get(0);
    struct slice bob = SLICE("bob");
    struct decision to = {.count = 1, .items = {{.kind = DECISION_TO, .ids = &bob, .id_count = 1}}};
    CHECK(send_by(lane, NULL, &to, NULL, NULL, NULL, 0).accepted);
    to.items[0].expires_ms = 10;
    CHECK(send_by(lane, NULL, &to, NULL, NULL, NULL, 1).accepted);
    lane->wall_ms = 1010;
    to.items[0].expires_ms = 0;
    CHECK(send_by(lane, NULL, &to, NULL, NULL, NULL, 2).accepted);
    CHECK(atomic_load(&lane->counters.undeliverable[UNDELIVERABLE_EXPIRED]) == 1);
    CHECK(atomic_load(&lane->counters.undeliverable[UNDELIVERABLE_EVICTED]) == 0);
    struct endpoint *endpoint = join(0, "bob");
    CHECK(take(endpoint) == 0 && take(endpoint) == 2 && take(endpoint) == -1);
    leave(endpoint);
    stop();
}

TEST("a list of decisions reaches each recipient once")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *a = join_as(0, "a", "r", "[]", 1, true), *b = join_as(1, "b", "r", "[]", 1, true);
    struct slice ids[] = {SLICE("a"), SLICE("a"), SLICE("b"), SLICE("gone")};
    struct decision list = {.count = 3,
                            .items = {{.kind = DECISION_TO, .ids = ids, .id_count = 4},
                                      {.kind = DECISION_ALL, .selector = {.role = SLICE("r")}},
                                      {.kind = DECISION_BROADCAST}}};
    CHECK(send_by(lanes_get(0), NULL, &list, NULL, NULL, NULL, 5).accepted);
    drain_all();
    CHECK(take(a) == 5 && take(a) == -1 && take(b) == 5 && take(b) == -1);
    CHECK(registry_queued_count() == 1);
    leave(a), leave(b);
    stop();
}

static char previewed[256];

static void note(void *context, struct slice id, bool connected)
{
    (void)context;
    size_t length = strlen(previewed);
    snprintf(previewed + length, sizeof previewed - length, "%s%.*s%s", length > 0 ? " " : "", (int)id.length, id.data,
             connected ? "" : "?");
}

static struct preview look(const struct decision *decision, const char *to, const char *sender)
{
    struct preview preview = {.decision = decision, .found = note};
    preview.to = to ? slice_from_string(to) : slice_from(NULL, 0);
    preview.sender = sender ? slice_from_string(sender) : slice_from(NULL, 0);
    previewed[0] = '\0';
    preview_recipients(&preview);
    return preview;
}

TEST("a preview names those who would get it, and gives nobody anything")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *ann = join_as(0, "ann", "worker", "[]", 1, true),
                    *ben = join_as(0, "ben", "worker", "[]", 1, true);
    const struct selector workers = {.role = SLICE("worker")}, nobody = {.role = SLICE("boss")};
    struct slice ids[] = {SLICE("ann"), SLICE("away")};
    const struct decision to = {.count = 1, .items = {{.kind = DECISION_TO, .ids = ids, .id_count = 2}}},
                          all = {.count = 1, .items = {{.kind = DECISION_ALL, .selector = workers}}},
                          any = {.count = 1, .items = {{.kind = DECISION_ANY, .selector = workers}}},
                          none = {.count = 1, .items = {{.kind = DECISION_ANY, .selector = nobody}}},
                          later = {.count = 1, .items = {{.kind = DECISION_ANY, .selector = nobody, .wait = true}}},
                          reply = {.count = 1, .items = {{.kind = DECISION_REPLY, .payload = SLICE("1")}}},
                          drop = {.count = 1, .items = {{.kind = DECISION_DROP, .reason = SLICE("no")}}};

    CHECK(!look(&to, NULL, NULL).refused);
    CHECK_TEXT(previewed, strlen(previewed), "ann away?");
    look(&by_default, "away", "ann");
    CHECK_TEXT(previewed, strlen(previewed), "away?");
    look(&by_default, NULL, "ann");
    CHECK_TEXT(previewed, strlen(previewed), "ben");
    look(&all, NULL, "ben");
    CHECK_TEXT(previewed, strlen(previewed), "ann");
    look(&reply, NULL, "ben");
    CHECK_TEXT(previewed, strlen(previewed), "ben");
    CHECK(look(&reply, NULL, NULL).refused);
    CHECK(look(&none, NULL, NULL).refused);
    struct preview waiting = look(&later, NULL, NULL);
    CHECK(waiting.waits && !waiting.refused);
    CHECK(!look(&drop, NULL, NULL).refused && previewed[0] == '\0');

    /* Looking chooses nobody: whoever is next stays next. */
    look(&any, NULL, NULL);
    char first[sizeof previewed];
    snprintf(first, sizeof first, "%s", previewed);
    look(&any, NULL, NULL);
    CHECK_TEXT(previewed, strlen(previewed), first);
    CHECK(send_by(lanes_get(0), NULL, &any, NULL, NULL, NULL, 1).accepted);
    CHECK(take(strcmp(first, "ann") == 0 ? ann : ben) == 1);
    CHECK(take(ann) == -1 && take(ben) == -1 && registry_queued_count() == 0);
    leave(ann);
    leave(ben);
    stop();
}

TEST("a reply goes back to the sender as an envelope from the bridge")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct endpoint *a = join(0, "a");
    struct decision reply = {.count = 1, .items = {{.kind = DECISION_REPLY, .payload = SLICE("{\"ok\":true}")}}};
    CHECK(send_by(lanes_get(0), a, &reply, NULL, "ask", "t1", 5).accepted);
    struct slice text = frame_envelope(frame_queue_at(&a->outbox.queue, 0));
    CHECK(memmem(text.data, text.length, "\"from\":\"bridge\",\"role\":\"bridge\",\"to\":\"a\"", 39));
    CHECK(memmem(text.data, text.length, "\"intent\":\"ask\",\"taskId\":\"t1\"", 28));
    CHECK(memmem(text.data, text.length, "\"payload\":{\"ok\":true}", 21));
    leave(a);
    CHECK(send_by(lanes_get(0), NULL, &reply, NULL, NULL, NULL, 5).refusal == CODE_NO_RECIPIENT);
    stop();
}

TEST("the history keeps the newest by count and shows an agent only what concerns it")
{
    start(1, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    struct frame *seen[200];
    struct endpoint *a = join(0, "a");
    for (unsigned i = 0; i < 150; i++)
        send_to(lanes_get(0), i % 2 ? "a" : "b", i);
    CHECK(history_count() == 100);
    unsigned all = history_newest(seen, 200, 0);
    CHECK(all == 100);
    CHECK(memmem(seen[99]->data, seen[99]->length, "\"payload\":149", 13));
    for (unsigned i = 0; i < all; i++)
        frame_release(seen[i]);
    unsigned mine = history_newest(seen, 10, a->agent->hash);
    CHECK(mine == 10 && memmem(seen[8]->data, seen[8]->length, "\"payload\":147", 13));
    for (unsigned i = 0; i < mine; i++)
        frame_release(seen[i]);
    leave(a);
    stop();
}

TEST("every connected agent is listed once, however many calls it takes")
{
    start(2, &wide, 1u << 20, SLOW_AGENT_QUEUE);
    enum { MANY = 3000 };
    static struct endpoint *endpoints[MANY];
    static bool listed[MANY];
    char id[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(id, sizeof id, "agent-%u", i);
        endpoints[i] = join(i % 2, id);
    }
    CHECK(registry_connected_count() == MANY);
    struct agent_view views[64];
    uint64_t cursor = 0;
    unsigned count, total = 0;
    while ((count = registry_list(&cursor, views, 64)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            unsigned number = (unsigned)strtoul(views[i].profile->id.data + 6, NULL, 10);
            CHECK(!listed[number]);
            listed[number] = true;
            total++;
            agent_view_release(&views[i]);
        }
    }
    CHECK(total == MANY);
    for (unsigned i = 0; i < MANY; i++)
        attachment_detach(endpoints[i]);
    drain_all();
    for (unsigned i = 0; i < MANY; i++)
        free(endpoints[i]);
    stop();
}

/* Agents come, go and are replaced on three lanes at random moments while every lane sends numbered envelopes of random
 * priority to each of them. Whatever happens, the numbers of a stream arrive in order: a stream is what one lane sends
 * to one agent, and where order by priority is on, with one priority. Without small limits they arrive complete; with
 * them, as many are missing as were counted. */
enum { LANES = 3, AGENTS = 4, PRIORITIES = 3, STREAM = 1000000 };

static unsigned random_below(uint64_t *state, unsigned below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*state >> 33) % below;
}

static struct model {
    struct endpoint *current[AGENTS], *retired[4096];
    unsigned retired_count;
    bool may_lose;
    unsigned sent[LANES * PRIORITIES][AGENTS], next[LANES * PRIORITIES][AGENTS]; /* numbers */
    unsigned received;
} model;

static void hand_over(unsigned agent, struct endpoint *endpoint, unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        long number = take(endpoint);
        if (number < 0)
            return;
        unsigned *next = &model.next[number / STREAM][agent], place = (unsigned)number % STREAM;
        CHECK(model.may_lose ? place >= *next : place == *next);
        *next = place + 1;
        model.received++;
    }
}

static void send_one(uint64_t *state, unsigned lane, unsigned agent)
{
    static const char *const names[PRIORITIES] = {"high", "normal", "low"};
    char id[2] = {(char)('a' + agent), 0};
    unsigned priority = random_below(state, PRIORITIES), stream = lane * PRIORITIES + (levels_ordered ? priority : 0);
    send_priority = names[priority];
    CHECK(send_to(lanes_get(lane), id, stream * STREAM + model.sent[stream][agent]++).accepted);
    send_priority = NULL;
}

static void take_a_step(uint64_t *state)
{
    unsigned agent = random_below(state, AGENTS), lane = random_below(state, LANES);
    struct endpoint *endpoint = model.current[agent];
    char id[2] = {(char)('a' + agent), 0};
    switch (random_below(state, 12)) {
    case 0: /* connect, or take over */
        if (model.retired_count == 4096)
            break;
        if (endpoint)
            model.retired[model.retired_count++] = endpoint;
        model.current[agent] = join_as(lane, id, "agent", "[]", 1, random_below(state, 2));
        model.current[agent]->blocked = random_below(state, 2);
        break;
    case 1: /* disconnect */
        if (endpoint && random_below(state, 2) && model.retired_count < 4096) {
            attachment_detach(endpoint);
            model.retired[model.retired_count++] = endpoint;
            model.current[agent] = NULL;
        }
        break;
    case 2: /* the grace period ends; the socket is full, or no more */
        if (endpoint) {
            endpoint->grace_over = true;
            attachment_go_live(endpoint);
            endpoint->blocked = random_below(state, 2);
        }
        break;
    case 3:
    case 4:
        while (lane_drain(lanes_get(lane)))
            continue;
        break;
    case 5:
    case 6: /* the socket takes some */
        if (endpoint) {
            hand_over(agent, endpoint, random_below(state, 6));
            if (endpoint->outbox.queue.count == 0)
                attachment_go_live(endpoint);
        }
        break;
    default:
        send_one(state, lane, agent);
        break;
    }
}

static void take_all(unsigned agent)
{
    char id[2] = {(char)('a' + agent), 0};
    struct endpoint *endpoint = model.current[agent] ? model.current[agent] : join(0, id);
    endpoint->grace_over = true;
    endpoint->close_status = 0;
    for (unsigned turn = 0; turn < 2000; turn++) {
        drain_all();
        attachment_go_live(endpoint);
        if (endpoint->outbox.queue.count == 0)
            break;
        hand_over(agent, endpoint, 100);
    }
    leave(endpoint);
}

static void run_model(uint64_t seed, const struct mailbox_limits *limits, enum slow_agent_rule rule)
{
    uint64_t state = seed;
    unsigned sent = 0;
    start(LANES, limits, seed % 3 ? 1u << 20 : 2000, rule);
    bool may_lose = model.may_lose;
    memset(&model, 0, sizeof model);
    model.may_lose = may_lose;
    for (unsigned step = 0; step < 3000; step++)
        take_a_step(&state);
    drain_all();
    for (unsigned agent = 0; agent < AGENTS; agent++)
        take_all(agent);
    for (unsigned i = 0; i < LANES * PRIORITIES * AGENTS; i++) {
        sent += model.sent[i / AGENTS][i % AGENTS];
        CHECK(may_lose || model.next[i / AGENTS][i % AGENTS] == model.sent[i / AGENTS][i % AGENTS]);
    }
    for (unsigned i = 0; i < LANES; i++)
        for (unsigned reason = 0; reason < UNDELIVERABLE_REASONS; reason++)
            model.received += (unsigned)atomic_load(&lanes_get(i)->counters.undeliverable[reason]);
    CHECK(model.received == sent);
    for (unsigned i = 0; i < model.retired_count; i++) {
        CHECK(model.retired[i]->state == ENDPOINT_DETACHED);
        free(model.retired[i]);
    }
    CHECK(registry_queued_count() == 0);
    stop();
}

TEST("no order and no envelope is lost between reconnects, takeovers and lanes")
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_model(seed, &wide, SLOW_AGENT_QUEUE);
}

TEST("nor where they are ordered by priority: then the order is that of one priority")
{
    levels_start(true);
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_model(seed, &wide, SLOW_AGENT_QUEUE);
    levels_start(false);
}

TEST("what small limits take of it is counted, each once, and the rest stays in order")
{
    static const struct mailbox_limits small = {
        .envelopes = 15, .mailboxes = 100, .bytes = 1u << 20, .total_bytes = 1u << 30, .ttl_ms = 1000};
    model.may_lose = true;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        levels_start(seed % 2);
        run_model(seed, &small, seed % 4 < 2 ? SLOW_AGENT_DROP : SLOW_AGENT_QUEUE);
    }
    levels_start(false);
    model.may_lose = false;
}

TEST("of 12 turns 8 are high, 3 normal and 1 low, and what is full loses the oldest of the lowest")
{
    static const struct mailbox_limits few = {
        .envelopes = 40, .mailboxes = 100, .bytes = 1u << 20, .total_bytes = 1u << 30, .ttl_ms = 1000};
    static const char *const names[PRIORITIES] = {"low", "high", "other"};
    levels_start(true);
    start(1, &few, 1u << 20, SLOW_AGENT_QUEUE);
    for (unsigned i = 0; i < 45; i++) {
        send_priority = names[i % 3];
        CHECK(send_to(lanes_get(0), "a", i).accepted);
    }
    send_priority = NULL;
    struct endpoint *a = join(0, "a");
    unsigned counts[PRIORITIES] = {0};
    long oldest[PRIORITIES] = {-1, -1, -1};
    for (unsigned i = 0; i < 12; i++) {
        long number = take(a);
        if (oldest[number % 3] < 0)
            oldest[number % 3] = number;
        counts[number % 3]++;
    }
    CHECK(counts[0] == 1 && counts[1] == 8 && counts[2] == 3);
    CHECK(oldest[0] == 15 && oldest[1] == 1 && oldest[2] == 2); /* 0, 3, 6, 9 and 12 are lost */
    while (a->outbox.queue.count > 0)
        take(a);
    /* The same for a full socket. */
    a->blocked = true;
    for (unsigned i = 0; i < 12; i++) {
        send_priority = names[i % 3];
        send_to(lanes_get(0), "a", i);
    }
    send_priority = NULL;
    CHECK(a->outbox.queue.count == 0 && a->line_up->count == 12);
    attachment_go_live(a);
    CHECK(a->line_up == NULL && take(a) == 1 && take(a) == 2 && take(a) == 4);
    leave(a);
    stop();
    levels_start(false);
}
