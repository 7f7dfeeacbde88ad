/* What scripts can do and what they cannot: hooks and their decisions, fields, the sandbox, the runaways. A thread
 * supervises the states as the bridge's main thread does. */
#include "../../support/unit.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bridge/registry/registry.h"
#include "protocol/envelope.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"
#include "script/state/collect.h"

#define LOG_BYTES 65536

/* One state with what it needs around it. Tests run in a process each, so nothing here is given back. */
static struct bridge_under_test {
    struct script_state *state;
    struct text_store store;
    struct envelope envelope;
    struct envelope_defaults defaults;
    struct script_sender sender;
    struct decision *decision;
    char folder[64];
    char log[LOG_BYTES];
    size_t log_length;
    unsigned log_lines;
    char error[512];
    bool signals_in_log; /* each log line sends the watchdog's signal, meant for an earlier call */
    atomic_bool supervising;
    pthread_t supervisor;
} t;

static void keep_log(void *context, enum script_log_level level, struct slice text)
{
    (void)context;
    t.log_lines++;
    if (t.signals_in_log) {
        struct watchdog *watchdog = script_watchdog(t.state);
        atomic_store(&watchdog->meant, atomic_load(&watchdog->sequence) - 2);
        CHECK(pthread_kill(pthread_self(), SIGURG) == 0);
        return;
    }
    int length =
        snprintf(t.log + t.log_length, LOG_BYTES - t.log_length, "%d %.*s\n", level, (int)text.length, text.data);
    t.log_length += (size_t)length < LOG_BYTES - t.log_length ? (size_t)length : 0;
}

static bool logged(const char *text)
{
    return strstr(t.log, text) != NULL;
}

static void open_bundle(struct lua_State *lua)
{
    lua_getglobal(lua, "package");
    lua_pushliteral(lua, "lua/?.lua");
    lua_setfield(lua, -2, "path");
    lua_pop(lua, 1);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", t.folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void remove_files(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", t.folder);
    if (t.folder[0] && system(command) != 0)
        fprintf(stderr, "%s stays\n", t.folder);
}

static void make_folder(void)
{
    if (t.folder[0])
        return;
    snprintf(t.folder, sizeof t.folder, "/tmp/luaduct-script-XXXXXX");
    CHECK(mkdtemp(t.folder));
    atexit(remove_files);
}

static struct script_options options(void)
{
    return (struct script_options){.mode = "enhanced",
                                   .budget_ms = 50,
                                   .memory_limit = 16u << 20,
                                   .log = keep_log,
                                   .wake_fd = -1,
                                   .open_bundle = open_bundle};
}

/* Loads the sources as one chain of one.lua, two.lua, … in a fresh folder. */
static struct script_state *load_with(struct script_options chosen, size_t count, const char *const *sources)
{
    static const char *const names[] = {"one.lua", "two.lua", "three.lua"};
    static char paths[3][128];
    static const char *list[3];
    make_folder();
    for (size_t i = 0; i < count; i++) {
        write_file(names[i], sources[i]);
        snprintf(paths[i], sizeof paths[i], "%s/%s", t.folder, names[i]);
        list[i] = paths[i];
    }
    chosen.paths = list;
    chosen.path_count = count;
    CHECK(watchdog_install());
    return script_state_new(&chosen, t.error, sizeof t.error);
}

static void load(const char *source)
{
    t.state = load_with(options(), 1, (const char *[]){source});
    if (!t.state)
        fprintf(stderr, "%s\n", t.error);
    CHECK(t.state);
}

static void load_chain(const char *first, const char *second)
{
    t.state = load_with(options(), 2, (const char *[]){first, second});
    if (!t.state)
        fprintf(stderr, "%s\n", t.error);
    CHECK(t.state);
}

/* A script whose route has this body. */
static void load_route(const char *body)
{
    static char source[8192];
    snprintf(source, sizeof source, "return { route = function(envelope, bridge)\n%s\nend }\n", body);
    load(source);
}

static void receive(const char *json)
{
    struct message_rules rules = {.depth = 128};
    char error[ERROR_TEXT_BYTES] = "";
    enum code code = envelope_scan(slice_from_string(json), &rules, &t.store, &t.envelope, error);
    if (code != CODE_OK)
        fprintf(stderr, "%s\n", error);
    CHECK(code == CODE_OK);
    t.defaults.timestamp = "2026-01-31T12:00:00.000Z";
}

static enum script_result route(const char *json)
{
    receive(json);
    return script_route(t.state, &t.envelope, t.sender.id.data ? &t.sender : NULL, &t.defaults, &t.decision);
}

static void check_failure(const char *json, const char *message)
{
    enum script_result result = route(json);
    if (result != SCRIPT_FAILED || !logged(message))
        fprintf(stderr, "result %d, log:\n%s\nexpected: %s\n", result, t.log, message);
    CHECK(result == SCRIPT_FAILED);
    CHECK(logged(message));
}

static void check_route(const char *json)
{
    enum script_result result = route(json);
    if (result != SCRIPT_DECIDED)
        fprintf(stderr, "%s\n", t.log);
    CHECK(result == SCRIPT_DECIDED);
}

/* The one field of the outgoing envelope, as JSON. */
static void check_field(enum field field, const char *json)
{
    struct slice got = envelope_json(&t.envelope, field, &t.defaults);
    CHECK_TEXT(got.data, got.length, json);
}

static void *supervise(void *context)
{
    struct timespec tick = {0, WATCHDOG_TICK_MS * 1000000};
    while (atomic_load(&t.supervising)) {
        watchdog_check(context, clock_steady_ns());
        nanosleep(&tick, NULL);
    }
    return NULL;
}

static void start_supervisor(void)
{
    atomic_store(&t.supervising, true);
    CHECK(pthread_create(&t.supervisor, NULL, supervise, script_watchdog(t.state)) == 0);
}

static struct script_statistics statistics(void)
{
    struct script_statistics out;
    script_read_statistics(t.state, &out);
    return out;
}

/* Runs the body as a route under supervision: it must fail, and the same state must serve the next envelope. */
static void check_runaway(const char *body)
{
    static char source[8192];
    snprintf(source, sizeof source,
             "local calm = false\n"
             "local function run(envelope, bridge)\n%s\nend\n"
             "return { route = function(envelope, bridge)\n"
             "if envelope.intent == 'calm' then return bridge.to('a') end\n"
             "return run(envelope, bridge) end }",
             body);
    load(source);
    start_supervisor();
    for (int round = 0; round < 2; round++) {
        enum script_result result = route("{}");
        if (result != SCRIPT_FAILED)
            fprintf(stderr, "%s: it came back\n%s\n", body, t.log);
        CHECK(result == SCRIPT_FAILED);
        check_route("{\"intent\":\"calm\"}");
        CHECK(t.decision->items[0].kind == DECISION_TO);
    }
    CHECK(logged("one.lua:"));
    CHECK(logged("stack traceback:"));
    CHECK(statistics().hooks[HOOK_ROUTE].errors == 2);
    CHECK(statistics().heap_bytes < 17u << 20);
    atomic_store(&t.supervising, false);
    pthread_join(t.supervisor, NULL);
    script_state_free(t.state);
}

static void check_overrun(const char *body)
{
    check_runaway(body);
    CHECK(logged("stopped"));
}

/* --- The modes and the chain ------------------------------------------------------------------------------------ */

static void check_mode(const char *mode)
{
    struct script_options chosen = options();
    chosen.mode = mode;
    t.state = load_with(chosen, 0, NULL);
    CHECK(t.state);
    check_route("{\"to\":\"bob\"}");
    CHECK(t.decision->count == 1 && t.decision->items[0].kind == DECISION_TO && t.decision->items[0].id_count == 1);
    CHECK_TEXT(t.decision->items[0].ids[0].data, t.decision->items[0].ids[0].length, "bob");
    check_route("{}");
    CHECK(t.decision->items[0].kind == DECISION_BROADCAST);
    CHECK(script_has_hook(t.state, HOOK_ROUTE) && !script_has_hook(t.state, HOOK_ON_REGISTER));
    script_state_free(t.state);
}

TEST("scripts: enhanced routes to the recipient, or to everybody")
{
    check_mode("enhanced");
}

TEST("scripts: original routes to the recipient, or to everybody")
{
    check_mode("original");
}

