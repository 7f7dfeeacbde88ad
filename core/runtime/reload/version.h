/* One version of what can be changed while the bridge runs: the files of the scripts as they were read, and the
 * configuration that they run by. Each load that succeeds gets the next number. */
#ifndef LUADUCT_RUNTIME_VERSION_H
#define LUADUCT_RUNTIME_VERSION_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/config/config.h"
#include "script/hook.h"
#include "script/state/collect.h"
#include "script/version/sources.h"

/* Versions that one may return to, the one in use among them. */
#define VERSIONS_KEPT 5

enum version_use { VERSION_KEPT, VERSION_CURRENT, VERSION_CANARY, VERSION_SHADOW };

/* What hooks did, of one state or of many. */
struct script_totals {
    struct script_hook_statistics hooks[HOOK_COUNT];
    uint64_t full_collections, longest_collect_ns, heap_bytes;
    struct script_collections collections;
    struct route_cache_statistics route_cache;
};
void script_totals_add(struct script_totals *totals, const struct script_state *state);

struct version {
    atomic_uint references;
    unsigned number;               /* 0: not in use yet */
    uint64_t read;                 /* higher than that of all whose files were read before */
    char hash[SOURCES_HASH_BYTES]; /* of the files' texts; without files, of the mode's own script */
    int64_t loaded_ms;             /* wall clock */
    const struct config *config;
    struct config *own_config; /* the same, but for the configuration that the process started with */
    struct script_sources *sources;
    struct script_totals past; /* of states that are gone; with the slots' mutex (slot.h) */
    char problem[256];         /* why it was taken back; empty: it was not; with the versions' mutex */
};

/* Takes `own_config`, when it is not NULL, and a reference to the sources; one reference for the caller. NULL: no
 * memory, and nothing was taken. */
struct version *version_new(const struct config *config, struct config *own_config, struct script_sources *sources);
/* The hash again, once the sources are complete. */
void version_rehash(struct version *version);

struct version *version_retain(struct version *version);
void version_release(struct version *version); /* NULL is fine */

/* --- All of them; any thread ----------------------------------------------------------------------------------------
 */

/* Gives the version its number, if it has none: before it is used, by which it may be seen. versions_add follows, or
 * versions_take_number when it does not come into use after all. */
void versions_number(struct version *version);
void versions_take_number(struct version *version);

/* Keeps the version, with its number, among those that one may return to. */
void versions_add(struct version *version);

/* The reference is the caller's; NULL: it is not kept (any more). */
struct version *versions_find(unsigned number);

void versions_set_use(struct version *current, struct version *trial, enum version_use trial_use);
struct version *versions_current(void); /* a reference; never NULL while the bridge runs */
void versions_set_problem(struct version *version, const char *problem);

struct version_view {
    struct version *version; /* a reference */
    enum version_use use;
    char problem[256];
};
/* The kept ones, the newest first; gives how many. */
unsigned versions_list(struct version_view views[VERSIONS_KEPT + 1]);

/* When no reactor runs. */
void versions_stop(void);

#endif
