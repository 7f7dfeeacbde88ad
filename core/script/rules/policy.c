/* The state is one of the script room's without hooks, as the workers' for user operations are. Rules are read once,
 * into C; what stays in Lua are their functions. */
#include "script/rules/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/rules/rule_file.h"
#include "script/state/state.h"

struct policy {
    struct script_state *state;
    struct policy_options options;
    struct policy_rule rules[POLICY_RULES_MAXIMUM];
    int values[POLICY_RULES_MAXIMUM], runs[POLICY_RULES_MAXIMUM]; /* functions in the registry, or LUA_NOREF */
    size_t count;
};

static const char *const action_names[POLICY_ACTIONS] = {"WARN", "ALERT", "SCALE_UP", "SHED", "RUN"};

const char *policy_action_name(enum policy_action action)
{
    return action_names[action];
}

/* --- Reading the file --- */

static const char *const members[] = {"name",       "value",  "above",   "below", "clear", "forMs",
                                      "cooldownMs", "action", "workers", "run",   NULL};

/* Raises about the rule whose number is `number`. */
static void wrong(lua_State *lua, const struct policy *policy, const char *name, const char *what)
{
    luaL_error(lua, "%s: rule %s: %s", policy->options.path, name, what);
}

/* The optional number `key` of the rule at the top of the stack. */
static double read_number(lua_State *lua, const struct policy *policy, const char *name, const char *key, double least,
                          double absent)
{
    lua_pushstring(lua, key);
    lua_rawget(lua, -2);
    double value = lua_tonumber(lua, -1);
    bool is_number = lua_type(lua, -1) == LUA_TNUMBER;
    if (!lua_isnil(lua, -1) && (!is_number || !isfinite(value) || value < least)) {
        char expected[64] = "a finite number";
        if (isfinite(least))
            snprintf(expected, sizeof expected, "a finite number from %g on", least);
        const char *got = is_number ? lua_pushfstring(lua, "%f", value) : state_value_name(lua, -1);
        wrong(lua, policy, name, lua_pushfstring(lua, "%s: expected %s, got %s", key, expected, got));
    }
    bool is_absent = lua_isnil(lua, -1);
    lua_pop(lua, 1);
    return is_absent ? absent : value;
}

static bool name_valid(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char byte = name[i];
        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
              byte == '_' || byte == '-' || byte == '.'))
            return false;
    }
    return length > 0 && length < POLICY_NAME_BYTES;
}

static void read_name(lua_State *lua, struct policy *policy, struct policy_rule *rule)
{
    char number[16];
    size_t length = 0;
    snprintf(number, sizeof number, "%zu", policy->count + 1);
    lua_pushliteral(lua, "name");
    lua_rawget(lua, -2);
    const char *name = lua_type(lua, -1) == LUA_TSTRING ? lua_tolstring(lua, -1, &length) : "";
    if (!name_valid(name, length))
        wrong(lua, policy, number, "name: expected letters, digits, _, - and dots, at most 39");
    memcpy(rule->name, name, length + 1);
    bool taken = policy->options.taken && policy->options.taken(name);
    for (size_t i = 0; i < policy->count; i++)
        taken = taken || strcmp(policy->rules[i].name, name) == 0;
    if (taken)
        wrong(lua, policy, name, "there is a rule or an alert of that name already");
    lua_pop(lua, 1);
}

static void check_members(lua_State *lua, const struct policy *policy, const char *name)
{
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "a list item";
        size_t i = 0;
        while (members[i] && strcmp(members[i], key) != 0)
            i++;
        if (!members[i])
            wrong(lua, policy, name, lua_pushfstring(lua, "there is nothing like %s in a rule", key));
        lua_pop(lua, 1);
    }
}

static void read_value(lua_State *lua, struct policy *policy, struct policy_rule *rule)
{
    lua_pushliteral(lua, "value");
    lua_rawget(lua, -2);
    if (lua_isfunction(lua, -1)) {
        policy->values[policy->count] = luaL_ref(lua, LUA_REGISTRYINDEX);
        return;
    }
    const char *metric = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "";
    for (size_t i = 0; i < policy->options.metric_count; i++)
        if (strcmp(policy->options.metrics[i].name, metric) == 0)
            snprintf(rule->metric, sizeof rule->metric, "%s", metric);
    if (!rule->metric[0])
        wrong(lua, policy, rule->name,
              lua_pushfstring(lua, "value: expected a function or the name of a metric, got %s",
                              *metric ? metric : state_value_name(lua, -1)));
    lua_pop(lua, 1);
}

