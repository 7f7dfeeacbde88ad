/* Routes that declare by which fields they decide: what is kept of their decisions, when it is looked up and when it
 * goes, and what such a route may not do. */
#include "../../support/unit.h"

#include <lauxlib.h>
#include <lua.h>
#include <unistd.h>

#include "base/hash.h"
#include "bridge/registry/registry.h"
#include "protocol/envelope.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"
#include "script/pure/route_cache.h"

static struct script_state *state;
static char logged[65536], problem[512];
static struct script_sender *sender;
static struct decision *decision;
static uint64_t memory_limit = 16u << 20;
static bool jit;

static void keep_log(void *context, enum script_log_level level, struct slice text)
{
    size_t length = strlen(logged);
    (void)context, (void)level;
    snprintf(logged + length, sizeof logged - length, "%.*s\n", (int)text.length, text.data);
}

static void open_bundle(struct lua_State *lua)
{
    CHECK(luaL_dostring(lua, "package.path = 'lua/?.lua'") == 0);
}

static bool load_chain(enum route_caching caching, const char *first, const char *second)
{
    char folder[] = "/tmp/luaduct-routes-XXXXXX", paths[2][64];
    const char *sources[] = {first, second}, *list[] = {paths[0], paths[1]};
    CHECK(mkdtemp(folder) && watchdog_install());
    for (int i = 0; i < 2 && sources[i]; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s.lua", folder, i == 0 ? "one" : "two");
        FILE *file = fopen(paths[i], "w");
        CHECK(file && fputs(sources[i], file) >= 0 && fclose(file) == 0);
    }
    struct script_options options = {.paths = list,
                                     .path_count = second ? 2 : 1,
                                     .mode = "enhanced",
                                     .budget_ms = 1000,
                                     .memory_limit = memory_limit,
                                     .caching = caching,
                                     .jit = jit,
                                     .log = keep_log,
                                     .wake_fd = -1,
                                     .open_bundle = open_bundle};
    hash_start();
    state = script_state_new(&options, problem, sizeof problem);
    for (int i = 0; i < 2 && sources[i]; i++)
        unlink(paths[i]);
    rmdir(folder);
    return state != NULL;
}

/* A script whose route declares these fields and has this body; `calls` is how often it ran. */
static void load(enum route_caching caching, const char *fields, const char *body)
{
    static char source[4096];
    snprintf(source, sizeof source,
             "local calls = 0\n"
             "return {\n"
             "    route = function(envelope, bridge)\n%s\nend,\n"
             "    cache = {%s},\n"
             "}\n",
             body, fields);
    bool good = load_chain(caching, source, NULL);
    if (!good)
        fprintf(stderr, "%s\n", problem);
    CHECK(good);
}

static enum script_result route(const char *json)
{
    static struct text_store store;
    static struct envelope envelope;
    static struct envelope_defaults defaults = {.timestamp = "2026-01-31T12:00:00.000Z"};
    struct message_rules rules = {.depth = 128};
    char error[ERROR_TEXT_BYTES];
    CHECK(envelope_scan(slice_from_string(json), &rules, &store, &envelope, error) == CODE_OK);
    return script_route(state, &envelope, sender, &defaults, &decision);
}

static void check_route(const char *json, const char *expected)
{
    struct buffer text = {0};
    if (route(json) != SCRIPT_DECIDED)
        fprintf(stderr, "%s\n", logged);
    CHECK(route(json) == SCRIPT_DECIDED);
    decision_write(&text, decision);
    CHECK_TEXT(text.data, text.length, expected);
    buffer_free(&text);
}

static struct route_cache_statistics figures(void)
{
    struct script_statistics out;
    script_read_statistics(state, &out);
    return out.route_cache;
}

static uint64_t calls(void)
{
    struct script_statistics out;
    script_read_statistics(state, &out);
    return out.hooks[HOOK_ROUTE].calls;
}

static void check_failure(const char *body, const char *message)
{
    logged[0] = '\0';
    load(ROUTE_CACHING_ON, "\"to\"", body);
    bool failed = route("{\"id\":\"1\",\"to\":\"bob\"}") == SCRIPT_FAILED;
    if (!failed || !strstr(logged, message))
        fprintf(stderr, "%s: failed %d, log: %s\n", body, failed, logged);
    CHECK(failed && strstr(logged, message));
    CHECK(figures().entries == 0);
    script_state_free(state);
}