TEST("scripts: the first route in the chain that does not return nil decides")
{
    load_chain("return { route = function(e, b) if e.intent == 'one' then return b.to('first') end end }",
               "return { route = function(e, b) if e.intent == 'two' then return b.to('second') end end }");
    check_route("{\"intent\":\"one\"}");
    CHECK_TEXT(t.decision->items[0].ids[0].data, t.decision->items[0].ids[0].length, "first");
    check_route("{\"intent\":\"two\"}");
    CHECK_TEXT(t.decision->items[0].ids[0].data, t.decision->items[0].ids[0].length, "second");
    check_route("{\"intent\":\"three\",\"to\":\"x\"}");
    CHECK_TEXT(t.decision->items[0].ids[0].data, t.decision->items[0].ids[0].length, "x");
    CHECK(statistics().hooks[HOOK_ROUTE].calls == 1 + 2 + 3);
    script_state_free(t.state);
}

TEST("scripts: what the first script assigns the next one reads")
{
    load_chain("return { route = function(e) e.priority = 'high'; e.payload = {n = 1} end }",
               "return { route = function(e, b) return b.to(e.priority .. e.payload.n) end }");
    check_route("{}");
    CHECK_TEXT(t.decision->items[0].ids[0].data, t.decision->items[0].ids[0].length, "high1");
    script_state_free(t.state);
}

static void open_silent_bundle(struct lua_State *lua)
{
    CHECK(luaL_dostring(lua, "package.preload['luaduct.bridge.silent'] = function() return {} end") == 0);
}

TEST("scripts: where nobody decides, the decision is the default rule")
{
    struct script_options chosen = options();
    chosen.mode = "silent";
    chosen.open_bundle = open_silent_bundle;
    t.state = load_with(chosen, 1, (const char *[]){"return { route = function(e, b) b.drop('unused') end }"});
    CHECK(t.state);
    check_route("{\"to\":\"bob\"}");
    CHECK(t.decision->count == 1 && t.decision->items[0].kind == DECISION_DEFAULT);
    script_state_free(t.state);
}

TEST("scripts: a script without a route leaves it to the mode")
{
    load("return {}");
    check_route("{\"to\":\"bob\"}");
    CHECK(t.decision->items[0].kind == DECISION_TO);
    script_state_free(t.state);
}

/* --- Decisions -------------------------------------------------------------------------------------------------- */

TEST("scripts: bridge.to takes an id or a list of ids")
{
    load_route("return bridge.to{'a', 'b', envelope.to}");
    check_route("{\"to\":\"c\\u0064\"}");
    const struct decision_item *item = &t.decision->items[0];
    CHECK(t.decision->count == 1 && item->kind == DECISION_TO && item->id_count == 3);
    CHECK_TEXT(item->ids[0].data, item->ids[0].length, "a");
    CHECK_TEXT(item->ids[2].data, item->ids[2].length, "cd");
    script_state_free(t.state);
}

TEST("scripts: bridge.role, label, all and any select by what they name")
{
    load_route("return {bridge.role('r'), bridge.label('l'), bridge.all{intent = 'i', tool = 't'},"
               " bridge.any{id = 'x', role = 'y', label = 'z'}, bridge.any{role = 'w', wait = true, expiresMs = 7},"
               " bridge.to('a', {expiresMs = 8}), bridge.broadcast{expiresMs = 9}}");
    check_route("{}");
    CHECK(t.decision->count == 7);
    const struct decision_item *items = t.decision->items;
    CHECK(items[0].kind == DECISION_ALL && slice_equal(items[0].selector.role, SLICE("r")));
    CHECK(items[0].selector.label.data == NULL);
    CHECK(items[1].kind == DECISION_ALL && slice_equal(items[1].selector.label, SLICE("l")));
    CHECK(items[1].selector.role.data == NULL);
    CHECK(items[2].kind == DECISION_ALL && slice_equal(items[2].selector.intent, SLICE("i")));
    CHECK(slice_equal(items[2].selector.tool, SLICE("t")) && items[2].selector.id.data == NULL);
    CHECK(!items[3].wait && items[3].expires_ms == 0 && items[4].wait && items[4].expires_ms == 7);
    CHECK(items[5].expires_ms == 8 && items[6].kind == DECISION_BROADCAST && items[6].expires_ms == 9);
    CHECK(items[3].kind == DECISION_ANY && slice_equal(items[3].selector.id, SLICE("x")));
    CHECK(slice_equal(items[3].selector.role, SLICE("y")) && slice_equal(items[3].selector.label, SLICE("z")));
    script_state_free(t.state);
}

TEST("scripts: bridge.broadcast, reply and drop say what they say")
{
    load_route("if envelope.intent == 'b' then return bridge.broadcast() end\n"
               "if envelope.intent == 'r' then return bridge.reply{ok = true, list = luaduct.array{}} end\n"
               "if envelope.intent == 'd' then return bridge.drop('no') end\n"
               "return bridge.drop('no, told', {tell = true})");
    check_route("{\"intent\":\"b\"}");
    CHECK(t.decision->items[0].kind == DECISION_BROADCAST);
    check_route("{\"intent\":\"r\"}");
    CHECK(t.decision->items[0].kind == DECISION_REPLY);
    struct slice payload = t.decision->items[0].payload;
    CHECK((payload.length == 21 || payload.length == 22) && memmem(payload.data, payload.length, "\"list\":[]", 9));
    check_route("{}");
    CHECK(t.decision->items[0].kind == DECISION_DROP && t.decision->items[0].tell);
    CHECK(slice_equal(t.decision->items[0].reason, SLICE("no, told")));
    check_route("{\"intent\":\"d\"}");
    CHECK(t.decision->items[0].kind == DECISION_DROP && !t.decision->items[0].tell);
    script_state_free(t.state);
}

TEST("scripts: a decision other than the first made can be returned")
{
    load_route("local a, b = bridge.to('a'), bridge.to('b')\nreturn envelope.to == 'b' and b or a");
    check_route("{\"to\":\"b\"}");
    CHECK(slice_equal(t.decision->items[0].ids[0], SLICE("b")));
    check_route("{}");
    CHECK(slice_equal(t.decision->items[0].ids[0], SLICE("a")));
    script_state_free(t.state);
}

