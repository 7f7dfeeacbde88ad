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

/* Remembers it from now on (steady clock). False: it is remembered already. Any thread. */
bool dedup_take(uint64_t key, uint64_t now_ms);

/* It was refused after all: a retry may pass. Any thread. */
void dedup_forget(uint64_t key);

struct dedup_figures {
    uint64_t remembered; /* now; those over their time count until their place is needed */
    uint64_t evicted;    /* forgotten before their time because there were too many */
};

void dedup_read(struct dedup_figures *out);

#endif