TEST("route cache: each kind of decision comes back as it was decided")
{
    static const char *const decisions[][2] = {
        {"bridge.to(envelope.to)", "to{\"bob\"}"},
        {"bridge.to{envelope.to, \"carol\"}", "to{\"bob\", \"carol\"}"},
        {"bridge.role(\"coder\")", "all{role = \"coder\"}"},
        {"bridge.all{label = \"x\", intent = \"y\"}", "all{label = \"x\", intent = \"y\"}"},
        {"bridge.any{tool = envelope.to, wait = true}", "any{tool = \"bob\", wait = true}"},
        {"bridge.broadcast()", "broadcast()"},
        {"bridge.reply{text = envelope.to}", "reply({\"text\":\"bob\"})"},
        {"bridge.drop(\"no \" .. envelope.to, {tell = true})", "drop(\"no bob\", {tell = true})"},
        {"{bridge.to(\"a\"), bridge.label(\"b\", {expiresMs = 5}), bridge.to{\"c\", \"d\"}}",
         "{to{\"a\"}, all{label = \"b\", expiresMs = 5}, to{\"c\", \"d\"}}"},
    };
    for (size_t i = 0; i < sizeof decisions / sizeof *decisions; i++) {
        char body[128];
        snprintf(body, sizeof body, "return %s", decisions[i][0]);
        load(ROUTE_CACHING_ON, "\"to\"", body);
        check_route("{\"id\":\"1\",\"to\":\"bob\"}", decisions[i][1]); /* twice */
        CHECK(figures().hits == 1 && figures().misses == 1 && figures().entries == 1 && calls() == 1);
        if (decision->items[0].kind == DECISION_ANY)
            CHECK(decision->items[0].wait);
        if (decision->count > 1)
            CHECK(decision->items[1].expires_ms == 5);
        script_state_free(state);
    }
}

TEST("route cache: other values are other decisions, and nil is none of them")
{
    load(ROUTE_CACHING_ON, "\"to\", \"intent\"",
         "return bridge.drop((envelope.to or \"nobody\") .. \"|\" .. envelope.intent)");
    check_route("{\"id\":\"1\",\"to\":\"a\",\"intent\":\"bc\"}", "drop(\"a|bc\")");
    check_route("{\"id\":\"2\",\"to\":\"ab\",\"intent\":\"c\"}", "drop(\"ab|c\")");
    check_route("{\"id\":\"3\",\"intent\":\"c\"}", "drop(\"nobody|c\")");
    check_route("{\"id\":\"4\"}", "drop(\"nobody|agent.message\")");
    check_route("{\"id\":\"5\",\"intent\":\"agent.message\",\"payload\":1}", "drop(\"nobody|agent.message\")");
    check_route("{\"id\":\"6\",\"to\":\"\\u0061\",\"intent\":\"bc\"}", "drop(\"a|bc\")");
    CHECK(figures().entries == 4 && figures().misses == 4 && calls() == 4);
    script_state_free(state);
}

TEST("route cache: who the sender is counts where it is declared")
{
    load(ROUTE_CACHING_ON, "\"sender\"",
         "local s = envelope.sender return bridge.drop(s and s.id .. s.role .. #s.labels or \"none\")");
    struct script_sender who = {.id = SLICE("alice"), .role = SLICE("coder"), .labels = SLICE("[]")};
    check_route("{\"id\":\"1\"}", "drop(\"none\")");
    sender = &who;
    check_route("{\"id\":\"1\"}", "drop(\"alicecoder0\")");
    who.labels = SLICE("[\"x\"]");
    check_route("{\"id\":\"1\"}", "drop(\"alicecoder1\")");
    who.role = SLICE("boss");
    check_route("{\"id\":\"1\"}", "drop(\"aliceboss1\")");
    CHECK(calls() == 4);
    script_state_free(state);
}

