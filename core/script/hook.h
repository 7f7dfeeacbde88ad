/* The door of the script room: loads user scripts into a Lua state and calls their hooks. One state belongs to one
 * thread, whose stack is 4 MiB or more (the default is 8): the one that created it, until another takes it over
 * (script_adopt); what further threads may call says so.
 *
 * The chain: user scripts in the order of `paths`, the mode's behaviour (luaduct.bridge.<mode>) last.
 *   route, on_undeliverable   the first that returns something other than nil decides
 *   on_register               each is asked: one refusal refuses, a change is what the next one sees
 *   on_disconnect, on_reload  each is told
 *   authenticate, on_identify the first that returns something other than nil decides (script/identify.h)
 *
 * A hook may wait (SCRIPT_WAITS) for time, for a worker or for agents' replies; it then goes on in a later call of
 * script_resume. */
#ifndef LUADUCT_SCRIPT_HOOK_H
#define LUADUCT_SCRIPT_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "bridge/delivery/decision.h"

#include "script/bounds/breaker.h"
#include "workers/value.h"
#include "workers/worker_pool.h"

struct lua_State;
struct envelope;
struct envelope_defaults;
struct agent_view;
struct watchdog;
struct script_state;
struct script_sources;
struct script_question;
struct script_replies;

enum script_hook {
    HOOK_ROUTE,
    HOOK_ON_REGISTER,
    HOOK_ON_UNDELIVERABLE,
    HOOK_ON_DISCONNECT,
    HOOK_ON_RELOAD,
    HOOK_AUTHENTICATE, /* these two: identify.h */
    HOOK_ON_IDENTIFY,
    HOOK_TABLE_COUNT,              /* those above are entries of a script's table */
    HOOK_TIMER = HOOK_TABLE_COUNT, /* functions of luaduct.after and luaduct.every */
    HOOK_COUNT,
};

/* What becomes of the decisions of routes that declare by which fields they decide (pure/declaration.h). What such a
 * route may not do is refused in each case. */
enum route_caching {
    ROUTE_CACHING_OFF,
    ROUTE_CACHING_ON,
    ROUTE_CACHING_CHECKED, /* kept, and each time worked out as well: another decision than before is a mistake */
};

enum script_log_level { SCRIPT_LOG_DEBUG, SCRIPT_LOG_INFO, SCRIPT_LOG_WARN, SCRIPT_LOG_ERROR };

/* Gets what scripts say (print, luaduct.log) and what went wrong in them. The text may have several lines (a
 * traceback), carries no trailing newline, is at most some KiB long and is borrowed for the call. On the state's
 * thread. */
typedef void script_log(void *context, enum script_log_level level, struct slice text);

/* A hook that was switched off because it kept overrunning (bounds/breaker.h), or is on again. */
#define SCRIPT_SWITCH_TEXT_BYTES 512
struct script_switch {
    enum script_hook hook;
    const char *path; /* of the script */
    bool off;
    const char *text; /* one line: which, and why */
};
typedef void script_switched(void *context, const struct script_switch *what);

/* Everything in it is borrowed until script_state_new returns, but for log, switched, log_context and wake_fd. */
struct script_options {
    const char *const *paths; /* user scripts; their messages name them by these paths */
    size_t path_count;
    const char *folder;             /* where `require` looks; NULL: each script's own folder */
    struct script_sources *sources; /* the files' texts: filled in while open; NULL: the state's own. Retained */
    bool inert;                     /* for trying the hooks: what they say is not logged, only how they fail */
    bool reads_only;       /* for looking (prompt/prompt.h): once loaded, whatever would act on the bridge raises */
    const char *mode;      /* "original" or "enhanced": the module luaduct.bridge.<mode> */
    uint32_t budget_ms;    /* a hook that runs longer is stopped */
    uint64_t memory_limit; /* bytes, a hard ceiling on the state's heap and the hook's arena together */
    bool jit;              /* JIT on: a compiled loop cannot be stopped */
    enum route_caching caching;
    script_log *log;           /* not NULL */
    script_switched *switched; /* on the state's thread, with log_context; NULL: it is logged */
    void *log_context;
    struct breaker_rules breaker;
    int wake_fd;                                /* for the watchdog: of wake_call, or -1 */
    void (*open_bundle)(struct lua_State *lua); /* makes require("luaduct.…") find the compiled-in modules */
};

/* Loads and runs the scripts. NULL: `error` holds one line, `file:line: message`. watchdog_install must have been
 * called. */
