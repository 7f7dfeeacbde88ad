/* Who somebody is, as far as a credential tells. What a connection or a request may do is judged by this alone, never
 * by what the peer says of itself. Immutable, and shared by reference; holds no secret. */
#ifndef LUADUCT_RUNTIME_IDENTITY_H
#define LUADUCT_RUNTIME_IDENTITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/slice.h"

/* By which credential. */
enum identity_kind {
    IDENTITY_SHARED,      /* auth.token: whoever has it is the same to us */
    IDENTITY_TOKEN,       /* a line of auth.tokens */
    IDENTITY_JWT,         /* a JSON Web Token */
    IDENTITY_CERTIFICATE, /* a client certificate */
    IDENTITY_HOOK,        /* the script's `authenticate` */
    IDENTITY_SOCKET,      /* none: it came by the administration socket */
    IDENTITY_KINDS,
};
const char *identity_kind_name(enum identity_kind kind); /* "shared", "token", "jwt", "certificate", "hook", "socket" */

/* Lists may not be longer: a credential is no database. */
#define IDENTITY_LIST_MAXIMUM 256

/* The role of identities that may administer. */
#define IDENTITY_ROLE_ADMIN "admin"

/* 0: the credential says nothing of it, and the configuration's `limits` rule. */
struct identity_limits {
    uint32_t messages_per_second, message_burst;
    uint32_t connections;
    uint64_t bytes_per_second;
};

struct identity {
    atomic_uint references;
    enum identity_kind kind;
    struct slice name;  /* of its kind the only one; empty for the shared token and the socket */
    struct slice owner; /* "token:alice", "shared": by this it is told from all others, in the registry and in logs */
    struct slice_list roles;
    struct slice_list client_ids;  /* that it may take; with * for any text. Empty: the credential names none */
    struct slice_list agent_roles; /* that it may register as; the same */
    struct slice_list labels;      /* that it vouches for; empty: the agent says what it likes */
    struct identity_limits limits;
    int64_t expires_ms; /* wall clock; 0: never */
    uint64_t mark;      /* of the credential itself: whether it is still the same one */
};

/* What identity_new copies. */
struct identity_source {
    enum identity_kind kind;
    struct slice name;
    struct slice_list roles, client_ids, agent_roles, labels;
    struct identity_limits limits;
    int64_t expires_ms;
    uint64_t mark;
};

/* One reference for the caller. NULL: no memory. All of these: any thread. */
struct identity *identity_new(const struct identity_source *source);

/* Into the record that is being written, and out of it: a reference for the caller, whose credential is to be looked at
 * anew (standing_renew). NULL is one too. False: no memory, or the record is not as it should be. */
struct channel_writer;
struct channel_reader;
void identity_write(const struct identity *identity, struct channel_writer *channel);
bool identity_read(struct channel_reader *channel, struct identity **out);

/* The shared token's, and the administration socket's, which is an administrator: lasting ones, a reference for the
 * caller all the same. */
struct identity *identity_shared(bool admin);
struct identity *identity_socket(void);

static inline struct identity *identity_retain(struct identity *identity)
{
    if (identity)
        atomic_fetch_add_explicit(&identity->references, 1, memory_order_relaxed);
    return identity;
}

void identity_release(struct identity *identity); /* NULL is fine */

/* Gives *place up and takes `identity` with the caller's reference. */
static inline void identity_put(struct identity **place, struct identity *identity)
{
    identity_release(*place);
    *place = identity;
}

/* NULL is a nobody, the same as any other nobody. */
static inline struct slice identity_owner(const struct identity *identity)
{
    return identity ? identity->owner : slice_from("", 0);
}

/* Itself, if it is told from all others; NULL for the shared token, which anybody may have, and for the operator. */
const struct identity *identity_counted(const struct identity *identity);

struct party;

/* By which limits know it, with the limits that its credential gives it: a reference, see party_of_identity. */
struct party *identity_party(const struct identity *identity);

/* For tables that are shared by all who are the same: limits, counters. */
static inline uint64_t identity_key(const struct identity *identity)
{
    return hash_slice(identity_owner(identity));
}

bool identity_same(const struct identity *a, const struct identity *b);
bool identity_has_role(const struct identity *identity, struct slice role); /* NULL has none */
bool identity_expired(const struct identity *identity, int64_t wall_ms);

/* Whether the agent that holds this identity may be called so and have this role. `strict` is what a credential that
 * says nothing means: then no clientId is allowed, and no role but "agent"; else all are. The shared token, the socket
 * and a nobody may take any. */
bool identity_may_take(const struct identity *identity, struct slice client_id, bool strict);
bool identity_may_be(const struct identity *identity, struct slice agent_role, bool strict);

/* The one text that the list leaves, if it is one and without *; else data NULL. */
struct slice identity_only(const struct slice_list *list);

#endif
