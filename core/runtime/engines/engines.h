/* The optimisations that can be switched on and off by themselves, while the bridge runs: object pools, the
 * memory-pressure controller, the worker pool. Without any of them the bridge works in the plain way.
 *
 *              wanted, and it starts
 *        off ──────────────────────► on
 *         ▲                          │ it fails (or does not start)
 *         └── not wanted ── degraded ◄┘
 *                             │ ▲ tried again, at first after a second, then ever less often
 *                             └─┘
 */
#ifndef LUADUCT_RUNTIME_ENGINES_H
#define LUADUCT_RUNTIME_ENGINES_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/config/config.h"

enum engine { ENGINE_POOLS, ENGINE_COLLECTOR, ENGINE_WORKERS, ENGINE_COUNT };

enum engine_state { ENGINE_OFF, ENGINE_ON, ENGINE_DEGRADED };

#define ENGINE_REASON_BYTES 192

struct engine_view {
    const char *name; /* as in the config: "objectPooling" … */
    bool wanted;
    enum engine_state state;
    char reason[ENGINE_REASON_BYTES]; /* degraded: why */
    double retry_in_ms;               /* degraded: until it is tried again */
    uint64_t failures;                /* since the start */
};

/* --- Main thread --- */

/* Starts those that the config wants. One that does not start is degraded, and the bridge goes on without. */
void engines_start(const struct config *config);

/* Does what is due: what was asked for, what failed, what is to be tried again. Gives the steady clock's milliseconds
 * at which something will be due without a wake-up; UINT64_MAX: nothing. */
uint64_t engines_tick(uint64_t now_ms);

void engines_stop(void);

/* --- Any thread --- */

/* Asks for it to be on or off; main is woken, and does it soon. Also takes a degraded engine out of its pause. */
void engines_want(enum engine engine, bool on);

/* It does not work any more: main switches it off, says so and tries it again later. `reason` is copied. */
void engines_fail(enum engine engine, const char *reason);

/* ENGINE_COUNT when there is none of that name. */
enum engine engines_find(const char *name);
void engines_read(struct engine_view out[ENGINE_COUNT]);

#endif
