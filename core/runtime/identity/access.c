#include "runtime/identity/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/wildcard.h"
#include "memory/pool.h"
#include "runtime/config/config.h"
#include "runtime/pressure/pressure.h"

struct access_policy {
    atomic_uint references;
    struct access_rules *rules;
    bool strict; /* who is known and not spoken of may do nothing */
};

/* --- The built-in rules --- */

static const struct slice any[] = {{"*", 1}}, agent_role[] = {{"agent", 5}}, reader_role[] = {{"reader", 6}};

/* The same as
 *   allow { role = "agent", send = "*", broadcast = "*" }
 *   allow { role = "reader", see = "*" }                   */
static const struct access_rule built_in_rules[] = {
    {.allows = true, .roles = {agent_role, 1}, .send = {any, 1}, .broadcast = {any, 1}},
    {.allows = true, .roles = {reader_role, 1}, .sights = (1u << ACCESS_SIGHTS) - 1},
};
static struct access_rules built_in = {.rules = built_in_rules, .count = 2};

/* --- Life --- */

#define NOBODY "nobody" /* in a rule's `kind` */

struct access_policy *access_policy_load(const struct config *config, script_log *log, char *error, size_t error_size)
{
    struct access_policy *policy = calloc(1, sizeof *policy);
    if (!policy) {
        snprintf(error, error_size, "not enough memory");
        return NULL;
    }
    atomic_init(&policy->references, 1);
    policy->strict = config->mode == CONFIG_MODE_ENHANCED;
    policy->rules = &built_in;
    if (!config->policies.access)
        return policy;
    const char *path = config->policies.access, *kinds[IDENTITY_KINDS + 2] = {NOBODY};
    for (unsigned kind = 0; kind < IDENTITY_KINDS; kind++)
        kinds[kind + 1] = identity_kind_name((enum identity_kind)kind);
    struct script_options options = {.paths = &path,
                                     .path_count = 1,
                                     .budget_ms = config->script.budget_ms,
                                     .memory_limit = pressure_script_limit(config),
                                     .log = log,
                                     .wake_fd = -1};
    policy->rules = access_rules_load(&options, kinds, error, error_size);
    if (policy->rules)
        return policy;
    free(policy);
    return NULL;
}

struct access_policy *access_policy_retain(struct access_policy *policy)
{
    if (policy)
        atomic_fetch_add_explicit(&policy->references, 1, memory_order_relaxed);
    return policy;
}

void access_policy_release(struct access_policy *policy)
{
    if (!policy || atomic_fetch_sub_explicit(&policy->references, 1, memory_order_acq_rel) > 1)
        return;
    if (policy->rules != &built_in)
        access_rules_free(policy->rules);
    free(policy);
}

/* --- Judging --- */

static bool any_matches(const struct slice_list *patterns, const struct slice_list *texts)
{
    for (uint32_t i = 0; i < texts->count; i++)
        if (wildcard_list_matches(patterns, texts->items[i]))
            return true;
    return patterns->count == 0;
}

static bool text_matches(const struct slice_list *patterns, struct slice text)
{
    return patterns->count == 0 || (text.data && wildcard_list_matches(patterns, text));
}

static bool is_about(const struct access_rule *rule, const struct access_subject *who)
{
    static const struct slice_list none = {NULL, 0};
    const struct identity *identity = who->identity;
    struct slice kind = slice_from_string(identity ? identity_kind_name(identity->kind) : NOBODY);
    return text_matches(&rule->kinds, kind) &&
           text_matches(&rule->names, identity ? identity->name : slice_from(NULL, 0)) &&
           any_matches(&rule->roles, identity ? &identity->roles : &none) &&
           any_matches(&rule->labels, identity ? &identity->labels : &none) &&
           text_matches(&rule->agents, who->agent) && text_matches(&rule->agent_roles, who->agent_role);
}

static bool by_default(const struct access_policy *policy, const struct identity *identity)
{
    return !policy->strict || !identity || identity->kind == IDENTITY_SHARED || identity->kind == IDENTITY_SOCKET ||
           identity_has_role(identity, SLICE(IDENTITY_ROLE_ADMIN));
}

static bool decides_send(const struct access_rule *rule, struct slice intent, struct slice to)
{
    return wildcard_list_matches(&rule->send, intent) && text_matches(&rule->to, to);
}