/* Each is a route's body and what must be said of it. */
static const struct {
    const char *body, *message;
} mistakes[] = {
    {"return bridge.to(nil)", "bridge.to: expected an agent id (string) or a list of them, got nil"},
    {"return bridge.to(7)", "bridge.to: expected an agent id (string) or a list of them, got a number"},
    {"return bridge.to{}", "bridge.to: expected an agent id (string) or a list of them, got a table without elements"},
    {"return bridge.to{'a', 5}", "bridge.to: expected an agent id (string) as element 2, got a number"},
    {"return bridge.to('')", "of 1 to 256 bytes without control characters, got an empty string"},
    {"return bridge.to(('x'):rep(257))", "of 1 to 256 bytes without control characters, got another string"},
    {"return bridge.to('a\\n')", "of 1 to 256 bytes without control characters, got another string"},
    {"return bridge.to('\\255')", "of 1 to 256 bytes without control characters, got another string"},
    {"return bridge.role()", "bridge.role: expected the name of a role (string), got nil"},
    {"return bridge.label({})", "bridge.label: expected a label (string), got a table"},
    {"return bridge.all()", "bridge.all: expected a table with role, label, intent, tool or id, got nil"},
    {"return bridge.all{}", "bridge.all: expected at least one of role, label, intent, tool, id, got an empty table"},
    {"return bridge.any{rolle = 'x'}", "bridge.any: expected role, label, intent, tool or id as a key, got rolle"},
    {"return bridge.any{role = true}", "bridge.any: expected a name (string), got a boolean"},
    {"return bridge.broadcast('x')", "bridge.broadcast: expected {expiresMs = n} as options, got a string"},
    {"return bridge.to('x', 'y')", "bridge.to: expected {expiresMs = n} as options, got a string"},
    {"return bridge.role('x', {ttl = 1})", "bridge.role: expected {expiresMs = n} as options, got another key"},
    {"return bridge.all{role = 'x', wait = true}",
     "bridge.all: expected role, label, intent, tool or id as a key, got wait"},
    {"return bridge.any{role = 'x', expiresMs = 0}",
     "bridge.any: expected a whole number from 1 to 2147483647 for expiresMs, got another number"},
    {"return bridge.reply()", "bridge.reply: expected a payload, got nil"},
    {"return bridge.reply(print)", "bridge.reply: JSON has no way to write a function"},
    {"return bridge.reply{0/0}", "bridge.reply: JSON has no way to write NaN"},
    {"return bridge.reply{math.huge}", "bridge.reply: JSON has no way to write infinity"},
    {"return bridge.reply{1, x = 2}", "bridge.reply: a table with both numbers and names as keys"},
    {"return bridge.reply{[1] = 1, [5] = 2}",
     "bridge.reply: a table with both numbers and names as keys, or with gaps"},
    {"return bridge.reply{[true] = 1}", "bridge.reply: a key in JSON is a string, got a boolean"},
    {"local x = {} x.x = x return bridge.reply(x)", "bridge.reply: a table that contains itself"},
    {"local x = {} for i = 1, 200 do x = {x} end return bridge.reply(x)", "bridge.reply: nested deeper than 120"},
    {"return bridge.drop()", "bridge.drop: expected a reason (string), got nil"},
    {"return bridge.drop('')", "bridge.drop: expected a reason of 1 to 1024 bytes, got 0"},
    {"return bridge.drop('x', true)", "bridge.drop: expected {tell = true} as second argument, got a boolean"},
    {"return bridge.drop('x', {tel = true})",
     "bridge.drop: expected {tell = true} as second argument, got another key"},
    {"return bridge.drop('x', {tell = 1})", "bridge.drop: expected true or false for tell, got a number"},
    {"for i = 1, 65 do bridge.to('a') end", "bridge.to: more than 64 decisions in one call"},
    {"return bridge.agent()", "bridge.agent: expected an agent id (string), got nil"},
    {"return bridge.agents('x')", "bridge.agents: expected a table with role, label, intent, tool or id, got a string"},
    {"return false", "expected a decision, a list of them or nil, got a boolean"},
    {"return 'bob'", "expected a decision, a list of them or nil, got a string"},
    {"return {}", "expected a decision, a list of them or nil, got a table without decisions"},
    {"return {to = 'x'}", "expected a decision, a list of them or nil, got a table without decisions"},
    {"return {bridge.to('a'), 'b'}", "as element 2 of the list it got a string"},
    {"return {bridge.to('a'), bridge.drop('x')}", "as element 2 of the list it got bridge.drop, which stands alone"},
    {"return envelope", "expected a decision, a list of them or nil, got an envelope"},
    {"return luaduct.null", "expected a decision, a list of them or nil, got luaduct.null"},
    {"return string", "expected a decision, a list of them or nil, got a library"},
    {"envelope.subject = 'x'", "an envelope has no field \"subject\""},
    {"envelope[1] = 'x'", "an envelope has no field \"a number\""},
    {"envelope.sender = {}", "envelope.sender is what the bridge knows of the sender: it cannot be assigned"},
    {"envelope.intent = 5", "envelope.intent: expected a string, got a number"},
    {"envelope.to = {}", "envelope.to: expected a string or nil, got a table"},
    {"envelope.timestamp = false", "envelope.timestamp: expected a string or a number, got a boolean"},
    {"envelope.tools = 'x'", "envelope.tools: expected a list, got a string"},
    {"envelope.tools = {a = 1}", "envelope.tools: expected a list with the keys 1 to n, got a table with other keys"},
    {"envelope.payload = print", "envelope.payload: JSON has no way to write a function"},
    {"envelope.to = 'a\\0'", "envelope.to: "},
    {"envelope.from = ''", "envelope.from: "},
    {"return luaduct.null.x", "attempt to read a field of luaduct.null"},
    {"return bridge.to('a').ids", "attempt to read a field of a decision"},
    {"coroutine.yield()", "coroutine.yield: a hook cannot yield"},
    {"error({})", "an error that is a table"},
    {"error()", "an error that is nil"},
    {"require('late')", "must be loaded when the script is"},
    {"luaduct.array('x')", "luaduct.array: expected a table, got a string"},
    {"collectgarbage()", "only collectgarbage(\"count\") is there"},
    {"string.format = print", "string is read-only"},
    {"luaduct.log.info = print", "luaduct.log is read-only"},
    {"luaduct.x = 1", "luaduct is read-only"},
    {"rawset(string, 'format', print)", "read-only"},
    {"rawset(luaduct, 'null', 1)", "read-only"},
    {"table.insert(table, 1)", "table expected"},
    {"setmetatable(string, {})", "table expected"},
    {"setmetatable(luaduct.array{}, {})", "cannot change a protected metatable"},
};

TEST("scripts: a mistake fails that call and says argument, expected and got, with the line")
{
    static char source[16384];
    size_t length = (size_t)snprintf(source, sizeof source, "local bodies = {\n");
    size_t count = sizeof mistakes / sizeof *mistakes;
    for (size_t i = 0; i < count; i++)
        length += (size_t)snprintf(source + length, sizeof source - length, "function(envelope, bridge) %s end,\n",
                                   mistakes[i].body);
    snprintf(source + length, sizeof source - length,
             "}\nreturn { route = function(envelope, bridge)\n"
             "local result = bodies[tonumber(envelope.intent)](envelope, bridge)\nreturn result end }");
    load(source);
    for (size_t i = 0; i < count; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"intent\":\"%zu\"}", i + 1);
        /* Ten are logged in a second: look at each by itself. */
        t.log_length = 0;
        t.log[0] = '\0';
        enum script_result result = route(json);
        bool limited = i >= 10 && t.log_length == 0;
        if (result != SCRIPT_FAILED || (!limited && !logged(mistakes[i].message)))
            fprintf(stderr, "%s\nresult %d, log: %s\n", mistakes[i].body, result, t.log);
        CHECK(result == SCRIPT_FAILED);
        CHECK(limited || logged(mistakes[i].message));
    }
    CHECK(statistics().hooks[HOOK_ROUTE].errors == count);
    script_state_free(t.state);
    /* Each text, in a state of its own. */
    for (size_t i = 0; i < count; i++) {
        t.log_length = 0;
        t.log[0] = '\0';
        load_route(mistakes[i].body);
        check_failure("{}", mistakes[i].message);
        CHECK(logged("one.lua:"));
        script_state_free(t.state);
    }
}

TEST("scripts: a decision kept from an earlier call is refused")
{
    load("local kept\n"
         "return { route = function(envelope, bridge)\n"
         "  kept = kept or bridge.to('a')\n"
         "  local other = bridge.to('b')\n"
         "  return kept end }");
    check_route("{}");
    check_failure("{}", "got a decision of an earlier call: make a new one in each call");
    script_state_free(t.state);
}

TEST("scripts: an envelope kept after its call is refused")
{
    load("local kept\n"
         "return { route = function(envelope, bridge)\n"
         "  local first = kept == nil\n"
         "  kept = kept or envelope\n"
         "  return bridge.to(kept.to) end,\n"
         "  on_register = function() return kept.to end }");
    check_route("{\"to\":\"a\"}");
    check_failure("{\"to\":\"b\"}", "attempt to read a field of an envelope after its call has ended");
    struct script_registration registration = {.id = SLICE("x"), .role = SLICE("agent")};
    struct slice reason;
    CHECK(script_on_register(t.state, &registration, &reason) == SCRIPT_FAILED);
    script_state_free(t.state);
}

TEST("scripts: a decision made by a bridge that was kept belongs to the call in which it is made")
{
    load("local kept, made\n"
         "return { route = function(envelope, bridge) kept = bridge return bridge.to('a') end,\n"
         "  on_register = function(agent) made = kept.to('b') return made end,\n"
         "  on_undeliverable = function() return made end }");
    check_route("{}");
    struct script_registration agent = {.id = SLICE("x"), .role = SLICE("agent")};
    struct slice reason;
    CHECK(script_on_register(t.state, &agent, &reason) == SCRIPT_FAILED);
    CHECK(script_on_undeliverable(t.state, &t.envelope, NULL, &t.defaults, SLICE("expired"), SLICE("a"), &t.decision) ==
          SCRIPT_FAILED);
    CHECK(logged("got a decision of an earlier call"));
    script_state_free(t.state);
}

