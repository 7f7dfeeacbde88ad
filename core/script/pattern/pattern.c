/* What find, match, gmatch and gsub do with matches: arguments, results and messages of the stock library. The matching
 * itself is matcher.c's. Where a text is searched for as it is, memmem does it: linear, so no flag is needed. */
#include "script/pattern/pattern.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "base/slice.h"
#include "base/threads/thread.h"
#include "script/pattern/matcher.h"

/* Of a thread's stack, left to what a replacement function calls: several matchers of 10 KiB, LuaJIT, libc. */
#define STACK_RESERVE (256u << 10)

/* Pushes capture number `which`; number 0 of a pattern without captures is the whole match. */
static void capture_push(struct matcher *matcher, unsigned which, const char *start, const char *end)
{
    lua_State *L = matcher->L;
    if (which >= matcher->capture_count) {
        if (which > 0)
            luaL_error(L, "invalid capture index");
        lua_pushlstring(L, start, (size_t)(end - start));
        return;
    }
    const struct capture *capture = &matcher->captures[which];
    if (capture->state == CAPTURE_OPEN)
        luaL_error(L, "unfinished capture");
    else if (capture->state == CAPTURE_POSITION)
        lua_pushinteger(L, capture->start - matcher->subject + 1);
    else
        lua_pushlstring(L, capture->start, capture->length);
}

static int captures_push(struct matcher *matcher, const char *start, const char *end, bool whole_if_none)
{
    unsigned count = matcher->capture_count == 0 && whole_if_none ? 1 : matcher->capture_count;
    luaL_checkstack(matcher->L, (int)count, "too many captures");
    for (unsigned i = 0; i < count; i++)
        capture_push(matcher, i, start, end);
    return (int)count;
}

static const atomic_bool *stop_flag(lua_State *L, int upvalue)
{
    return lua_touserdata(L, lua_upvalueindex(upvalue));
}

static struct slice check_slice(lua_State *L, int argument)
{
    struct slice text;
    text.data = luaL_checklstring(L, argument, &text.length);
    return text;
}

static bool has_magic(struct slice pattern)
{
    for (size_t i = 0; i < pattern.length; i++)
        if (pattern.data[i] != '\0' && strchr(MATCHER_MAGIC, pattern.data[i]))
            return true;
    return false;
}

/* Where find and match begin: 1 is the first character, -1 the last. */
static const char *start_argument(lua_State *L, struct slice subject)
{
    ptrdiff_t start = luaL_optint(L, 3, 1);
    if (start < 0)
        start += (ptrdiff_t)subject.length;
    else
        start--;
    if (start < 0)
        start = 0;
    return subject.data + ((size_t)start < subject.length ? (size_t)start : subject.length);
}

static int search(lua_State *L, bool find)
{
    struct slice subject = check_slice(L, 1), pattern = check_slice(L, 2);
    const char *from = start_argument(L, subject), *subject_end = subject.data + subject.length, *end;
    if (find && (lua_toboolean(L, 4) || !has_magic(pattern))) {
        const char *found = memmem(from, (size_t)(subject_end - from), pattern.data, pattern.length);
        if (!found) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, found - subject.data + 1);
        lua_pushinteger(L, found - subject.data + (ptrdiff_t)pattern.length);
        return 2;
    }
    struct matcher matcher;
    matcher_start(&matcher, L, stop_flag(L, 1), subject, pattern, true);
    const char *start = matcher_search(&matcher, from, &end);
    if (!start) {
        lua_pushnil(L);
        return 1;
    }
    if (!find)
        return captures_push(&matcher, start, end, true);
    lua_pushinteger(L, start - subject.data + 1);
    lua_pushinteger(L, end - subject.data);
    return 2 + captures_push(&matcher, start, end, false);
}

static int pattern_find(lua_State *L)
{
    return search(L, true);
}

static int pattern_match(lua_State *L)
{
    return search(L, false);
}

/* Upvalues: the flag, subject, pattern, and the offset to go on from. */
static int gmatch_next(lua_State *L)
{
    struct slice subject, pattern;
    subject.data = lua_tolstring(L, lua_upvalueindex(2), &subject.length);
    pattern.data = lua_tolstring(L, lua_upvalueindex(3), &pattern.length);
    size_t offset = (size_t)lua_tointeger(L, lua_upvalueindex(4));
    if (offset > subject.length)
        return 0;
    struct matcher matcher;
    matcher_start(&matcher, L, stop_flag(L, 1), subject, pattern, false);
    const char *end, *start = matcher_search(&matcher, subject.data + offset, &end);
    if (!start)
        return 0;
    /* Behind an empty match it goes on one further, or it would stay for ever. */
    lua_pushinteger(L, end - subject.data + (end == start));
    lua_replace(L, lua_upvalueindex(4));
    return captures_push(&matcher, start, end, true);
}