struct script_state *script_state_new(const struct script_options *options, char *error, size_t error_size);

/* The calling thread takes over a state that no other uses any more, before the supervisor watches it. */
void script_adopt(struct script_state *state);

/* The supervisor must have let go of the watchdog before. The state's thread, or one that took it over. NULL is fine.
 */
void script_state_free(struct script_state *state);

/* How many of its hooks wait. */
unsigned script_wait_count(const struct script_state *state);

/* What the supervising thread checks (watchdog.h). Lives as long as the state. */
struct watchdog *script_watchdog(struct script_state *state);

/* Whether any script of the chain, or the mode, has that hook. Calling one that nobody has is allowed and does nothing.
 */
bool script_has_hook(const struct script_state *state, enum script_hook hook);

/* The registered truth about who sent an envelope, unescaped text; labels is a JSON array. */
struct script_sender {
    struct slice id, role, labels;
    struct slice identity; /* data NULL: nil */
};

enum script_result {
    SCRIPT_DECIDED, /* *out is set */
    SCRIPT_FAILED, /* raised, overran, ran out of memory, returned nonsense or is switched off; counted and logged here.
                      onError rules */
    SCRIPT_WAITS,  /* the hook waits: script_take_wait must follow at once */
};

/* Runs the chain's `route`. `sender` is NULL for a caller over HTTP without an identity. *out is the state's own, valid
 * with all its text until the state's next call; the same holds for fields that the script assigned, which are in the
 * envelope now (envelope_set_*), also when the route failed after assigning (parse again, or build from the original,
 * to go by the default rule with the fields as sent). */
enum script_result script_route(struct script_state *state, struct envelope *envelope,
                                const struct script_sender *sender, const struct envelope_defaults *defaults,
                                struct decision **out);

/* Whether the script that was asked last in the last script_route or script_resume was not, because what it would say
 * is known. */
bool script_from_cache(const struct script_state *state);

/* Runs the chain's `on_undeliverable(envelope, reason, recipient, bridge)`. `reason` is a name such as "no_recipient";
 * `recipient` may be empty (data NULL: nil). *out is NULL when the script decided nothing. */
enum script_result script_on_undeliverable(struct script_state *state, struct envelope *envelope,
                                           const struct script_sender *sender, const struct envelope_defaults *defaults,
                                           struct slice reason, struct slice recipient, struct decision **out);

/* What an agent wants to register as. Text unescaped; the lists are JSON arrays. Changed fields point into the state
 * and stay valid until its next call. */
struct script_registration {
    struct slice id;   /* scripts cannot change it */
    struct slice role; /* 1 to 256 bytes after a change, as on the wire */
    struct slice labels, tools, intents;
    uint32_t max_concurrent_tasks;
    struct slice identity; /* data NULL: nil; only shown to the script */
    uint64_t origin;       /* a hash of where it comes from: to the breaker, who asks */
};

/* Runs the chain's `on_register(agent, bridge)`. SCRIPT_DECIDED: let it in as *registration says now. SCRIPT_FAILED:
 * refused, *reason is the text for the agent, valid until the state's next call; a hook that failed refuses too. While
 * it waits, *registration and its texts must stay. */
enum script_result script_on_register(struct script_state *state, struct script_registration *registration,
                                      struct slice *reason);

/* Runs the chain's `on_disconnect(agent, reason, bridge)`. Takes the view. SCRIPT_DECIDED, or SCRIPT_WAITS. */
enum script_result script_on_disconnect(struct script_state *state, struct agent_view *agent, struct slice reason);

/* What scripts keep over a reload (luaduct.state): appended as one value. False: *error names script and key, and the
 * value cannot be kept: it holds something that is no plain data, or takes more than `most` bytes. */
bool script_save_kept(struct script_state *state, size_t most, struct buffer *out, char *error, size_t error_size);

/* Gives it to the scripts of a state that has not run a hook yet, by the paths of their files, and runs the chain's
 * `on_reload(previous_version, luaduct.state)`, in which nothing may wait. `kept` NULL: there is none. False: memory is
 * out, or a hook failed, which is counted and logged. */
bool script_restore_kept(struct script_state *state, const struct value *kept, unsigned previous_version);

/* Whether the call that gave SCRIPT_FAILED last was stopped for running too long. True once for each. */
bool script_take_overrun(struct script_state *state);

