/* The memory controller (engine "gcOptimization"): main looks at the memory at an interval, and at once when somebody
 * is refused room (memory/admission.h); controller.h decides; what is decided is carried out here and, for what belongs
 * to reactors, in shed.c on their threads. Switched off it only looks. */
#ifndef LUADUCT_RUNTIME_PRESSURE_H
#define LUADUCT_RUNTIME_PRESSURE_H

#include "runtime/config/config.h"
#include "runtime/pressure/controller.h"
#include "runtime/pressure/sampler.h"

/* Main thread, before the reactors start. `wake` makes main call pressure_tick soon; any thread calls it. */
void pressure_start(const struct config *config, void (*wake)(void));

/* Main thread, after the reactors ended. */
void pressure_stop(void);

/* Main thread: looks when it is time, acts, and gives the milliseconds until it wants to be called again. */
int pressure_tick(void);

/* Any thread, at run time. Off: levels and figures go on, nothing is refused, paused, trimmed or collected by it, and
 * scripts collect in LuaJIT's own way. */
void pressure_set_enabled(bool enabled);
bool pressure_enabled(void);

/* By the last look. Any thread. */
enum pressure_level pressure_level(void);

/* Somebody wants a full cycle in every Lua state, and unused memory given back. Returns at once; figures show when it
 * is done. Any thread. */
void pressure_order_collection(void);

/* An alert wants memory given back: unused memory, a full cycle, and those who send most are not read until the next
 * look at the memory. Returns at once; nothing while the engine is off. Any thread. */
void pressure_order_step(void);

/* The ceiling of one script state, bytes: all of them together get at most half of the budget, or script.memoryLimit
 * each where that is less. */
uint64_t pressure_script_limit(const struct config *config);

/* What everybody may see. */
struct pressure_figures {
    bool enabled;
    enum pressure_level level;
    uint64_t budget; /* CONFIG_UNLIMITED: none */
    struct memory_sample sample;
    struct memory_surroundings surroundings;
    bool has_trend;
    double trend, fit;           /* bytes per second, r² */
    double seconds_to_threshold; /* negative: not by the trend */
    double history_share;
    uint64_t leak_alerts, pressure_alerts; /* the latter: how often the level rose to high or critical */
    uint64_t orders;                       /* collections of all states that the controller ordered */
    uint64_t trims, trimmed_bytes;         /* bytes: by which the process shrank meanwhile */
    uint64_t history_bytes_shed;
    uint64_t paused, resumed, closed; /* connections */
    uint64_t refused_connections, refused_requests, refused_growth;
};

/* Any thread. */
void pressure_read(struct pressure_figures *out);

#endif