TEST("scripts: what a script does to its bridge no other script sees")
{
    load_chain("return { route = function(e, bridge) bridge.to = nil end }",
               "return { route = function(e, bridge) if e.intent == 'two' then return bridge.to('b') end end }");
    check_route("{\"intent\":\"two\"}");
    check_route("{\"to\":\"c\"}");
    CHECK(slice_equal(t.decision->items[0].ids[0], SLICE("c")));
    script_state_free(t.state);
}

/* --- Fields ----------------------------------------------------------------------------------------------------- */

/* The body runs with `check(got, expected)`. */
static void check_reading(const char *json, const char *body)
{
    static char source[8192];
    snprintf(source, sizeof source,
             "local function check(got, expected)\n"
             "  if got ~= expected then error(tostring(got) .. ' is not ' .. tostring(expected), 2) end\n"
             "end\n"
             "return { route = function(envelope, bridge)\n%s\nend }\n",
             body);
    load(source);
    check_route(json);
}

TEST("scripts: absent fields read as their defaults")
{
    check_reading("{}",
                  "check(envelope.intent, 'agent.message') check(envelope.channel, 'default')\n"
                  "check(envelope.priority, 'normal') check(envelope.from, 'unknown') check(envelope.role, 'agent')\n"
                  "check(envelope.to, nil) check(envelope.taskId, nil) check(envelope.replyTo, nil)\n"
                  "check(#envelope.id, 36) check(envelope.id, envelope.id)\n"
                  "check(envelope.timestamp, '2026-01-31T12:00:00.000Z')\n"
                  "check(next(envelope.payload), nil) check(next(envelope.context), nil)\n"
                  "check(#envelope.tools, 0) check(#envelope.attachments, 0) check(next(envelope.trace), nil)\n"
                  "check(envelope.sender, nil) check(envelope.unheard_of, nil) check(envelope[1], nil)");
    script_state_free(t.state);
}

TEST("scripts: fields mean what they say after unescaping")
{
    check_reading("{\"int\\u0065nt\":\"a\\u0062\\n\",\"timestamp\":1.5,\"to\":\"\\u00e9\"}",
                  "check(envelope.intent, 'ab\\n') check(envelope.timestamp, 1.5) check(envelope.to, '\\195\\169')");
    script_state_free(t.state);
}

TEST("scripts: the payload is decoded once a call")
{
    check_reading("{\"payload\":{\"a\":[1,2,{\"b\":null}],\"c\":\"\\u00e9\",\"d\":1e400,\"e\":true,\"f\":[]}}",
                  "local p = envelope.payload\n"
                  "check(p, envelope.payload) check(#p.a, 3) check(p.a[3].b, luaduct.null)\n"
                  "check(p.c, '\\195\\169') check(p.d, math.huge) check(p.e, true) check(type(p.f), 'table')\n"
                  "check(tostring(luaduct.null), 'null') check(tostring(envelope), 'envelope')");
    script_state_free(t.state);
}

TEST("scripts: a payload that was read and assigned is the same, empty arrays and numbers included")
{
    static const char *const texts[] = {
        "[]",         "{}",     "[[],{},[[]]]", "{\"a\":[]}", "[1,-0.5,1e+100,0.1,123456789012345]",
        "\"x\"",      "true",   "false",        "[null]",     "\"\\\"\\\\\\u0000\"",
        "[1e-07]",    "\"[]\"", "[\"[ ]\",[]]", "0",          "[-1]",
        "\"\\\"[]\"",
    };
    load_route("envelope.payload = envelope.payload");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char json[256];
        snprintf(json, sizeof json, "{\"payload\":%s}", texts[i]);
        check_route(json);
        check_field(FIELD_PAYLOAD, texts[i]);
    }
    script_state_free(t.state);
}

TEST("scripts: assigning a field rewrites that field only")
{
    load_route("envelope.priority = 'high' envelope.to = 'bob' envelope.taskId = nil envelope.payload = {x = 1}\n"
               "envelope.tools = {} envelope.context = {} envelope.attachments = {1, 'a'} envelope.timestamp = 5\n"
               "assert(envelope.priority == 'high' and envelope.to == 'bob' and envelope.taskId == nil)\n"
               "assert(envelope.payload.x == 1 and envelope.timestamp == 5)");
    check_route(
        "{\"priority\":\"low\",\"taskId\":\"t\",\"payload\":1,\"trace\":[ 1.10 ],\"context\":[],\"tools\":[1]}");
    check_field(FIELD_PRIORITY, "\"high\"");
    check_field(FIELD_TO, "\"bob\"");
    check_field(FIELD_TASK_ID, "null");
    check_field(FIELD_PAYLOAD, "{\"x\":1}");
    check_field(FIELD_TOOLS, "[]");
    check_field(FIELD_CONTEXT, "{}");
    check_field(FIELD_ATTACHMENTS, "[1,\"a\"]");
    check_field(FIELD_TIMESTAMP, "5");
    check_field(FIELD_TRACE, "[ 1.10 ]");
    check_field(FIELD_INTENT, "\"agent.message\"");
    script_state_free(t.state);
}

TEST("scripts: nil and luaduct.null assign the default")
{
    load_route("envelope.payload = nil envelope.priority = luaduct.null envelope.tools = nil\n"
               "assert(next(envelope.payload) == nil and envelope.priority == 'normal')");
    check_route("{\"payload\":{\"a\":1},\"priority\":\"low\",\"tools\":[1]}");
    check_field(FIELD_PAYLOAD, "{}");
    check_field(FIELD_PRIORITY, "\"normal\"");
    check_field(FIELD_TOOLS, "[]");
    script_state_free(t.state);
}

TEST("scripts: envelope.sender is the registered truth")
{
    t.sender = (struct script_sender){SLICE("alice"), SLICE("worker"), SLICE("[\"gpu\"]"), {NULL, 0}};
    check_reading("{\"role\":\"admin\"}", "check(envelope.role, 'admin') check(envelope.sender.role, 'worker')\n"
                                          "check(envelope.sender.id, 'alice') check(envelope.sender.labels[1], 'gpu')\n"
                                          "check(envelope.sender.identity, nil)");
    script_state_free(t.state);
}

TEST("scripts: a string that is not UTF-8 is sent as UTF-8")
{
    load_route("envelope.payload = 'a\\255b'");
    check_route("{}");
    struct slice json = envelope_json(&t.envelope, FIELD_PAYLOAD, &t.defaults);
    CHECK(json_validate(json, 8, NULL) == CODE_OK);
    script_state_free(t.state);
}

TEST("scripts: a payload for which there is no room is an error, not the end")
{
    struct script_options chosen = options();
    chosen.memory_limit = 1u << 20;
    t.state = load_with(chosen, 1,
                        (const char *[]){"return { route = function(e, b)\n"
                                         "  if e.intent == 'calm' then return b.to('a') end\n"
                                         "  return b.reply(#e.payload) end }"});
    CHECK(t.state);
    static char json[400 * 1024];
    size_t length = (size_t)snprintf(json, sizeof json, "{\"payload\":[[]");
    while (length < sizeof json - 16)
        length += (size_t)snprintf(json + length, sizeof json - length, ",[]");
    snprintf(json + length, sizeof json - length, "]}");
    check_failure(json, "not enough memory to decode");
    check_route("{\"intent\":\"calm\"}");
    script_state_free(t.state);
}

/* --- Other hooks ------------------------------------------------------------------------------------------------ */

static struct script_registration registration(void)
{
    return (struct script_registration){.id = SLICE("alice"),
                                        .role = SLICE("agent"),
                                        .labels = SLICE("[\"gpu\"]"),
                                        .tools = SLICE("[\"search\",{\"name\":\"sum\"}]"),
                                        .intents = SLICE("[]"),
                                        .max_concurrent_tasks = 3};
}

static bool register_with(const char *body, struct script_registration *agent, struct slice *reason)
{
    static char source[4096];
    snprintf(source, sizeof source, "return { on_register = function(agent, bridge)\n%s\nend }", body);
    script_state_free(t.state);
    load(source);
    *agent = registration();
    return script_on_register(t.state, agent, reason) == SCRIPT_DECIDED;
}

