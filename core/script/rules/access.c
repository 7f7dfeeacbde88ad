#include "script/rules/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/registration.h"
#include "script/rules/rule_file.h"
#include "script/state/state.h"

static const char *const sight_names[ACCESS_SIGHTS] = {"agents", "history", "tasks", "status", "events"};

const char *access_sight_name(enum access_sight sight)
{
    return sight_names[sight];
}

struct reading {
    struct script_state *state;
    struct access_rules *rules;
    struct access_rule *made; /* ACCESS_RULES_MAXIMUM of them */
    const char *const *kinds;
};

/* Raises about the member of the rule that is being made. */
static void wrong(lua_State *lua, const char *member, const char *expected)
{
    luaL_error(lua, "%s: expected %s", member, expected);
}

/* One text, checked. */
static struct slice check_text(lua_State *lua, const char *member)
{
    static const char expected[] = "a text of 1 to 256 bytes without control characters, or a list of them";
    struct slice text = {NULL, 0};
    if (lua_type(lua, -1) == LUA_TSTRING)
        text.data = lua_tolstring(lua, -1, &text.length);
    if (!text.data || !identifier_valid(text))
        wrong(lua, member, expected);
    return text;
}

/* The value on top of the stack, a text or a list, copied into one block that *out owns. */
static void read_list(lua_State *lua, const char *member, struct slice_list *out)
{
    int value = lua_gettop(lua);
    bool is_list = lua_istable(lua, value);
    size_t count = is_list ? lua_objlen(lua, value) : 1, bytes = 0, pairs = 0;
    if (count < 1 || count > ACCESS_LIST_MAXIMUM)
        wrong(lua, member, "1 to 256 texts");
    for (lua_pushnil(lua); is_list && lua_next(lua, value); lua_pop(lua, 1))
        pairs++;
    if (!is_list)
        lua_pop(lua, 1); /* the nil */
    if (is_list && pairs != count)
        wrong(lua, member, "a list and nothing else in it");
    for (size_t i = 1; i <= count; i++) {
        is_list ? lua_rawgeti(lua, value, (int)i) : lua_pushvalue(lua, value);
        bytes += check_text(lua, member).length;
        lua_pop(lua, 1);
    }
    struct slice *items = malloc(count * sizeof *items + bytes);
    if (!items)
        luaL_error(lua, "not enough memory");
    char *at = (char *)(items + count);
    for (size_t i = 0; i < count; i++) {
        is_list ? lua_rawgeti(lua, value, (int)i + 1) : lua_pushvalue(lua, value);
        struct slice text = check_text(lua, member);
        items[i] = slice_from(memcpy(at, text.data, text.length), text.length);
        at += text.length;
        lua_pop(lua, 1);
    }
    *out = (struct slice_list){items, (uint32_t)count};
}

/* `true` is any intent. */
static void read_intents(lua_State *lua, const char *member, struct slice_list *out)
{
    if (lua_isboolean(lua, -1) && lua_toboolean(lua, -1)) {
        lua_pop(lua, 1);
        lua_pushliteral(lua, "*");
    }
    read_list(lua, member, out);
}

static void check_kinds(lua_State *lua, const struct reading *reading, const struct slice_list *kinds)
{
    for (uint32_t i = 0; i < kinds->count; i++) {
        size_t known = 0;
        while (reading->kinds[known] && !slice_equal(kinds->items[i], slice_from_string(reading->kinds[known])))
            known++;
        if (reading->kinds[known])
            continue;
        luaL_Buffer names;
        luaL_buffinit(lua, &names);
        for (known = 0; reading->kinds[known]; known++) {
            luaL_addstring(&names, known > 0 ? ", " : "");
            luaL_addstring(&names, reading->kinds[known]);
        }
        luaL_pushresult(&names);
        wrong(lua, "kind", lua_pushfstring(lua, "one of %s", lua_tostring(lua, -1)));
    }
}

static void read_sights(lua_State *lua, struct access_rule *rule)
{
    struct slice_list list = {NULL, 0};
    bool good = true;
    read_list(lua, "see", &list);
    for (uint32_t i = 0; i < list.count; i++) {
        unsigned found = slice_equal(list.items[i], SLICE("*")) ? (1u << ACCESS_SIGHTS) - 1 : 0;
        for (unsigned sight = 0; sight < ACCESS_SIGHTS; sight++)
            if (slice_equal(list.items[i], slice_from_string(sight_names[sight])))
                found = 1u << sight;
        rule->sights |= found;
        good = good && found;
    }
    free((void *)list.items);
    if (!good)
        wrong(lua, "see", "agents, history, tasks, status, events or *");
}

