/* Senders whose messages make hooks overrun: after each overrun nothing more is taken of them for a pause that grows
 * with their number, so that one sender cannot take a reactor's time from the others. Across reactors, by a hash of the
 * identity, the agent's id or the address; a reconnect changes nothing. */
#ifndef LUADUCT_RUNTIME_SLOWDOWN_H
#define LUADUCT_RUNTIME_SLOWDOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* The pause is the budget times the overruns so far, up to this many: a sender that goes on gets a 21st of the time. */
#define SLOWDOWN_STEPS 20u

/* No pause is longer, however large the budget. */
#define SLOWDOWN_MOST_MS 5000u

/* A sender without an overrun for so long is forgotten. */
#define SLOWDOWN_FORGET_MS 60000u

struct identity;
struct peer_address;

/* What a sender is known by wherever it connects: its identity where it has one of its own, else its agent's id (data
 * NULL: it has none), else its address. */
uint64_t slowdown_key(const struct identity *identity, struct slice agent, const struct peer_address *address);

/* Any thread; now_ms of the steady clock. */

/* One more overrun of that sender: gives the pause in ms. */
uint32_t slowdown_strike(uint64_t sender, uint32_t budget_ms, uint64_t now_ms);

/* What is left of its pause; 0: none. Costs a load while nobody is slowed. */
uint32_t slowdown_left(uint64_t sender, uint64_t now_ms);

/* Forgets all: tests. */
void slowdown_reset(void);

#endif
