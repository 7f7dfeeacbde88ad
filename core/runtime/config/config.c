/* The judging happens in Lua (lua/luaduct/config/load.lua); this file runs it in a Lua state of its own, and sections.c
 * copies the result into the struct. Everything that can raise a Lua error, memory included, runs below one lua_cpcall;
 * what the struct owns is attached to it at once, so an error leaves nothing behind. */
#include "runtime/config/config.h"

#include "base/clock.h"
#include "base/slice.h"
#include "base/system/file.h"
#include "base/system/system.h"
#include "runtime/config/sections.h"
#include "runtime/config/setting.h"
#include "script/pattern/pattern.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct load {
    struct config *config;
    const struct config_source *source;
    const struct config *running; /* NULL: none runs yet */
    char **problems, **restart_needed;
    bool good;
};

static bool problem(lua_State *L, const struct load *load, const char *text)
{
    const char *label = load->config->file ? load->config->file : "built-in configuration";
    *load->problems = config_checked(L, strdup(lua_pushfstring(L, "%s: %s\n", label, text)));
    return false;
}

/* A number in the file that the limit of open files does not carry would only be found out under load. */
static bool check_connections(lua_State *L, const struct load *load)
{
    const struct config *config = load->config;
    uint64_t affordable = config_affordable_connections(config);
    if (config->limits.connections_is_auto || config->limits.connections == UINT32_MAX ||
        config->limits.connections <= affordable)
        return true;
    char numbers[160];
    snprintf(numbers, sizeof(numbers),
             "limits.connections: expected at most %llu, got %u: the limit of open files is %llu (ulimit -n)",
             (unsigned long long)affordable, config->limits.connections, (unsigned long long)system_file_limit());
    return problem(L, load, numbers);
}

/* The schema has looked at their characters alone. */
static bool read_proxies(lua_State *L, const struct load *load)
{
    struct address_ranges *ranges = &load->config->limits.trusted_proxies;
    setting_push(L, "limits.trustedProxies");
    size_t count = lua_objlen(L, -1);
    if (count)
        ranges->items = config_checked(L, calloc(count, sizeof *ranges->items));
    for (size_t i = 0; i < count; i++) {
        size_t length;
        lua_rawgeti(L, -1, (int)i + 1);
        const char *text = luaL_checklstring(L, -1, &length);
        if (!address_range_parse(slice_from(text, length), &ranges->items[i]))
            return problem(L, load,
                           lua_pushfstring(L,
                                           "limits.trustedProxies[%d]: expected an IP address, or a range such as "
                                           "\"10.0.0.0/8\" without bits past its length, got \"%s\"",
                                           (int)i + 1, text));
        ranges->count = i + 1;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (load->config->listen.proxy_protocol && ranges->count == 0)
        return problem(L, load,
                       "listen.proxyProtocol: no proxy is trusted: name those whose PROXY header counts in "
                       "limits.trustedProxies");
    return true;
}

/* One problem a line; the list is at the top of the stack. */
static char *join_problems(lua_State *L)
{
    luaL_Buffer buffer;
    size_t count = lua_objlen(L, -1);
    int list = lua_gettop(L);
    luaL_buffinit(L, &buffer);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, list, (int)i);
        luaL_addvalue(&buffer);
        luaL_addchar(&buffer, '\n');
    }
    luaL_pushresult(&buffer);
    return config_checked(L, strdup(lua_tostring(L, -1)));
}

static void push_flag(lua_State *L, const char *flag, const char *text)
{
    lua_pushstring(L, text); /* nil for NULL */
    lua_setfield(L, -2, flag);
}

/* read(path, largest): the text of the file, or nil and why not. Without `largest` it is only opened: "" or nil. */
static int read_named_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *why = NULL;
    char *text = NULL;
    size_t length = 0;
    bool good;
    if (lua_isnumber(L, 2)) {
        good = file_read(path, (size_t)lua_tonumber(L, 2), &text, &length, &why);
    } else {
        int fd = file_open(path, NULL, &why);
        good = fd >= 0;
        if (good)
            close(fd);
    }
    if (!good) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    lua_pushlstring(L, text ? text : "", length);
    if (text)
        explicit_bzero(text, length); /* may be a secret */
    free(text);
    return 1;
}

/* As for scripts: no hook reaches the stock functions, and what runs in none is stopped by the clock. */
static void bound_patterns(lua_State *L)
{
    static const atomic_bool never;
    lua_getglobal(L, "string");
    pattern_install(L, lua_gettop(L), &never);
    lua_pop(L, 1);
}

/* bound(seconds): patterns are stopped after that time; without: not any more. */
static int set_bound(lua_State *L)
{
    pattern_stop_at(lua_isnumber(L, 1) ? clock_steady_ns() + (uint64_t)(lua_tonumber(L, 1) * 1e9) : 0);
    return 0;
}