TEST("scripts: on_register lets in with nil or true, and sees what the agent said")
{
    struct script_registration agent;
    struct slice reason;
    CHECK(register_with("assert(agent.id == 'alice' and agent.role == 'agent' and agent.labels[1] == 'gpu')\n"
                        "assert(agent.tools[2].name == 'sum' and #agent.intents == 0)\n"
                        "assert(agent.maxConcurrentTasks == 3 and agent.identity == nil)\n"
                        "assert(bridge.agent('alice') == nil and #bridge.agents() == 0)",
                        &agent, &reason));
    CHECK(register_with("return true", &agent, &reason));
    CHECK(register_with("agent.role = 'unreturned'", &agent, &reason) && slice_equal(agent.role, SLICE("agent")));
    script_state_free(t.state);
}

TEST("scripts: on_register refuses with false and a reason")
{
    struct script_registration agent;
    struct slice reason;
    CHECK(!register_with("return false, 'not ' .. agent.id", &agent, &reason));
    CHECK_TEXT(reason.data, reason.length, "not alice");
    CHECK(!register_with("return false", &agent, &reason));
    CHECK_TEXT(reason.data, reason.length, "refused by the script");
    CHECK(statistics().hooks[HOOK_ON_REGISTER].errors == 0);
    script_state_free(t.state);
}

TEST("scripts: on_register changes role, labels, tools, intents and maxConcurrentTasks")
{
    struct script_registration agent;
    struct slice reason;
    CHECK(register_with("agent.role = 'guest' agent.labels = {} agent.intents = {'x', 'y'}\n"
                        "agent.maxConcurrentTasks = 9 return agent",
                        &agent, &reason));
    CHECK_TEXT(agent.role.data, agent.role.length, "guest");
    CHECK_TEXT(agent.labels.data, agent.labels.length, "[]");
    CHECK_TEXT(agent.intents.data, agent.intents.length, "[\"x\",\"y\"]");
    CHECK_TEXT(agent.tools.data, agent.tools.length, "[\"search\",{\"name\":\"sum\"}]");
    CHECK(agent.max_concurrent_tasks == 9);
    CHECK(register_with("return {role = 'other'}", &agent, &reason));
    CHECK_TEXT(agent.role.data, agent.role.length, "other");
    CHECK_TEXT(agent.labels.data, agent.labels.length, "[\"gpu\"]");
    script_state_free(t.state);
}

TEST("scripts: on_register fails closed")
{
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"error('x')", "one.lua:2: x"},
        {"return 5", "expected nil, true, a changed agent, or false and a reason, got a number"},
        {"return bridge.to('x')", "or false and a reason, got a decision"},
        {"return false, {}", "expected a reason (string) beside false, got a table"},
        {"agent.id = 'bob' return agent", "the id of an agent cannot be changed"},
        {"return {id = 5}", "the id of an agent cannot be changed"},
        {"return {role = ''}", "expected a string of 1 to 256 bytes without control characters as role, got another"},
        {"return {role = 5}", "as role, got a number"},
        {"return {maxConcurrentTasks = 0}", "expected a whole number from 1 to 1000000 as maxConcurrentTasks"},
        {"return {maxConcurrentTasks = 1.5}", "as maxConcurrentTasks, got another number"},
        {"return {maxConcurrentTasks = 0/0}", "as maxConcurrentTasks, got another number"},
        {"return {labels = 'x'}", "expected a list as labels of the changed agent, got a string"},
        {"return {labels = {5}}", "in labels of the changed agent, element 1 is a number"},
        {"return {tools = {{title = 'x'}}}", "in tools of the changed agent, element 1 is nil"},
        {"return {labels = {x = 'y'}}", "expected a list with the keys 1 to n"},
    };
    struct script_registration agent;
    struct slice reason;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        t.log_length = 0;
        t.log[0] = '\0';
        bool admitted = register_with(cases[i].body, &agent, &reason);
        if (admitted || !logged(cases[i].message))
            fprintf(stderr, "%s: %s\n", cases[i].body, t.log);
        CHECK(!admitted && logged(cases[i].message));
        CHECK_TEXT(reason.data, reason.length, "the bridge's script failed");
        CHECK_TEXT(agent.role.data, agent.role.length, "agent");
        CHECK(agent.max_concurrent_tasks == 3);
        CHECK(statistics().hooks[HOOK_ON_REGISTER].errors == 1);
    }
    script_state_free(t.state);
}

TEST("scripts: every on_register of the chain is asked, and sees the changes before it")
{
    load_chain("return { on_register = function(agent) agent.role = 'one' return agent end }",
               "return { on_register = function(agent)\n"
               "  if agent.role ~= 'one' then return false, 'unseen' end\n"
               "  if agent.id == 'mallory' then return false, 'not you' end\nend }");
    struct script_registration agent = registration();
    struct slice reason;
    CHECK(script_on_register(t.state, &agent, &reason) == SCRIPT_DECIDED);
    CHECK_TEXT(agent.role.data, agent.role.length, "one");
    agent = registration();
    agent.id = SLICE("mallory");
    CHECK(script_on_register(t.state, &agent, &reason) == SCRIPT_FAILED);
    CHECK_TEXT(reason.data, reason.length, "not you");
    script_state_free(t.state);
}

TEST("scripts: on_undeliverable may decide anew")
{
    load("return { on_undeliverable = function(envelope, reason, recipient, bridge)\n"
         "  if reason == 'mailbox_full' then return end\n"
         "  if reason == 'nonsense' then return 5 end\n"
         "  envelope.priority = 'low'\n"
         "  return bridge.to(recipient and recipient .. '-backup' or 'dead-letters') end }");
    receive("{\"to\":\"a\"}");
    CHECK(script_on_undeliverable(t.state, &t.envelope, NULL, &t.defaults, SLICE("evicted"), SLICE("a"), &t.decision) ==
          SCRIPT_DECIDED);
    CHECK(t.decision && slice_equal(t.decision->items[0].ids[0], SLICE("a-backup")));
    check_field(FIELD_PRIORITY, "\"low\"");
    CHECK(script_on_undeliverable(t.state, &t.envelope, NULL, &t.defaults, SLICE("no_recipient"), slice_from(NULL, 0),
                                  &t.decision) == SCRIPT_DECIDED);
    CHECK(slice_equal(t.decision->items[0].ids[0], SLICE("dead-letters")));
    CHECK(script_on_undeliverable(t.state, &t.envelope, NULL, &t.defaults, SLICE("mailbox_full"), SLICE("a"),
                                  &t.decision) == SCRIPT_DECIDED);
    CHECK(t.decision == NULL);
    CHECK(script_on_undeliverable(t.state, &t.envelope, NULL, &t.defaults, SLICE("nonsense"), SLICE("a"),
                                  &t.decision) == SCRIPT_FAILED);
    CHECK(logged("one.lua:1: on_undeliverable: expected a decision, a list of them or nil, got a number"));
    script_state_free(t.state);
}

TEST("scripts: on_disconnect is told who left and why, by every script")
{
    load_chain("return { on_disconnect = function(agent, reason)\n"
               "  print(agent.id, reason, agent.connectedAt, agent.maxConcurrentTasks, agent.labels[1]) end }",
               "return { on_disconnect = function(agent) luaduct.log.warn('second', agent.role) end }");
    struct profile_source source = {
        .id = SLICE("alice"), .role = SLICE("worker"), .labels = SLICE("[\"gpu\"]"), .max_concurrent_tasks = 2};
    struct agent_view view = {.profile = profile_new(&source), .connected_at_ms = 0};
    CHECK(view.profile);
    script_on_disconnect(t.state, &view, SLICE("ttl"));
    CHECK(logged("1 alice\tttl\t1970-01-01T00:00:00.000Z\t2\tgpu"));
    CHECK(logged("2 second worker"));
    script_state_free(t.state);
}

/* --- Loading ---------------------------------------------------------------------------------------------------- */

static void check_load_error(const char *source, const char *message)
{
    struct script_state *state = load_with(options(), 1, (const char *[]){source});
    if (state || !strstr(t.error, message))
        fprintf(stderr, "%s\nexpected %s\n", state ? "loaded" : t.error, message);
    CHECK(!state && strstr(t.error, message) && !strchr(t.error, '\n'));
}

