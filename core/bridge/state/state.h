/* Mailboxes and the history as lines of JSON, to keep them elsewhere, or to bring them from one bridge to another.
 *
 *   {"luaduct":"state","version":1,"bridge":"2.0.0","written":"2026-01-01T00:00:00.000Z"}           the first line
 *   {"history":{"sender":"alice","recipients":["bob"],"everyone":false,"unnamed":1},"envelope":{…}}  oldest first
 *   {"mailbox":"bob","owner":"0123456789abcdef","expires":1767225600000,"deadLetter":true,"envelope":{…}}
 *   {"end":{"history":1,"envelopes":1}}                                                              the last line
 *
 * An envelope that came as MessagePack has `"packed":{"payload":"base64"}` beside it: the bytes of those of its fields
 * that JSON says in other words. `owner` is a digest of whose identity holds the mailbox. The history keeps parties by
 * hashes that only the bridge itself knows: named are those that the envelope names or that are known at the time, how
 * many are not says `unnamed`; to them the envelope is not shown after an import. Of each mailbox the order is the one
 * in which the envelopes came, of one priority that in which they go.
 *
 * What is on its way to connected agents (their outboxes) is not in it. */
#ifndef LUADUCT_BRIDGE_STATE_H
#define LUADUCT_BRIDGE_STATE_H

#include "bridge/delivery/lane.h"
#include "memory/buffer.h"
#include "protocol/code.h"
#include "protocol/json/json.h"

/* --- Writing: any thread, one at a time --- */

struct state_export;

struct state_export *state_export_new(void); /* NULL: no memory */

/* Appends some lines: as many as make up a piece, at least one. False: nothing is left. Memory's end is the buffer's
 * `failed`. What comes and goes meanwhile may be in it or not. */
bool state_export_next(struct state_export *state, struct buffer *out);

void state_export_free(struct state_export *state); /* NULL is fine */

/* --- Reading --- */

/* The last line of an export says how many lines there are between the first and itself. */
struct state_counts {
    uint64_t history, envelopes;
};

struct state_import {
    unsigned json_depth; /* how envelopes are judged: as the wire does (struct message_rules) */
    bool lenient;
    uint64_t line; /* of the line to read next, from 1 on: the first has to be the head */
    uint64_t history, envelopes;
    /* Not taken because there is no room, because they have expired, because another identity holds the mailbox, or
     * because nobody may have its id (foreign, too). */
    uint64_t mailbox_full, overloaded, expired, foreign;
    bool ended; /* the last line was there, and says as many lines as came: none is missing or there twice */
    struct state_counts seen; /* lines */
    char error[ERROR_TEXT_BYTES + 64];
};

/* False: it is not the last line of an export. */
bool state_end_read(struct slice line, struct state_counts *counts);

/* Whether it may be line `number`, or why not. */
bool state_end_fits(const struct state_counts *counts, uint64_t number, char error[ERROR_TEXT_BYTES]);

/* Takes whole lines. Each joins behind what is there already. False: one of them is wrong, state->line says which and
 * state->error why; those before it are taken, but none where the last line is among these and says another number of
 * lines. Lane's thread, inside of a pass; or main, before any lane runs. */
bool state_import_lines(struct state_import *state, struct lane *lane, struct slice lines);

/* The same with a whole file, for main: *error says why not. */
bool state_import_file(struct state_import *state, struct lane *lane, int fd, char *error, size_t size);

#endif