static void read_bounds(lua_State *lua, struct policy *policy, struct policy_rule *rule)
{
    double above = read_number(lua, policy, rule->name, "above", -HUGE_VAL, NAN);
    double below = read_number(lua, policy, rule->name, "below", -HUGE_VAL, NAN);
    if (isnan(above) == isnan(below))
        wrong(lua, policy, rule->name, "expected one of above and below, a number");
    rule->below = isnan(above);
    rule->threshold = rule->below ? below : above;
    rule->clear = read_number(lua, policy, rule->name, "clear", -HUGE_VAL, rule->threshold);
    if (rule->below ? rule->clear < rule->threshold : rule->clear > rule->threshold)
        wrong(lua, policy, rule->name, "clear: expected a value on the good side of the threshold");
    double for_ms = read_number(lua, policy, rule->name, "forMs", 0, 0);
    double cooldown_ms = read_number(lua, policy, rule->name, "cooldownMs", 0, policy->options.cooldown_ms);
    double workers = read_number(lua, policy, rule->name, "workers", 1, 0);
    if (for_ms > INT32_MAX || cooldown_ms > INT32_MAX || workers > 256)
        wrong(lua, policy, rule->name, "forMs, cooldownMs: expected at most 2147483647; workers: at most 256");
    rule->for_ms = (uint32_t)for_ms;
    rule->cooldown_ms = (uint32_t)cooldown_ms;
    rule->workers = (uint32_t)workers;
}

static void read_action(lua_State *lua, struct policy *policy, struct policy_rule *rule)
{
    lua_pushliteral(lua, "action");
    lua_rawget(lua, -2);
    const char *action = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : lua_isnil(lua, -1) ? "WARN" : "";
    unsigned found = 0;
    while (found < POLICY_ACTIONS && strcmp(action, action_names[found]) != 0)
        found++;
    if (found == POLICY_ACTIONS)
        wrong(lua, policy, rule->name, "action: expected \"WARN\", \"ALERT\", \"SCALE_UP\", \"SHED\" or \"RUN\"");
    rule->action = (enum policy_action)found;
    lua_pop(lua, 1);
    lua_pushliteral(lua, "run");
    lua_rawget(lua, -2);
    if (lua_isfunction(lua, -1) != (rule->action == POLICY_RUN))
        wrong(lua, policy, rule->name, "run: expected a function, beside the action \"RUN\" and no other");
    policy->runs[policy->count] = luaL_ref(lua, LUA_REGISTRYINDEX); /* LUA_REFNIL where there is none */
    if (rule->workers > 0 && rule->action != POLICY_SCALE_UP)
        wrong(lua, policy, rule->name, "workers: expected beside the action \"SCALE_UP\" only");
}

/* The list on top of the stack. */
static void read_rules(lua_State *lua, struct policy *policy)
{
    const char *path = policy->options.path;
    if (!lua_istable(lua, -1))
        luaL_error(lua, "%s: expected the file to return a list of rules, got %s", path, state_value_name(lua, -1));
    size_t count = lua_objlen(lua, -1);
    if (count > POLICY_RULES_MAXIMUM)
        luaL_error(lua, "%s: expected at most %d rules", path, POLICY_RULES_MAXIMUM);
    for (size_t i = 1; i <= count; i++) {
        struct policy_rule *rule = &policy->rules[policy->count];
        lua_rawgeti(lua, -1, (int)i);
        if (!lua_istable(lua, -1))
            luaL_error(lua, "%s: rule %d: expected a table, got %s", path, (int)i, state_value_name(lua, -1));
        read_name(lua, policy, rule);
        check_members(lua, policy, rule->name);
        read_value(lua, policy, rule);
        read_bounds(lua, policy, rule);
        read_action(lua, policy, rule);
        lua_pop(lua, 1);
        policy->count++;
    }
}

static int load_protected(lua_State *lua)
{
    struct policy *policy = lua_touserdata(lua, 1);
    rule_file_prepare(lua, policy->state);
    rule_file_push(lua, policy->state);
    lua_call(lua, 0, 1);
    read_rules(lua, policy);
    return 0;
}

/* --- Calling --- */

struct call {
    struct policy *policy;
    size_t number;
    const struct policy_alert *alert; /* NULL: the value is asked for */
    double value;
};

