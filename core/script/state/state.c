/* Every byte that a state takes passes state_allocate: Lua's heap, the arena, the JSON buffer. The ceiling is
 * memory_limit while a hook runs and a little more between calls (STATE_RESERVE_BYTES). LuaJIT does not collect when an
 * allocation is refused, it raises at once; hook.c then collects, outside the failed hook.
 *
 * The arena is a list of chunks of which a call fills one after the other; the next call starts anew and keeps the
 * first chunk only, so that a call that needed much does not hold it for ever. */
#include "script/state/state.h"

#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>

#include "script/state/new_state.h"
#include "script/wait/wait.h"

/* Holds the texts of an ordinary decision many times over. */
#define ARENA_CHUNK_BYTES 4096

void *state_allocate(struct script_state *state, void *block, size_t old_size, size_t size)
{
    uint64_t heap = atomic_load_explicit(&state->heap_bytes, memory_order_relaxed);
    if (size == 0) {
        free(block);
        atomic_store_explicit(&state->heap_bytes, heap - old_size, memory_order_relaxed);
        return NULL;
    }
    if (size > old_size && (size - old_size > state->ceiling || heap > state->ceiling - (size - old_size)))
        return NULL;
    void *moved = realloc(block, size);
    if (moved)
        atomic_store_explicit(&state->heap_bytes, heap - old_size + size, memory_order_relaxed);
    else if (size <= old_size)
        return block; /* Lua relies on shrinking to succeed */
    return moved;
}

static void *allocate_for_lua(void *context, void *block, size_t old_size, size_t size)
{
    return state_allocate(context, block, old_size, size);
}

uint64_t state_room(const struct script_state *state)
{
    uint64_t heap = atomic_load_explicit(&state->heap_bytes, memory_order_relaxed);
    return heap < state->ceiling ? state->ceiling - heap : 0;
}

static bool arena_grow(struct script_state *state, size_t length)
{
    size_t size = length > ARENA_CHUNK_BYTES ? length : ARENA_CHUNK_BYTES;
    if (size > SIZE_MAX - sizeof(struct arena_chunk))
        return false;
    struct arena_chunk *chunk = state_allocate(state, NULL, 0, sizeof *chunk + size);
    if (!chunk)
        return false;
    chunk->size = size;
    chunk->next = state->arena;
    state->arena = chunk;
    state->arena_at = chunk->data;
    state->arena_end = chunk->data + size;
    return true;
}

/* Its argument, NULL, is the state's first light userdata: LuaJIT numbers the upper halves of their addresses as they
 * come, and searches the handles' own (0, state.h) first when it came first. */
static int open_libraries(lua_State *lua)
{
    static const luaL_Reg libraries[] = {
        {"", luaopen_base},
        {LUA_LOADLIBNAME, luaopen_package},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_MATHLIBNAME, luaopen_math},
        {LUA_OSLIBNAME, luaopen_os},
        {LUA_BITLIBNAME, luaopen_bit},
    };
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_pushcfunction(lua, libraries[i].func);
        lua_pushstring(lua, libraries[i].name);
        lua_call(lua, 1, 0);
    }
    const struct script_state *state = state_of(lua);
    if (state->jit) {
        lua_pushcfunction(lua, luaopen_jit); /* switches the engine on */
        lua_pushliteral(lua, LUA_JITLIBNAME);
        lua_call(lua, 1, 0);
    }
    luaJIT_setmode(lua, 0, LUAJIT_MODE_ENGINE | (state->jit ? LUAJIT_MODE_ON : LUAJIT_MODE_OFF));
    return 0;
}

bool arena_open(struct script_state *state)
{
    struct arena_chunk *before = state->arena;
    state->arena = NULL;
    if (!arena_grow(state, ARENA_CHUNK_BYTES)) {
        state->arena = before;
        return false;
    }
    state->arena_start = state->arena_at;
    return true;
}

void arena_close(struct script_state *state)
{
    while (state->arena) {
        struct arena_chunk *next = state->arena->next;
        state_allocate(state, state->arena, sizeof *state->arena + state->arena->size, 0);
        state->arena = next;
    }
}

struct script_state *state_open(const struct script_options *options)
{
    struct script_state *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    state->memory_limit = options->memory_limit;
    state->ceiling = options->memory_limit + STATE_RESERVE_BYTES;
    state->log = options->log;
    state->log_context = options->log_context;
    state->switched = options->switched;
    state->breaker_rules = options->breaker;
    state->budget_ms = options->budget_ms;
    state->jit = options->jit;
    state->inert = options->inert;
    state->caching = options->caching;
    state->reads_only = options->reads_only;
    /* The first chunk at once: a script that fills its memory can then still be asked for a decision. */
    state->lua = new_state(allocate_for_lua, state);
    state->coroutine_reference = LUA_NOREF;
    state->timers.next_ms = UINT64_MAX;
    if (!state->lua || !arena_open(state) || lua_cpcall(state->lua, open_libraries, NULL) != 0) {
        state_close(state);
        return NULL;
    }
    return state;
}

void state_close(struct script_state *state)
{
    if (!state)
        return;
    for (unsigned i = 0; i < state->view_count; i++)
        agent_view_release(&state->views[state->view_first + i]);
    wait_free_all(state);
    wait_forget_request(&state->asked);
    send_close(state);
    route_cache_clear(state);
    shared_binding_close(&state->shared);
    if (state->lua)
        lua_close(state->lua);
    timer_close(state);
    arena_close(state);
    free(state->buffer);
    for (size_t i = 0; i < state->script_count; i++) {
        free(state->scripts[i].path);
        free(state->scripts[i].folder);
    }
    free(state->scripts);
    sources_release(state->sources);
    free(state);
}

char *arena_grow_and_take(struct script_state *state, size_t length)
{
    if (!arena_grow(state, length))
        return NULL;
    state->arena_at += length;
    return state->arena->data;
}

void arena_free_chunks(struct script_state *state)
{
    struct arena_chunk *chunk = state->arena;
    while (chunk->next) {
        struct arena_chunk *next = chunk->next;
        state_allocate(state, chunk, sizeof *chunk + chunk->size, 0);
        chunk = next;
    }
    state->arena = chunk;
    state->arena_end = chunk->data + chunk->size;
}

void *arena_take_aligned(lua_State *lua, struct script_state *state, size_t size)
{
    char *taken = arena_take(state, size + 15);
    if (!taken)
        luaL_error(lua, "not enough memory");
    return (void *)(((uintptr_t)taken + 15) & ~(uintptr_t)15);
}

struct slice arena_copy_string(lua_State *lua, struct script_state *state, int index)
{
    struct slice text;
    text.data = lua_tolstring(lua, index, &text.length);
    return arena_copy(lua, state, text);
}

const char *state_value_name(lua_State *lua, int index)
{
    switch (lua_type(lua, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
        return "nil";
    case LUA_TBOOLEAN:
        return "a boolean";
    case LUA_TNUMBER:
        return "a number";
    case LUA_TSTRING:
        return "a string";
    case LUA_TTABLE:
        return "a table";
    case LUA_TFUNCTION:
        return "a function";
    case LUA_TTHREAD:
        return "a coroutine";
    case LUA_TLIGHTUSERDATA: {
        uintptr_t handle = (uintptr_t)lua_touserdata(lua, index);
        if (handle == 0)
            return "luaduct.null";
        return (handle & ((1u << HANDLE_TAG_BITS) - 1)) == HANDLE_TAG_ENVELOPE ? "an envelope" : "a decision";
    }
    default:
        return "a library";
    }
}
