/* Ids of envelopes accepted lately, by sender: a retry of what got through is told apart from a new envelope. In a
 * fixed block of memory, taken at the start; nothing where it is off. */
#ifndef LUADUCT_BRIDGE_DEDUP_H
#define LUADUCT_BRIDGE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* Main thread, before any lane runs and after hash_start. window_ms 0: off. At most `ids` are remembered, rounded up to
 * whole shards; past it the oldest go. False: no memory. */
bool dedup_start(uint32_t window_ms, uint32_t ids);
void dedup_stop(void);

/* Written by dedup_start and dedup_stop alone. */
extern bool dedup_on;

/* Names an envelope; never 0. Any thread. */
uint64_t dedup_key(struct slice sender, struct slice id);

/* What remembers one envelope. */
struct dedup_entry {
    uint64_t key;
    uint32_t number; /* tells it from one of a later envelope with the same id; 0: nothing remembers it */
};

/* Remembers it from now on (steady clock). Number 0: it is remembered already. Any thread. */
struct dedup_entry dedup_take(uint64_t key, uint64_t now_ms);

/* It was refused after all: a retry may pass. One that has passed since, because this was forgotten anyway, stays
 * remembered. Any thread. */
void dedup_forget(struct dedup_entry entry);

struct dedup_figures {
    uint64_t remembered; /* now; those over their time count until their place is needed */
    uint64_t evicted;    /* forgotten before their time because there were too many */
};

void dedup_read(struct dedup_figures *out);

#endif