TEST("route cache: a route that returns nil is known as well, and the next one decides")
{
    CHECK(load_chain(ROUTE_CACHING_ON, "return {cache = {'intent'}, route = function(envelope) return nil end}",
                     "return {cache = {'to'}, route = function(envelope, bridge)\n"
                     "    if envelope.to then return bridge.to('two:' .. envelope.to) end\n"
                     "end}"));
    check_route("{\"id\":\"1\",\"to\":\"bob\"}", "to{\"two:bob\"}");
    CHECK(calls() == 2 && figures().hits == 2 && figures().misses == 2 && script_from_cache(state));
    check_route("{\"id\":\"1\",\"intent\":\"x\"}", "broadcast()"); /* the mode's */
    CHECK(calls() == 6 && !script_from_cache(state));
    script_state_free(state);
}

TEST("route cache: what a script before it in the chain has assigned is what counts")
{
    CHECK(load_chain(
        ROUTE_CACHING_ON,
        "return {route = function(envelope) envelope.intent = #envelope.payload > 3 and 'long' or 'short' end}",
        "return {cache = {'intent'}, route = function(envelope, bridge)\n"
        "    return bridge.role(envelope.intent)\n"
        "end}"));
    check_route("{\"id\":\"1\",\"payload\":\"abcdef\"}", "all{role = \"long\"}");
    check_route("{\"id\":\"1\",\"payload\":\"ab\"}", "all{role = \"short\"}");
    check_route("{\"id\":\"1\",\"payload\":\"abcde\"}", "all{role = \"long\"}");
    CHECK(figures().entries == 2 && figures().hits == 4);
    script_state_free(state);
}

TEST("route cache: one whose route asked for agents ends with the next change of the registry, others stay")
{
    load(ROUTE_CACHING_ON, "\"to\"",
         "if envelope.to == \"pure\" then return bridge.role(\"x\") end\n"
         "return bridge.drop(tostring(bridge.agent(envelope.to)) .. #bridge.agents())");
    check_route("{\"id\":\"1\",\"to\":\"bob\"}", "drop(\"nil0\")");
    check_route("{\"id\":\"1\",\"to\":\"pure\"}", "all{role = \"x\"}");
    CHECK(calls() == 2 && figures().entries == 2);
    atomic_fetch_add(&registry_change_count, 1);
    check_route("{\"id\":\"1\",\"to\":\"pure\"}", "all{role = \"x\"}");
    CHECK(calls() == 2);
    check_route("{\"id\":\"1\",\"to\":\"bob\"}", "drop(\"nil0\")");
    CHECK(calls() == 3 && figures().outdated == 1 && figures().entries == 2);
    script_state_free(state);
}

TEST("route cache: it stays within its bounds, and keeps what is used")
{
    load(ROUTE_CACHING_ON, "\"to\"", "return bridge.to(envelope.to)");
    struct script_statistics before, after;
    script_read_statistics(state, &before);
    char json[64];
    for (int i = 0; i < 3 * ROUTE_CACHE_ENTRIES; i++) {
        snprintf(json, sizeof json, "{\"id\":\"1\",\"to\":\"agent-%d\"}", i);
        CHECK(route(json) == SCRIPT_DECIDED);
        CHECK(route("{\"id\":\"1\",\"to\":\"always\"}") == SCRIPT_DECIDED);
    }
    CHECK(figures().entries <= ROUTE_CACHE_ENTRIES && figures().bytes <= ROUTE_CACHE_BYTES);
    CHECK(figures().entries > ROUTE_CACHE_ENTRIES / 2);
    CHECK(figures().evicted == 3 * ROUTE_CACHE_ENTRIES + 1 - figures().entries);
    CHECK(figures().hits == 3 * ROUTE_CACHE_ENTRIES - 1); /* `always` was never thrown out */
    script_read_statistics(state, &after);
    CHECK(after.heap_bytes - before.heap_bytes >= figures().bytes); /* counted */
    check_route("{\"id\":\"1\",\"to\":\"agent-12287\"}", "to{\"agent-12287\"}");
    script_state_free(state);
}

