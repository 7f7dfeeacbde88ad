/* What an agent said of itself when it registered. Immutable and shared by reference: changing it means a new one. */
#ifndef LUADUCT_BRIDGE_PROFILE_H
#define LUADUCT_BRIDGE_PROFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "bridge/delivery/decision.h"

/* Attributes that selectors match; a profile holds one tag per value. */
enum tag_kind { TAG_ROLE, TAG_LABEL, TAG_TOOL, TAG_INTENT };

struct profile_tag {
    uint64_t hash; /* of kind and text, keyed (base/hash.h) */
    uint32_t kind;
    uint32_t length;
    const char *text; /* unescaped */
};

struct profile {
    atomic_uint references;
    uint32_t tag_count;
    uint32_t max_concurrent_tasks;
    bool has_features;   /* registered with any `features`: no grace period */
    bool wants_batches;  /* "batch" among them */
    bool yields;         /* its owner does not hold the id against others */
    size_t size;         /* bytes of the block, for the pool */
    struct slice id;     /* unescaped text */
    struct slice role;   /* unescaped text */
    struct slice labels; /* JSON arrays as sent, "[]" when absent */
    struct slice tools;
    struct slice intents;
    struct slice owner; /* by whose identity it registered; empty: nobody's */
    const struct profile_tag *tags;
};

/* The same as registration.h's fields, in the form that profiles keep. */
struct profile_source {
    struct slice id, role;               /* unescaped text */
    struct slice labels, tools, intents; /* validated JSON arrays; length 0 means [] */
    struct slice owner;                  /* text */
    uint32_t max_concurrent_tasks;
    bool has_features, wants_batches, yields;
};

/* Copies everything; one reference for the caller; NULL when memory is out. Any thread. */
struct profile *profile_new(const struct profile_source *source);

static inline struct profile *profile_retain(struct profile *profile)
{
    atomic_fetch_add_explicit(&profile->references, 1, memory_order_relaxed);
    return profile;
}

void profile_release(struct profile *profile); /* NULL is fine */

uint64_t tag_hash(enum tag_kind kind, struct slice text);
bool profile_matches(const struct profile *profile, const struct selector *selector);

#endif
