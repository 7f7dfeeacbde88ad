/* The values of a config file, through the Lua that judges them (lua/luaduct/config/). The first byte chooses:
 *   v  one key and one value
 *   t  a whole table: each line is PATH=VALUE
 *   s  a key that there is not, for which the nearest is suggested
 *   e  what overrides it: each line is NAME=TEXT
 *   f  the three together and the files that keys name, up to the finished configuration or its list of problems
 *   l  files of Lua that fail, each in its way
 * The second chooses the key, or what files hold. A value is written as in Lua, without code: 12, "text", true,
 * {"a","b"}, {cert="a"}. What is accepted must be accepted again in its normal form; what is refused must say so in one
 * line, without the text of a secret.
 *
 * libFuzzer sees which lines of the Lua ran by counters of its own; with LUADUCT_FUZZ_LINES=FILE they are written
 * there at the end, one SOURCE:LINE:COUNT each. */
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/config/bundle.h"

#define INPUT_MOST 4096
#define SOURCES 8
#define LINES 1024

static const char *const sources[SOURCES] = {"@lua/luaduct/config/validate.lua", "@lua/luaduct/config/environment.lua",
                                             "@lua/luaduct/config/load.lua", "@lua/luaduct/config/suggest.lua"};

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[LINES];
static const char *lines_file;
static bool counting, bounded;
static unsigned char seen[SOURCES][LINES], there[SOURCES][LINES];

static int source_index(const char *source)
{
    for (int i = 0; i < SOURCES && sources[i]; i++)
        if (strcmp(source, sources[i]) == 0)
            return i;
    return -1;
}

/* Looking up the source costs more than all else, so libFuzzer is told of line numbers alone. */
static void count_line(lua_State *L, lua_Debug *about)
{
    if (about->event == LUA_HOOKCOUNT) {
        lua_getfield(L, LUA_REGISTRYINDEX, "bound");
        lua_call(L, 0, 0);
        return;
    }
    int line = about->currentline;
    if (line <= 0 || line >= LINES)
        return;
    counters[line] += counters[line] < 255;
    if (!lines_file)
        return;
    lua_getinfo(L, "S", about);
    int index = source_index(about->source);
    if (index >= 0)
        seen[index][line] = 1;
}

static void recount(lua_State *L)
{
    int mask = (counting ? LUA_MASKLINE : 0) | (bounded ? LUA_MASKCOUNT : 0);
    lua_sethook(L, mask ? count_line : NULL, mask, 10000);
}

/* debug.sethook(function, "", count), and none without a function. */
static int bound(lua_State *L)
{
    bounded = lua_gettop(L) > 0;
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "bound");
    recount(L);
    return 0;
}

/* note(source, line): the line has code. */
static int note_line(lua_State *L)
{
    int index = source_index(luaL_checkstring(L, 1)), line = (int)luaL_checkinteger(L, 2);
    if (index >= 0 && line > 0 && line < LINES)
        there[index][line] = 1;
    return 0;
}

static void write_lines(void)
{
    FILE *file = fopen(lines_file, "w");
    for (int i = 0; file && i < SOURCES && sources[i]; i++)
        for (int line = 0; line < LINES; line++)
            if (there[i][line])
                fprintf(file, "%s:%d:%d\n", sources[i] + 1, line, seen[i][line]);
    if (file)
        fclose(file);
}