/* --- Hooks that wait ---------------------------------------------------------------------------------------------
 * A hook that calls luaduct.sleep, luaduct.workers.execute, bridge.request or bridge.gather stops there, and the caller
 * gets SCRIPT_WAITS. Its coroutine, its texts and what it has decided so far are set aside in a script_wait, and the
 * state is free for other calls. Each wait is ended once, by script_resume (unless that gives SCRIPT_WAITS again) or by
 * script_abandon. */

struct script_wait;

/* The call that has just given SCRIPT_WAITS, the caller's from here on. It goes on using the envelope, the sender and
 * the defaults that the call was given: where those do not last, script_move_taken names their copies. */
struct script_wait *script_take_wait(struct script_state *state);

/* Before it is taken. */
void script_move_taken(struct script_state *state, struct envelope *envelope, const struct script_sender *sender,
                       const struct envelope_defaults *defaults);

/* What it waits for: replies to questions, or work to be done, or, without either, time. */
struct script_request {
    char operation[64]; /* name; empty: it sleeps, or asks */
    uint32_t ms;        /* how long it sleeps, or gathers; the task's timeoutMs, 0 when it names none */
    struct buffer data; /* one value; whoever hands it to a task takes it out */
    enum task_priority priority;
    struct script_question *questions; /* script/wait/ask.h; whoever puts them takes them out */
    unsigned question_count, needed;   /* replies that are enough */
    bool gathers;                      /* it gets whatever came, not one reply or a reason */
};
struct script_request *script_wait_request(struct script_wait *wait);

/* What the waiting call returns in Lua: nothing, the value, or nil, text and the code's name. Borrowed. */
struct script_answer {
    const struct value *value;
    const struct script_replies *replies; /* script/wait/ask.h */
    enum code code;                       /* not CODE_OK: an error, with its text */
    struct slice text;
};

/* What came of the hook, in the fields that the hook's own function fills. */
struct script_outcome {
    struct decision *decision; /* route, on_undeliverable */
    struct slice reason;       /* on_register that gives SCRIPT_FAILED */
};

/* Lets the hook go on. The wait is gone afterwards, but when SCRIPT_WAITS comes again: then it is the same one. */
enum script_result script_resume(struct script_state *state, struct script_wait *wait,
                                 const struct script_answer *answer, struct script_outcome *outcome);

/* Ends the hook where it waits. `why`: counted and logged as its failure; NULL: without a word. */
void script_abandon(struct script_state *state, struct script_wait *wait, const char *why);

/* Whether the time of each hook is taken from now on (script_add_collections has them as hook_times). */
void script_time_hooks(struct script_state *state, bool on);

/* Whether what its hooks do has no effect from now on (luaduct.shared, timers, sending …): they decide, as a shadow. */
void script_shadows(struct script_state *state, bool on);

/* Between two batches of events: pays the collector's debt in steps that aim at 500 µs in all. Two comparisons when
 * there is nothing to do. True: an ordered cycle (state/collect.h) is not done: call again soon. */
bool script_collect(struct script_state *state);

struct script_hook_statistics {
    uint64_t calls;    /* calls into Lua; one hook of a chain of three counts three */
    uint64_t errors;   /* failed calls, overruns and nonsense included */
    uint64_t overruns; /* stopped by the watchdog */
    uint64_t skipped;  /* not made, because the hook was switched off */
    uint64_t trips;    /* how often it was switched off */
};

/* What routes with a declaration have decided, kept (pure/route_cache.h). */
struct route_cache_statistics {
    uint64_t hits, misses;
    uint64_t uncached; /* too large to keep */
    uint64_t evicted, outdated;
    uint64_t entries, bytes; /* now */
};

struct script_statistics {
    struct route_cache_statistics route_cache;
    struct script_hook_statistics hooks[HOOK_COUNT];
    uint64_t heap_bytes;         /* Lua's heap and the hook's arena now */
    uint64_t heap_limit;         /* options.memory_limit */
    uint64_t full_collections;   /* forced ones: at the ceiling, to make room for a decode */
    uint64_t longest_collect_ns; /* the longest script_collect */
};

/* Any thread, while the state lives; each figure is whole, together they may be a moment apart. */
void script_read_statistics(const struct script_state *state, struct script_statistics *out);

/* Names everything that a script can reach: "ipairs", "string.find", "luaduct.log.info", "bridge.to". For tools and
 * tests; `found` must not call the state. False: memory is out, and some may be missing. */
bool script_list_names(struct script_state *state, void (*found)(void *context, const char *name), void *context);

/* "route", "on_register" … */
const char *script_hook_name(enum script_hook hook);

#endif
