#include "../../support/unit.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include <lauxlib.h>
#include <lualib.h>

#include "script/pattern/pattern.h"

static atomic_bool stop;

/* A state with the stock library as `string` and ours as `ours`, and with the chunk's functions:
 * same(source) runs the expression with S as the one and as the other and wants equal results or equal messages;
 * every(S, subject, pattern) collects what gmatch gives. */
static const char support[] =
    "local function pack(...) return {n = select('#', ...), ...} end\n"
    "local function text(list)\n"
    "    local out = {}\n"
    "    for i = 1, list.n do out[i] = type(list[i]) .. ' ' .. ('%q'):format(tostring(list[i])) end\n"
    "    return table.concat(out, ', ')\n"
    "end\n"
    "function every(S, subject, pattern)\n"
    "    local out, next = {}, S.gmatch(subject, pattern)\n"
    "    for _ = 1, 60 do\n"
    "        local found = pack(next())\n"
    "        out[#out + 1] = text(found)\n"
    "        if found[1] == nil then break end\n"
    "    end\n"
    "    return table.concat(out, '; ')\n"
    "end\n"
    "function compare(name, call, ...)\n"
    "    local stock, mine = text(pack(pcall(call, string, ...))), text(pack(pcall(call, ours, ...)))\n"
    "    if stock ~= mine then error(name .. ' ' .. text(pack(...)) .. '\\nstock: ' .. stock .. '\\nours:  ' .. mine, "
    "0) end\n"
    "end\n"
    "function same(source) compare(source, assert(loadstring('local S = ... return ' .. source, 'case'))) end\n";

static lua_State *state_open(void)
{
    lua_State *L = luaL_newstate();
    CHECK(L);
    luaL_openlibs(L);
    lua_newtable(L);
    pattern_install(L, -1, &stop);
    lua_setglobal(L, "ours");
    CHECK(luaL_dostring(L, support) == 0);
    return L;
}

