/* What operators do with versions of the scripts: reload, return, trials. The loader does it on a thread of its own; a
 * call waits for it as it waits for work. */
#include <stdio.h>
#include <stdlib.h>

#include "bridge/delivery/answer.h"
#include "protocol/json/json.h"
#include "runtime/http/api/api_native.h"
#include "runtime/http/http_session.h"
#include "runtime/reload/loader.h"
#include "runtime/reload/trial/shadow.h"

/* --- Reading what is asked ------------------------------------------------------------------------------------------
 */

struct member {
    const char *name;
    enum code (*read)(struct slice value, struct order *order, char error[ERROR_TEXT_BYTES]);
};

static enum code bad_field(char error[ERROR_TEXT_BYTES], const char *name, const char *expected, struct slice value)
{
    enum json_kind kind = json_kind(value);
    if (kind == JSON_NUMBER) /* of the right kind, but out of range */
        snprintf(error, ERROR_TEXT_BYTES, "%s: expected %s, got %.*s", name, expected,
                 (int)(value.length < 32 ? value.length : 32), value.data);
    else
        snprintf(error, ERROR_TEXT_BYTES, "%s: expected %s, got %s", name, expected, json_kind_name(kind));
    return CODE_BAD_FIELD;
}

static bool read_number(struct slice value, double least, double most, double *out)
{
    char text[32] = "";
    if (json_kind(value) != JSON_NUMBER || value.length >= sizeof text)
        return false;
    memcpy(text, value.data, value.length);
    *out = strtod(text, NULL);
    return *out >= least && *out <= most;
}

static enum code read_to(struct slice value, struct order *order, char error[ERROR_TEXT_BYTES])
{
    double number;
    if (!read_number(value, 1, 1e9, &number) || number != (double)(unsigned)number)
        return bad_field(error, "to", "the number of a version", value);
    order->kind = ORDER_RETURN;
    order->number = (unsigned)number;
    return CODE_OK;
}

static enum code read_shadow(struct slice value, struct order *order, char error[ERROR_TEXT_BYTES])
{
    enum json_kind kind = json_kind(value);
    if (kind != JSON_TRUE && kind != JSON_FALSE)
        return bad_field(error, "shadow", "true or false", value);
    order->trial.shadow = kind == JSON_TRUE;
    order->on_trial = order->on_trial || order->trial.shadow;
    return CODE_OK;
}

static bool read_text(struct slice value, char out[TRIAL_TEXT_BYTES])
{
    if (json_kind(value) != JSON_STRING)
        return false;
    struct slice inside = json_string_inside(value);
    if (inside.length == 0 || inside.length >= TRIAL_TEXT_BYTES || memchr(inside.data, '\\', inside.length))
        return false;
    memcpy(out, inside.data, inside.length);
    out[inside.length] = '\0';
    return true;
}

static enum code read_canary_member(struct slice key, struct slice value, struct order *order,
                                    char error[ERROR_TEXT_BYTES])
{
    struct trial *trial = &order->trial;
    if (json_inside_equals(key, SLICE("percent"))) {
        double percent;
        if (!read_number(value, 0.01, 100, &percent))
            return bad_field(error, "canary.percent", "a number from 0.01 to 100", value);
        trial->share = (unsigned)(percent * (TRIAL_SHARE_ALL / 100.0) + 0.5);
        return CODE_OK;
    }
    if (json_inside_equals(key, SLICE("label")))
        return read_text(value, trial->label) ? CODE_OK
                                              : bad_field(error, "canary.label", "a label without escapes", value);
    if (json_inside_equals(key, SLICE("id")))
        return read_text(value, trial->id) ? CODE_OK
                                           : bad_field(error, "canary.id", "an id, with * for any text in it", value);
    snprintf(error, ERROR_TEXT_BYTES, "canary: expected percent, label or id as a key, got \"%.*s\"",
             (int)(key.length < 64 ? key.length : 64), key.data);
    return CODE_BAD_FIELD;
}

static enum code read_canary(struct slice value, struct order *order, char error[ERROR_TEXT_BYTES])
{
    struct slice key, member;
    enum code code = CODE_OK;
    bool any = false;
    if (json_kind(value) != JSON_OBJECT)
        return bad_field(error, "canary", "an object such as {\"percent\": 10}", value);
    order->on_trial = true;
    for (struct slice rest = value; code == CODE_OK && json_next_member(&rest, &key, &member); any = true)
        code = read_canary_member(key, member, order, error);
    if (code == CODE_OK && !any)
        return bad_field(error, "canary", "percent, label or id in it", value);
    return code;
}

