/* What the console at /console is given: its files out of the bundle, and what it asks for that nobody else does. */
#include <stdlib.h>

#include "bridge/registry/registry.h"
#include "protocol/http/http_request.h"
#include "protocol/json/json.h"
#include "protocol/json/json_write.h"
#include "protocol/registration.h"
#include "runtime/agent/agent_session.h"
#include "runtime/config/bundle.h"
#include "runtime/http/api/api_native.h"
#include "runtime/reactor.h"
#include "runtime/reload/version.h"

/* --- Files --- */

/* Nothing but what lies beside the page runs, loads or is connected to, nothing of it is shown inside another page, and
 * no text becomes markup (W3C Content Security Policy 3, Trusted Types). */
static const struct http_header page_headers[] = {
    {SLICE("Content-Security-Policy"),
     SLICE("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
           "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
           "trusted-types 'none'")},
    {SLICE("X-Content-Type-Options"), SLICE("nosniff")},
    {SLICE("X-Frame-Options"), SLICE("DENY")},
    {SLICE("Referrer-Policy"), SLICE("no-referrer")},
    {SLICE("Cross-Origin-Opener-Policy"), SLICE("same-origin")},
    {SLICE("Cross-Origin-Resource-Policy"), SLICE("same-origin")},
    {SLICE("Permissions-Policy"), SLICE("camera=(), geolocation=(), microphone=(), payment=(), usb=()")},
};

/* console(): whether the configuration has one. */
static int native_console(lua_State *L)
{
    lua_pushboolean(L, api_of(L)->reactor->config->console);
    return 1;
}

/* console_file(name): a file of the console, nil when there is none. */
static int native_console_file(lua_State *L)
{
    const char *path = lua_pushfstring(L, "lua/luaduct/console/%s", luaL_checkstring(L, 1));
    struct slice content = bundle_file(path);
    if (content.data)
        lua_pushlstring(L, content.data, content.length);
    else
        lua_pushnil(L);
    return 1;
}

/* protect_page(lasts): the answer has the headers of the console; `lasts`: what is at this path never changes. */
static int native_protect_page(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    call->headers = page_headers;
    call->header_count = sizeof page_headers / sizeof *page_headers;
    call->cache = lua_toboolean(L, 1) ? "public, max-age=31536000, immutable" : "no-cache";
    return 0;
}

/* --- Who asks, and what bounds everybody --- */

/* caller(): {admin, name (nil: nobody has said), unknown (a credential is needed, and none came), mode, limits}. */
static int native_caller(lua_State *L)
{
    const struct api *api = api_of(L);
    const struct config *config = api->reactor->config;
    struct slice owner = identity_owner(api->call->identity);
    lua_newtable(L);
    set_boolean(L, "admin", api->call->admin);
    set_boolean(L, "unknown", owner.length == 0 && api->reactor->standing.config->auth.required);
    if (owner.length > 0) {
        lua_pushlstring(L, owner.data, owner.length);
        lua_setfield(L, -2, "name");
    }
    set_text(L, "mode", config->mode_name);
    lua_newtable(L);
    set_number(L, "messagesPerSecond", (double)config->limits.messages_per_second);
    set_number(L, "bytesPerSecond", (double)config->limits.bytes_per_second);
    set_number(L, "messageBytes", (double)config->limits.message_bytes);
    if (config->limits.send_queue_bytes != CONFIG_UNLIMITED)
        set_number(L, "sendQueueBytes", (double)config->limits.send_queue_bytes);
    set_number(L, "mailboxEnvelopes", (double)config->agents.max_queue);
    set_number(L, "mailboxBytes", (double)config->agents.mailbox_bytes);
    lua_setfield(L, -2, "limits");
    return 1;
}

/* --- Disconnecting --- */

struct disconnect {
    struct errand errand;
    uint32_t length;
    char id[];
};