TEST("route cache: full of what is not used any more, it takes what is")
{
    load(ROUTE_CACHING_ON, "\"to\"", "return bridge.to(envelope.to)");
    char json[64];
    for (int i = 0; i < 2 * ROUTE_CACHE_ENTRIES; i++) {
        snprintf(json, sizeof json, "{\"id\":\"1\",\"to\":\"old-%d\"}", i);
        CHECK(route(json) == SCRIPT_DECIDED);
    }
    uint64_t before = calls();
    for (int i = 0; i < 1000; i++) {
        snprintf(json, sizeof json, "{\"id\":\"1\",\"to\":\"new-%d\"}", i % 100);
        CHECK(route(json) == SCRIPT_DECIDED);
    }
    CHECK(calls() == before + 100);
    script_state_free(state);
}

TEST("route cache: a small memory limit makes it small")
{
    memory_limit = 2u << 20;
    load(ROUTE_CACHING_ON, "\"to\"", "return bridge.to(envelope.to)");
    char json[64];
    for (int i = 0; i < ROUTE_CACHE_ENTRIES; i++) {
        snprintf(json, sizeof json, "{\"id\":\"1\",\"to\":\"agent-%d\"}", i);
        CHECK(route(json) == SCRIPT_DECIDED);
    }
    CHECK(figures().entries > 100 && figures().bytes <= (2u << 20) / 16);
    script_state_free(state);
}

TEST("route cache: keys and decisions that are too large are not kept")
{
    load(ROUTE_CACHING_ON, "\"intent\"",
         "if envelope.intent == \"large\" then return bridge.reply((\"x\"):rep(20000)) end\n"
         "return bridge.role(\"r\")");
    static char json[ROUTE_CACHE_KEY_BYTES + 64], name[ROUTE_CACHE_KEY_BYTES + 1];
    memset(name, 'a', sizeof name - 1);
    snprintf(json, sizeof json, "{\"id\":\"1\",\"intent\":\"%s\"}", name);
    check_route(json, "all{role = \"r\"}");
    CHECK(calls() == 2 && figures().uncached == 2 && figures().misses == 0);
    CHECK(route("{\"id\":\"1\",\"intent\":\"large\"}") == SCRIPT_DECIDED);
    CHECK(route("{\"id\":\"1\",\"intent\":\"large\"}") == SCRIPT_DECIDED && decision->items[0].payload.length > 20000);
    CHECK(calls() == 4 && figures().uncached == 4 && figures().entries == 0);
    script_state_free(state);
}

TEST("route cache: a route that failed is asked again")
{
    load(ROUTE_CACHING_ON, "\"to\"", "error(\"on purpose\")");
    CHECK(route("{\"id\":\"1\",\"to\":\"bob\"}") == SCRIPT_FAILED);
    CHECK(route("{\"id\":\"1\",\"to\":\"bob\"}") == SCRIPT_FAILED);
    CHECK(calls() == 2 && figures().entries == 0);
    script_state_free(state);
}

TEST("route cache: memory that is out empties it, and the script serves on")
{
    load(ROUTE_CACHING_ON, "\"to\"",
         "if envelope.to == \"bomb\" then local t = {} for i = 1, 1e9 do t[i] = {i} end end\n"
         "return bridge.to(envelope.to)");
    check_route("{\"id\":\"1\",\"to\":\"bob\"}", "to{\"bob\"}");
    CHECK(figures().entries == 1);
    CHECK(route("{\"id\":\"1\",\"to\":\"bomb\"}") == SCRIPT_FAILED);
    CHECK(figures().entries == 0 && figures().bytes == 0);
    check_route("{\"id\":\"1\",\"to\":\"bob\"}", "to{\"bob\"}");
    CHECK(figures().entries == 1);
    script_state_free(state);
}

TEST("route cache: off, every envelope is routed by Lua, under the same rules")
{
    load(ROUTE_CACHING_OFF, "\"to\"",
         "if envelope.to == \"x\" then return envelope.intent end return bridge.to(envelope.to)");
    check_route("{\"id\":\"1\",\"to\":\"bob\"}", "to{\"bob\"}");
    CHECK(calls() == 2 && figures().hits == 0 && figures().misses == 0 && figures().entries == 0);
    CHECK(route("{\"id\":\"1\",\"to\":\"x\"}") == SCRIPT_FAILED && strstr(logged, "declare \"intent\" too"));
    script_state_free(state);
}

