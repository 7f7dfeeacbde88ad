/* A question that is out stands in two tables of the process, by its id and by its task, from before it is sent until
 * its reply is taken or nobody waits for it. Whoever takes it out of the tables has it: the reactor that got the reply
 * hands it over by the owner's work inbox, the owner frees it. */
#include "runtime/work/asking.h"

#include <pthread.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/random.h"
#include "bridge/delivery/delivery.h"
#include "bridge/registry/profile.h"
#include "memory/pool.h"
#include "protocol/message.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"

/* Chains of each table: as many as a state may have questions out. */
#define CHAINS 1024u

/* The pause before a further try doubles up to this. */
#define BACKOFF_MAXIMUM_MS 60000u

enum stage { STAGE_OUT, STAGE_PAUSED, STAGE_REPLIED, STAGE_FAILED };

struct question {
    struct work work;      /* first: how it comes back */
    struct asking *asking; /* NULL: nobody waits any more */
    const struct script_question *asked;
    enum stage stage;
    bool back; /* out of the inbox, and of its count */
    unsigned tries;
    uint64_t due_ms;
    struct hop hop; /* of an asking that is traced */
    enum code code;
    struct slice text;
    struct frame *reply; /* a reference, NULL without memory; set by the reactor that took it out of the tables */
    /* With the mutex: */
    bool listed;
    uint64_t id, task; /* hashes; task 0: none */
    struct question *next_by_id, *next_by_task;
    unsigned agent_count;
    uint64_t agents[QUESTION_AGENTS_MAXIMUM]; /* hashes of who was asked so far */
};