bool access_may_send(const struct access_policy *policy, const struct access_subject *who, struct slice intent,
                     struct slice to)
{
    for (size_t i = 0; i < policy->rules->count; i++) {
        const struct access_rule *rule = &policy->rules->rules[i];
        if (rule->send.count > 0 && is_about(rule, who) && decides_send(rule, intent, to))
            return rule->allows;
    }
    return by_default(policy, who->identity);
}

bool access_may_broadcast(const struct access_policy *policy, const struct access_subject *who, struct slice intent)
{
    for (size_t i = 0; i < policy->rules->count; i++) {
        const struct access_rule *rule = &policy->rules->rules[i];
        if (rule->broadcast.count > 0 && is_about(rule, who) && wildcard_list_matches(&rule->broadcast, intent))
            return rule->allows;
    }
    return by_default(policy, who->identity);
}

bool access_may_see(const struct access_policy *policy, const struct access_subject *who, enum access_sight sight)
{
    for (size_t i = 0; i < policy->rules->count; i++) {
        const struct access_rule *rule = &policy->rules->rules[i];
        if (rule->sights >> sight & 1 && is_about(rule, who))
            return rule->allows;
    }
    return by_default(policy, who->identity);
}

bool access_may_administer(const struct access_policy *policy, const struct access_subject *who)
{
    if (who->identity && who->identity->kind == IDENTITY_SOCKET)
        return true; /* the way out for who has locked himself out */
    for (size_t i = 0; i < policy->rules->count; i++) {
        const struct access_rule *rule = &policy->rules->rules[i];
        if (rule->admin && is_about(rule, who))
            return rule->allows;
    }
    return !who->identity || identity_has_role(who->identity, SLICE(IDENTITY_ROLE_ADMIN));
}

bool access_names_administrators(const struct access_policy *policy)
{
    for (size_t i = 0; i < policy->rules->count; i++)
        if (policy->rules->rules[i].admin && policy->rules->rules[i].allows)
            return true;
    return false;
}

/* --- Grants --- */

static size_t grant_bytes(const struct access_policy *policy)
{
    return sizeof(struct grant) + 2 * policy->rules->count * sizeof(const struct access_rule *);
}

static bool is_any(const struct slice_list *patterns)
{
    for (uint32_t i = 0; i < patterns->count; i++)
        if (slice_equal(patterns->items[i], SLICE("*")))
            return true;
    return false;
}

/* Rules behind one that decides everything are never asked: it becomes what holds else. */
static uint32_t resolve(const struct access_policy *policy, const struct access_subject *who, bool send,
                        const struct access_rule **out, bool *otherwise)
{
    uint32_t count = 0;
    *otherwise = by_default(policy, who->identity);
    for (size_t i = 0; i < policy->rules->count; i++) {
        const struct access_rule *rule = &policy->rules->rules[i];
        const struct slice_list *intents = send ? &rule->send : &rule->broadcast;
        if (intents->count == 0 || !is_about(rule, who))
            continue;
        if (is_any(intents) && (!send || rule->to.count == 0 || is_any(&rule->to))) {
            *otherwise = rule->allows;
            break;
        }
        out[count++] = rule;
    }
    while (count > 0 && out[count - 1]->allows == *otherwise) /* says nothing else than what holds else */
        count--;
    return count;
}

struct grant *grant_new(struct access_policy *policy, const struct access_subject *who)
{
    struct grant *grant = pool_acquire(POOL_ARRAYS, grant_bytes(policy));
    if (!grant)
        return NULL;
    *grant = (struct grant){.policy = access_policy_retain(policy)};
    grant->send_count = resolve(policy, who, true, grant->rules, &grant->sends_else);
    grant->broadcast_count = resolve(policy, who, false, grant->rules + grant->send_count, &grant->broadcasts_else);
    if (grant->send_count > GRANT_ASKED &&
        (grant->answers = pool_acquire(POOL_ARRAYS, GRANT_ANSWERS * sizeof(uint64_t))))
        memset(grant->answers, 0, GRANT_ANSWERS * sizeof(uint64_t));
    grant->sends_all = grant->send_count == 0 && grant->sends_else;
    grant->broadcasts_all = grant->broadcast_count == 0 && grant->broadcasts_else;
    return grant;
}