TEST("scripts: one that does not load says file, line and why in one line")
{
    check_load_error("return {\n", "one.lua:2: ");
    check_load_error("local x\nx.y = 1", "one.lua:2: attempt to index local 'x'");
    check_load_error("return 5", "one.lua: expected the script to return a table of hooks, got a number");
    check_load_error("return { route = 5 }", "one.lua: expected a function as route, got a number");
    check_load_error("return { on_disconect = function() end }", "one.lua: there is no hook on_disconect");
    check_load_error("error({})", "the script raised an error that is a table");
    check_load_error("local s = 'x' while true do s = s .. s end", "not enough memory");
    check_load_error("require('absent')", "absent.lua: No such file or directory");
    struct script_options chosen = options();
    chosen.mode = "unheard";
    CHECK(!load_with(chosen, 0, NULL) && strstr(t.error, "luaduct.bridge.unheard"));
    static const char *paths[] = {"/nonexistent/x.lua"};
    chosen = options();
    chosen.paths = paths;
    chosen.path_count = 1;
    CHECK(!script_state_new(&chosen, t.error, sizeof t.error) && strstr(t.error, "/nonexistent/x.lua: No such file"));
}

TEST("scripts: bytecode is refused")
{
    make_folder();
    char path[128];
    snprintf(path, sizeof path, "%s/code.lua", t.folder);
    lua_State *lua = luaL_newstate();
    luaL_openlibs(lua);
    lua_pushstring(lua, path);
    lua_setglobal(lua, "path");
    CHECK(luaL_dostring(lua, "local f = io.open(path, 'wb') f:write(string.dump(loadstring('return {}'))) f:close()") ==
          0);
    lua_close(lua);
    check_load_error("require('code') return {}", "code.lua: this is bytecode; a script is text");
}

TEST("scripts: a file whose top level never ends is refused")
{
    check_load_error("while true do end", "one.lua:1: stopped: loading took longer than 5000 ms");
}

TEST("scripts: require finds modules in the script's folder, once, and nothing else")
{
    make_folder();
    char folder[128];
    snprintf(folder, sizeof folder, "mkdir -p '%s/lib'", t.folder);
    CHECK(system(folder) == 0);
    write_file("lib/rules.lua", "loads = (loads or 0) + 1\nreturn { name = ..., loads = loads, check = require }");
    write_file("self.lua", "return require('self')");
    load("local rules = require('lib.rules')\n"
         "assert(rules == require('lib.rules') and rules.loads == 1 and rules.name == 'lib.rules')\n"
         "for _, name in ipairs{'../one', 'lib/rules', '.lib', 'lib.', '/etc/passwd', '', 'a..b', 'lib\\0'} do\n"
         "  local ok, message = pcall(require, name)\n"
         "  assert(not ok and message:find('is no module name', 1, true), name)\n"
         "end\n"
         "for _, name in ipairs{'io', 'ffi', 'debug', 'jit', 'luaduct.bridge.enhanced'} do\n"
         "  assert(not pcall(require, name), name)\n"
         "end\n"
         "local ok, message = pcall(require, 'self')\n"
         "assert(not ok and message:find('requires itself', 1, true))\n"
         "return { route = function(e, bridge) return bridge.to(require('lib.rules').name) end }");
    check_route("{}");
    CHECK(slice_equal(t.decision->items[0].ids[0], SLICE("lib.rules")));
    script_state_free(t.state);
}

/* --- The sandbox ------------------------------------------------------------------------------------------------ */

TEST("scripts: the sandbox has what its list says and nothing else")
{
    load(
        "local absent = {'load', 'loadstring', 'loadfile', 'dofile', 'getfenv', 'setfenv', 'newproxy', 'jit', 'ffi',\n"
        "  'debug', 'io', 'package', 'module', 'gcinfo', '_G', 'arg', '_VERSION'}\n"
        "local environment = setmetatable({}, {__index = function(_, name) error('no ' .. name) end})\n"
        "local present = {assert, error, ipairs, next, pairs, pcall, xpcall, select, tonumber, tostring, type, "
        "unpack,\n"
        "  rawget, rawset, rawequal, setmetatable, getmetatable, print, require, collectgarbage, string, table, math,\n"
        "  bit, coroutine, os, luaduct}\n"
        "assert(#present == 27)\n"
        "assert(load == nil and loadstring == nil and loadfile == nil and dofile == nil and getfenv == nil)\n"
        "assert(setfenv == nil and newproxy == nil and jit == nil and ffi == nil and debug == nil and io == nil)\n"
        "assert(package == nil and module == nil and gcinfo == nil and _G == nil and arg == nil)\n"
        "for _, name in ipairs{'execute', 'exit', 'getenv', 'remove', 'rename', 'setlocale', 'tmpname', 'difftime'} "
        "do\n"
        "  assert(os[name] == nil, name)\n"
        "end\n"
        "assert(string.dump == nil and ('').dump == nil and coroutine.isyieldable == nil)\n"
        "assert(getmetatable('') == false and getmetatable(string) == false and getmetatable(luaduct) == false)\n"
        "assert(getmetatable(luaduct.null) == false)\n"
        "assert(not pcall(setmetatable, '', {}))\n"
        "assert(coroutine.running() == nil)\n"
        "assert(type(collectgarbage('count')) == 'number' and not pcall(collectgarbage, 'stop'))\n"
        "assert(os.time() > 0 and os.clock() >= 0 and #os.date('%Y') == 4)\n"
        "local t = {} assert(rawset(t, 'a', 1) == t and t.a == 1)\n"
        "assert(math.floor(1.5) == 1 and bit.band(7, 3) == 3 and table.concat({1, 2}, '-') == '1-2')\n"
        "assert(('x'):rep(3) == 'xxx' and ('abc'):find('b', 1, true) == 2 and ('abc'):gsub('b', 'x') == 'axc')\n"
        "return {}");
    script_state_free(t.state);
}

TEST("scripts: globals of one script are not those of another")
{
    load_chain("leak = 1 print = nil\nreturn { route = function() leak = leak + 1 end }",
               "return { route = function(e, b) assert(leak == nil and print) return b.to('a') end }");
    check_route("{}");
    script_state_free(t.state);
}

TEST("scripts: xpcall calls its handler after unwinding and gives its result")
{
    load("local ok, a, b = xpcall(function(...) return ... end, print, 1, 2)\n"
         "assert(ok and a == 1 and b == 2)\n"
         "local failed, message = xpcall(function() error('x', 0) end, function(m) return m .. '!' end)\n"
         "assert(failed == false and message == 'x!')\n"
         "local again, inner = xpcall(function() error('x', 0) end, function() error('y', 0) end)\n"
         "assert(again == false and inner == 'y')\n"
         "return {}");
    script_state_free(t.state);
}

TEST("scripts: table.sort sorts, with and without a comparison, and survives a wrong one")
{
    load("local function sorted(t, before) for i = 2, #t do if before(t[i], t[i - 1]) then return false end end "
         "return true end\n"
         "local less = function(a, b) return a < b end\n"
         "for n = 0, 100 do\n"
         "  local t, u = {}, {}\n"
         "  for i = 1, n do t[i] = (i * 7919) % 101 u[i] = t[i] end\n"
         "  table.sort(t) assert(sorted(t, less))\n"
         "  table.sort(u, function(a, b) return a > b end)\n"
         "  assert(sorted(u, function(a, b) return a > b end))\n"
         "  for i = 1, n do assert(t[i] == u[n + 1 - i]) end\n"
         "  table.sort(t, function() return true end) table.sort(t, function() return false end)\n"
         "  assert(#t == n)\n"
         "end\n"
         "assert(not pcall(table.sort, {1, 'x'}) and not pcall(table.sort, 5) and not pcall(table.sort, {}, 5))\n"
         "return {}");
    script_state_free(t.state);
}