static void read_member(lua_State *lua, struct reading *reading, struct access_rule *rule, const char *name)
{
    const struct {
        const char *name;
        struct slice_list *list;
    } lists[] = {{"kind", &rule->kinds},   {"name", &rule->names},   {"role", &rule->roles},
                 {"label", &rule->labels}, {"agent", &rule->agents}, {"agentRole", &rule->agent_roles},
                 {"to", &rule->to}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (strcmp(lists[i].name, name) != 0)
            continue;
        read_list(lua, name, lists[i].list);
        if (i == 0)
            check_kinds(lua, reading, &rule->kinds);
        return;
    }
    if (strcmp(name, "send") == 0)
        read_intents(lua, name, &rule->send);
    else if (strcmp(name, "broadcast") == 0)
        read_intents(lua, name, &rule->broadcast);
    else if (strcmp(name, "see") == 0)
        read_sights(lua, rule);
    else if (strcmp(name, "admin") == 0 && lua_isboolean(lua, -1) && lua_toboolean(lua, -1))
        rule->admin = true;
    else if (strcmp(name, "admin") == 0)
        wrong(lua, name, "true");
    else
        luaL_error(lua,
                   "there is nothing like %s in a rule: expected kind, name, role, label, agent, agentRole, send, to, "
                   "broadcast, see, admin",
                   name);
}

/* allow{…} and deny{…}: upvalues the reading, and which of the two it is. luaL_error puts file and line of the caller
 * before what it says. */
static int make_rule(lua_State *lua)
{
    struct reading *reading = lua_touserdata(lua, lua_upvalueindex(1));
    struct access_rules *rules = reading->rules;
    lua_Debug where;
    if (!lua_istable(lua, 1) || lua_gettop(lua) != 1)
        return luaL_error(lua, "expected one table, such as allow { role = \"agent\", send = \"*\" }");
    if (rules->count == ACCESS_RULES_MAXIMUM)
        return luaL_error(lua, "expected at most %d rules", ACCESS_RULES_MAXIMUM);
    struct access_rule *rule = &reading->made[rules->count++];
    rule->allows = lua_toboolean(lua, lua_upvalueindex(2));
    if (lua_getstack(lua, 1, &where) && lua_getinfo(lua, "l", &where))
        rule->line = where.currentline;
    for (lua_pushnil(lua); lua_next(lua, 1); lua_settop(lua, 2)) {
        if (lua_type(lua, 2) != LUA_TSTRING)
            return luaL_error(lua, "a rule is no list: expected names such as role and send");
        read_member(lua, reading, rule, lua_tostring(lua, 2));
    }
    if (rule->to.count > 0 && rule->send.count == 0)
        return luaL_error(lua, "to: expected send beside it");
    if (rule->send.count == 0 && rule->broadcast.count == 0 && rule->sights == 0 && !rule->admin)
        return luaL_error(lua, "the rule says nothing: expected send, broadcast, see or admin");
    return 0;
}

static int load_protected(lua_State *lua)
{
    struct reading *reading = lua_touserdata(lua, 1);
    rule_file_prepare(lua, reading->state);
    for (int allows = 0; allows <= 1; allows++) {
        lua_pushlightuserdata(lua, reading);
        lua_pushboolean(lua, allows);
        lua_pushcclosure(lua, make_rule, 2);
        lua_setfield(lua, -2, allows ? "allow" : "deny");
    }
    rule_file_push(lua, reading->state);
    lua_call(lua, 0, 1);
    if (!lua_isnil(lua, -1)) /* of alert rules, perhaps: nobody would notice that it allows and denies nothing */
        luaL_error(lua, "%s: expected calls of allow and deny, and nothing returned, got %s", reading->rules->path,
                   state_value_name(lua, -1));
    return 0;
}

struct access_rules *access_rules_load(const struct script_options *options, const char *const *kinds, char *error,
                                       size_t error_size)
{
    struct reading reading = {.kinds = kinds};
    struct access_rules *rules = reading.rules = calloc(1, sizeof *rules);
    snprintf(error, error_size, "%s: not enough memory", options->paths[0]);
    if (!rules)
        return NULL;
    rules->rules = reading.made = calloc(ACCESS_RULES_MAXIMUM, sizeof *reading.made);
    rules->path = strdup(options->paths[0]);
    reading.state = rules->rules && rules->path ? rule_file_open(options) : NULL;
    bool good = reading.state && rule_file_read(reading.state, load_protected, &reading, error, error_size);
    rule_file_close(reading.state);
    if (good)
        return rules;
    access_rules_free(rules);
    return NULL;
}

void access_rules_free(struct access_rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->count; i++) {
        const struct access_rule *rule = &rules->rules[i];
        const struct slice_list lists[] = {rule->kinds,       rule->names, rule->roles, rule->labels,   rule->agents,
                                           rule->agent_roles, rule->send,  rule->to,    rule->broadcast};
        for (size_t list = 0; list < sizeof lists / sizeof *lists; list++)
            free((void *)lists[list].items);
    }
    free((void *)rules->rules);
    free(rules->path);
    free(rules);
}
