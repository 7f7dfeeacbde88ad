/* While the state is made, what the allocator refuses comes from a reserve, so that making it does not fail half way. A
 * state that needed the reserve is whole, and closed at once. */
#include "script/state/new_state.h"

#include <stdlib.h>
#include <string.h>

#include "memory/reserve.h"

/* A fresh state takes less than 20 KiB. */
#define RESERVE_BYTES (64u << 10)

struct birth {
    lua_Alloc allocate;
    void *context;
    struct reserve reserve;
};

static void *allocate_at_birth(void *context, void *block, size_t old_size, size_t size)
{
    struct birth *birth = context;
    bool reserved = block && reserve_owns(&birth->reserve, block);
    if (!reserved) {
        void *moved = birth->allocate(birth->context, block, old_size, size);
        if (moved || size == 0)
            return moved;
    } else if (size <= old_size) {
        return size == 0 ? NULL : block;
    }
    void *moved = reserve_take(&birth->reserve, size);
    if (moved && block) {
        memcpy(moved, block, old_size < size ? old_size : size);
        if (!reserved)
            birth->allocate(birth->context, block, old_size, 0);
    }
    return moved;
}

lua_State *new_state(lua_Alloc allocate, void *context)
{
    struct birth birth = {
        .allocate = allocate, .context = context, .reserve = {.bytes = malloc(RESERVE_BYTES), .size = RESERVE_BYTES}};
    if (!birth.reserve.bytes)
        return NULL;
    lua_State *lua = lua_newstate(allocate_at_birth, &birth);
    if (lua && birth.reserve.used == 0) {
        lua_setallocf(lua, allocate, context);
    } else if (lua) {
        lua_close(lua);
        lua = NULL;
    }
    free(birth.reserve.bytes);
    return lua;
}