static int pattern_gmatch(lua_State *L)
{
    check_slice(L, 1);
    check_slice(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* A string that grows: in C's stack while it is short, then in a userdata in the Lua stack's `slot`, so that an error
 * on the way leaks nothing and the state's memory ceiling counts it. */
struct builder {
    lua_State *L;
    int slot;
    char *data;
    size_t length, capacity;
    char small[512];
};

static void builder_start(struct builder *builder, lua_State *L)
{
    lua_pushnil(L);
    builder->L = L;
    builder->slot = lua_gettop(L);
    builder->data = builder->small;
    builder->length = 0;
    builder->capacity = sizeof(builder->small);
}

static void builder_add(struct builder *builder, const char *text, size_t length)
{
    if (builder->capacity - builder->length < length) {
        if (length > SIZE_MAX / 4 || builder->length > SIZE_MAX / 4)
            luaL_error(builder->L, "not enough memory");
        size_t capacity = (builder->length + length) * 2;
        char *larger = lua_newuserdata(builder->L, capacity);
        memcpy(larger, builder->data, builder->length);
        lua_replace(builder->L, builder->slot);
        builder->data = larger;
        builder->capacity = capacity;
    }
    memcpy(builder->data + builder->length, text, length);
    builder->length += length;
}

/* Adds the value on top of the stack, a string or number, and pops it. */
static void builder_add_value(struct builder *builder)
{
    struct slice text;
    text.data = lua_tolstring(builder->L, -1, &text.length);
    builder_add(builder, text.data, text.length);
    lua_pop(builder->L, 1);
}

/* %0 is the match, %1 to %9 captures, % and another character that character. */
static void template_add(struct matcher *matcher, struct builder *builder, const char *start, const char *end)
{
    struct slice template;
    template.data = lua_tolstring(matcher->L, 3, &template.length);
    const char *at = template.data, *template_end = at + template.length;
    while (at < template_end) {
        const char *percent = memchr(at, '%', (size_t)(template_end - at));
        builder_add(builder, at, (size_t)((percent ? percent : template_end) - at));
        if (!percent)
            return;
        matcher_step(matcher);
        /* Behind a "%" at the very end stands the string's NUL; the stock library adds it too. */
        char which = percent[1];
        if (which < '0' || which > '9') {
            builder_add(builder, &which, 1);
        } else if (which == '0') {
            builder_add(builder, start, (size_t)(end - start));
        } else {
            capture_push(matcher, (unsigned)(which - '1'), start, end);
            builder_add_value(builder);
        }
        at = percent + 2;
    }
}

static void replacement_add(struct matcher *matcher, struct builder *builder, int kind, const char *start,
                            const char *end)
{
    lua_State *L = matcher->L;
    if (kind == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, captures_push(matcher, start, end, true), 1);
    } else if (kind == LUA_TTABLE) {
        capture_push(matcher, 0, start, end);
        lua_gettable(L, 3);
    } else {
        template_add(matcher, builder, start, end);
        return;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        builder_add(builder, start, (size_t)(end - start));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    builder_add_value(builder);
}

/* Whether little of the calling thread's stack is left: LuaJIT bounds the Lua stack but not C's, and a replacement
 * function that calls gsub again would end the process (so it does in the stock library). */
static bool stack_is_short(void)
{
    static _Thread_local uintptr_t lowest; /* the address from which on it is; 0: not known yet */
    char here;
    if (lowest == 0) {
        size_t size;
        if (!thread_stack(&lowest, &size))
            return true;
        lowest += size / 4 < STACK_RESERVE ? size / 4 : STACK_RESERVE;
    }
    return (uintptr_t)&here < lowest;
}

static int pattern_gsub(lua_State *L)
{
    if (stack_is_short())
        luaL_error(L, "C stack overflow");
    struct slice subject = check_slice(L, 1), pattern = check_slice(L, 2);
    int kind = lua_type(L, 3);
    int most = luaL_optint(L, 4, subject.length < INT32_MAX ? (int)subject.length + 1 : INT32_MAX);
    luaL_argcheck(L, kind == LUA_TNUMBER || kind == LUA_TSTRING || kind == LUA_TFUNCTION || kind == LUA_TTABLE, 3,
                  "string/function/table expected");
    if (kind == LUA_TNUMBER)
        lua_tostring(L, 3); /* now, once, in its place */

    struct matcher matcher;
    struct builder builder;
    lua_settop(L, 3);
    matcher_start(&matcher, L, stop_flag(L, 1), subject, pattern, true);
    builder_start(&builder, L);
    const char *at = subject.data, *copied = at, *end, *start;
    int count = 0;
    while (count < most && (start = matcher_search(&matcher, at, &end))) {
        count++;
        builder_add(&builder, copied, (size_t)(start - copied));
        replacement_add(&matcher, &builder, kind, start, end);
        copied = end;
        at = end > start ? end : end + 1;
        if (matcher.anchored || at > matcher.subject_end)
            break;
    }
    if (count == 0) {
        lua_pushvalue(L, 1);
    } else {
        builder_add(&builder, copied, (size_t)(matcher.subject_end - copied));
        lua_pushlstring(L, builder.data, builder.length);
    }
    lua_pushinteger(L, count);
    return 2;
}

void pattern_install(lua_State *L, int string_table_index, const atomic_bool *stop)
{
    static const luaL_Reg functions[] = {
        {"find", pattern_find},
        {"match", pattern_match},
        {"gmatch", pattern_gmatch},
        {"gsub", pattern_gsub},
    };
    lua_pushvalue(L, string_table_index);
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)stop);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_pop(L, 1);
}