static int load_protected(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);
    const struct config_flags *flags = &load->source->flags;
    lua_settop(L, 0);
    luaL_openlibs(L);
    /* Compiled code that malloc refuses something takes the process with it. */
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    load->source->install_bundle(L);
    bound_patterns(L);

    lua_getglobal(L, "require");
    lua_pushliteral(L, "luaduct.config.load");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_remove(L, -2);
    lua_pushstring(L, load->source->path);
    lua_newtable(L);
    push_flag(L, "--mode", flags->mode);
    push_flag(L, "--host", flags->host);
    push_flag(L, "--ws-port", flags->ws_port);
    push_flag(L, "--http-port", flags->http_port);
    push_flag(L, "--workers", flags->workers);
    push_flag(L, "--log-level", flags->log_level);
    lua_pushnil(L); /* the process's own environment */
    lua_pushstring(L, load->running ? load->running->snapshot : NULL);
    lua_pushcfunction(L, read_named_file);
    lua_pushcfunction(L, set_bound);
    lua_call(L, 6, 3);

    if (!lua_istable(L, SETTINGS_INDEX)) {
        lua_settop(L, 2);
        *load->problems = join_problems(L);
        return 0;
    }
    load->config->snapshot = config_checked(L, strdup(luaL_checkstring(L, 2)));
    if (load->restart_needed)
        *load->restart_needed = config_checked(L, strdup(luaL_checkstring(L, 3)));
    config_read_sections(L, load->config, load->source->path);
    load->good = check_connections(L, load) && read_proxies(L, load);
    return 0;
}

static bool run(struct load *load)
{
    struct config *out = load->config;
    char **problems = load->problems;
    memset(out, 0, sizeof(*out));
    *problems = NULL;
    lua_State *L = luaL_newstate();
    if (!L)
        return false;
    if (lua_cpcall(L, load_protected, load) != 0) {
        const char *reason = lua_tostring(L, -1);
        if (asprintf(problems, "cannot load the configuration: %s\n", reason ? reason : "no reason given") < 0)
            *problems = NULL;
    }
    pattern_stop_at(0);
    lua_close(L);
    if (!load->good)
        config_free(out);
    return load->good;
}

bool config_load(struct config *out, const struct config_source *source, char **problems)
{
    return run(&(struct load){.config = out, .source = source, .problems = problems});
}

bool config_reload(struct config *out, const struct config_source *source, const struct config *running,
                   char **restart_needed, char **problems)
{
    struct load load = {
        .config = out, .source = source, .running = running, .problems = problems, .restart_needed = restart_needed};
    *restart_needed = NULL;
    bool good = run(&load);
    if (!good) {
        free(*restart_needed);
        *restart_needed = NULL;
    }
    return good;
}

/* The snapshot has the keys in order, each as `["section.key"] = value`; quotes within values stand behind a backslash.
 */
static struct slice section_of(const struct config *config, const char *section)
{
    char start[64];
    const char *from = NULL, *last = NULL;
    snprintf(start, sizeof start, "[\"%s.", section);
    for (const char *at = config->snapshot; at && (at = strstr(at, start)); at++) {
        from = from ? from : at;
        last = at;
    }
    const char *end = last ? strstr(last, ", [\"") : NULL;
    return from ? slice_from(from, end ? (size_t)(end - from) : strlen(from)) : slice_from("", 0);
}

bool config_same_section(const struct config *a, const struct config *b, const char *section)
{
    return slice_equal(section_of(a, section), section_of(b, section));
}

static void free_list(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

void config_free(struct config *config)
{
    if (config->snapshot) /* with the token in it */
        explicit_bzero(config->snapshot, strlen(config->snapshot));
    free(config->snapshot);
    free(config->listen.admin);
    free(config->file);
    free(config->mode_name);
    free(config->environment);
    free(config->listen.host);
    free_list(&config->script.paths);
    free(config->script.folder);
    free_list(&config->agents.task_open_intents);
    free_list(&config->agents.task_close_intents);
    free(config->agents.dead_letters);
    free(config->limits.trusted_proxies.items);
    free_list(&config->http.cors_origins);
    free_list(&config->http.hosts);
    free_list(&config->phase2.worker_pool.allow_roles);
    if (config->auth.token)
        explicit_bzero(config->auth.token, strlen(config->auth.token));
    free(config->auth.token);
    free(config->auth.tokens);
    free(config->auth.jwt.keys);
    free(config->auth.jwt.key);
    if (config->auth.jwt.secret)
        explicit_bzero(config->auth.jwt.secret, strlen(config->auth.jwt.secret));
    free(config->auth.jwt.secret);
    free(config->auth.jwt.issuer);
    free(config->auth.jwt.audience);
    free_list(&config->auth.jwt.id_claim);
    free_list(&config->auth.jwt.client_ids_claim);
    free_list(&config->auth.jwt.agent_roles_claim);
    free_list(&config->auth.jwt.roles_claim);
    free_list(&config->auth.jwt.labels_claim);
    for (size_t i = 0; i < config->tls.pair_count; i++) {
        free(config->tls.pairs[i].cert);
        free(config->tls.pairs[i].key);
        free(config->tls.pairs[i].label);
        free_list(&config->tls.pairs[i].names);
    }
    free(config->tls.pairs);
    free(config->tls.client_ca);
    free(config->tls.crl);
    free_list(&config->tls.ciphers);
    free(config->alerts.notify);
    free(config->alerts.webhook_url);
    if (config->alerts.webhook_secret)
        explicit_bzero(config->alerts.webhook_secret, strlen(config->alerts.webhook_secret));
    free(config->alerts.webhook_secret);
    free(config->policies.alerts);
    free(config->policies.access);
    free(config->log.file);
    free(config->tracing.endpoint);
    free(config->tracing.service);
    for (size_t i = 0; i < config->tracing.headers.count; i++) /* keys of collectors */
        explicit_bzero(config->tracing.headers.items[i], strlen(config->tracing.headers.items[i]));
    free_list(&config->tracing.headers);
    free(config->user);
    free_list(&config->secret_files);
    free(config->group);
    memset(config, 0, sizeof(*config));
}
