/* Whether the process may still grow because of input. Whoever is about to keep something large or numerous of what a
 * peer sent (a frame, a message in assembly, a body) asks here first, and answers `overloaded` when the answer is no.
 *
 * The budget is kept by an estimate: what the memory controller last measured, and by how much the pools, where input
 * lands, have grown since, which is exact. A thread asks for 64 KiB of permission at a
 * time, so that asking costs a subtraction; what it gives back it does not tell, the next estimate sees it.
 *
 * Two lines: peers that sent little lately may go on for a while after those who sent much must stop. */
#ifndef LUADUCT_MEMORY_ADMISSION_H
#define LUADUCT_MEMORY_ADMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum admission {
    ADMISSION_OPEN,
    ADMISSION_TIGHT,  /* the memory level is critical: no new work, what is under way goes on */
    ADMISSION_CLOSED, /* the last estimate found no room, not even for the light */
};

/* For one relaxed load in hot code. Set by the controller, and to ADMISSION_CLOSED by whoever is refused. */
extern atomic_uint admission_state;

static inline bool admission_is_tight(void)
{
    return __builtin_expect(atomic_load_explicit(&admission_state, memory_order_relaxed) != ADMISSION_OPEN, 0);
}

/* One slow agent may keep this much waiting while memory is tight, whatever limits.sendQueueBytes says. */
#define ADMISSION_QUEUE_BYTES (64u << 10)

/* Below this a block is too small to ask for by itself. */
#define ADMISSION_SMALL_BYTES 4096u

/* Bytes. `light`: where the process must stop growing at all; `heavy`: where those must stop who sent much. UINT64_MAX:
 * no line. `alarm` (may be NULL) is called on the asking thread when it is time to measure again, and must be cheap.
 * Main thread, any time. */
void admission_start(uint64_t light, uint64_t heavy, void (*alarm)(void));

/* The controller: what the process uses, measured, and the pools' bytes at that time; and the state by its level. It
 * ends ADMISSION_CLOSED when there is room again. */
void admission_update(uint64_t used, uint64_t pools, enum admission state);

/* The calling thread works for a peer that sent much lately, or for one that did not (the start). */
extern _Thread_local bool admission_heavy;

/* What the thread may still take without asking. */
extern _Thread_local int64_t admission_credit;
bool admission_ask(size_t size);

/* May the process grow by that many bytes? Any thread. */
static inline bool admission_take(size_t size)
{
    if (__builtin_expect(admission_credit >= (int64_t)size, 1)) {
        admission_credit -= (int64_t)size;
        return true;
    }
    return admission_ask(size);
}

/* The same as if the peer had sent little: for the short rest of what has been read already, whose refusal would end
 * the connection. */
static inline bool admission_take_rest(size_t size)
{
    bool heavy = admission_heavy;
    admission_heavy = false;
    bool may = admission_take(size);
    admission_heavy = heavy;
    return may;
}

/* What is taken without asking, because it is small beside something that was asked for: the next question comes
 * sooner. */
static inline void admission_charge(size_t size)
{
    admission_credit -= (int64_t)size;
}

/* How often somebody was refused. */
uint64_t admission_refusals(void);

#endif
