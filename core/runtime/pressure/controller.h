/* What to do about memory: the level by what is used of the budget, and which measures are due. Pure, a function of the
 * looks that it is given; pressure.c carries the orders out.
 *
 *   share of the budget   level      what is done from there on
 *   below 0.6             low        what was taken back is given again, step by step
 *   0.6                   moderate
 *   0.75                  high       from phase2.gcOptimization.memoryThreshold on: trim, collect, shorten the history
 *   0.9                   critical   refuse new work, pause who sends most; while it lasts, close who holds most
 *
 * A level is entered at its share and left 0.05 below, so that it does not flutter. */
#ifndef LUADUCT_RUNTIME_CONTROLLER_H
#define LUADUCT_RUNTIME_CONTROLLER_H

#include "runtime/pressure/trend.h"

enum pressure_level { PRESSURE_LOW, PRESSURE_MODERATE, PRESSURE_HIGH, PRESSURE_CRITICAL };

/* "low" … */
const char *pressure_level_name(enum pressure_level level);

/* The level after one with that share in use. */
enum pressure_level pressure_level_after(enum pressure_level before, double share);

struct pressure_rules {
    uint64_t budget;  /* bytes; UINT64_MAX: none, then the level is always low */
    double threshold; /* share at which measures begin */
    uint64_t cooldown_ms, horizon_ms;
    uint64_t interval_ms; /* between two regular looks */
};

/* Measures come no faster than this, however often somebody looks. */
#define PRESSURE_TRIM_DISTANCE_MS 200
#define PRESSURE_PAUSE_DISTANCE_MS 50

/* Critical for so many intervals in a row: connections are closed, one an interval. */
#define PRESSURE_LAST_RESORT_INTERVALS 3

/* The history is halved down to this share of its bytes. */
#define PRESSURE_HISTORY_LEAST (1.0 / 16)

struct pressure_look {
    uint64_t now_ms;      /* steady clock, never 0 */
    uint64_t used;        /* bytes of the process */
    uint64_t heaps;       /* of the scripts */
    uint64_t collections; /* completed in all script states together */
    bool regular;         /* one of those that come at the interval; others are alarms */
    bool enabled;         /* false: only look */
};

enum pressure_cause { PRESSURE_NO_CAUSE, PRESSURE_BY_THRESHOLD, PRESSURE_BY_TREND };

struct pressure_orders {
    enum pressure_cause cause;
    bool rose, fell;  /* the level */
    bool leaking;     /* the floor rises: an alert */
    bool trim;        /* give unused memory back */
    bool collect;     /* a full cycle in every Lua state */
    bool set_history; /* … to history_share */
    bool pause;       /* stop reading from more of those that send most */
    bool resume;      /* read again from half of them */
    bool close;       /* the connection that holds most */
};

struct pressure_controller {
    struct pressure_rules rules;
    enum pressure_level level;
    bool acting;          /* above the threshold */
    double history_share; /* 1: all that is configured */
    struct trend trend;
    struct leak leak;
    struct trend_line line;
    bool has_line;
    double seconds_to_threshold; /* negative: not by the trend */
    uint64_t collected_ms, trimmed_ms, history_ms, paused_ms, closed_ms, critical_since_ms; /* 0: never */
};

void controller_start(struct pressure_controller *controller, const struct pressure_rules *rules);
struct pressure_orders controller_decide(struct pressure_controller *controller, const struct pressure_look *look);

#endif
