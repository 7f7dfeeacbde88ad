/* luaduct.shared as scripts see it. */
#ifndef LUADUCT_SCRIPT_BINDING_SHARED_H
#define LUADUCT_SCRIPT_BINDING_SHARED_H

#include <lua.h>

#include "memory/buffer.h"

struct shared_entry;

/* What a call of a state holds; an error may leave it behind, so the state keeps it until the next call. */
struct shared_use {
    struct buffer written;
    struct shared_entry *held;
};

/* When the state is closed. */
void shared_binding_close(struct shared_use *use);

/* Pushes the table of functions. Raises. */
void shared_binding_push(lua_State *lua);

#endif
