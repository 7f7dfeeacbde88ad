/* What GET /metrics/history is given. */
#include "runtime/http/api/api_native.h"
#include "runtime/http/api/figures_history.h"

#define SAMPLE_WORK 4096 /* looks at as much as an endpoint does that reads so many bytes */

/* figures_history_range(): the numbers of the first sample and of the one after the last. */
static int native_range(lua_State *L)
{
    uint64_t first, end;
    figures_history_range(&first, &end);
    lua_pushnumber(L, (double)first);
    lua_pushnumber(L, (double)end);
    return 2;
}

/* figures_history_columns(): JSON. */
static int native_columns(lua_State *L)
{
    lua_pushlstring(L, figures_history_columns.data, figures_history_columns.length);
    return 1;
}

/* write_figures_history(number, most, any): writes so many samples from that one on, after a comma if any was written
 * before; gives the next number, and whether any is written by now. */
static int native_write(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    unsigned most = (unsigned)luaL_checkinteger(L, 2);
    bool any = lua_toboolean(L, 3);
    size_t before = call->content.length;
    uint64_t next = figures_history_append(&call->content, (uint64_t)luaL_checknumber(L, 1), most, !any);
    call->worked += (size_t)most * SAMPLE_WORK;
    lua_pushnumber(L, (double)next);
    lua_pushboolean(L, any || call->content.length > before);
    return 2;
}

const luaL_Reg api_figures_history_functions[] = {
    {"figures_history_range", native_range},
    {"figures_history_columns", native_columns},
    {"write_figures_history", native_write},
    {NULL, NULL},
};