TEST("route cache: checked, a route that decides by something else is found out")
{
    load(ROUTE_CACHING_CHECKED, "\"to\"",
         "calls = calls + 1 return bridge.to(envelope.to .. (calls > 2 and \"!\" or \"\"))");
    check_route("{\"id\":\"1\",\"to\":\"bob\"}", "to{\"bob\"}");
    CHECK(calls() == 2);
    CHECK(route("{\"id\":\"1\",\"to\":\"bob\"}") == SCRIPT_FAILED);
    CHECK(strstr(logged, "one.lua:3: route: for the same values of the fields that it declares as its cache it decided "
                         "to{\"bob\"} before, and to{\"bob!\"} now"));
    script_state_free(state);
}

TEST("route cache: what no declared field tells, and what is more than a decision, raises")
{
    check_failure(
        "return bridge.to(envelope.intent)",
        "one.lua:4: envelope.intent: this route declares cache = {\"to\"}: declare \"intent\" too, or no cache");
    check_failure("return bridge.to(envelope.sender.id)", "envelope.sender: this route declares cache = {\"to\"}");
    check_failure(
        "return bridge.to(envelope.payload.to)",
        "envelope.payload: this route declares cache = {\"to\"}, and decisions cannot be kept by \"payload\"");
    check_failure("envelope.to = \"x\"",
                  "envelope.to: a route that declares cache = {\"to\"} cannot change the envelope");
    check_failure("bridge.send{to = \"x\"}", "bridge.send: not in a route that declares cache = {\"to\"}");
    check_failure("bridge.request{to = \"x\", timeoutMs = 1}", "bridge.request: not in a route that declares");
    check_failure("bridge.gather{to = {\"x\"}, timeoutMs = 1}", "bridge.gather: not in a route that declares");
    check_failure("luaduct.sleep(1)", "luaduct.sleep: not in a route that declares");
    check_failure("luaduct.workers.execute{operation = \"hash\", data = {}}", "luaduct.workers.execute: not in");
    check_failure("luaduct.after(1, function() end)", "luaduct.after: not in a route that declares");
    check_failure("luaduct.every(1, function() end)", "luaduct.every: not in a route that declares");
    check_failure("luaduct.shared.get(\"x\")", "luaduct.shared: not in a route that declares");
    check_failure("luaduct.shared.incr(\"x\")", "luaduct.shared: not in a route that declares");
    check_failure("luaduct.shared.delete(\"x\")", "luaduct.shared: not in a route that declares");
    check_failure("luaduct.shared.keys()", "luaduct.shared: not in a route that declares");
    check_failure("local n = luaduct.state.n", "luaduct.state: not in a route that declares");
    check_failure("luaduct.state = {}", "luaduct.state: not in a route that declares");
    check_failure("luaduct.gc()", "luaduct.gc: not in a route that declares");
    check_failure("collectgarbage(\"count\")", "collectgarbage: not in a route that declares");
    check_failure("os.time()", "the time now: not in a route that declares");
    check_failure("os.date(\"%H\")", "the time now: not in a route that declares");
    check_failure("os.clock()", "os.clock: not in a route that declares");
    check_failure("if math.random() < 2 then return bridge.to(\"x\") end",
                  "one.lua:3: route: math.random: not in a route");
    check_failure("math.random()", "math.random: not in a route");
    check_failure("pcall(math.randomseed, 7)", "math.random: not in a route");
    check_failure("coroutine.wrap(function() return envelope.intent end)()", "envelope.intent: this route declares");
}

