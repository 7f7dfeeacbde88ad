/* What comes late: tasks that agents asked for (bridge.execute) before another process took over stay with the old
 * process's workers, and the new one, which has the agents, answers. It is told of each open task when it takes over;
 * so one that the old process does not answer, because it ended, is answered as well. */
#ifndef LUADUCT_RUNTIME_LATE_H
#define LUADUCT_RUNTIME_LATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/code.h"
#include "protocol/websocket/frame_carry.h"

struct profile;

/* --- The old process --- */

/* A reactor's thread, in a record of its own: that task, an envelope as a frame, is open. `number` is not 0, and no
 * other's of this process. */
void late_put_task(struct frame_writer *writer, uint64_t number, const struct profile *asker, struct frame *asked);

/* Any reactor: what it came to, CODE_OK and the result as JSON, or another code and what is wrong. Copies the text, and
 * waits for nobody: so much as the tasks of that moment come to may wait for the new process. */
void late_answer(uint64_t number, enum code code, struct slice text);

/* A thread of its own: passes that on through the control channel, however long the new process takes to read it, up to
 * the last one before late_end. */
void late_pass_on(int control);

/* No more will come. Any thread. */
void late_end(void);

/* --- The new process --- */

/* A reactor's thread: takes such a record; without memory for it the reader has failed. */
void late_get_task(struct frame_reader *reader);

/* The thread that listens to the old process: has the reactor of the agent answer. */
void late_get_answer(struct channel_reader *reader);

/* The old process has no more to say: what it has not answered is answered `overloaded`. */
void late_answer_rest(void);

/* Any thread: whether that agent will be answered yet, or any. */
bool late_awaited(struct slice agent);
bool late_any(void);

#endif
