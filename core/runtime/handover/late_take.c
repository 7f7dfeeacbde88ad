#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "runtime/agent/session.h"
#include "runtime/handover/late.h"
#include "runtime/process/server.h"
#include "runtime/reactor.h"

struct open_task {
    struct open_task *next;
    uint64_t number;
    struct late_answer answer; /* its id lies behind; code and text come late */
    struct errand errand;
    bool given, done; /* done: with the mutex */
    char id[];
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct open_task *first;
    atomic_uint count;
} late = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void late_get_task(struct frame_reader *reader)
{
    struct channel_reader *channel = reader->channel;
    uint64_t number = channel_get(channel);
    struct slice id = channel_get_bytes(channel);
    uint64_t owner = channel_get(channel);
    struct frame *asked = frame_get(reader);
    struct open_task *task = asked ? malloc(sizeof *task + id.length) : NULL;
    if (!task) {
        frame_release(asked);
        channel_reject(channel, "out of memory"); /* nothing else is left unsaid */
        return;
    }
    *task = (struct open_task){.number = number, .answer = {.owner = owner, .asked = asked}};
    memcpy(task->id, id.data, id.length);
    task->answer.id = slice_from(task->id, id.length);
    pthread_mutex_lock(&late.mutex);
    task->next = late.first;
    late.first = task;
    atomic_fetch_add(&late.count, 1);
    pthread_mutex_unlock(&late.mutex);
}

static void give(struct reactor *reactor, struct errand *errand)
{
    struct open_task *task = (struct open_task *)((char *)errand - offsetof(struct open_task, errand));
    task->given = session_answer_late(reactor, &task->answer);
    pthread_mutex_lock(&late.mutex);
    task->done = true;
    pthread_cond_broadcast(&late.changed);
    pthread_mutex_unlock(&late.mutex);
}

/* On one reactor after the other, until it is that of who has to hear of it. */
static void answer(struct open_task *task, enum code code, struct slice text)
{
    task->answer.code = code;
    task->answer.text = text;
    task->errand.run = give;
    for (unsigned i = 0; !task->given && i < server_reactor_count(); i++) {
        task->done = false;
        reactor_post(server_reactor(i), &task->errand);
        pthread_mutex_lock(&late.mutex);
        while (!task->done)
            pthread_cond_wait(&late.changed, &late.mutex);
        pthread_mutex_unlock(&late.mutex);
    }
}

/* Before, it is awaited still. */
static void forget(struct open_task *task)
{
    pthread_mutex_lock(&late.mutex);
    for (struct open_task **place = &late.first; *place; place = &(*place)->next) {
        if (*place == task) {
            *place = task->next;
            break;
        }
    }
    atomic_fetch_sub(&late.count, 1);
    pthread_mutex_unlock(&late.mutex);
    frame_release(task->answer.asked);
    free(task);
}

static struct open_task *find(uint64_t number)
{
    pthread_mutex_lock(&late.mutex);
    struct open_task *task = late.first;
    while (task && task->number != number)
        task = task->next;
    pthread_mutex_unlock(&late.mutex);
    return task;
}

void late_get_answer(struct channel_reader *reader)
{
    struct open_task *task = find(channel_get(reader));
    enum code code = (enum code)channel_get(reader);
    struct slice text = channel_get_bytes(reader);
    if (!task || reader->failed)
        return;
    answer(task, code, text);
    forget(task);
}

void late_answer_rest(void)
{
    struct open_task *task;
    while ((task = late.first)) { /* nobody else takes one out */
        answer(task, CODE_OVERLOADED, SLICE("the bridge went away before it was done"));
        forget(task);
    }
}

bool late_any(void)
{
    return atomic_load(&late.count) > 0;
}

bool late_awaited(struct slice agent)
{
    bool awaited = false;
    if (!late_any())
        return false;
    pthread_mutex_lock(&late.mutex);
    for (const struct open_task *task = late.first; task && !awaited; task = task->next)
        awaited = slice_equal(task->answer.id, agent);
    pthread_mutex_unlock(&late.mutex);
    return awaited;
}
