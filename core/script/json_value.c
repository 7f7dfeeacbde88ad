/* Reading is lua-cjson's: fast, but it takes its scratch buffer from malloc, leaks that when Lua's memory ends in the
 * middle of a decode, and forgets which empty tables were arrays. So one pass over the text first counts what the
 * decode will allocate at most, and nothing is decoded that does not fit; and where the text has empty arrays, a copy
 * is decoded in which each is the string "\xff", which no JSON text can contain (it is not UTF-8), and then replaced by
 * a marked table.
 *
 * Writing is our own: one buffer per state that grows and is copied to the arena at the end. Metamethods are not asked,
 * so nothing of a script runs in between. */
#include "script/json_value.h"

#include <lauxlib.h>
#include <lua5.1/lua-cjson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/json/json_write.h"
#include "script/state.h"

/* What LuaJIT (GC64) allocates at most, with a table's growth (old and new part at once) and the allocator's rounding:
 * a table 64 bytes, a slot of an array 8, doubled, plus the half-size old part; a hash node 24, the same; a string 24
 * and its text. */
#define TABLE_COST 88
#define ELEMENT_COST 32
#define MEMBER_COST 96
#define STRING_COST 48

/* A buffer that grew past this is given back after use. */
#define BUFFER_KEEP_BYTES (64u << 10)

#define SENTINEL "\xff"

