/* What operators steer by: engines and alerts. */
#include <math.h>
#include <stdio.h>

#include "protocol/json/json.h"
#include "runtime/engines/alert.h"
#include "runtime/engines/engines.h"
#include "runtime/engines/switches.h"
#include "runtime/http/api/api_native.h"
#include "runtime/policies/notify.h"
#include "runtime/policies/policies.h"
#include "runtime/process/drain.h"
#include "runtime/reactor.h"

static const char *const state_names[] = {[ENGINE_OFF] = "off", [ENGINE_ON] = "on", [ENGINE_DEGRADED] = "degraded"};

/* may_administer(path?): with a path a no is counted. */
static int native_may_administer(lua_State *L)
{
    const struct api_call *call = api_of(L)->call;
    size_t length;
    const char *path = lua_tolstring(L, 1, &length);
    if (path && !call->admin)
        access_refused(REFUSED_ADMIN, call->identity, slice_from(path, length));
    lua_pushboolean(L, call->admin);
    return 1;
}

/* engines(): a list of {name, wanted, state, reason, retry_in_ms, failures}. */
static int native_engines(lua_State *L)
{
    struct engine_view views[ENGINE_COUNT];
    engines_read(views);
    lua_newtable(L);
    for (unsigned i = 0; i < ENGINE_COUNT; i++) {
        lua_newtable(L);
        set_text(L, "name", views[i].name);
        set_boolean(L, "wanted", views[i].wanted);
        set_text(L, "state", state_names[views[i].state]);
        set_text(L, "reason", views[i].reason);
        set_number(L, "retry_in_ms", views[i].retry_in_ms);
        set_number(L, "failures", (double)views[i].failures);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

struct engine_order {
    bool named[ENGINE_COUNT], on[ENGINE_COUNT];
};

static enum code read_order(struct slice json, unsigned depth, struct engine_order *order, char error[ERROR_TEXT_BYTES])
{
    struct slice key, value;
    enum code code = json_validate(json, depth, error);
    if (code != CODE_OK)
        return code;
    json = slice_trim_space(json);
    if (json_kind(json) != JSON_OBJECT) {
        snprintf(error, ERROR_TEXT_BYTES, "expected an object such as {\"workerPool\": false}, got %s",
                 json_kind_name(json_kind(json)));
        return CODE_BAD_FIELD;
    }
    for (struct slice rest = json; json_next_member(&rest, &key, &value);) {
        char name[32] = "";
        if (key.length < sizeof name)
            memcpy(name, key.data, key.length);
        enum engine engine = engines_find(name);
        enum json_kind kind = json_kind(value);
        if (engine == ENGINE_COUNT) {
            snprintf(error, ERROR_TEXT_BYTES,
                     "expected objectPooling, gcOptimization or workerPool as a key, got \"%.*s\"",
                     (int)(key.length < 64 ? key.length : 64), key.data);
            return CODE_BAD_FIELD;
        }
        if (kind != JSON_TRUE && kind != JSON_FALSE) {
            snprintf(error, ERROR_TEXT_BYTES, "%s: expected true or false, got %s", name, json_kind_name(kind));
            return CODE_BAD_FIELD;
        }
        if (order->named[engine]) {
            snprintf(error, ERROR_TEXT_BYTES, "\"%s\" is there twice", name);
            return CODE_DUPLICATE_FIELD;
        }
        order->named[engine] = true;
        order->on[engine] = kind == JSON_TRUE;
    }
    return CODE_OK;
}

/* order_engines(): asks for what the body says. Nothing, or the status of a refusal. */
static int native_order_engines(lua_State *L)
{
    struct api *api = api_of(L);
    struct engine_order order = {0};
    char error[ERROR_TEXT_BYTES];
    enum code code = read_order(api->call->body, api->reactor->config->limits.json_depth, &order, error);
    if (code != CODE_OK)
        return api_push_status(L, code, slice_from_string(error));
    for (unsigned i = 0; i < ENGINE_COUNT; i++)
        if (order.named[i])
            engines_want((enum engine)i, order.on[i]);
    return 0;
}

/* alerts(): a list of {name, text, since, until (nil while active), count, severity, done, value, threshold}; the last
 * two of rules. */
static int native_alerts(lua_State *L)
{
    struct alert alerts[ALERTS_MAXIMUM];
    unsigned count = alert_list(alerts);
    lua_newtable(L);
    for (unsigned i = 0; i < count; i++) {
        lua_newtable(L);
        set_text(L, "name", alerts[i].name);
        set_text(L, "text", alerts[i].text);
        set_time(L, "since", alerts[i].since_ms);
        if (alerts[i].until_ms != 0) {
            set_time(L, "until", alerts[i].until_ms);
        }
        set_number(L, "count", (double)alerts[i].count);
        set_text(L, "severity", alerts[i].severity);
        set_text(L, "done", alerts[i].done);
        if (alerts[i].by_rule && isfinite(alerts[i].value)) {
            set_number(L, "value", alerts[i].value);
            set_number(L, "threshold", alerts[i].threshold);
        }
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* webhook_figures(): {delivered, retried, lost}. */
static int native_webhook_figures(lua_State *L)
{
    struct notify_figures figures;
    notify_read_figures(&figures);
    lua_newtable(L);
    set_number(L, "delivered", (double)figures.delivered);
    set_number(L, "retried", (double)figures.retried);
    set_number(L, "lost", (double)figures.lost);
    return 1;
}

/* rules(): a list of {name, active, value (nil: none), fired, failures}. */
static int native_rules(lua_State *L)
{
    struct rule_view rules[RULES_MAXIMUM];
    unsigned count = policies_read(rules);
    lua_newtable(L);
    for (unsigned i = 0; i < count; i++) {
        lua_newtable(L);
        set_text(L, "name", rules[i].name);
        set_boolean(L, "active", rules[i].active);
        if (isfinite(rules[i].value)) {
            set_number(L, "value", rules[i].value);
        }
        set_number(L, "fired", (double)rules[i].fired);
        set_number(L, "failures", (double)rules[i].failures);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* switches(): a list of {name, reason}, the hooks of scripts that are switched off. */
static int native_switches(lua_State *L)
{
    struct switch_view views[SWITCHES_MAXIMUM];
    unsigned count = switches_list(views);
    lua_newtable(L);
    for (unsigned i = 0; i < count; i++) {
        lua_newtable(L);
        set_text(L, "name", views[i].name);
        set_text(L, "reason", views[i].reason);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* drain(): begins to go away; false: it had begun before. */
static int native_drain(lua_State *L)
{
    lua_pushboolean(L, drain_begin("POST /admin/drain"));
    return 1;
}

const luaL_Reg api_admin_functions[] = {
    {"may_administer", native_may_administer},
    {"engines", native_engines},
    {"order_engines", native_order_engines},
    {"alerts", native_alerts},
    {"rules", native_rules},
    {"webhook_figures", native_webhook_figures},
    {"switches", native_switches},
    {"drain", native_drain},
    {NULL, NULL},
};