static void run(lua_State *L, const char *chunk)
{
    if (luaL_dostring(L, chunk) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
    lua_settop(L, 0);
}

static void check_same(const char *const *sources, size_t count)
{
    lua_State *L = state_open();
    for (size_t i = 0; i < count; i++) {
        lua_getglobal(L, "same");
        lua_pushstring(L, sources[i]);
        if (lua_pcall(L, 1, 0, 0) != 0) {
            fprintf(stderr, "%s\n", lua_tostring(L, -1));
            exit(1);
        }
    }
    lua_close(L);
}

#define CHECK_SAME(...)                                                                                                \
    do {                                                                                                               \
        static const char *const sources_[] = {__VA_ARGS__};                                                           \
        check_same(sources_, sizeof(sources_) / sizeof(sources_[0]));                                                  \
    } while (0)

TEST("gives the results that the manual promises")
{
    lua_State *L = state_open();
    run(L, "local function is(expected, ...)\n"
           "    local got = table.concat({...}, ' ')\n"
           "    if got ~= expected then error(expected .. ' expected, got ' .. got, 2) end\n"
           "end\n"
           "is('2 3', ours.find('hello', 'el'))\n"
           "is('1 5 key v', ours.find('key=v', '^(%w+)=(%w)$'))\n"
           "is('3 5', ours.match('flaaap', '()aa()'))\n"
           "is('(a(b)c)', ours.match('x(a(b)c))', '%b()'))\n"
           "is('THE (quick) fox 1', ours.gsub('THE (quick) fox', '%((%w+)%)', '(%1)'))\n"
           "is('abc +HE 1', ours.gsub('abc THE', '%f[%u]%u', '+'))\n"
           "is('world hello 1', ours.gsub('hello world', '(%w+) (%w+)', '%2 %1'))\n"
           "is('3 8 \"', ours.find('x \"it\\'s\" y', '([\"\\']).-%1'))\n"
           "is('x x c 2', ours.gsub('a b c', '%w', 'x', 2))\n"
           "is('home = /root 1', ours.gsub('home = $HOME', '%$(%w+)', {HOME = '/root'}))\n");
    lua_close(L);
}

TEST("finds, matches and replaces as the stock library")
{
    CHECK_SAME("S.find('hello', 'l+')", "S.find('hello', 'x')", "S.find('', '')", "S.find('abc', '', 10)",
               "S.find('abc', 'b', -2)", "S.find('abc', 'b', -10)", "S.find('a+b', 'a+b', 1, true)",
               "S.find('a.b', '.', 2, true)", "S.find('abc', '[b-]')", "S.find('a]b', '[]]')", "S.find('a^b', '[b^]')",
               "S.find('a-z', '[a%-z]+')", "S.find('abc', '[^%a]')", "S.find('ab', 'b$')", "S.find('a$b', 'a$b')",
               "S.find('THE (quick) fox', '%((%a+)%)')", "S.find('x', '%f[%w]')", "S.find('a)', 'a)')",
               "S.match('key = value', '^(%w+)%s*=%s*(%w+)$')", "S.match('2026-01-31', '(%d+)-(%d+)-(%d+)')",
               "S.match('  trim  ', '^%s*(.-)%s*$')", "S.match('aaa', 'a-b')", "S.match('aaab', 'a-b')",
               "S.match('abcabc', '(%w+)%1')", "S.match('abc', '()b()')", "S.match('abab', '(()ab)%2')",
               "S.match('((a)(b))', '%b()')", "S.match('xaay', '%bay')", "S.match('aaa', '%baa')",
               "S.match('\\0a', '%f[%z]')", "S.match(12345, 3)", "every(S, 'a=1, b=2', '(%w+)=(%w+)')",
               "every(S, 'abc', '')", "every(S, 'abc', 'b*')", "every(S, 'a^a', '^a')", "every(S, 'one two', '%a+')",
               "S.gsub('abc', '%w', '%0%0')", "S.gsub('abc', '', '-')", "S.gsub('abc', 'b*', '-')",
               "S.gsub('abc', '$', 'x')", "S.gsub('abc', '^', 'x')", "S.gsub('aaa', '^a', 'b')",
               "S.gsub('abc', '%w', 'x', 2)", "S.gsub('abc', '%w', 'x', 0)", "S.gsub('abc', '%w', 'x', -1)",
               "S.gsub('abc', '()', '%1')", "S.gsub('abc', 'b', '%%')", "S.gsub('abc', 'b', '%')",
               "S.gsub('abc', 'b', '%x')", "S.gsub('abc', 'b', 7)", "S.gsub('hello', '(l)', {l = 'L'})",
               "S.gsub('hello', 'l', {l = false})", "S.gsub('hello', '()l', {[3] = 'x'})",
               "S.gsub('hello', '(h)(e)', function(a, b) return b .. a end)", "S.gsub('abc', '%w', function() end)",
               "S.gsub('abc', 'b', setmetatable({}, {__index = function(_, key) return key:upper() end}))",
               "S.gsub(('ab'):rep(5000), 'b', ('x'):rep(200))");
}

TEST("raises the stock library's errors")
{
    CHECK_SAME("S.find('a', '%')", "S.find('a', '[')", "S.find('a', '[a')", "S.find('a', '[%')", "S.find('a', '[^')",
               "S.find('a', '[]')", "S.find('a', '%f')", "S.find('a', '%fa')", "S.find('a', '%f[')",
               "S.find('a', '%b')", "S.find('a', '%bx')", "S.find('a', '(a')", "S.match('a', 'a)')",
               "S.find('a', '%1')", "S.find('a', '%0')", "S.find('a', '(%1)')", "S.find('a', 'b[')",
               "S.find('a', ('()'):rep(33))", "S.gsub('a', 'a', '%2')", "S.gsub('a', 'a')", "S.gsub('a', 'a', true)",
               "S.gsub('a', 'a', true, 'x')", "S.gsub('a', 'a', function() return {} end)",
               "S.gsub('a', 'a', {a = true})", "S.gsub('a', '(', '')", "S.gsub('a', 'a', error)", "S.find()",
               "S.find('a')", "S.find({}, 'a')", "S.find('a', 'a', 'x')", "S.match('a', nil)", "S.gmatch('a')",
               "every(S, 'a', '(')", "S.gsub('a', 'a', 'b', 'x')");
}

TEST("takes NUL in subject and pattern as the stock library")
{
    CHECK_SAME("S.find('a\\0b', '\\0')", "S.find('a\\0b', 'a\\0b')", "S.find('a\\0.', 'a\\0.')",
               "S.find('a\\0b', '%z')", "S.find('a\\0b', 'a.b')", "S.find('a\\0b', '[%z]')", "S.find('a\\0b', '[\\0]')",
               "S.find('a\\0b', '[^\\0]')", "S.match('a\\0b', 'a\\0b')", "S.match('a\\0b', '(a)\\0(')",
               "S.match('a\\0b', '%\\0')", "S.match('a\\0b', '%b\\0b')", "S.match('a\\0b', 'b$\\0')",
               "S.gsub('a\\0b', '%z', 'x\\0%0')", "S.gsub('a\\0b', '\\0', 'x')", "every(S, 'a\\0b\\0c', '[^%z]+')");
}

TEST("calls a pattern too complex at the depth of the stock library")
{
    lua_State *L = state_open();
    run(L, "for _, item in ipairs {'a?', 'a*', 'a-', 'b?', 'b*', '()', '(a)'} do\n"
           "    for count = 1, 205 do\n"
           "        for _, subject in ipairs {('a'):rep(20), ('a'):rep(count), ('a'):rep(count) .. 'b'} do\n"
           "            compare('match', function(S, ...) return S.match(...) end, subject, item:rep(count))\n"
           "        end\n"
           "    end\n"
           "end\n");
    lua_close(L);
}

TEST("knows the classes of every byte as the stock library")
{
    lua_State *L = state_open();
    run(L, "local all = {}\n"
           "for byte = 0, 255 do all[#all + 1] = string.char(byte) end\n"
           "all = table.concat(all)\n"
           "for byte = 1, 255 do\n"
           "    local class = string.char(byte)\n"
           "    for _, pattern in ipairs {'%' .. class, '[%' .. class .. ']', '[^%' .. class .. ']', '[a-' .. class .. "
           "']'} do\n"
           "        compare('gsub', function(S, ...) return S.gsub(...) end, all, pattern, '<%0>')\n"
           "    end\n"
           "end\n");
    lua_close(L);
}

TEST("agrees with the stock library on 20,000 random patterns")
{
    lua_State *L = state_open();
    run(L, "math.randomseed(51)\n"
           "local random, rep = math.random, string.rep\n"
           "local items = {'a', 'b', '.', '%a', '%d', '%W', '[ab]', '[^a]', '[a-c]', '[]a]', '[^%]]', '%.', '%b()', "
           "'%bab',\n"
           "    '%f[%w]', '%f[^a]', '%1', '%2', '()', '(', ')', '(a', '$', '^', '%', '[', '-', '*', '+', '?', '\\0', "
           "'%z',\n"
           "    '(.)', '(.-)', '[a-%z]', '%f', '%b', '[w-'}\n"
           "local repeats = {'', '', '', '*', '+', '-', '?'}\n"
           "local bytes = {'a', 'b', 'c', '(', ')', ' ', '1', 'ab', ']', '\\0', '-', 'A', '\\200'}\n"
           "local replacements = {'x', '<%0%%>', '%1', '%2', '%', 5, {a = '1', b = 2, c = false}, {a = {}},\n"
           "    function(...) return (select(select('#', ...), ...)) end, function() end}\n"
           "local function pick(list) return list[random(#list)] end\n"
           "local call = {find = function(S, ...) return S.find(...) end, match = function(S, ...) return S.match(...) "
           "end,\n"
           "    gsub = function(S, ...) return S.gsub(...) end, every = every}\n"
           "for _ = 1, 20000 do\n"
           "    local subject, pattern = {}, {random(6) == 1 and '^' or ''}\n"
           "    for i = 1, random(0, 12) do subject[i] = pick(bytes) end\n"
           "    for i = 2, random(1, 6) do pattern[i] = pick(items) .. pick(repeats) end\n"
           "    subject, pattern = table.concat(subject), table.concat(pattern)\n"
           "    compare('find', call.find, subject, pattern, random(-15, 15))\n"
           "    compare('match', call.match, subject, pattern)\n"
           "    compare('gmatch', call.every, subject, pattern)\n"
           "    compare('gsub', call.gsub, subject, pattern, pick(replacements), random(3) == 1 and random(-1, 5) or "
           "nil)\n"
           "end\n");
    lua_close(L);
}

TEST("works through a long subject without nesting deeper")
{
    CHECK_SAME("S.match(('a'):rep(300000), '^a*$')", "S.match(('a'):rep(300000) .. 'b', '^(.-)b')",
               "S.gsub(('a b '):rep(50000), '%s+', '_')", "S.find(('('):rep(100000) .. (')'):rep(100000), '^%b()$')");
}

TEST("ends a replacement that replaces without end with an error")
{
    lua_State *L = state_open();
    run(L, "local function again() return ours.gsub('a', 'a', again) end\n"
           "local ok, message = pcall(again)\n"
           "assert(not ok and message:find('C stack overflow', 1, true), message)\n"
           "assert(ours.gsub('a', 'a', 'b') == 'b')\n");
    lua_close(L);
}

struct stopper {
    clockid_t clock; /* of the thread that matches */
    atomic_bool matching;
};

static int64_t cpu_us(clockid_t clock)
{
    struct timespec used;
    CHECK(clock_gettime(clock, &used) == 0);
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

/* Sets the flag when the matching thread has worked for 10 ms, so that it is in the middle of it. */
static void *stop_matching(void *context)
{
    struct stopper *stopper = context;
    const struct timespec pause = {.tv_nsec = 1000000};
    while (!atomic_load(&stopper->matching))
        nanosleep(&pause, NULL);
    int64_t start = cpu_us(stopper->clock);
    while (cpu_us(stopper->clock) - start < 10000)
        nanosleep(&pause, NULL);
    atomic_store(&stop, true);
    return NULL;
}

TEST("stops a catastrophic pattern when another thread sets the flag")
{
    static const char *const endless[] = {
        "ours.find(('a'):rep(200), ('a*'):rep(30) .. 'b')",
        "ours.match(('a'):rep(200), ('a-'):rep(30) .. 'b')",
        "ours.gmatch(('a'):rep(200), ('a?'):rep(100) .. 'b')()",
        "ours.gsub(('a'):rep(200), ('(a*)'):rep(30) .. 'b', '')",
        "ours.match(('a'):rep(2000), ('[' .. ('b'):rep(100000) .. 'a]*'):rep(30) .. 'b')",
        "ours.match(('a'):rep(100000), '(.*)(.*)%1%2b')",
        "ours.gsub(('x'):rep(1000000), '(b-)x', ('%1'):rep(100000))",
    };
    lua_State *L = state_open();
    for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++) {
        struct stopper stopper = {.matching = false};
        pthread_t thread;
        char chunk[256];
        snprintf(chunk, sizeof(chunk), "return %s", endless[i]);
        CHECK(luaL_loadstring(L, chunk) == 0);
        CHECK(pthread_getcpuclockid(pthread_self(), &stopper.clock) == 0);
        CHECK(pthread_create(&thread, NULL, stop_matching, &stopper) == 0);
        atomic_store(&stopper.matching, true);
        CHECK(lua_pcall(L, 0, LUA_MULTRET, 0) == LUA_ERRRUN);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(strstr(lua_tostring(L, -1), PATTERN_STOPPED));
        atomic_store(&stop, false);
        lua_settop(L, 0);
    }
    run(L, "assert(ours.find('abc', 'b.') == 2)");
    lua_close(L);
}

TEST("stops short patterns too while the flag is set, and goes on when it is not")
{
    lua_State *L = state_open();
    run(L, "gnext = ours.gmatch('abc', '%a')");
    atomic_store(&stop, true);
    run(L, "for _, call in ipairs {ours.find, ours.match, ours.gsub, gnext} do\n"
           "    local ok, message = pcall(call, 'abc', '%a', '1')\n"
           "    assert(not ok and message:find('stopped', 1, true), message)\n"
           "end\n");
    atomic_store(&stop, false);
    run(L, "assert(gnext() == 'a' and ours.match('abc', '%a') == 'a')");
    lua_close(L);
}