struct estimate {
    size_t bytes;
    size_t empty_arrays;
};

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* From the quote that opens a string to the byte behind the one that closes it. */
static const char *skip_string(const char *at)
{
    for (at++; *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at + 1;
}

static const char *skip_spaces(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

static struct estimate estimate_decode(struct slice json)
{
    struct estimate estimate = {3 * json.length + 128, 0}; /* the copy, the marked copy, its strings */
    const char *end = json.data + json.length;
    for (const char *at = json.data; at < end;) {
        switch (*at) {
        case '"':
            at = skip_string(at);
            estimate.bytes += STRING_COST;
            continue;
        case '[':
            estimate.bytes += TABLE_COST + ELEMENT_COST;
            if (*skip_spaces(at + 1) == ']')
                estimate.empty_arrays++;
            break;
        case '{':
            estimate.bytes += TABLE_COST;
            break;
        case ',':
            estimate.bytes += ELEMENT_COST;
            break;
        case ':':
            estimate.bytes += MEMBER_COST;
            break;
        default:
            break;
        }
        at++;
    }
    return estimate;
}

/* Pushes the text with each empty array replaced by the sentinel. */
static void push_marked_text(lua_State *lua, struct script_state *state, struct slice json, size_t empty_arrays)
{
    char *copy = arena_take(state, json.length + empty_arrays);
    if (!copy)
        luaL_error(lua, "not enough memory");
    char *out = copy;
    const char *end = json.data + json.length;
    for (const char *at = json.data; at < end;) {
        const char *next = at + 1;
        if (*at == '"') {
            next = skip_string(at);
        } else if (*at == '[' && *skip_spaces(at + 1) == ']') {
            memcpy(out, "\"" SENTINEL "\"", 3);
            out += 3;
            at = skip_spaces(at + 1) + 1;
            continue;
        }
        memcpy(out, at, (size_t)(next - at));
        out += next - at;
        at = next;
    }
    lua_pushlstring(lua, copy, (size_t)(out - copy));
}

/* Replaces the sentinels in the table on top of the stack; the sentinel string lies at that index. The recursion is as
 * deep as the text nests, which the scanner bounds. */
static void mark_empty_arrays(lua_State *lua, struct script_state *state, int sentinel)
{
    luaL_checkstack(lua, 6, "too deep");
    int table = lua_gettop(lua);
    lua_pushnil(lua);
    while (lua_next(lua, table)) {
        if (lua_istable(lua, -1)) {
            mark_empty_arrays(lua, state, sentinel);
        } else if (lua_rawequal(lua, -1, sentinel)) {
            lua_pushvalue(lua, -2);
            lua_newtable(lua);
            lua_rawgeti(lua, LUA_REGISTRYINDEX, state->array_reference);
            lua_setmetatable(lua, -2);
            lua_rawset(lua, table); /* a key that is there: allowed while walking */
        }
        lua_pop(lua, 1);
    }
}

void json_value_push(lua_State *lua, struct script_state *state, struct slice json)
{
    struct estimate estimate = estimate_decode(json);
    if (state_room(state) < estimate.bytes && !(state_collect_fully(lua, state) && state_room(state) >= estimate.bytes))
        luaL_error(lua, "not enough memory to decode %d bytes of JSON: script.memoryLimit leaves %d KiB",
                   (int)json.length, (int)(state_room(state) >> 10));
    luaL_checkstack(lua, 6, NULL);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->decode_reference);
    if (estimate.empty_arrays == 0) {
        lua_pushlstring(lua, json.data, json.length);
        lua_call(lua, 1, 1);
        return;
    }
    lua_createtable(lua, 1, 0); /* the value's parent, so that the top value is replaced like any other */
    lua_insert(lua, -2);
    push_marked_text(lua, state, json, estimate.empty_arrays);
    lua_call(lua, 1, 1);
    lua_rawseti(lua, -2, 1);
    lua_pushliteral(lua, SENTINEL);
    lua_insert(lua, -2);
    mark_empty_arrays(lua, state, lua_gettop(lua) - 1);
    lua_rawgeti(lua, -1, 1);
    lua_replace(lua, -3);
    lua_pop(lua, 1);
}

/* --- Writing ---------------------------------------------------------------------------------------------------- */

struct writer {
    lua_State *lua;
    struct script_state *state;
    const char *what;
    size_t length;
    unsigned depth;
    const void *open[JSON_VALUE_DEPTH]; /* the tables that the value is inside of */
};

static char *reserve(struct writer *writer, size_t length)
{
    struct script_state *state = writer->state;
    if (state->buffer_size - writer->length < length) {
        size_t size = state->buffer_size ? state->buffer_size : 256;
        while (size - writer->length < length) {
            if (size > SIZE_MAX / 2)
                luaL_error(writer->lua, "not enough memory");
            size *= 2;
        }
        char *grown = state_allocate(state, state->buffer, state->buffer_size, size);
        if (!grown)
            luaL_error(writer->lua, "not enough memory");
        state->buffer = grown;
        state->buffer_size = size;
    }
    return state->buffer + writer->length;
}

static void put_byte(struct writer *writer, char byte)
{
    *reserve(writer, 1) = byte;
    writer->length++;
}

static void put_text(struct writer *writer, struct slice text)
{
    memcpy(reserve(writer, text.length), text.data, text.length);
    writer->length += text.length;
}

static void put_string(struct writer *writer, int index)
{
    struct slice text;
    text.data = lua_tolstring(writer->lua, index, &text.length);
    size_t length = json_string_length(text);
    json_write_string(reserve(writer, length), text);
    writer->length += length;
}

static void put_number(struct writer *writer, double number)
{
    if (!isfinite(number))
        luaL_error(writer->lua, "%s: JSON has no way to write %s", writer->what, isnan(number) ? "NaN" : "infinity");
    char text[32];
    int length;
    if (number == floor(number) && fabs(number) < 1e15) {
        length = snprintf(text, sizeof text, "%.0f", number);
    } else {
        /* The fewest digits that read back as the same number: 17 always do. */
        for (int digits = 15; digits <= 17; digits++) {
            length = snprintf(text, sizeof text, "%.*g", digits, number);
            if (strtod(text, NULL) == number)
                break;
        }
    }
    put_text(writer, slice_from(text, (size_t)length));
}

static void put_value(struct writer *writer, int index, enum json_value_want want);

/* How many elements, when the table is a list: keys 1 … n and no other, or marked. -1 when it is an object. */
static int count_elements(struct writer *writer, int table, enum json_value_want want)
{
    lua_State *lua = writer->lua;
    bool marked = want == JSON_WANT_ARRAY;
    if (lua_getmetatable(lua, table)) {
        marked = marked || lua_topointer(lua, -1) == writer->state->array_metatable;
        lua_pop(lua, 1);
    }
    size_t length = lua_objlen(lua, table);
    size_t keys = 0, numbered = 0;
    lua_pushnil(lua);
    while (lua_next(lua, table)) {
        lua_pop(lua, 1);
        keys++;
        if (lua_type(lua, -1) == LUA_TNUMBER) {
            double key = lua_tonumber(lua, -1);
            numbered += key >= 1 && key <= (double)length && key == floor(key);
        } else if (lua_type(lua, -1) != LUA_TSTRING) {
            luaL_error(lua, "%s: a key in JSON is a string, got %s", writer->what, state_value_name(lua, -1));
        }
        if (keys % 1024 == 0)
            state_check_stop(lua, writer->state);
    }
    if (keys == 0)
        return marked ? 0 : -1;
    if (numbered == keys && keys == length)
        return (int)length;
    if (marked)
        luaL_error(lua, "%s: expected a list with the keys 1 to n, got a table with other keys", writer->what);
    if (length > 0 || numbered > 0)
        luaL_error(lua, "%s: a table with both numbers and names as keys, or with gaps, is neither list nor object",
                   writer->what);
    return -1;
}

static void put_table(struct writer *writer, int table, enum json_value_want want)
{
    lua_State *lua = writer->lua;
    const void *identity = lua_topointer(lua, table);
    for (unsigned i = 0; i < writer->depth; i++)
        if (writer->open[i] == identity)
            luaL_error(lua, "%s: a table that contains itself", writer->what);
    if (writer->depth == JSON_VALUE_DEPTH)
        luaL_error(lua, "%s: nested deeper than %d levels", writer->what, JSON_VALUE_DEPTH);
    writer->open[writer->depth++] = identity;
    luaL_checkstack(lua, 6, NULL);
    int count = count_elements(writer, table, want);
    if (count >= 0) {
        put_byte(writer, '[');
        for (int i = 1; i <= count; i++) {
            if (i > 1)
                put_byte(writer, ',');
            lua_rawgeti(lua, table, i);
            put_value(writer, lua_gettop(lua), JSON_WANT_ANY);
            lua_pop(lua, 1);
        }
        put_byte(writer, ']');
    } else {
        put_byte(writer, '{');
        bool first = true;
        lua_pushnil(lua);
        while (lua_next(lua, table)) {
            if (lua_type(lua, -2) != LUA_TSTRING)
                luaL_error(lua, "%s: a key in JSON is a string, got %s", writer->what, state_value_name(lua, -2));
            if (!first)
                put_byte(writer, ',');
            first = false;
            put_string(writer, lua_gettop(lua) - 1);
            put_byte(writer, ':');
            put_value(writer, lua_gettop(lua), JSON_WANT_ANY);
            lua_pop(lua, 1);
        }
        put_byte(writer, '}');
    }
    writer->depth--;
}

static void put_value(struct writer *writer, int index, enum json_value_want want)
{
    lua_State *lua = writer->lua;
    state_check_stop(lua, writer->state);
    int type = lua_type(lua, index);
    if (want == JSON_WANT_ARRAY && type != LUA_TTABLE)
        luaL_error(lua, "%s: expected a list, got %s", writer->what, state_value_name(lua, index));
    if (type == LUA_TTABLE)
        put_table(writer, index, want);
    else if (type == LUA_TSTRING)
        put_string(writer, index);
    else if (type == LUA_TNUMBER)
        put_number(writer, lua_tonumber(lua, index));
    else if (type == LUA_TBOOLEAN)
        put_text(writer, lua_toboolean(lua, index) ? SLICE("true") : SLICE("false"));
    else if (type == LUA_TLIGHTUSERDATA && lua_touserdata(lua, index) == NULL)
        put_text(writer, SLICE("null"));
    else
        luaL_error(lua, "%s: JSON has no way to write %s", writer->what, state_value_name(lua, index));
}

struct slice json_value_encode(lua_State *lua, struct script_state *state, int index, enum json_value_want want,
                               const char *what)
{
    struct writer writer = {.lua = lua, .state = state, .what = what};
    put_value(&writer, index < 0 ? lua_gettop(lua) + 1 + index : index, want);
    char *copy = arena_take(state, writer.length);
    if (!copy)
        luaL_error(lua, "not enough memory");
    memcpy(copy, state->buffer, writer.length);
    if (state->buffer_size > BUFFER_KEEP_BYTES) {
        state_allocate(state, state->buffer, state->buffer_size, 0);
        state->buffer = NULL;
        state->buffer_size = 0;
    }
    return slice_from(copy, writer.length);
}

int json_value_array(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if (lua_isnoneornil(lua, 1)) {
        lua_settop(lua, 0);
        lua_newtable(lua);
    }
    if (!lua_istable(lua, 1))
        return luaL_error(lua, "luaduct.array: expected a table, got %s", state_value_name(lua, 1));
    if (lua_getmetatable(lua, 1)) {
        if (lua_topointer(lua, -1) != state->array_metatable)
            return luaL_error(lua, "luaduct.array: the table has a metatable of its own");
        lua_pop(lua, 1);
    }
    lua_settop(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->array_reference);
    lua_setmetatable(lua, 1);
    return 1;
}

void json_value_open(lua_State *lua, struct script_state *state)
{
    lua_pushcfunction(lua, luaopen_cjson);
    lua_call(lua, 0, 1);
    lua_getfield(lua, -1, "decode");
    state->decode_reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_pop(lua, 1);
    lua_createtable(lua, 0, 1);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    state->array_metatable = lua_topointer(lua, -1);
    state->array_reference = luaL_ref(lua, LUA_REGISTRYINDEX);
}
