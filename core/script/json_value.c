/* Both ways are our own. lua-cjson, which LuaJIT has no need of, ends the process when malloc refuses its scratch
 * buffer, refuses texts with half of a surrogate pair, which the bridge takes, and forgets which empty tables were
 * arrays.
 *
 * Reading takes text that is known to be valid: it decides by first bytes and looks for ends. One pass before it counts
 * what will be allocated at most, so that nothing is begun that does not fit.
 *
 * Writing fills one buffer per state that grows and is copied to the arena at the end. Metamethods are not asked, so
 * nothing of a script runs in between. */
#include "script/json_value.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/json/json.h"
#include "protocol/json/json_number.h"
#include "protocol/json/json_write.h"
#include "script/state/state.h"

/* What LuaJIT (GC64) allocates at most, with a table's growth (old and new part at once) and the allocator's rounding:
 * a table 64 bytes, a slot of an array 8, doubled, plus the half-size old part; a hash node 24, the same; a string 24
 * and its text. */
#define TABLE_COST 88
#define ELEMENT_COST 32
#define MEMBER_COST 96
#define STRING_COST 48

/* A buffer that grew past this is given back after use. */
#define BUFFER_KEEP_BYTES (64u << 10)

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
    while (json_is_space(*at))
        at++;
    return at;
}

/* Bytes that the value takes at most. */
static size_t estimate_value(struct slice json)
{
    size_t bytes = json.length + 128; /* its strings */
    const char *end = json.data + json.length;
    for (const char *at = json.data; at < end;) {
        switch (*at) {
        case '"':
            at = skip_string(at);
            bytes += STRING_COST;
            continue;
        case '[':
            bytes += TABLE_COST + ELEMENT_COST;
            break;
        case '{':
            bytes += TABLE_COST;
            break;
        case ',':
            bytes += ELEMENT_COST;
            break;
        case ':':
            bytes += MEMBER_COST;
            break;
        default:
            break;
        }
        at++;
    }
    return bytes;
}

/* The state's buffer with room for so many bytes behind the first `used`, which are kept. */
static char *buffer_room(lua_State *lua, struct script_state *state, size_t used, size_t length)
{
    if (state->buffer_size - used < length) {
        size_t size = state->buffer_size ? state->buffer_size : 256;
        while (size - used < length) {
            if (size > SIZE_MAX / 2)
                luaL_error(lua, "not enough memory");
            size *= 2;
        }
        char *grown = state_allocate(state, state->buffer, state->buffer_size, size);
        if (!grown)
            luaL_error(lua, "not enough memory");
        state->buffer = grown;
        state->buffer_size = size;
    }
    return state->buffer + used;
}

static void trim_buffer(struct script_state *state)
{
    if (state->buffer_size > BUFFER_KEEP_BYTES) {
        state_allocate(state, state->buffer, state->buffer_size, 0);
        state->buffer = NULL;
        state->buffer_size = 0;
    }
}

struct reader {
    lua_State *lua;
    struct script_state *state;
    const char *end;
};

static const char *read_value(struct reader *reader, const char *at);

static const char *read_string(struct reader *reader, const char *at)
{
    const char *after = skip_string(at);
    struct slice inside = slice_from(at + 1, (size_t)(after - at) - 2);
    if (json_has_escape(inside)) {
        char *text = buffer_room(reader->lua, reader->state, 0, inside.length);
        inside = slice_from(text, json_unescape(inside, text, NULL));
    }
    lua_pushlstring(reader->lua, inside.data, inside.length);
    return after;
}

/* One that no double can hold is infinite. */
static const char *read_number(struct reader *reader, const char *at)
{
    double number;
    bool wide = false;
    const char *after = json_number_read(at, reader->end, &number, &wide);
    if (!after) {
        if (!wide)
            luaL_error(reader->lua, "not enough memory");
        number = *at == '-' ? -HUGE_VAL : HUGE_VAL;
        for (after = at; after < reader->end && strchr("+-.0123456789eE", *after) && *after; after++)
            ;
    }
    lua_pushnumber(reader->lua, number);
    return after;
}

static const char *read_array(struct reader *reader, const char *at)
{
    lua_State *lua = reader->lua;
    lua_newtable(lua);
    at = skip_spaces(at + 1);
    if (*at == ']') {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, reader->state->array_reference);
        lua_setmetatable(lua, -2);
        return at + 1;
    }
    for (int index = 1;; index++) {
        at = skip_spaces(read_value(reader, at));
        lua_rawseti(lua, -2, index);
        if (*at++ == ']')
            return at;
    }
}

/* Of a name that stands twice the last counts. */
static const char *read_object(struct reader *reader, const char *at)
{
    lua_State *lua = reader->lua;
    lua_newtable(lua);
    at = skip_spaces(at + 1);
    if (*at == '}')
        return at + 1;
    for (;;) {
        at = skip_spaces(read_string(reader, skip_spaces(at)));
        at = skip_spaces(read_value(reader, at + 1)); /* behind the colon */
        lua_rawset(lua, -3);
        if (*at++ == '}')
            return at;
    }
}

/* Pushes the value that begins there, behind spaces; gives the byte behind it. The recursion is as deep as the text
 * nests, which the scanner bounds. */
static const char *read_value(struct reader *reader, const char *at)
{
    state_check_stop(reader->lua, reader->state);
    luaL_checkstack(reader->lua, 4, "too deep");
    at = skip_spaces(at);
    switch (*at) {
    case '"':
        return read_string(reader, at);
    case '{':
        return read_object(reader, at);
    case '[':
        return read_array(reader, at);
    case 't':
        lua_pushboolean(reader->lua, 1);
        return at + 4;
    case 'f':
        lua_pushboolean(reader->lua, 0);
        return at + 5;
    case 'n':
        lua_pushlightuserdata(reader->lua, NULL);
        return at + 4;
    default:
        return read_number(reader, at);
    }
}

void json_value_push(lua_State *lua, struct script_state *state, struct slice json)
{
    size_t bytes = estimate_value(json);
    if (state_room(state) < bytes && !(state_collect_fully(lua, state) && state_room(state) >= bytes))
        luaL_error(lua, "not enough memory to decode %d bytes of JSON: script.memoryLimit leaves %d KiB",
                   (int)json.length, (int)(state_room(state) >> 10));
    struct reader reader = {lua, state, json.data + json.length};
    read_value(&reader, json.data);
    trim_buffer(state);
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
    return buffer_room(writer->lua, writer->state, writer->length, length);
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
    trim_buffer(state);
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
    lua_createtable(lua, 0, 1);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    state->array_metatable = lua_topointer(lua, -1);
    state->array_reference = luaL_ref(lua, LUA_REGISTRYINDEX);
}
