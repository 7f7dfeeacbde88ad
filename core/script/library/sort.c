/* Heap sort: never quadratic whatever the data or a wrong comparison, no recursion, and it looks at the stop flag,
 * which LuaJIT's own sort of numbers (all in C) does not. */
#include "script/library/library.h"
#include "script/state/state.h"

static bool sorts_before(lua_State *lua, struct script_state *state, int a, int b)
{
    state_check_stop(lua, state);
    if (lua_isnil(lua, 2))
        return lua_lessthan(lua, a, b);
    lua_pushvalue(lua, 2);
    lua_pushvalue(lua, a);
    lua_pushvalue(lua, b);
    lua_call(lua, 2, 1);
    bool before = lua_toboolean(lua, -1);
    lua_pop(lua, 1);
    return before;
}

/* Lets the value on top of the stack sink from `root` in the heap t[1..count], and pops it. */
static void sift_down(lua_State *lua, struct script_state *state, int root, int count)
{
    int value = lua_gettop(lua);
    for (int child; (child = 2 * root) <= count; root = child) {
        lua_rawgeti(lua, 1, child);
        if (child < count) {
            lua_rawgeti(lua, 1, child + 1);
            if (sorts_before(lua, state, value + 1, value + 2)) {
                child++;
                lua_remove(lua, value + 1);
            } else {
                lua_pop(lua, 1);
            }
        }
        if (!sorts_before(lua, state, value, value + 1)) {
            lua_pop(lua, 1);
            break;
        }
        lua_rawseti(lua, 1, root);
    }
    lua_rawseti(lua, 1, root);
}

int library_sort(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    luaL_checktype(lua, 1, LUA_TTABLE);
    if (!lua_isnoneornil(lua, 2))
        luaL_checktype(lua, 2, LUA_TFUNCTION);
    lua_settop(lua, 2);
    luaL_checkstack(lua, 8, NULL);
    if (lua_objlen(lua, 1) > INT32_MAX / 2)
        return luaL_error(lua, "the table is too big to sort");
    int count = (int)lua_objlen(lua, 1);
    for (int root = count / 2; root >= 1; root--) {
        lua_rawgeti(lua, 1, root);
        sift_down(lua, state, root, count);
    }
    for (int last = count; last > 1; last--) {
        lua_rawgeti(lua, 1, last);
        lua_rawgeti(lua, 1, 1);
        lua_rawseti(lua, 1, last);
        sift_down(lua, state, 1, last - 1);
    }
    return 0;
}