TEST("scripts: coroutines of a script work, and cannot be resumed in a wrong state")
{
    load("local co = coroutine.create(function(a, b)\n"
         "  local c = coroutine.yield(a + b) local d = coroutine.yield(c * 2) return d, 'end' end)\n"
         "local function check(ok, a, b) assert(ok) return a, b end\n"
         "assert(check(coroutine.resume(co, 1, 2)) == 3 and coroutine.status(co) == 'suspended')\n"
         "assert(check(coroutine.resume(co, 5)) == 10)\n"
         "local d, last = check(coroutine.resume(co, 7)) assert(d == 7 and last == 'end')\n"
         "assert(coroutine.status(co) == 'dead')\n"
         "assert(coroutine.resume(co) == false)\n"
         "local failed, message = coroutine.resume(coroutine.create(function() error('x', 0) end))\n"
         "assert(failed == false and message == 'x')\n"
         "local next_one = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)\n"
         "assert(next_one() == 1 and next_one() == 2 and next_one() == 3 and next_one() == nil)\n"
         "assert(not pcall(next_one))\n"
         "local outer outer = coroutine.create(function()\n"
         "  assert(coroutine.running() == outer)\n"
         "  assert(not coroutine.resume(outer))\n"
         "  local a, b, c = coroutine.wrap(function() return coroutine.resume(outer, 1, 2, 3) end)()\n"
         "  assert(a == false and c == nil)\n"
         "  return select('#', coroutine.resume(coroutine.create(function() end))) end)\n"
         "assert(select(2, coroutine.resume(outer)) == 1)\n"
         "return {}");
    script_state_free(t.state);
}

TEST("scripts: what they log arrives with its level, cut at 4 KiB")
{
    load_route("print('a', 1, nil, true) luaduct.log.debug('d') luaduct.log.info('i', 2) luaduct.log.warn({} ~= nil)\n"
               "luaduct.log.error(setmetatable({}, {__tostring = function() return 'own' end}))\n"
               "print(('x'):rep(10000)) print()");
    check_route("{}");
    CHECK(logged("1 a\t1\tnil\ttrue\n") && logged("0 d\n") && logged("1 i 2\n") && logged("2 true\n"));
    CHECK(logged("3 own\n") && t.log_length < 4500 && t.log_lines == 7);
    script_state_free(t.state);
}

/* --- Runaways --------------------------------------------------------------------------------------------------- */

TEST("scripts: an endless loop is stopped")
{
    check_overrun("while true do end");
}

TEST("scripts: a loop that catches every error is stopped")
{
    check_overrun("while true do pcall(function() while true do end end) end");
}

TEST("scripts: a stop that the last call caught still counts as an overrun")
{
    check_overrun("return pcall(function() while true do end end)");
}

TEST("scripts: an error handler that loops is stopped")
{
    check_overrun("xpcall(function() while true do end end, function() while true do end end)");
}

TEST("scripts: loops in coroutines are stopped")
{
    check_overrun("while true do coroutine.wrap(function() while true do end end)() end");
    check_overrun("while true do coroutine.resume(coroutine.create(function() while true do end end)) end");
    check_overrun("local f = coroutine.wrap(function() while true do coroutine.yield() end end) while true do f() end");
}

TEST("scripts: loops in callbacks of table.sort and gsub are stopped")
{
    check_overrun("table.sort({3, 2, 1}, function() while true do end end)");
    check_overrun("while true do pcall(table.sort, {3, 2, 1}, function() while true do end end) end");
    check_overrun("string.gsub('abc', '.', function() while true do end end)");
    check_overrun("local t = {} for i = 1, 400000 do t[i] = i % 1000 end while true do table.sort(t) end");
}

TEST("scripts: a catastrophic pattern is stopped")
{
    check_overrun("string.find(('a'):rep(5000), ('a*'):rep(50) .. 'b')");
    check_overrun("while true do pcall(string.match, ('a'):rep(5000), ('.-'):rep(50) .. 'b') end");
}

TEST("scripts: loops in metamethods are stopped")
{
    check_overrun("tostring(setmetatable({}, {__tostring = function() while true do end end}))");
    check_overrun("return setmetatable({}, {__index = function() while true do end end}).x");
    check_overrun("local t t = setmetatable({}, {__tostring = function() return tostring(t) end}) print(t)");
}

TEST("scripts: a memory bomb ends at the ceiling, and the state serves on")
{
    check_runaway("return ('x'):rep(1e9)");
    CHECK(logged("not enough memory"));
    check_runaway("local s = 'x' while true do s = s .. s end");
    check_runaway("local t = {} while true do t[#t + 1] = {} end");
    check_runaway("local t = {} for i = 1, 1e9 do t[i] = 'x' .. i end");
    check_runaway("return (('x'):rep(1000):gsub('x', ('y'):rep(1e6)))");
    check_runaway("local t = {} for i = 1, 1e9 do t[i] = coroutine.create(print) end");
    check_runaway("return string.format(('%s'):rep(200), unpack({}, 1, 200), ('x'):rep(1e7), ('x'):rep(1e7))");
    check_runaway("local x = {} for i = 1, 60 do x = {x, x} end return bridge.reply(x)");
    check_runaway("return table.concat(setmetatable({}, {__index = string}), 'x', 1, 1e9)");
}

TEST("scripts: a script that keeps its memory full fails call by call, without collecting each time")
{
    load("local hoard = {}\n"
         "return { route = function(e, b)\n"
         "  if e.intent == 'calm' then return b.to('a') end\n"
         "  while true do hoard[#hoard + 1] = ('x'):rep(1000) .. #hoard end end }");
    start_supervisor();
    for (int i = 0; i < 20; i++) {
        CHECK(route("{}") == SCRIPT_FAILED);
        check_route("{\"intent\":\"calm\"}");
    }
    CHECK(statistics().full_collections < 10);
    atomic_store(&t.supervising, false);
    pthread_join(t.supervisor, NULL);
    script_state_free(t.state);
}

TEST("scripts: memory errors that a script catches in a loop are stopped")
{
    check_overrun("while true do pcall(string.rep, 'x', 1e9) end");
    check_overrun(
        "local t = {} while true do pcall(function() while true do t[#t + 1] = ('x'):rep(1e5) .. #t end end) end");
}

TEST("scripts: infinite recursion in every form ends as an error")
{
    check_runaway("local function f() return 1 + f() end return f()");
    check_runaway("local function f() coroutine.wrap(f)() end f()");
    check_runaway(
        "local function f() local ok, e = coroutine.resume(coroutine.create(f)) if not ok then error(e, 0) end end"
        " f()");
    check_runaway("local function f() string.gsub('a', 'a', f) end f()");
    check_runaway("local function f() table.sort({1, 2}, f) end f()");
    check_runaway("local t t = setmetatable({}, {__tostring = function() return 'x' .. tostring(t) end}) print(t)");
    check_runaway("local t t = setmetatable({}, {__tostring = function() print(t) return 'x' end}) print(t)");
    check_runaway("local t t = setmetatable({}, {__index = function(_, k) return 1 + t[k] end}) return t.x");
    check_runaway("local t t = setmetatable({}, {__lt = function(a, b) return not (a < b) end}) return t < t");
    check_runaway("local t t = setmetatable({}, {__concat = function(a, b) return (a .. b) .. 'x' end}) return t .. t");
    check_runaway("local function f() local ok, e = pcall(f) error(e, 0) end f()");
    check_runaway("local function f() string.gsub('a', 'a', function() table.sort({1, 2}, f) end) end f()");
}

TEST("scripts: recursion through pcall and xpcall ends, one way or the other")
{
    load("local function f() pcall(f) end\nlocal function g() xpcall(g, g) end\n"
         "return { route = function(e, b)\n"
         "  if e.intent == 'calm' then return b.to('a') end\n"
         "  if e.intent == 'x' then g() else f() end end }");
    start_supervisor();
    route("{}");
    route("{\"intent\":\"x\"}");
    check_route("{\"intent\":\"calm\"}");
    atomic_store(&t.supervising, false);
    pthread_join(t.supervisor, NULL);
    script_state_free(t.state);
}

TEST("scripts: an overrun says where it was, also when the script catches it and raises another error")
{
    load_route("local ok = pcall(function()\n while true do end end)\nerror('masked')");
    start_supervisor();
    check_failure("{}", "one.lua:3: stopped: it ran longer than 50 ms\nstack traceback:");
    CHECK(statistics().hooks[HOOK_ROUTE].overruns == 1 && statistics().hooks[HOOK_ROUTE].errors == 1);
    CHECK(!logged("masked"));
    atomic_store(&t.supervising, false);
    pthread_join(t.supervisor, NULL);
    script_state_free(t.state);
}

