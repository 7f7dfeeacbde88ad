/* What somebody may do: the rules of policies.access, or the built-in ones, applied to an identity and its agent.
 *
 * A policy is an immutable snapshot; which one is in use: standing.h. For an agent that registered it
 * is resolved once into a grant: the few rules that are about it at all, in which its messages are then looked up. With
 * a grant that is free (no rule restricts it) a message costs one test of a bit. */
#ifndef LUADUCT_RUNTIME_ACCESS_H
#define LUADUCT_RUNTIME_ACCESS_H

#include "runtime/identity/identity.h"
#include "runtime/limits/peer_address.h"
#include "script/rules/access.h"

struct config;
struct access_policy;

/* Reads the file that the configuration names; without one the built-in rules. One reference for the caller. NULL:
 * `error` is one line, with file and line. Not on a reactor. */
struct access_policy *access_policy_load(const struct config *config, script_log *log, char *error, size_t error_size);

struct access_policy *access_policy_retain(struct access_policy *policy);
void access_policy_release(struct access_policy *policy); /* NULL is fine */

/* Whom it is about. */
struct access_subject {
    const struct identity *identity; /* NULL: a nobody */
    struct slice agent, agent_role;  /* what it registered as; data NULL: no agent */
};

/* What is decided by no rule: everything for a nobody, the shared token and who may administer, and in the mode
 * original for all; nothing for others. */
bool access_may_send(const struct access_policy *policy, const struct access_subject *who, struct slice intent,
                     struct slice to);
bool access_may_broadcast(const struct access_policy *policy, const struct access_subject *who, struct slice intent);
bool access_may_see(const struct access_policy *policy, const struct access_subject *who, enum access_sight sight);

/* By default identities with the role `admin`. For a nobody the answer is whether it may if it is on this machine. */
bool access_may_administer(const struct access_policy *policy, const struct access_subject *who);

/* Whether a rule lets somebody administer; whether there is anybody like that it does not know. */
bool access_names_administrators(const struct access_policy *policy);

/* --- Of an agent --- */

/* Rules that are asked each time; with more of them the last answers are kept, which costs two hashes (bench/access).
 */
#define GRANT_ASKED 4u
#define GRANT_ANSWERS 64u

struct grant {
    struct access_policy *policy;         /* a reference */
    uint64_t *answers;                    /* GRANT_ANSWERS: a keyed hash of intent and recipient, its last bit the
                                             answer; NULL: there are few rules about sending */
    bool sends_all, broadcasts_all;       /* without a look at the rules */
    bool sends_else, broadcasts_else;     /* what no rule decides */
    uint32_t send_count, broadcast_count; /* of rules: first those about sending */
    const struct access_rule *rules[];
};

/* Resolves the policy for somebody. NULL: no memory. One thread. */
struct grant *grant_new(struct access_policy *policy, const struct access_subject *who);
void grant_free(struct grant *grant); /* NULL is fine */

bool grant_may_send(struct grant *grant, struct slice intent, struct slice to);
bool grant_may_broadcast(const struct grant *grant, struct slice intent);

/* --- Counting --- */

/* What was refused because of who asked. */
enum access_refusal {
    REFUSED_SEND,
    REFUSED_BROADCAST,
    REFUSED_SEE,
    REFUSED_ADMIN,
    REFUSED_BINDING,    /* a clientId, role or label that the credential does not allow */
    REFUSED_TAKEOVER,   /* a clientId that another identity holds */
    REFUSED_CREDENTIAL, /* a wrong or expired one, or none */
    REFUSED_ORIGIN,     /* of a web page, or a Host */
    ACCESS_REFUSALS,
};
const char *access_refusal_name(enum access_refusal kind);

/* Counts it, and says so in the log, at most so often. `detail`: of what; may be empty. Any thread. */
void access_refused(enum access_refusal kind, const struct identity *identity, struct slice detail);
/* The same, with the address that limits count by; NULL: there is none. */
void access_refused_from(const struct peer_address *from, enum access_refusal kind, const struct identity *identity,
                         struct slice detail);
uint64_t access_refused_count(enum access_refusal kind);

#endif