TEST("route cache: compiled code is held to the declaration as well")
{
    jit = true;
    load(ROUTE_CACHING_OFF, "\"to\"",
         "local n = 0\n"
         "for i = 1, 1000 do n = n + #envelope.to end\n"
         "if envelope.to == \"read\" then for i = 1, 1000 do n = n + #envelope.intent end end\n"
         "if envelope.to == \"roll\" then for i = 1, 1000 do n = n + math.random() end end\n"
         "return bridge.to(envelope.to)");
    for (int i = 0; i < 200; i++)
        check_route("{\"id\":\"1\",\"to\":\"bob\"}", "to{\"bob\"}");
    CHECK(route("{\"id\":\"1\",\"to\":\"read\"}") == SCRIPT_FAILED && strstr(logged, "envelope.intent: this route"));
    CHECK(route("{\"id\":\"1\",\"to\":\"roll\"}") == SCRIPT_FAILED && strstr(logged, "math.random: not in a route"));
    script_state_free(state);
}

TEST("route cache: what depends on nothing else stays allowed")
{
    load(ROUTE_CACHING_ON, "\"to\"",
         "print(\"seen\") luaduct.log.info(\"x\") local t = os.time{year = 2026, month = 1, day = 1}\n"
         "local d = os.date(\"!%Y\", 0) local m = math.floor(1.5)\n"
         "return bridge.drop(d .. m .. tostring(luaduct.null) .. envelope.to)");
    check_route("{\"id\":\"1\",\"to\":\"bob\"}", "drop(\"19701nullbob\")");
    CHECK(calls() == 1);
    script_state_free(state);
}

TEST("route cache: other hooks and other scripts of the chain may do what they like")
{
    CHECK(load_chain(ROUTE_CACHING_ON,
                     "return {cache = {'to'}, route = function(envelope) return nil end,\n"
                     "    on_undeliverable = function(envelope, reason, recipient, bridge)\n"
                     "        luaduct.state.n = (luaduct.state.n or 0) + 1\n"
                     "        return bridge.drop(envelope.intent .. luaduct.state.n)\n"
                     "    end}",
                     "return {route = function(envelope, bridge)\n"
                     "    luaduct.state.seen = os.time()\n"
                     "    return bridge.to(envelope.intent)\n"
                     "end}"));
    check_route("{\"id\":\"1\",\"to\":\"bob\",\"intent\":\"x\"}", "to{\"x\"}");
    CHECK(calls() == 3 && !script_from_cache(state));
    script_state_free(state);
}

static void check_refused(const char *cache, const char *message)
{
    char source[512];
    snprintf(source, sizeof source, "local cached = 1\nreturn {\n    route = function() end,\n    cache = %s,\n}\n",
             cache);
    CHECK(!load_chain(ROUTE_CACHING_ON, source, NULL));
    const char *text = strstr(problem, "one.lua");
    if (!text || strcmp(text, message) != 0)
        fprintf(stderr, "got: %s\n", problem);
    CHECK(text && strcmp(text, message) == 0);
}

TEST("route cache: a declaration that no decision can be kept by is refused, with the line")
{
    check_refused("{\"to\", \"intnet\"}",
                  "one.lua:4: cache: an envelope has no field \"intnet\", did you mean \"intent\"?");
    check_refused("{\"replyto\"}", "one.lua:4: cache: an envelope has no field \"replyto\", did you mean \"replyTo\"?");
    check_refused("{\"recipient\"}", "one.lua:4: cache: an envelope has no field \"recipient\"; expected to, intent, "
                                     "from, role, channel, priority, taskId, replyTo or sender");
    check_refused("{\"payload\"}",
                  "one.lua:4: cache: decisions are not kept by \"payload\"; expected to, intent, from, "
                  "role, channel, priority, taskId, replyTo or sender");
    check_refused("{\"id\"}", "one.lua:4: cache: \"id\" is another in each envelope; expected to, intent, from, role, "
                              "channel, priority, taskId, replyTo or sender");
    check_refused("true", "one.lua:4: cache: expected a list of fields, as {\"to\", \"intent\"}, got a boolean");
    check_refused("{to = true}",
                  "one.lua:4: cache: expected a list of fields, as {\"to\", \"intent\"}, got a table with "
                  "other keys");
    check_refused("{1}", "one.lua:4: cache: expected names of fields, got a number");
    CHECK(!load_chain(ROUTE_CACHING_ON, "local hooks = {}\nhooks.cache = {'to'}\nreturn hooks\n", NULL));
    CHECK(strstr(problem, "one.lua:2: cache: there is no route whose decisions could be kept"));
}