static const struct member reload_members[] = {{"to", read_to}, {"shadow", read_shadow}, {"canary", read_canary}};

/* An empty body asks for nothing special. */
static enum code read_members(struct slice body, unsigned depth, struct order *order, char error[ERROR_TEXT_BYTES])
{
    struct slice key, value;
    body = slice_trim_space(body);
    if (body.length == 0)
        return CODE_OK;
    enum code code = json_validate(body, depth, error);
    if (code == CODE_OK && json_kind(body) != JSON_OBJECT)
        code = bad_field(error, "the body", "an object", body);
    for (struct slice rest = body; code == CODE_OK && json_next_member(&rest, &key, &value);) {
        size_t i = 0, count = sizeof reload_members / sizeof *reload_members;
        while (i < count && !json_inside_equals(key, slice_from_string(reload_members[i].name)))
            i++;
        if (i == count) {
            snprintf(error, ERROR_TEXT_BYTES, "expected to, canary or shadow as a key, got \"%.*s\"",
                     (int)(key.length < 64 ? key.length : 64), key.data);
            return CODE_BAD_FIELD;
        }
        code = reload_members[i].read(value, order, error);
    }
    return code;
}

/* --- Orders ---------------------------------------------------------------------------------------------------------
 */

static void ordered_later(struct order *order)
{
    struct api_call *call = order->owner;
    if (!call) { /* whoever asked has gone */
        free(order);
        return;
    }
    order->answered = NULL; /* the call's from here on */
    http_session_answered(call->connection);
}

static int order_and_wait(lua_State *L, struct order *order)
{
    struct api *api = api_of(L);
    order->reactor = api->reactor;
    order->answered = ordered_later;
    order->owner = api->call;
    api->call->order = order;
    api->call->waits = true;
    loader_order(order);
    return lua_yield(L, 0);
}

/* reload(): does what the body says. A table {version, previous, hash, restart_needed, ms}; or nil and the status of a
 * refusal. */
static int native_reload(lua_State *L)
{
    struct api *api = api_of(L);
    char error[ERROR_TEXT_BYTES];
    struct order *order = order_new(ORDER_RELOAD, "POST /admin/reload");
    if (!order)
        return api_push_nil(L, CODE_OVERLOADED, SLICE("out of memory"));
    order->trial.share = TRIAL_SHARE_ALL;
    enum code code = read_members(api->call->body, api->reactor->config->limits.json_depth, order, error);
    if (code != CODE_OK) {
        free(order);
        return api_push_nil(L, code, slice_from_string(error));
    }
    return order_and_wait(L, order);
}

/* settle(action): "promote" or "abort" what is on trial; returns as reload does. */
static int native_settle(lua_State *L)
{
    bool promote = strcmp(luaL_checkstring(L, 1), "promote") == 0;
    struct order *order = order_new(promote ? ORDER_PROMOTE : ORDER_ABORT, "POST /admin/canary");
    return order ? order_and_wait(L, order) : api_push_nil(L, CODE_OVERLOADED, SLICE("out of memory"));
}

void api_scripts_forget(struct api_call *call)
{
    struct order *order = call->order;
    call->order = NULL;
    if (order && order->answered)
        order->owner = NULL; /* it is freed when it comes back */
    else
        free(order);
}

int api_scripts_push_answer(lua_State *L, struct api_call *call)
{
    struct order *order = call->order;
    int count = 1;
    if (order->code == CODE_OK) {
        lua_newtable(L);
        set_number(L, "version", order->version);
        set_number(L, "previous", order->previous);
        set_text(L, "hash", order->hash);
        set_text(L, "restart_needed", order->restart_needed);
        set_number(L, "ms", (double)order->took_ns / 1e6);
    } else {
        count = api_push_nil(L, order->code, slice_from_string(order->text));
    }
    api_scripts_forget(call); /* not before: there may be no memory for the table */
    return count;
}

/* --- Looking --------------------------------------------------------------------------------------------------------
 */

static const char *const use_names[] = {
    [VERSION_KEPT] = "kept", [VERSION_CURRENT] = "current", [VERSION_CANARY] = "canary", [VERSION_SHADOW] = "shadow"};