TEST("scripts: an on_register that never ends refuses")
{
    load("return { on_register = function() while true do end end }");
    start_supervisor();
    struct script_registration agent = registration();
    struct slice reason;
    CHECK(script_on_register(t.state, &agent, &reason) == SCRIPT_FAILED);
    CHECK_TEXT(reason.data, reason.length, "the bridge's script failed");
    CHECK(statistics().hooks[HOOK_ON_REGISTER].overruns == 1);
    atomic_store(&t.supervising, false);
    pthread_join(t.supervisor, NULL);
    script_state_free(t.state);
}

TEST("scripts: failures are logged ten a second and counted beyond")
{
    load_route("error('again')");
    for (int i = 0; i < 1000; i++)
        CHECK(route("{}") == SCRIPT_FAILED);
    CHECK(t.log_lines >= 10 && t.log_lines < 200);
    CHECK(statistics().hooks[HOOK_ROUTE].errors == 1000);
    script_state_free(t.state);
}

TEST("scripts: with the JIT engine on, hooks run the same")
{
    struct script_options chosen = options();
    chosen.jit = true;
    t.state = load_with(chosen, 1,
                        (const char *[]){"return { route = function(e, b)\n"
                                         "  local n = 0 for i = 1, 1000 do n = n + i end\n"
                                         "  return b.to(e.to .. n) end }"});
    CHECK(t.state);
    for (int i = 0; i < 200; i++) {
        check_route("{\"to\":\"a\"}");
        CHECK(slice_equal(t.decision->items[0].ids[0], SLICE("a500500")));
    }
    script_state_free(t.state);
}

/* --- The watchdog by itself ------------------------------------------------------------------------------------- */

TEST("watchdog: sleeps only while no hook runs, and the next hook wakes it")
{
    CHECK(watchdog_install());
    int pipe_ends[2];
    CHECK(pipe(pipe_ends) == 0);
    struct watchdog watchdog;
    watchdog_init(&watchdog, NULL, NULL, 50, pipe_ends[1]);
    CHECK(!watchdog_check(&watchdog, 1));
    CHECK(watchdog_sleep(&watchdog));
    watchdog_enter(&watchdog);
    uint64_t woken = 0;
    CHECK(read(pipe_ends[0], &woken, sizeof woken) == (ssize_t)sizeof woken && woken == 1);
    CHECK(!watchdog_sleep(&watchdog));
    CHECK(watchdog_check(&watchdog, 2));
    CHECK(!watchdog_sleep(&watchdog));
    CHECK(!watchdog_leave(&watchdog));
    CHECK(watchdog_check(&watchdog, 3));
    CHECK(!watchdog_check(&watchdog, 4));
    CHECK(watchdog_sleep(&watchdog));
}

TEST("watchdog: what the machine gave to others counts against no hook")
{
    CHECK(watchdog_install());
    struct watchdog watchdog;
    watchdog_init(&watchdog, NULL, NULL, 20, -1);
    watchdog_enter(&watchdog);
    for (int i = 0; i < 4; i++) {
        CHECK(watchdog_check(&watchdog, clock_steady_ns()));
        CHECK(nanosleep(&(struct timespec){0, 20000000}, NULL) == 0);
    }
    CHECK(!watchdog_leave(&watchdog));
}

TEST("watchdog: a signal that was meant for an earlier call stops no later one")
{
    load_route("for i = 1, 10 do print(i) end return bridge.to('a')");
    t.signals_in_log = true;
    for (int i = 0; i < 100; i++)
        check_route("{}");
    CHECK(t.log_lines == 1000 && statistics().hooks[HOOK_ROUTE].overruns == 0);
    script_state_free(t.state);
}

/* --- Cost ------------------------------------------------------------------------------------------------------- */

TEST("scripts: 100,000 routes that read to, intent, priority and role make no garbage")
{
    load("local before\n"
         "return { route = function(envelope, bridge)\n"
         "  if envelope.intent == 'count' then return bridge.reply(collectgarbage('count')) end\n"
         "  if envelope.priority == 'high' and envelope.role == 'worker' then return bridge.to(envelope.to) end\n"
         "  return bridge.to{'a'} and bridge.to(envelope.to) end }");
    static struct envelope envelopes[2];
    receive("{\"to\":\"bob\",\"intent\":\"task\",\"priority\":\"high\",\"role\":\"worker\"}");
    envelopes[0] = t.envelope;
    receive("{\"to\":\"carol\",\"intent\":\"chat\",\"priority\":\"high\",\"role\":\"worker\"}");
    envelopes[1] = t.envelope;
    uint64_t heap = 0;
    for (int i = 0; i < 110000; i++) {
        CHECK(script_route(t.state, &envelopes[i & 1], NULL, &t.defaults, &t.decision) == SCRIPT_DECIDED);
        if (i == 10000)
            heap = statistics().heap_bytes;
    }
    CHECK(statistics().heap_bytes == heap);
    script_state_free(t.state);
}

static struct script_collections collections(void)
{
    struct script_collections out = {0};
    script_add_collections(t.state, &out);
    return out;
}

TEST("scripts: an ordered cycle is run by steps and frees what is garbage by then, also in the middle of another one")
{
    load("local kept = {}\n"
         "return { route = function(e, b)\n"
         "  if e.intent == 'drop' then kept = {} else for i = 1, 100 do kept[#kept + 1] = {#kept .. 'x'} end end\n"
         "  return b.to('a') end }");
    for (int i = 0; i < 500; i++)
        check_route("{}");
    script_order_cycle(t.state, false);
    CHECK(script_collect(t.state)); /* begun, and not done at once */
    CHECK(collections().under_way == 1);
    check_route("{\"intent\":\"drop\"}");
    script_order_cycle(t.state, true);
    uint64_t before = statistics().heap_bytes;
    while (script_collect(t.state))
        ;
    struct script_collections done = collections();
    CHECK(statistics().heap_bytes + 3000000 < before);
    CHECK(done.automatic + done.manual == 2 && done.manual == 1 && done.under_way == 0);
    CHECK(done.reclaimed >= 3000000 && done.last_ns > 0);
    CHECK(done.pauses.count >= 3 && done.pauses.longest_ns > 0 && done.cycle_ns >= done.pauses.total_ns);
    CHECK(!script_collect(t.state));
    script_state_free(t.state);
}

TEST("scripts: luaduct.gc() gives the heap and orders a cycle, once a second")
{
    load_route("return bridge.reply(luaduct.gc())");
    for (int i = 0; i < 100; i++) {
        check_route("{}");
        while (script_collect(t.state))
            ;
    }
    CHECK(collections().manual == 1);
    CHECK(statistics().full_collections == 0); /* after loading: none inside a hook */
    script_state_free(t.state);
}

TEST("scripts: with the engine off LuaJIT collects inside hooks, and their times are kept")
{
    load_route("local s = {} for i = 1, 100 do s[i] = 'x' .. i end return bridge.to('a')");
    script_step_between(t.state, false);
    for (int i = 0; i < 5000; i++) {
        check_route("{}");
        CHECK(!script_collect(t.state));
    }
    struct script_collections inside = collections();
    CHECK(inside.automatic > 0 && inside.pauses.count == 0 && inside.hook_times.count == 5000);
    CHECK(statistics().heap_bytes < 4u << 20);
    script_step_between(t.state, true);
    for (int i = 0; i < 5000; i++) {
        check_route("{}");
        script_collect(t.state);
    }
    CHECK(collections().pauses.count > 0 && collections().hook_times.count == 5000);
    CHECK(statistics().heap_bytes < 4u << 20);
    script_state_free(t.state);
}

TEST("scripts: a script that makes garbage is collected between events")
{
    load_route("local p = envelope.payload local s = 'x' .. p.n return bridge.reply{s, s .. s}");
    uint64_t highest = 0;
    for (int i = 0; i < 50000; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"payload\":{\"n\":%d}}", i);
        check_route(json);
        if (i % 64 == 0)
            script_collect(t.state);
        uint64_t heap = statistics().heap_bytes;
        highest = heap > highest ? heap : highest;
    }
    CHECK(highest < 2u << 20);
    CHECK(statistics().longest_collect_ns > 0);
    CHECK(statistics().full_collections == 0); /* after loading */
    script_state_free(t.state);
}
