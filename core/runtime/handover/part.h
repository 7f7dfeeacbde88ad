/* A reactor's part of a handover. On its thread, while it serves nobody. */
#ifndef LUADUCT_RUNTIME_HANDOVER_PART_H
#define LUADUCT_RUNTIME_HANDOVER_PART_H

#include <stdbool.h>

#include "protocol/websocket/frame_carry.h"

struct reactor;

/* --- The old process --- */

/* Once, before: what agents that will stay have sent so far is read. */
void part_read(struct reactor *reactor);

/* Ends what cannot go along: hooks that wait are stopped, senders that are slowed are not any more, and what agents
 * sent meanwhile is handled. What other lanes sent is taken, what can be written is written. False: there is more to do
 * when the other reactors have done the same. */
bool part_settle(struct reactor *reactor);

/* Whether hooks wait that would have to be stopped. */
bool part_busy(const struct reactor *reactor);

/* Writes connections, and the lane's part of the bridge. Marks what goes along. False: see the writer's channel. */
bool part_give(struct reactor *reactor, struct frame_writer *writer);

/* It came to nothing: the marks go. */
void part_resume(struct reactor *reactor);

/* The other process serves: closes what went along without a word to the peer, tells the agents that stayed. What this
 * one still knows of agents and mailboxes is nobody's any more, so it is given up without being reported as lost. */
void part_let_go(struct reactor *reactor);

/* --- The new process --- */

/* Reads it all. Touches no socket, as the other process may still go on. `meet` waits until all reactors know who is
 * registered. False: see the reader's channel. */
bool part_take(struct reactor *reactor, struct frame_reader *reader, bool (*meet)(void));

/* From now on they are ours: looks at their credentials anew, writes what waits, reads on. */
void part_begin(struct reactor *reactor);

#endif
