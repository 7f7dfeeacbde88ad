/* taskIds are kept as hashes in a small array for each agent. A sender that hears nothing gives its task again, so each
 * remembers how many frames opened it: only when all of them are lost it is nobody's. The intents are looked up by
 * length first: most envelopes end there. */
#include "bridge/queue/tasks.h"

#include "memory/pool.h"
#include "net/channel.h"

static char *const default_opening[] = {"task.assign"};
static char *const default_closing[] = {"task.complete", "task.failed", "task.cancelled"};

#define FIRST_CAPACITY 8u

struct open_task {
    uint64_t id;     /* hash of the taskId */
    uint32_t frames; /* that opened it and were not lost */
};

static struct task_options options = {
    .opening = default_opening, .closing = default_closing, .opening_count = 1, .closing_count = 3, .maximum = 1024};

/* A bit for each length modulo 64 that one of the intents has: of the defaults, 11, 13 and 14. */
static uint64_t lengths = 1ull << 11 | 1ull << 13 | 1ull << 14;

static void note_lengths(char *const *intents, size_t count)
{
    for (size_t i = 0; i < count; i++)
        lengths |= 1ull << (strlen(intents[i]) & 63);
}

void tasks_start(const struct task_options *chosen)
{
    options = *chosen;
    lengths = 0;
    note_lengths(options.opening, options.opening_count);
    note_lengths(options.closing, options.closing_count);
}

static bool is_one_of(struct slice intent, char *const *intents, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equal(intent, slice_from_string(intents[i])))
            return true;
    return false;
}

enum task_effect task_effect_of(struct slice intent)
{
    if (intent.length == 0 || !(lengths >> (intent.length & 63) & 1))
        return TASK_NONE;
    if (is_one_of(intent, options.opening, options.opening_count))
        return TASK_OPENS;
    return is_one_of(intent, options.closing, options.closing_count) ? TASK_CLOSES : TASK_NONE;
}

static void set_open(struct agent *agent, uint32_t count)
{
    agent->task_count = count;
    atomic_store(&agent->open_tasks, count); /* sequentially consistent: see task_agent_is_full */
}

static struct open_task *find(struct agent *agent, uint64_t task)
{
    for (uint32_t i = 0; i < agent->task_count; i++)
        if (agent->tasks[i].id == task)
            return &agent->tasks[i];
    return NULL;
}

static void take_out(struct agent *agent, struct open_task *open)
{
    *open = agent->tasks[agent->task_count - 1];
    set_open(agent, agent->task_count - 1);
}

void task_open(struct agent *agent, uint64_t task)
{
    struct open_task *open = find(agent, task);
    if (open) {
        open->frames++;
        return;
    }
    if (agent->task_count >= options.maximum)
        return;
    if (agent->task_count == agent->task_capacity) {
        uint32_t capacity = agent->task_capacity ? agent->task_capacity * 2 : FIRST_CAPACITY;
        struct open_task *tasks = pool_acquire(POOL_ARRAYS, capacity * sizeof *tasks);
        if (!tasks)
            return;
        if (agent->task_count > 0)
            memcpy(tasks, agent->tasks, agent->task_count * sizeof *tasks);
        tasks_free(agent);
        agent->tasks = tasks;
        agent->task_capacity = capacity;
    }
    agent->tasks[agent->task_count] = (struct open_task){.id = task, .frames = 1};
    set_open(agent, agent->task_count + 1);
}

bool task_withdraw(struct agent *agent, uint64_t task)
{
    struct open_task *open = find(agent, task);
    if (!open || --open->frames > 0)
        return false;
    take_out(agent, open);
    return true;
}

void task_close(struct agent *agent, uint64_t task)
{
    struct lock *lock = agent_lock(agent->hash);
    struct open_task *open = find(agent, task);
    if (open)
        take_out(agent, open);
    lock_release(lock);
}

void task_close_all(struct agent *agent)
{
    set_open(agent, 0);
}

void tasks_put(const struct agent *agent, struct channel_writer *channel)
{
    channel_put(channel, agent->task_count);
    for (uint32_t i = 0; i < agent->task_count; i++) {
        channel_put(channel, agent->tasks[i].id);
        channel_put(channel, agent->tasks[i].frames);
    }
}

bool tasks_get(struct agent *agent, struct channel_reader *channel)
{
    uint64_t count = channel_get(channel);
    struct lock *lock = agent_lock(agent->hash);
    for (; count > 0 && !channel->failed; count--) {
        uint64_t id = channel_get(channel), frames = channel_get(channel);
        task_open(agent, id);
        struct open_task *open = find(agent, id);
        if (open)
            open->frames = (uint32_t)frames;
    }
    lock_release(lock);
    return !channel->failed;
}

void tasks_free(struct agent *agent)
{
    pool_release(POOL_ARRAYS, agent->tasks, agent->task_capacity * sizeof *agent->tasks);
}

bool task_agent_is_full(const struct agent *agent, const struct profile *profile)
{
    uint32_t open = atomic_load(&agent->open_tasks);
    return open >= profile->max_concurrent_tasks || open >= options.maximum;
}