static void disconnect(struct reactor *reactor, struct errand *errand)
{
    struct disconnect *order = (struct disconnect *)errand;
    struct endpoint *endpoint = registry_endpoint(reactor->lane, slice_from(order->id, order->length));
    if (endpoint)
        agent_session_close(connection_of(endpoint), WEBSOCKET_POLICY,
                            SLICE("an administrator disconnected this agent"));
    free(order);
}

/* The text of the body's one member, `agent`, in a userdata on the stack; length 0: something else is there. */
static struct slice read_agent(lua_State *L, struct slice body)
{
    struct slice key, value, agent = {NULL, 0};
    for (struct slice rest = body; json_next_member(&rest, &key, &value);) {
        if (!json_inside_equals(key, SLICE("agent")) || json_kind(value) != JSON_STRING || agent.data)
            return (struct slice){NULL, 0};
        struct slice inside = json_string_inside(value);
        char *text = lua_newuserdata(L, inside.length + 1);
        bool lone = false;
        agent = slice_from(text, json_unescape(inside, text, &lone));
        if (lone)
            return (struct slice){NULL, 0};
    }
    return agent;
}

/* disconnect(): closes the connection of the agent that the body names, soon. Nothing, or the status of a refusal. */
static int native_disconnect(lua_State *L)
{
    struct api *api = api_of(L);
    char error[ERROR_TEXT_BYTES];
    struct slice body = slice_trim_space(api->call->body);
    enum code code = json_validate(body, api->reactor->config->limits.json_depth, error);
    if (code != CODE_OK)
        return api_push_status(L, code, slice_from_string(error));
    struct slice agent = json_kind(body) == JSON_OBJECT ? read_agent(L, body) : slice_from(NULL, 0);
    if (!agent.data || !identifier_valid(agent))
        return api_push_status(L, CODE_BAD_FIELD, SLICE("expected an object such as {\"agent\": \"alice\"}"));
    struct lane *lane = registry_lane(agent);
    if (!lane)
        return api_push_status(L, CODE_NOT_FOUND, SLICE("no agent of this id is connected"));
    struct disconnect *order = malloc(sizeof *order + agent.length);
    if (!order)
        return api_push_status(L, CODE_OVERLOADED, SLICE("out of memory"));
    *order = (struct disconnect){.errand.run = disconnect, .length = (uint32_t)agent.length};
    memcpy(order->id, agent.data, agent.length);
    reactor_post(lane->owner, &order->errand);
    return 0;
}

/* --- Scripts --- */

/* write_sources(number): {version, hash, files:[{path, text}]} of a version that is kept. Nothing, or the status of a
 * refusal. */
static int native_write_sources(lua_State *L)
{
    struct buffer *out = &api_of(L)->call->content;
    struct version *version = versions_find((unsigned)luaL_checkinteger(L, 1));
    if (!version)
        return api_push_status(L, CODE_NOT_FOUND, SLICE("no version of this number is kept"));
    buffer_append_format(out, "{\"version\":%u,\"hash\":\"%s\",\"files\":[", version->number, version->hash);
    const char *path, *problem;
    struct slice text;
    for (unsigned i = 0; (path = sources_path(version->sources, i)); i++) {
        buffer_append_slice(out, i > 0 ? SLICE(",{\"path\":") : SLICE("{\"path\":"));
        buffer_append_json_string(out, slice_from_string(path));
        buffer_append_slice(out, SLICE(",\"text\":"));
        buffer_append_json_string(out, sources_text(version->sources, path, &text, &problem) ? text : SLICE(""));
        buffer_append_slice(out, SLICE("}"));
    }
    buffer_append_slice(out, SLICE("]}"));
    version_release(version);
    return 0;
}

const luaL_Reg api_console_functions[] = {
    {"console", native_console},
    {"console_file", native_console_file},
    {"protect_page", native_protect_page},
    {"caller", native_caller},
    {"disconnect", native_disconnect},
    {"write_sources", native_write_sources},
    {NULL, NULL},
};
