/* What the bridge knows, on its way to another process that goes on with it (runtime/handover/): who is registered,
 * what waits for whom, the history. The other process has the key of the hashes (base/hash.h), so hashes of ids go as
 * they are.
 *
 * No lane delivers meanwhile. Each lane writes and reads its own part: its endpoints, and the agents and mailboxes of
 * its share of the shards; the first one also the history and what waits for a free agent. Nothing is taken away by
 * writing: if it comes to nothing all goes on as before. */
#ifndef LUADUCT_BRIDGE_CARRY_H
#define LUADUCT_BRIDGE_CARRY_H

#include "bridge/delivery/lane.h"
#include "bridge/registry/profile.h"
#include "protocol/websocket/frame_carry.h"

/* Kinds of records; the runtime's begin at 100. */
enum carry_kind {
    CARRY_MAIL = 1, /* some of a mailbox, behind what came of it before */
    CARRY_REST,     /* what a connection that does not go along has not read: before all of the mailbox */
    CARRY_HOLDERS,
    CARRY_HISTORY,
    CARRY_PENDING,
    CARRY_OUTBOX,  /* some of what the endpoint before is to be sent */
    CARRY_LINE_UP, /* and of its line-up */
    CARRY_TASKS,   /* open tasks of the endpoint before */
    CARRY_FRAME,   /* that later records name */
};

/* --- Ahead of all that: while the lanes still deliver, from a thread that may take locks (runtime/guest.h) --- */

/* Writes the envelopes that wait in mailboxes, each by the writer of the lane that will write the mailbox, and those of
 * the history; `writers` are as many as lanes. Those that wait still when the lanes stand still then cost a number.
 * Gives how many went; less than there are where a writer failed. */
uint64_t carry_put_ahead(struct frame_writer *writers);

/* --- Writing: each makes records of its own, but for the first --- */

/* Into the record that is being written: who it is registered as. */
void carry_put_registration(const struct endpoint *endpoint, struct frame_writer *writer);

void carry_put_waiting(const struct endpoint *endpoint, struct frame_writer *writer); /* outbox, line-up, tasks */
void carry_put_rest(const struct endpoint *endpoint, struct frame_writer *writer);
void carry_put_mailboxes(const struct lane *lane, struct frame_writer *writer);
void carry_put_history(struct frame_writer *writer);

/* When the agents that are connected are known there: who is present holds an id, whoever held it before. */
void carry_put_holders(const struct lane *lane, struct frame_writer *writer);
void carry_put_pending(struct frame_writer *writer);

/* After all: takes out of the endpoint what carry_put_rest has written. What the kernel has in part stays. */
void carry_drop_rest(struct endpoint *endpoint);

/* --- Reading --- */

/* Attaches the endpoint, in state HOLDING. False: no memory, or the record is not as it should be. */
bool carry_get_registration(struct endpoint *endpoint, struct channel_reader *reader);

/* A record of the bridge's kinds, that belongs to this endpoint where it says so. False: the reader has failed, or
 * memory is out. Lane's thread. */
bool carry_get(uint32_t kind, struct lane *lane, struct endpoint *endpoint, struct frame_reader *reader);

#endif
