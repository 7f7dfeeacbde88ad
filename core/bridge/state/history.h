/* The newest accepted envelopes, as they left the route: a ring bounded by count and by bytes. Frames are shared, not
 * copied. One lock, held for a pointer's worth of work on the way in; readers copy references out. */
#ifndef LUADUCT_BRIDGE_HISTORY_H
#define LUADUCT_BRIDGE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/websocket/frame.h"

/* Main thread, before any lane runs. limit 0 keeps nothing. False: no memory. */
bool history_start(uint32_t limit, uint64_t bytes);
void history_stop(void);

/* Who took an envelope: keyed hashes of agent ids (base/hash.h). */
struct history_parties {
    uint64_t sender; /* 0: none */
    bool everyone;   /* broadcast */
    uint32_t recipient_count;
    const uint64_t *recipients;
};

/* Any lane. Retains the frame, copies the parties; an envelope that finds no memory is left out. */
void history_append(struct frame *frame, const struct history_parties *parties);

/* Up to `capacity` of the newest envelopes, oldest first, each with a reference; with `party` not 0 only those that
 * this agent sent, received, or that were broadcast. Any thread. */
unsigned history_newest(struct frame **out, unsigned capacity, uint64_t party);

/* One entry as it is kept. */
struct history_entry {
    struct frame *frame; /* a reference */
    struct history_parties parties;
    uint64_t one;   /* where the only recipient stands */
    uint64_t *many; /* where several stand; the pool's */
};

/* Entries are numbered in the order in which they came. Gives the one numbered *number or, where that is gone, the
 * oldest, and moves *number behind it. False: there is none from there on. Any thread; free it with
 * history_entry_free. Without memory for its list of recipients it has none. */
bool history_read(uint64_t *number, struct history_entry *out);
void history_entry_free(struct history_entry *entry);

/* The number that the next one will have. */
uint64_t history_next_number(void);

/* Lowers the limit of bytes, or raises it again up to the configured one; what is over it goes, oldest first. Gives the
 * bytes that went. Any lane. */
uint64_t history_set_bytes(uint64_t bytes);

/* What the envelopes in it and their lists of recipients take. Any thread. */
uint64_t history_bytes(void);

uint32_t history_count(void);
uint32_t history_limit(void);

#endif
