/* Lists are the common case and are taken in one walk: as long as the keys come as 1, 2, 3 …, numbers are written side
 * by side and other values one behind the other. Where that breaks, what was written is dropped and the table is walked
 * again the general way. */
#include "workers/value_lua.h"

#include <lauxlib.h>
#include <string.h>

/* Elements, or so many times STEP_BYTES of strings, between two looks at the stop flag: less than 100 µs. */
#define STEPS 4096u
#define STEP_BYTES 256u

struct source {
    lua_State *lua;
    struct buffer *out;
    const void *array_metatable;
    const atomic_bool *stop; /* may be NULL */
    size_t steps;            /* since the last look at it */
    const char *receiver;
    size_t most;  /* bytes of this value */
    size_t limit; /* … and with them of *out */
    unsigned depth;
    const void *open[VALUE_DEPTH_MAXIMUM]; /* the tables that the value is inside of */
};

static void put_value(struct source *source, int index);

static void refuse_size(struct source *source)
{
    bool large = source->most >= (1u << 20);
    luaL_error(source->lua, large ? "cannot pass more than %d MiB to %s" : "cannot pass more than %d KiB to %s",
               (int)(source->most >> (large ? 20 : 10)), source->receiver);
}

static void check_room(struct source *source)
{
    if (source->out->failed)
        luaL_error(source->lua, "not enough memory");
    if (source->out->length > source->limit)
        refuse_size(source);
}

static void count_steps(struct source *source, size_t steps)
{
    source->steps += steps;
    if (source->steps < STEPS)
        return;
    source->steps = 0;
    if (value_stopped(source->stop)) {
        lua_pushliteral(source->lua, "stopped");
        lua_error(source->lua);
    }
}

static void put_string(struct source *source, int index)
{
    struct slice text;
    text.data = lua_tolstring(source->lua, index, &text.length);
    if (text.length > source->most)
        refuse_size(source);
    value_write_string(source->out, text);
    count_steps(source, text.length / STEP_BYTES);
}

/* The numbers at the start of the list; leaves the walk (lua_next) at the first entry that is no next number, its key
 * and value on the stack, or ended with *ended. */
static uint32_t put_leading_numbers(struct source *source, int table, bool *ended)
{
    lua_State *lua = source->lua;
    struct buffer *out = source->out;
    uint32_t count = 0;
    lua_pushnil(lua);
    for (;;) {
        *ended = lua_next(lua, table) == 0;
        if (*ended || lua_type(lua, -1) != LUA_TNUMBER || lua_type(lua, -2) != LUA_TNUMBER ||
            lua_tonumber(lua, -2) != (double)count + 1)
            return count;
        double number = lua_tonumber(lua, -1);
        if (out->capacity - out->length >= sizeof number) {
            memcpy(out->data + out->length, &number, sizeof number);
            out->length += sizeof number;
        } else {
            buffer_append(out, &number, sizeof number);
            check_room(source);
        }
        count++;
        if (count % STEPS == 0)
            count_steps(source, STEPS);
        lua_pop(lua, 1);
    }
}

static void put_list(struct source *source, int table, uint32_t count)
{
    lua_State *lua = source->lua;
    size_t place = value_begin(source->out, VALUE_ARRAY);
    for (uint32_t i = 1; i <= count; i++) {
        lua_rawgeti(lua, table, (int)i);
        put_value(source, lua_gettop(lua));
        lua_pop(lua, 1);
    }
    value_end(source->out, place, count);
    check_room(source);
}

static bool is_marked(struct source *source, int table)
{
    if (!source->array_metatable || !lua_getmetatable(source->lua, table))
        return false;
    bool marked = lua_topointer(source->lua, -1) == source->array_metatable;
    lua_pop(source->lua, 1);
    return marked;
}

/* The table is no list of numbers: counts its keys to see what it is. */
static void put_mixed(struct source *source, int table)
{
    lua_State *lua = source->lua;
    size_t length = lua_objlen(lua, table), names = 0, numbers = 0;
    lua_pushnil(lua);
    while (lua_next(lua, table)) {
        lua_pop(lua, 1);
        count_steps(source, 1);
        if (lua_type(lua, -1) == LUA_TSTRING) {
            names++;
        } else if (lua_type(lua, -1) == LUA_TNUMBER) {
            double key = lua_tonumber(lua, -1);
            if (!(key >= 1 && key <= (double)length) || key != (double)(uint64_t)key)
                luaL_error(lua, "cannot pass a table with gaps to %s", source->receiver);
            numbers++;
        } else {
            luaL_error(lua, "cannot pass a table with %s as a key to %s", luaL_typename(lua, -1), source->receiver);
        }
    }
    if (numbers > 0 && names > 0)
        luaL_error(lua, "cannot pass a table with both numbers and names as keys to %s", source->receiver);
    if (numbers != length)
        luaL_error(lua, "cannot pass a table with gaps to %s", source->receiver);
    if (numbers > UINT32_MAX || names > UINT32_MAX)
        luaL_error(lua, "cannot pass so large a table to %s", source->receiver);
    if (numbers > 0 || (names == 0 && is_marked(source, table))) {
        put_list(source, table, (uint32_t)numbers);
        return;
    }
    size_t place = value_begin(source->out, VALUE_OBJECT);
    lua_pushnil(lua);
    while (lua_next(lua, table)) {
        put_string(source, -2);
        put_value(source, lua_gettop(lua));
        lua_pop(lua, 1);
    }
    value_end(source->out, place, (uint32_t)names);
    check_room(source);
}