void grant_free(struct grant *grant)
{
    if (!grant)
        return;
    struct access_policy *policy = grant->policy;
    pool_release(POOL_ARRAYS, grant->answers, GRANT_ANSWERS * sizeof(uint64_t));
    pool_release(POOL_ARRAYS, grant, grant_bytes(policy));
    access_policy_release(policy);
}

static bool ask_rules(const struct grant *grant, struct slice intent, struct slice to)
{
    for (uint32_t i = 0; i < grant->send_count; i++)
        if (decides_send(grant->rules[i], intent, to))
            return grant->rules[i]->allows;
    return grant->sends_else;
}

/* Two pairs of one key would be taken for each other: the hashes are keyed and 63 bits wide, so nobody finds such. */
bool grant_may_send(struct grant *grant, struct slice intent, struct slice to)
{
    if (!grant->answers)
        return ask_rules(grant, intent, to);
    uint64_t of_intent = hash_slice(intent), key = (of_intent << 17 | of_intent >> 47) ^ hash_slice(to);
    uint64_t *place = &grant->answers[key >> 58];
    if ((*place ^ key) <= 1 && *place > 1)
        return *place & 1;
    bool answer = ask_rules(grant, intent, to);
    *place = (key & ~UINT64_C(1)) | answer;
    return answer;
}

bool grant_may_broadcast(const struct grant *grant, struct slice intent)
{
    for (uint32_t i = grant->send_count; i < grant->send_count + grant->broadcast_count; i++)
        if (wildcard_list_matches(&grant->rules[i]->broadcast, intent))
            return grant->rules[i]->allows;
    return grant->broadcasts_else;
}

/* --- Counting --- */

static const char *const refusal_names[ACCESS_REFUSALS] = {"send",    "broadcast", "see",        "admin",
                                                           "binding", "takeover",  "credential", "origin"};
static atomic_ullong refusals[ACCESS_REFUSALS];
static struct log_site sites[ACCESS_REFUSALS] = {
    [REFUSED_SEND] = {.room = LOG_ROOM_AUTH, .name = "send_refused"},
    [REFUSED_BROADCAST] = {.room = LOG_ROOM_AUTH, .name = "broadcast_refused"},
    [REFUSED_SEE] = {.room = LOG_ROOM_AUTH, .name = "sight_refused"},
    [REFUSED_ADMIN] = {.room = LOG_ROOM_AUTH, .name = "admin_refused"},
    [REFUSED_BINDING] = {.room = LOG_ROOM_AUTH, .name = "binding_refused"},
    [REFUSED_TAKEOVER] = {.room = LOG_ROOM_AUTH, .name = "takeover_refused"},
    [REFUSED_CREDENTIAL] = {.room = LOG_ROOM_AUTH, .name = "unauthorized"},
    [REFUSED_ORIGIN] = {.room = LOG_ROOM_AUTH, .name = "origin_refused"},
};

const char *access_refusal_name(enum access_refusal kind)
{
    return refusal_names[kind];
}

void access_refused(enum access_refusal kind, const struct identity *identity, struct slice detail)
{
    access_refused_from(NULL, kind, identity, detail);
}

void access_refused_from(const struct peer_address *from, enum access_refusal kind, const struct identity *identity,
                         struct slice detail)
{
    atomic_fetch_add_explicit(&refusals[kind], 1, memory_order_relaxed);
    if (!log_enabled(LOG_ROOM_AUTH, LOG_LEVEL_WARN))
        return;
    struct slice owner = identity ? identity->owner : SLICE(NOBODY);
    char text[INET6_ADDRSTRLEN];
    struct slice address = from ? peer_address_text(from, text) : slice_from("", 0);
    /* In front of all that the peer may have written, so that no line can name another's. */
    log_write(&sites[kind], LOG_LEVEL_WARN, "refused (%s)%s%.*s to %.*s: %.*s", refusal_names[kind],
              from ? " from " : "", (int)address.length, address.data, (int)owner.length, owner.data,
              (int)detail.length, detail.data);
}

uint64_t access_refused_count(enum access_refusal kind)
{
    return atomic_load_explicit(&refusals[kind], memory_order_relaxed);
}
