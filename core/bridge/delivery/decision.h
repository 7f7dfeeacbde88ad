/* What `route` decided: data, not an act. The script room fills it in, delivery carries it out. */
#ifndef LUADUCT_BRIDGE_DECISION_H
#define LUADUCT_BRIDGE_DECISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "memory/buffer.h"

enum decision_kind {
    DECISION_DEFAULT,   /* `to` if it is set, else broadcast */
    DECISION_TO,        /* the agents named in ids, an absent one's mailbox */
    DECISION_ALL,       /* every connected agent that matches */
    DECISION_ANY,       /* the least busy connected agent that matches */
    DECISION_BROADCAST, /* all connected but the sender */
    DECISION_REPLY,     /* a new envelope back to the sender */
    DECISION_DROP,      /* nobody */
};

/* Which agents: all the given attributes must hold; an absent one has data NULL. */
struct selector {
    struct slice role, label, intent, tool, id;
};

struct decision_item {
    enum decision_kind kind;
    unsigned id_count;
    uint32_t expires_ms;      /* from now; of several in one list the shortest holds; 0: it says nothing */
    const struct slice *ids;  /* DECISION_TO, unescaped text */
    struct selector selector; /* DECISION_ALL, DECISION_ANY */
    bool wait;                /* DECISION_ANY: for an agent that is not full, where there is none */
    struct slice payload;     /* DECISION_REPLY: JSON text */
    struct slice reason;      /* DECISION_DROP */
    bool tell;                /* DECISION_DROP: the sender hears of it */
};

/* A route may return this many decisions in one list: more is a mistake in the script. */
#define DECISION_ITEMS_MAXIMUM 64

/* All text in it belongs to whoever made it and stays valid until that script state runs its next hook. */
struct decision {
    unsigned count;
    struct decision_item items[DECISION_ITEMS_MAXIMUM];
};

/* Appends it as a script would write it, without the `bridge.`: `to{"a", "b"}`, `any{role = "coder"}`, `nil` for the
 * default rule, several in braces. */
void decision_write(struct buffer *out, const struct decision *decision);

/* The same without what a script says in it: for those who may not see payloads. */
void decision_write_outline(struct buffer *out, const struct decision *decision);

#endif
