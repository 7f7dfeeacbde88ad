/* What a worker can do: the table of built-in operations. An operation reads one value, appends one, and gives up when
 * told to. It is pure: no state between calls, no I/O, so any number run at once. */
#ifndef LUADUCT_WORKERS_OPERATION_H
#define LUADUCT_WORKERS_OPERATION_H

#include <stdatomic.h>

#include "base/slice.h"
#include "memory/buffer.h"
#include "workers/value.h"

struct lua_State;

#define OPERATION_ERROR_BYTES 256

enum operation_status {
    OPERATION_DONE,    /* result holds one value */
    OPERATION_FAILED,  /* error says why, for whoever asked: "vector_operations: data.a: expected …, got …" */
    OPERATION_STOPPED, /* `stop` was set: what result holds is to be thrown away */
};

struct operation_call {
    const struct value *data;
    struct buffer *result;   /* empty at the start; the callee appends */
    const atomic_bool *stop; /* set by another thread when time is up: look at it at least every millisecond of work */
    struct lua_State *lua;   /* the worker's own state (JIT on), for operations written in Lua */
    char error[OPERATION_ERROR_BYTES];
};

typedef enum operation_status operation_function(struct operation_call *call);

struct operation {
    const char *name;
    operation_function *run;
    bool needs_lua; /* it is written in Lua: operation_call.lua is there */
};

/* What a result may take, in bytes of the value and in bytes of one string: beyond it an operation fails. */
#define OPERATION_RESULT_MAXIMUM VALUE_BYTES_MAXIMUM

static inline bool operation_stopped(const struct operation_call *call)
{
    return atomic_load_explicit(call->stop, memory_order_relaxed);
}

/* NULL when there is none of that name. Any thread. */
const struct operation *operation_find(struct slice name);

/* All of them, ended by one whose name is NULL. */
extern const struct operation operations[];

/* Prepares the worker's Lua state for the operations that are written in Lua (luaduct.operations.*): on the worker's
 * thread, with the bundle installed. Raises. */
void operations_open_lua(struct lua_State *lua);

#endif