static void put_table(struct source *source, int table)
{
    lua_State *lua = source->lua;
    const void *identity = lua_topointer(lua, table);
    for (unsigned i = 0; i < source->depth; i++)
        if (source->open[i] == identity)
            luaL_error(lua, "cannot pass a table that contains itself to %s", source->receiver);
    if (source->depth == VALUE_DEPTH_MAXIMUM)
        luaL_error(lua, "cannot pass tables nested deeper than %d to %s", VALUE_DEPTH_MAXIMUM, source->receiver);
    source->open[source->depth++] = identity;
    luaL_checkstack(lua, 8, "too deep");
    size_t place = value_begin(source->out, VALUE_NUMBERS);
    bool ended;
    int top = lua_gettop(lua);
    uint32_t count = put_leading_numbers(source, table, &ended);
    lua_settop(lua, top);
    check_room(source);
    if (ended && count > 0) {
        value_end(source->out, place, count);
    } else {
        source->out->length = place;
        put_mixed(source, table);
    }
    source->depth--;
}

static void put_value(struct source *source, int index)
{
    lua_State *lua = source->lua;
    count_steps(source, 1);
    switch (lua_type(lua, index)) {
    case LUA_TNIL:
        value_write_null(source->out);
        break;
    case LUA_TBOOLEAN:
        value_write_boolean(source->out, lua_toboolean(lua, index));
        break;
    case LUA_TNUMBER:
        value_write_number(source->out, lua_tonumber(lua, index));
        break;
    case LUA_TSTRING:
        put_string(source, index);
        break;
    case LUA_TTABLE:
        put_table(source, index);
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(lua, index) == NULL) {
            value_write_null(source->out);
            break;
        }
        /* fall through */
    default:
        luaL_error(lua, "cannot pass a %s to %s", luaL_typename(lua, index), source->receiver);
    }
    check_room(source);
}

void value_from_lua_for(lua_State *lua, int index, struct buffer *out, const void *array_metatable,
                        const atomic_bool *stop, const char *receiver, size_t most)
{
    struct source source = {.lua = lua,
                            .out = out,
                            .array_metatable = array_metatable,
                            .stop = stop,
                            .receiver = receiver,
                            .most = most,
                            .limit = out->length + most};
    put_value(&source, index < 0 ? lua_gettop(lua) + 1 + index : index);
}

void value_from_lua(lua_State *lua, int index, struct buffer *out, const void *array_metatable, const atomic_bool *stop)
{
    value_from_lua_for(lua, index, out, array_metatable, stop, "a worker", VALUE_BYTES_MAXIMUM);
}

void value_to_lua(lua_State *lua, const struct value *value, int array_metatable_index)
{
    const struct value *inner = value_first(value);
    luaL_checkstack(lua, 4, "too deep");
    switch ((enum value_kind)value->kind) {
    case VALUE_NULL:
        lua_pushlightuserdata(lua, NULL);
        break;
    case VALUE_FALSE:
    case VALUE_TRUE:
        lua_pushboolean(lua, value->kind == VALUE_TRUE);
        break;
    case VALUE_NUMBER:
        lua_pushnumber(lua, value_number(value));
        break;
    case VALUE_STRING:
        lua_pushlstring(lua, value_body(value), value->count);
        break;
    case VALUE_NUMBERS:
        lua_createtable(lua, (int)value->count, 0);
        for (uint32_t i = 0; i < value->count; i++) {
            lua_pushnumber(lua, value_numbers(value)[i]);
            lua_rawseti(lua, -2, (int)i + 1);
        }
        break;
    case VALUE_ARRAY:
        lua_createtable(lua, (int)value->count, 0);
        for (uint32_t i = 0; i < value->count; i++, inner = value_next(inner)) {
            value_to_lua(lua, inner, array_metatable_index);
            lua_rawseti(lua, -2, (int)i + 1);
        }
        if (value->count == 0 && array_metatable_index != 0) {
            lua_pushvalue(lua, array_metatable_index);
            lua_setmetatable(lua, -2);
        }
        break;
    case VALUE_OBJECT:
        lua_createtable(lua, 0, (int)value->count);
        for (uint32_t i = 0; i < value->count; i++) {
            const struct value *member = value_next(inner);
            lua_pushlstring(lua, value_body(inner), inner->count);
            value_to_lua(lua, member, array_metatable_index);
            lua_rawset(lua, -3);
            inner = value_next(member);
        }
        break;
    }
}
