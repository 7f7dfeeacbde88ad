/* A file of access rules: Lua that calls allow{…} and deny{…}, each of which makes one rule. The file runs once, when
 * it is loaded; what stays are the rules, as plain data, so that judging by them needs no Lua.
 *
 *   allow { role = "worker", send = "task.*", to = "planner" }
 *
 * Who a rule is about, all of them together (absent: anybody): kind, name, role, label of the identity; agent,
 * agentRole: the clientId and the role that it registered with. What it decides: send (intents; with `to`: to these ids
 * only), broadcast (intents), see (what of the bridge), admin. The first rule that is about somebody and what he wants
 * decides it. Everything is a text or a list of texts, in which * stands for any text. */
#ifndef LUADUCT_SCRIPT_ACCESS_H
#define LUADUCT_SCRIPT_ACCESS_H

#include "script/hook.h"

enum access_sight { ACCESS_AGENTS, ACCESS_HISTORY, ACCESS_TASKS, ACCESS_STATUS, ACCESS_EVENTS, ACCESS_SIGHTS };
const char *access_sight_name(enum access_sight sight); /* "agents" … */

#define ACCESS_RULES_MAXIMUM 1024
#define ACCESS_LIST_MAXIMUM 256

struct access_rule {
    bool allows;
    int line;                                                           /* of the file */
    struct slice_list kinds, names, roles, labels, agents, agent_roles; /* empty: any */
    struct slice_list send, to, broadcast;                              /* `to` empty: to anybody */
    unsigned sights;                                                    /* bits of enum access_sight */
    bool admin;
};

struct access_rules {
    char *path; /* NULL: built in */
    const struct access_rule *rules;
    size_t count;
};

/* Loads the file in a state that is gone on return; options as for rule_file_open. `kinds`: the names that `kind` may
 * have. NULL: `error` is one line, with file and line. Any thread but a reactor's; watchdog_install must have been
 * called. */
struct access_rules *access_rules_load(const struct script_options *options, const char *const *kinds, char *error,
                                       size_t error_size);
void access_rules_free(struct access_rules *rules); /* NULL is fine */

#endif