/* The files of the input are in place of the system's; hooks belong to the counting above. */
static const char judge_source[] =
    "local note = ...\n"
    "local files = {}\n"
    "io.open = function(path)\n"
    "    local text = files[path:match('[^/]*$')]\n"
    "    if not text then return nil, path .. ': No such file or directory', path:find('/%.$') and 2 or 2 end\n"
    "    return {read = function(_, count) if text == 'broken' then return nil, 'Is a directory' end\n"
    "        return #text > 0 and text:sub(1, count) or nil end, close = function() end}, nil, nil\n"
    "end\n"
    "local now = 0\n"
    "debug.sethook = bound\n"
    "os.clock = function() now = now + 1 return now end\n"
    "jit.off()\n"
    "local util = require('jit.util')\n"
    "local loader = require('luaduct.config.load')\n"
    "local validate = require('luaduct.config.validate')\n"
    "local environment = require('luaduct.config.environment')\n"
    "local suggest = require('luaduct.config.suggest')\n"
    "local schema = require('luaduct.config.schema')\n"
    "local function lines(prototype)\n"
    "    local info = util.funcinfo(prototype)\n"
    "    for pc = 1, info.bytecodes - 1 do\n"
    "        note(info.source, util.funcinfo(prototype, pc).currentline)\n"
    "    end\n"
    "    for k = -1, -info.gcconsts, -1 do\n"
    "        local constant = util.funck(prototype, k)\n"
    "        if type(constant) == 'proto' then lines(constant) end\n"
    "    end\n"
    "end\n"
    "for _, name in ipairs({'load', 'validate', 'environment', 'suggest'}) do\n"
    "    lines(package.loaders[2]('luaduct.config.' .. name))\n"
    "end\n"
    "local path, may_suggest = suggest.path, false\n"
    "suggest.path = function(name) return may_suggest and path(name) or nil end\n"
    "local function scalar(text)\n"
    "    if text == 'true' or text == 'false' then return text == 'true' end\n"
    "    if tonumber(text) then return tonumber(text) end\n"
    "    if text == 'nan' then return 0 / 0 end\n"
    "    if text == 'function' then return print end\n"
    "    return text:match('^\"(.*)\"$') or text\n"
    "end\n"
    "local read\n"
    "local function read_item(items, item)\n"
    "    local name, value = item:match('^(%w+)=(.*)$')\n"
    "    if name then items[name] = read(value) elseif item ~= '' then items[#items + 1] = read(item) end\n"
    "end\n"
    "function read(text)\n"
    "    local inside = text:match('^{(.*)}$')\n"
    "    if not inside then return scalar(text) end\n"
    "    local items, depth, from = {}, 0, 1\n"
    "    for at, byte in inside:gmatch('()([{},])') do\n"
    "        depth = depth + (byte == '{' and 1 or byte == '}' and -1 or 0)\n"
    "        if byte == ',' and depth == 0 then\n"
    "            read_item(items, inside:sub(from, at - 1))\n"
    "            from = at + 1\n"
    "        end\n"
    "    end\n"
    "    read_item(items, inside:sub(from))\n"
    "    return items\n"
    "end\n"
    "local function one_line(text)\n"
    "    assert(type(text) == 'string' and #text > 0 and not text:find('%c'), text)\n"
    "end\n"
    "local function same(a, b)\n"
    "    if type(a) ~= 'table' then return a == b end\n"
    "    if type(b) ~= 'table' then return false end\n"
    "    for name, value in pairs(a) do if not same(value, b[name]) then return false end end\n"
    "    for name in pairs(b) do if a[name] == nil then return false end end\n"
    "    return true\n"
    "end\n"
    "local function one_value(choice, text)\n"
    "    local key = schema.keys[choice % #schema.keys + 1]\n"
    "    local value = read(text)\n"
    "    local good, normal = validate.value(key, value)\n"
    "    if good then\n"
    "        local again, twin = validate.value(key, normal)\n"
    "        assert(again and same(normal, twin), key.path)\n"
    "    else\n"
    "        one_line(normal)\n"
    "        assert(not key.secret or #text < 9 or not normal:find(text, 1, true), 'a secret in a message')\n"
    "    end\n"
    "end\n"
    "local function tree(text)\n"
    "    local root = {}\n"
    "    for path, value in text:gmatch('([^\\n=]*)=([^\\n]*)') do\n"
    "        local at = root\n"
    "        local section, last = path:match('^(.*)%.([^.]*)$')\n"
    "        for name in (section or ''):gmatch('[^.]+') do\n"
    "            if type(at[name]) ~= 'table' then at[name] = {} end\n"
    "            at = at[name]\n"
    "        end\n"
    "        local index = tonumber(last or path)\n"
    "        at[index == index and index or last or path] = read(value)\n"
    "    end\n"
    "    return root\n"
    "end\n"
    "local function overrides(text)\n"
    "    local given = {}\n"
    "    for name, value in text:gmatch('([^\\n=]*)=([^\\n]*)') do given[name] = value end\n"
    "    return given\n"
    "end\n"
    "local function check_tree(text)\n"
    "    local values, problems = validate.tree(tree(text))\n"
    "    for _, problem in ipairs(problems) do one_line(problem.path) one_line(problem.text) end\n"
    "    for path, value in pairs(values) do\n"
    "        local good, normal = validate.value(schema.by_path[path], value)\n"
    "        assert(good and same(value, normal), path)\n"
    "    end\n"
    "end\n"
    "local function check_overrides(text)\n"
    "    local given, values = overrides(text), {}\n"
    "    local texts, failed, origin = environment.apply(values, given, function(name) return given[name] end)\n"
    "    for _, problem in ipairs(texts) do one_line(problem) end\n"
    "    for path in pairs(values) do assert(origin[path] and not failed[path]) end\n"
    "end\n"
    "local wrong = {'return 1', '', 'return }', 'error({})', 'error(\"a\\nb\")', '\\27LJ', 'x()', 'while true do "
    "end',\n"
    "    'local function f() return 1 + f() end return f()', ('x'):rep(1024 * 1024 + 1), 'return {listen = 5}',\n"
    "    'error(setmetatable({}, {__tostring = error}))', 'string.rep(nil)', 'return {[1] = 2, [{}] = 3}', 'return "
    "{}'}\n"
    "local function check_load(text, lua, choice)\n"
    "    local first, rest = text:match('^(.-)\\n%-%-\\n(.*)$')\n"
    "    local given = lua and {} or overrides(rest or '')\n"
    "    given[''] = not lua and tree(first or text) or nil\n"
    "    text = lua and wrong[choice % #wrong + 1] or 'return os.getenv(\"\")'\n"
    "    local held = ({'secret', '', 'secret\\n', ('x'):rep(9000), 'broken', 'a\\tb', ('k'):rep(40)})[choice % 8]\n"
    "    files = {config = choice < 250 and text or nil, a = held, ['.'] = choice % 16 < 8 and 'broken' or nil, b = "
    "'b'}\n"
    "    local function variable(name) return given[name] end\n"
    "    local path = choice ~= 249 and '/x/config' or nil\n"
    "    local config, more, kept = loader.load(path, given, choice % 2 == 0 and variable or given)\n"
    "    if not config then\n"
    "        assert(#more > 0)\n"
    "        for _, problem in ipairs(more) do one_line(problem) end\n"
    "    else\n"
    "        assert(type(more) == 'string' and kept == '')\n"
    "        assert(config.listen.host and config.limits.connections and type(config.tls.certs) == 'table')\n"
    "        local _, _, waits = loader.load(path, given, variable, more)\n"
    "        assert(waits == nil or waits == '', waits)\n"
    "        given.NODE_ENV, given.AI_BRIDGE_HISTORY_LIMIT = 'other', '77'\n"
    "        loader.load(path, given, variable, more)\n"
    "    end\n"
    "end\n"
    "return function(way, choice, text)\n"
    "    if way == 'v' then one_value(choice, text)\n"
    "    elseif way == 't' then check_tree(text)\n"
    "    elseif way == 'e' then check_overrides(text)\n"
    "    elseif way == 'f' then check_load(text, false, choice)\n"
    "    elseif way == 'l' then check_load(text, true, choice)\n"
    "    elseif way == 's' then\n"
    "        may_suggest = true\n"
    "        check_tree(text:match('^[^\\n]*') .. '=1')\n"
    "        may_suggest = false\n"
    "        suggest.among(text:match('^[^\\n]*'), {'alpha', 'beta', 'gamma_delta', ''})\n"
    "    end\n"
    "end\n";

static lua_State *open_state(void)
{
    lua_State *L = luaL_newstate();
    if (!L)
        abort();
    luaL_openlibs(L);
    bundle_install(L);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    counting = lines_file;
    recount(L);
    lua_register(L, "note", note_line);
    lua_register(L, "bound", bound);
    if (luaL_loadbuffer(L, judge_source, sizeof judge_source - 1, "=judge") != 0)
        lua_error(L);
    lua_getglobal(L, "note");
    if (lua_pcall(L, 1, 1, 0) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (!L) {
        lines_file = getenv("LUADUCT_FUZZ_LINES");
        if (lines_file)
            atexit(write_lines);
        L = open_state();
    }
    if (size < 2 || size > INPUT_MOST)
        return 0;
    /* Counting lines takes ten times as long as running them: libFuzzer learns from one input in sixteen. */
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + data[i];
    counting = lines_file || sum % 16 == 0;
    recount(L);
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, 1);
    lua_pushinteger(L, data[1]);
    lua_pushlstring(L, (const char *)data + 2, size - 2);
    if (lua_pcall(L, 3, 0, 0) != 0) {
        fprintf(stderr, "not true: %s\n", lua_tostring(L, -1));
        abort();
    }
    return 0;
}