static void push_metrics(lua_State *lua, const struct policy *policy)
{
    lua_createtable(lua, 0, (int)policy->options.metric_count);
    for (size_t i = 0; i < policy->options.metric_count; i++) {
        if (isnan(policy->options.metrics[i].value))
            continue;
        lua_pushnumber(lua, policy->options.metrics[i].value);
        lua_setfield(lua, -2, policy->options.metrics[i].name);
    }
}

static void push_alert(lua_State *lua, const struct policy_rule *rule, const struct policy_alert *alert)
{
    lua_createtable(lua, 0, 4);
    lua_pushstring(lua, rule->name);
    lua_setfield(lua, -2, "name");
    lua_pushstring(lua, alert->state);
    lua_setfield(lua, -2, "state");
    lua_pushnumber(lua, alert->threshold);
    lua_setfield(lua, -2, "threshold");
    if (isnan(alert->value))
        return;
    lua_pushnumber(lua, alert->value);
    lua_setfield(lua, -2, "value");
}

static int call_protected(lua_State *lua)
{
    struct call *call = lua_touserdata(lua, 1);
    struct policy *policy = call->policy;
    const struct policy_rule *rule = &policy->rules[call->number];
    luaL_checkstack(lua, 40, NULL);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, call->alert ? policy->runs[call->number] : policy->values[call->number]);
    if (call->alert) {
        push_alert(lua, rule, call->alert);
        push_metrics(lua, policy);
        lua_call(lua, 2, 0);
        return 0;
    }
    push_metrics(lua, policy);
    lua_call(lua, 1, 1);
    call->value = NAN;
    if (lua_type(lua, -1) == LUA_TNUMBER)
        call->value = lua_tonumber(lua, -1);
    else if (!lua_isnil(lua, -1))
        luaL_error(lua, "%s: rule %s: expected the function to return a number or nil, got %s", policy->options.path,
                   rule->name, state_value_name(lua, -1));
    return 0;
}

static bool run_call(struct call *call, char *error, size_t size)
{
    struct script_state *state = call->policy->state;
    state->ceiling = state->memory_limit;
    state->stack_base = (uintptr_t)__builtin_frame_address(0);
    watchdog_enter(&state->watchdog);
    int status = lua_cpcall(state->lua, call_protected, call);
    bool stopped = watchdog_leave(&state->watchdog);
    state->ceiling = state->memory_limit + STATE_RESERVE_BYTES;
    if (status != 0)
        rule_file_error(state, status, stopped, error, size);
    state->stop_noted = false;
    lua_settop(state->lua, 0);
    if (status == LUA_ERRMEM)
        state_collect_fully(state->lua, state);
    script_collect(state);
    return status == 0;
}

bool policy_value(struct policy *policy, size_t number, double *value, char *error, size_t error_size)
{
    struct call call = {.policy = policy, .number = number};
    bool good = run_call(&call, error, error_size);
    *value = good ? call.value : NAN;
    return good;
}

bool policy_run(struct policy *policy, size_t number, const struct policy_alert *alert, char *error, size_t error_size)
{
    struct call call = {.policy = policy, .number = number, .alert = alert};
    return run_call(&call, error, error_size);
}

/* --- Life --- */

struct policy *policy_open(const struct policy_options *options, char *error, size_t error_size)
{
    struct policy *policy = calloc(1, sizeof *policy);
    if (!policy) {
        snprintf(error, error_size, "not enough memory");
        return NULL;
    }
    policy->options = *options;
    for (size_t i = 0; i < POLICY_RULES_MAXIMUM; i++)
        policy->values[i] = policy->runs[i] = LUA_NOREF;
    policy->state = rule_file_open(&(struct script_options){.paths = &options->path,
                                                            .budget_ms = options->budget_ms,
                                                            .memory_limit = options->memory_limit,
                                                            .log = options->log,
                                                            .log_context = options->log_context,
                                                            .wake_fd = options->wake_fd});
    if (!policy->state)
        snprintf(error, error_size, "not enough memory");
    if (!policy->state || !rule_file_read(policy->state, load_protected, policy, error, error_size)) {
        policy_close(policy);
        return NULL;
    }
    return policy;
}

void policy_close(struct policy *policy)
{
    if (!policy)
        return;
    rule_file_close(policy->state);
    free(policy);
}

struct watchdog *policy_watchdog(struct policy *policy)
{
    return &policy->state->watchdog;
}

size_t policy_count(const struct policy *policy)
{
    return policy ? policy->count : 0;
}

const struct policy_rule *policy_rule(const struct policy *policy, size_t number)
{
    return &policy->rules[number];
}