struct asking {
    struct reactor *reactor;
    bool traced;
    void (*over)(void *owner);
    void *owner;
    struct script_question *asked; /* owned: the questions' texts and frames */
    uint64_t until_ms;             /* gather: all of it; else UINT64_MAX */
    unsigned count, needed, open;
    bool gathers;
    unsigned reply_count;
    struct frame **replies;         /* `count` places */
    struct script_missing *missing; /* the same */
    struct script_replies answer;
    size_t size;
    struct question *questions[];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* both tables */
static struct question *by_id[CHAINS], *by_task[CHAINS];
atomic_uint asking_out;

static uint64_t now_ms(void)
{
    return clock_steady_ns() / 1000000;
}

/* --- The tables, locked --------------------------------------------------------------------------------------------
 */

static void list_question(struct question *question)
{
    struct question **chain = &by_id[question->id % CHAINS];
    question->next_by_id = *chain;
    *chain = question;
    if (question->task != 0) {
        chain = &by_task[question->task % CHAINS];
        question->next_by_task = *chain;
        *chain = question;
    }
    question->listed = true;
    atomic_fetch_add_explicit(&asking_out, 1, memory_order_relaxed);
}

static void unlist_question(struct question *question)
{
    struct question **place = &by_id[question->id % CHAINS];
    while (*place != question)
        place = &(*place)->next_by_id;
    *place = question->next_by_id;
    if (question->task != 0) {
        place = &by_task[question->task % CHAINS];
        while (*place != question)
            place = &(*place)->next_by_task;
        *place = question->next_by_task;
    }
    question->listed = false;
    atomic_fetch_sub_explicit(&asking_out, 1, memory_order_relaxed);
}

static bool was_asked(const struct question *question, uint64_t agent)
{
    for (unsigned i = 0; i < question->agent_count; i++)
        if (question->agents[i] == agent)
            return true;
    return false;
}

/* The question that this answers; 0: no such field. The oldest comes last in its chain. */
static struct question *find_question(uint64_t agent, uint64_t id, uint64_t task)
{
    struct question *found = NULL;
    for (struct question *at = id ? by_id[id % CHAINS] : NULL; at; at = at->next_by_id)
        if (at->id == id && was_asked(at, agent))
            found = at;
    if (found)
        return found;
    for (struct question *at = task ? by_task[task % CHAINS] : NULL; at; at = at->next_by_task)
        if (at->task == task && was_asked(at, agent))
            found = at;
    return found;
}

/* --- Sending -------------------------------------------------------------------------------------------------------
 */

/* The one that was asked last. */
static struct slice agent_of(const struct question *question)
{
    return question->asked->agents[(question->tries - 1) % question->asked->agent_count];
}

static void end_span(const struct question *question)
{
    if (question->asking->traced)
        hop_asked(&question->hop, agent_of(question), question->stage == STAGE_REPLIED ? CODE_OK : question->code);
}

static void fail(struct question *question, enum code code, struct slice text)
{
    question->stage = STAGE_FAILED;
    question->code = code;
    question->text = text;
    question->asking->open--;
    end_span(question);
}

/* This try has failed: a pause before the next, or the end. */
static void try_later(struct question *question, enum code code, struct slice text, uint64_t now)
{
    const struct script_question *asked = question->asked;
    if (question->tries > asked->retries) {
        fail(question, code, text);
        return;
    }
    uint64_t pause = asked->backoff_ms;
    for (unsigned i = 1; i < question->tries && pause < BACKOFF_MAXIMUM_MS; i++)
        pause *= 2;
    if (pause > BACKOFF_MAXIMUM_MS && asked->backoff_ms < BACKOFF_MAXIMUM_MS)
        pause = BACKOFF_MAXIMUM_MS;
    question->stage = STAGE_PAUSED;
    /* From half of it to one and a half: those that failed together do not come again together. */
    question->due_ms = now + pause / 2 + random_u64() % (pause + 1);
}

/* `hop` NULL: it is not traced. */
static enum code deliver(struct reactor *reactor, const struct script_question *asked, struct slice agent,
                         const struct hop *hop)
{
    struct envelope envelope;
    struct text_store store = {0};
    struct envelope_defaults defaults = {.timestamp = reactor->lane->timestamp};
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
    char error[ERROR_TEXT_BYTES];
    struct decision decision = {.count = 1, .items = {{.kind = DECISION_ALL, .selector = {.id = agent}}}};
    /* That the agent does not take it the hook hears. */
    struct delivery delivery = {
        .lane = reactor->lane, .envelope = &envelope, .defaults = &defaults, .telling = TELL_LOSSES};
    struct delivery_result result = {.refusal = CODE_OVERLOADED};
    if (envelope_scan(frame_envelope(asked->frame), &rules, &store, &envelope, error) == CODE_OK &&
        envelope_set_text(&envelope, FIELD_TO, agent, error) == CODE_OK) {
        char trace[TRACE_MEMBER_BYTES];
        if (hop) {
            hop_drop_empty(&envelope);
            delivery.trace = hop_frame_trace(hop, true);
            hop_tell_recipients(hop, &envelope, trace);
        }
        delivery_carry_out(&delivery, &decision, &result);
        frame_release(result.frame);
    }
    text_store_free(&store);
    return result.accepted ? CODE_OK : result.refusal != CODE_OK ? result.refusal : CODE_NO_RECIPIENT;
}

static void put_question(struct question *question, uint64_t now)
{
    const struct script_question *asked = question->asked;
    struct slice agent = asked->agents[question->tries % asked->agent_count];
    uint64_t hash = hash_slice(agent);
    question->tries++;
    pthread_mutex_lock(&mutex);
    bool replied = !question->listed && question->agent_count > 0; /* to an earlier try: it is on its way here */
    if (!replied && !was_asked(question, hash))
        question->agents[question->agent_count++] = hash;
    if (!replied && !question->listed)
        list_question(question);
    pthread_mutex_unlock(&mutex);
    question->stage = STAGE_OUT;
    question->due_ms = now + asked->timeout_ms;
    const struct hop *hop = question->asking->traced ? &question->hop : NULL;
    enum code code = replied ? CODE_OK : deliver(question->asking->reactor, asked, agent, hop);
    if (code != CODE_OK)
        try_later(question, code,
                  code == CODE_NO_RECIPIENT ? SLICE("the agent is not connected")
                                            : SLICE("the bridge is out of memory or the agent too far behind"),
                  now);
}

/* --- Coming back ----------------------------------------------------------------------------------------------------
 */

static void free_question(struct question *question)
{
    frame_release(question->reply);
    pool_release(POOL_ARRAYS, question, sizeof *question);
}

static void reply_came(struct work *work)
{
    struct question *question = (struct question *)work;
    struct asking *asking = question->asking;
    if (!asking) {
        free_question(question);
        return;
    }
    question->back = true;
    bool was_open = question->stage <= STAGE_PAUSED;
    if (was_open && !question->reply)
        fail(question, CODE_OVERLOADED, SLICE("out of memory"));
    if (question->reply) {
        question->stage = STAGE_REPLIED;
        if (was_open) {
            asking->open--;
            end_span(question);
        }
        asking->replies[asking->reply_count++] = question->reply;
    }
    if (asking_due(asking) == 0)
        asking->over(asking->owner);
}

/* --- An asking ------------------------------------------------------------------------------------------------------
 */

static struct asking *new_asking(struct reactor *reactor, struct script_request *request)
{
    unsigned count = request->question_count;
    size_t size = sizeof(struct asking) +
                  count * (sizeof(struct question *) + sizeof(struct frame *) + sizeof(struct script_missing));
    struct asking *asking = pool_acquire(POOL_ARRAYS, size);
    if (!asking)
        return NULL;
    memset(asking, 0, size);
    asking->reactor = reactor;
    asking->size = size;
    asking->needed = request->needed;
    asking->gathers = request->gathers;
    asking->until_ms = request->gathers ? now_ms() + request->ms : UINT64_MAX;
    asking->missing = (struct script_missing *)(void *)&asking->questions[count];
    asking->replies = (struct frame **)(void *)&asking->missing[count];
    for (; asking->count < count; asking->count++) {
        struct question *question = pool_acquire(POOL_ARRAYS, sizeof *question);
        if (!question) {
            asking_end(asking);
            return NULL;
        }
        *question = (struct question){.work = {.reactor = reactor, .finished = reply_came}, .asking = asking};
        asking->questions[asking->count] = question;
        reactor->work.out++;
    }
    asking->asked = request->questions;
    request->questions = NULL;
    return asking;
}

struct asking *asking_start(struct reactor *reactor, struct script_request *request, const struct trace_context *trace,
                            void (*over)(void *owner), void *owner)
{
    struct asking *asking = new_asking(reactor, request);
    if (!asking)
        return NULL;
    asking->traced = trace != NULL;
    asking->over = over;
    asking->owner = owner;
    asking->open = asking->count;
    uint64_t now = now_ms();
    struct script_question *asked = asking->asked;
    for (unsigned i = 0; i < asking->count; i++, asked = asked->next) {
        struct question *question = asking->questions[i];
        question->asked = asked;
        question->id = asked->id;
        question->task = asked->task;
        if (trace)
            hop_begin_below(&question->hop, trace);
        put_question(question, now);
    }
    return asking;
}

uint64_t asking_due(const struct asking *asking)
{
    if (asking->reply_count >= asking->needed || asking->open == 0)
        return 0;
    uint64_t due = asking->until_ms;
    for (unsigned i = 0; i < asking->count; i++) {
        const struct question *question = asking->questions[i];
        if (question->stage <= STAGE_PAUSED && question->due_ms < due)
            due = question->due_ms;
    }
    return due;
}

void asking_tick(struct asking *asking, uint64_t now)
{
    for (unsigned i = 0; i < asking->count; i++) {
        struct question *question = asking->questions[i];
        if (question->stage > STAGE_PAUSED)
            continue;
        if (asking->until_ms <= now)
            fail(question, CODE_TASK_TIMEOUT, SLICE("it has not replied in time"));
        else if (question->due_ms <= now && question->stage == STAGE_OUT)
            try_later(question, CODE_TASK_TIMEOUT, SLICE("it has not replied in time"), now);
        else if (question->due_ms <= now)
            put_question(question, now);
    }
}

void asking_answer(struct asking *asking, struct script_answer *out)
{
    *out = (struct script_answer){0};
    if (!asking->gathers && asking->reply_count == 0) {
        out->code = asking->questions[0]->code;
        out->text = asking->questions[0]->text;
        return;
    }
    struct script_replies *answer = &asking->answer;
    *answer = (struct script_replies){.gathered = asking->gathers,
                                      .count = asking->reply_count,
                                      .frames = asking->replies,
                                      .missing = asking->missing};
    for (unsigned i = 0; i < asking->count; i++) {
        const struct question *question = asking->questions[i];
        if (question->stage == STAGE_REPLIED)
            continue;
        const struct script_question *asked = question->asked;
        asking->missing[answer->missing_count++] = (struct script_missing){
            .agent = agent_of(question),
            .index = asked->index,
            .code = question->stage == STAGE_FAILED ? question->code : CODE_OK,
            .text = question->text,
        };
    }
    out->replies = answer;
}

void asking_end(struct asking *asking)
{
    if (!asking)
        return;
    for (unsigned i = 0; i < asking->count; i++) {
        struct question *question = asking->questions[i];
        pthread_mutex_lock(&mutex);
        bool ours = question->listed || question->agent_count == 0;
        if (question->listed)
            unlist_question(question);
        pthread_mutex_unlock(&mutex);
        if (question->stage <= STAGE_PAUSED && question->tries > 0) {
            /* The hook has all that it wanted, or has waited long enough. */
            question->code = asking->reply_count >= asking->needed ? CODE_OK : CODE_TASK_TIMEOUT;
            end_span(question);
        }
        if (question->back) {
            free_question(question);
        } else if (ours) {
            asking->reactor->work.out--;
            free_question(question);
        } else {
            question->asking = NULL; /* its reply is on its way */
        }
    }
    script_questions_free(asking->asked);
    pool_release(POOL_ARRAYS, asking, asking->size);
}

/* --- Replies ---------------------------------------------------------------------------------------------------------
 */

bool asking_take_reply(struct reactor *reactor, const struct dispatch *dispatch, struct dispatch_result *result)
{
    struct envelope *envelope = dispatch->envelope;
    if (!dispatch->sender || !dispatch->sender->profile)
        return false;
    struct slice reply_to = envelope_sent_text(envelope, FIELD_REPLY_TO);
    struct slice task = envelope_sent_text(envelope, FIELD_TASK_ID);
    if (!slice_equal(envelope_sent_text(envelope, FIELD_TO), SLICE("bridge")))
        task.data = NULL; /* what one agent tells another about the task is not for the hook */
    if (!reply_to.data && !task.data)
        return false;
    uint64_t agent = hash_slice(dispatch->sender->profile->id);
    uint64_t id_hash = reply_to.data ? hash_slice(reply_to) : 0, task_hash = task.data ? hash_slice(task) : 0;
    pthread_mutex_lock(&mutex);
    struct question *question = find_question(agent, id_hash, task_hash);
    if (question)
        unlist_question(question);
    pthread_mutex_unlock(&mutex);
    if (!question)
        return false;
    struct delivery delivery = {
        .lane = reactor->lane, .envelope = envelope, .defaults = dispatch->defaults, .sender = dispatch->sender};
    result->frame = delivery_take(&delivery, SLICE("bridge"));
    question->reply = result->frame ? frame_retain(result->frame) : NULL;
    work_come_back(&question->work);
    if (!result->frame) {
        result->code = CODE_OVERLOADED;
        result->text = SLICE("the bridge is out of memory: try again later");
        return true;
    }
    counter_add(&reactor->lane->counters.messages_in, 1);
    reactor->pass_messages++;
    return true;
}
