/* The loader: a thread that brings new versions of scripts and configuration into use while the bridge serves. It reads
 * and checks everything by itself, in states that no agent ever meets; then it hands each reactor a state, which takes
 * it up between two envelopes.
 *
 *   read ─► load ─► try the hooks ─► a state for each reactor ─► ask what is kept ─► switch all ─► settle
 *     │       │           │                                            │                 │
 *     └───────┴───────────┴──────── refused: the scripts stay ─────────┴──── undo all ◄──┘
 *
 * One thing at a time, in the order in which it was asked for. */
#ifndef LUADUCT_RUNTIME_LOADER_H
#define LUADUCT_RUNTIME_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/code.h"
#include "runtime/reactor.h"
#include "runtime/reload/trial/canary.h"
#include "runtime/reload/trial/trial.h"

enum order_kind {
    ORDER_RELOAD,  /* read the files again */
    ORDER_REVIEW,  /* those of credentials and access rules alone */
    ORDER_RETURN,  /* to a version that is kept */
    ORDER_PROMOTE, /* what is on trial comes into use */
    ORDER_ABORT,   /* what is on trial goes */
};

/* What somebody asks of the loader, and how it went. */
struct order {
    struct errand errand; /* brings it back to its reactor */
    struct order *next;
    struct reactor *reactor; /* whose errand; NULL: nobody waits, it is freed */
    enum order_kind kind;
    const char *cause;        /* for the log: "SIGHUP" */
    unsigned number;          /* ORDER_RETURN: to which */
    bool on_trial;            /* ORDER_RELOAD, ORDER_RETURN: not for all at once */
    struct trial trial;       /* … but so */
    struct standing standing; /* the loader's: of the files as they are now */

    enum code code; /* CODE_OK, or why not: CODE_RELOAD_FAILED, CODE_BUSY, CODE_NOT_FOUND, CODE_DRAINING */
    char text[1024];
    unsigned version, previous;
    char hash[SOURCES_HASH_BYTES];
    char restart_needed[512]; /* keys that changed and need a restart, with commas between */
    uint64_t took_ns;

    void (*answered)(struct order *order); /* on the reactor's thread, inside a pass; it owns the order */
    void *owner;                           /* whoever `answered` tells */
};

/* All zero but for what is given; NULL: no memory. */
struct order *order_new(enum order_kind kind, const char *cause);

/* --- Main --- */

/* Makes the first version and a state for each reactor, in reactor->scripts. False: *error says why. */
bool loader_start(const struct config *config, const struct config_source *source, struct reactor *reactors,
                  unsigned count, char *error, size_t error_size);

/* The thread, once the reactors run. False: it cannot be started, and everything stays as it is. */
bool loader_run(void);

/* Before the reactors stop: what is under way is ended; supervision_wait(loader_ended), then loader_stop. */
void loader_request_stop(void);
bool loader_ended(void);
void loader_stop(void);

/* --- Any thread --- */

/* Takes the order. */
void loader_order(struct order *order);

/* As an order that nobody waits for: its outcome goes to the log. */
void loader_reload(const char *cause);

/* The same for what revokes: credentials, access rules, certificates. */
void loader_review(const char *cause);

/* Takes a slot that no reactor uses any more. */
void loader_bury(struct script_slot *slot);

/* Orders to load scripts and config since the start, and how the last one went; true: there was none. One that came
 * during a trial (CODE_BUSY) is no failure of the files. */
struct reload_figures {
    unsigned long long done, refused;
    bool last_good;
};
void loader_read_figures(struct reload_figures *out);

/* How the trial stands; false: there is none, and *out tells of the last one. */
bool loader_canary(struct canary_view *out);

/* Whether a version is on trial, or an order is carried out that will put one there. */
bool loader_tries(void);

#endif
