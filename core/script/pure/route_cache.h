/* What routes with a declaration (declaration.h) have decided, by the values of the fields that they declare: looked up
 * before Lua is asked. One to a state, so each reactor has its own, and a new version of the scripts begins with an
 * empty one. On the state's thread. Inside of the script room.
 *
 * A decision says who is to get an envelope, not who is there: selectors are looked up when it is carried out, whether
 * it was kept or not. Only one whose route asked the bridge for agents ends with the next change of the registry. */
#ifndef LUADUCT_SCRIPT_PURE_ROUTE_CACHE_H
#define LUADUCT_SCRIPT_PURE_ROUTE_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct decision;
struct script;
struct script_state;

/* The most that one state keeps. Enough for some thousands of agents by some intents; memory then stays a small part of
 * script.memoryLimit (a sixteenth of it at most), which it counts to. */
#define ROUTE_CACHE_ENTRIES 4096
#define ROUTE_CACHE_BYTES (1u << 20)

/* A key of more bytes, or a decision of more, is not kept: the copy would cost what the call does, and one sender could
 * fill the cache with a few of them. */
#define ROUTE_CACHE_KEY_BYTES 1024
#define ROUTE_CACHE_ENTRY_BYTES (16u << 10)

struct kept_route;

struct route_cache {
    struct kept_route **buckets; /* ROUTE_CACHE_ENTRIES; NULL before the first is kept */
    struct kept_route **ring;    /* all, for the clock: [0..count) */
    unsigned count, hand;
    size_t bytes, bytes_most;
    /* The key that was looked up last: route_cache_keep keeps by it. Length 0: it is too long. */
    size_t key_length;
    uint64_t key_hash;
    uint64_t registry; /* the registry's changes then */
    char key[ROUTE_CACHE_KEY_BYTES];
    _Atomic uint64_t hits, misses;
    _Atomic uint64_t uncached; /* looked up or decided, and too large to keep */
    _Atomic uint64_t evicted;  /* to make room */
    _Atomic uint64_t outdated; /* the registry changed */
    _Atomic uint64_t shown_entries, shown_bytes;
};

enum route_found {
    ROUTE_UNKNOWN, /* the route has to be asked */
    ROUTE_NOTHING, /* it returned nil */
    ROUTE_DECIDED, /* *out is the state's, as of script_route */
};

/* What this script's route decides for the envelope of the call under way. `number`: of the script in its chain.
 * Allocates nothing. */
enum route_found route_cache_find(struct script_state *state, const struct script *script, struct decision **out);

/* Keeps what the route answered that was looked up last, and has been asked since; NULL: nil. Without memory it is not
 * kept. */
void route_cache_keep(struct script_state *state, const struct decision *decision);

/* Forgets all. */
void route_cache_clear(struct script_state *state);

#endif
