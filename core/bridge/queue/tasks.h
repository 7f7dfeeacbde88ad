/* Open tasks: an envelope with an intent that opens gives its taskId to the agent that gets it, one with an intent that
 * closes takes it from the agent that sent it. What `bridge.any` calls busy. */
#ifndef LUADUCT_BRIDGE_TASKS_H
#define LUADUCT_BRIDGE_TASKS_H

#include "bridge/registry/agent.h"

struct task_options {
    char *const *opening; /* intents; borrowed while the bridge runs */
    char *const *closing;
    size_t opening_count, closing_count;
    uint32_t maximum; /* taskIds remembered for one agent: with that many open it is full whatever it said */
};

/* Main thread, before any lane runs. Without it: the four `task.` intents, and 1024. */
void tasks_start(const struct task_options *options);

enum task_effect { TASK_NONE, TASK_OPENS, TASK_CLOSES };

/* Of an intent as it was sent; length 0: none. Any thread. */
enum task_effect task_effect_of(struct slice intent);

/* A frame with a task goes to this agent. Shard locked. One that is open already stays one. A task past the maximum, or
 * without memory, is not counted. */
void task_open(struct agent *agent, uint64_t task);

/* That frame did not go to it after all: closes the task, unless another frame opened it too. Shard locked; gives
 * whether it closed. */
bool task_withdraw(struct agent *agent, uint64_t task);

/* A frame that the agent was to get is lost: if it opened a task, that is withdrawn, and the lane tells those that wait
 * for room (lane.room). Shard locked. */
static inline void task_lost(struct lane *lane, struct agent *agent, const struct frame *frame)
{
    if (__builtin_expect(frame->task != 0, 0) && task_withdraw(agent, frame->task))
        lane->room = true;
}

/* The agent says that it is over. No shard locked. Closing what is not open does nothing. */
void task_close(struct agent *agent, uint64_t task);

/* The agent left: nothing is open any more. Shard locked. */
void task_close_all(struct agent *agent);

/* All of them into the record that is being written, and out of it. False: the record is not as it should be. */
struct channel_writer;
struct channel_reader;
void tasks_put(const struct agent *agent, struct channel_writer *channel);
bool tasks_get(struct agent *agent, struct channel_reader *channel);

/* With the agent. */
void tasks_free(struct agent *agent);

/* Whether it may take no more, by what this profile says. Any thread; ordered with pending_offer's look at the queue,
 * so that of a task that closes and an envelope that begins to wait one always sees the other. */
bool task_agent_is_full(const struct agent *agent, const struct profile *profile);

#endif