static void push_files(lua_State *L, const struct version *version)
{
    lua_newtable(L);
    for (unsigned i = 0; sources_path(version->sources, i); i++) {
        lua_pushstring(L, sources_path(version->sources, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "files");
}

static void push_version(lua_State *L, const struct version_view *view)
{
    struct script_totals totals;
    slots_sum(view->version, &totals);
    lua_newtable(L);
    set_number(L, "number", view->version->number);
    set_text(L, "hash", view->version->hash);
    set_text(L, "use", use_names[view->use]);
    set_time(L, "loaded", view->version->loaded_ms);
    if (view->problem[0])
        set_text(L, "problem", view->problem);
    push_files(L, view->version);
    lua_newtable(L);
    for (unsigned hook = 0; hook < HOOK_COUNT; hook++) {
        lua_newtable(L);
        set_number(L, "calls", (double)totals.hooks[hook].calls);
        set_number(L, "errors", (double)totals.hooks[hook].errors);
        set_number(L, "overruns", (double)totals.hooks[hook].overruns);
        lua_setfield(L, -2, script_hook_name((enum script_hook)hook));
    }
    lua_setfield(L, -2, "hooks");
    set_number(L, "heap_bytes", (double)totals.heap_bytes);
    if (totals.collections.hook_times.count > 0) {
        set_number(L, "p50_ms", (double)pause_percentile(&totals.collections.hook_times, 0.5) / 1e6);
        set_number(L, "p99_ms", (double)pause_percentile(&totals.collections.hook_times, 0.99) / 1e6);
    }
}

/* versions(): a list of what is kept, the newest first. */
static int native_versions(lua_State *L)
{
    struct version_view views[VERSIONS_KEPT + 1];
    unsigned count = versions_list(views);
    lua_newtable(L);
    for (unsigned i = 0; i < count; i++) {
        push_version(L, &views[i]);
        lua_rawseti(L, -2, (int)i + 1);
        version_release(views[i].version);
    }
    return 1;
}

static void push_figures(lua_State *L, const char *name, const struct canary_figures *figures)
{
    static const char *const kinds[] = {"default", "to", "all", "any", "broadcast", "reply", "drop"};
    lua_newtable(L);
    set_number(L, "calls", (double)figures->calls);
    set_number(L, "errors", (double)figures->errors);
    set_number(L, "overruns", (double)figures->overruns);
    set_number(L, "refused", (double)figures->refused);
    set_number(L, "p50_ms", (double)figures->time_p50_ns / 1e6);
    set_number(L, "p99_ms", (double)figures->time_p99_ns / 1e6);
    lua_newtable(L);
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        set_number(L, kinds[i], (double)figures->decisions[i]);
    lua_setfield(L, -2, "decisions");
    lua_setfield(L, -2, name);
}

/* trial(): how the one that runs stands, or how the last one went; nil: there was none. */
static int native_trial(lua_State *L)
{
    struct canary_view view;
    bool runs = loader_canary(&view);
    if (view.state == CANARY_NONE)
        return 0;
    lua_newtable(L);
    set_text(L, "state", canary_state_name(view.state));
    set_number(L, "version", view.version);
    set_number(L, "against", view.against);
    set_time(L, "began", view.began_ms);
    if (!runs) {
        set_time(L, "ended", view.ended_ms);
        set_text(L, "why", view.why);
    }
    set_boolean(L, "shadow", view.shadow);
    set_number(L, "percent", 100 * view.share);
    if (view.label[0])
        set_text(L, "label", view.label);
    if (view.id[0])
        set_text(L, "id", view.id);
    push_figures(L, "current", &view.current_figures);
    push_figures(L, "trial", &view.trial_figures);
    uint64_t compared, different;
    shadow_read(&compared, &different);
    set_number(L, "compared", (double)compared);
    set_number(L, "different", (double)different);
    return 1;
}

/* write_differences(): a JSON array of what a shadow would have done otherwise. */
static int native_write_differences(lua_State *L)
{
    shadow_write_samples(&api_of(L)->call->content);
    return 0;
}

const luaL_Reg api_scripts_functions[] = {
    {"reload", native_reload},
    {"settle", native_settle},
    {"versions", native_versions},
    {"trial", native_trial},
    {"write_differences", native_write_differences},
    {NULL, NULL},
};
