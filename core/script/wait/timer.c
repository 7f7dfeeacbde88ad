/* A fixed number of places, found by the number in a handle, and a heap of those that are set, by their time. A place
 * is given back when its timer is cancelled or has run for the last time, but never while its function runs or waits.
 */
#include "script/wait/timer.h"

#include "script/call.h"
#include "script/chain.h"
#include "script/pure/declaration.h"
#include "script/state/state.h"

#define NOT_SET UINT16_MAX
#define NONE UINT16_MAX
#define HANDLE "luaduct.timer" /* its metatable's name in the registry */

struct script_timer {
    uint64_t due_ms;     /* before the state is live: from then on */
    uint32_t ms;         /* every: how often; after: 0 */
    uint32_t generation; /* of the place: a handle of an earlier timer names none */
    int function;        /* registry reference */
    uint16_t script;     /* whose `bridge` it gets */
    uint16_t place;      /* in the heap, NOT_SET, or of the next free one */
    bool used, runs, cancelled;
};

struct handle {
    uint32_t number, generation;
};

static uint64_t now_ms(void)
{
    return clock_planned_ms();
}

/* --- The heap ------------------------------------------------------------------------------------------------------
 */

static void put_at(struct timer_list *list, unsigned place, uint16_t number)
{
    list->heap[place] = number;
    list->timers[number].place = (uint16_t)place;
}

static bool is_earlier(const struct timer_list *list, uint16_t a, uint16_t b)
{
    return list->timers[a].due_ms < list->timers[b].due_ms;
}

static void rise(struct timer_list *list, unsigned place, uint16_t number)
{
    for (; place > 0 && is_earlier(list, number, list->heap[(place - 1) / 2]); place = (place - 1) / 2)
        put_at(list, place, list->heap[(place - 1) / 2]);
    put_at(list, place, number);
}

static void sink(struct timer_list *list, unsigned place, uint16_t number)
{
    for (unsigned child; (child = 2 * place + 1) < list->heap_count; place = child) {
        if (child + 1 < list->heap_count && is_earlier(list, list->heap[child + 1], list->heap[child]))
            child++;
        if (!is_earlier(list, list->heap[child], number))
            break;
        put_at(list, place, list->heap[child]);
    }
    put_at(list, place, number);
}

static void note_next(struct timer_list *list)
{
    list->next_ms = list->live && list->heap_count > 0 ? list->timers[list->heap[0]].due_ms : UINT64_MAX;
}

static void set(struct timer_list *list, uint16_t number, uint64_t due_ms)
{
    list->timers[number].due_ms = due_ms;
    rise(list, list->heap_count++, number);
    note_next(list);
}

static void unset(struct timer_list *list, uint16_t number)
{
    unsigned place = list->timers[number].place;
    list->timers[number].place = NOT_SET;
    uint16_t last = list->heap[--list->heap_count];
    if (place < list->heap_count) {
        if (place > 0 && is_earlier(list, last, list->heap[(place - 1) / 2]))
            rise(list, place, last);
        else
            sink(list, place, last);
    }
    note_next(list);
}

/* --- Places ---------------------------------------------------------------------------------------------------------
 */

/* False: no memory. */
static bool make_places(struct script_state *state)
{
    struct timer_list *list = &state->timers;
    if (list->timers)
        return true;
    list->timers = state_allocate(state, NULL, 0, TIMERS_MAXIMUM * sizeof *list->timers);
    list->heap = state_allocate(state, NULL, 0, TIMERS_MAXIMUM * sizeof *list->heap);
    if (!list->timers || !list->heap) {
        timer_close(state);
        return false;
    }
    memset(list->timers, 0, TIMERS_MAXIMUM * sizeof *list->timers);
    for (unsigned i = 0; i < TIMERS_MAXIMUM; i++)
        list->timers[i].place = (uint16_t)(i + 1 < TIMERS_MAXIMUM ? i + 1 : NONE);
    list->first_free = 0;
    return true;
}

void timer_close(struct script_state *state)
{
    struct timer_list *list = &state->timers;
    if (list->timers)
        state_allocate(state, list->timers, TIMERS_MAXIMUM * sizeof *list->timers, 0);
    if (list->heap)
        state_allocate(state, list->heap, TIMERS_MAXIMUM * sizeof *list->heap, 0);
    list->timers = NULL;
    list->heap = NULL;
}

static void give_back(struct script_state *state, uint16_t number)
{
    struct timer_list *list = &state->timers;
    struct script_timer *timer = &list->timers[number];
    luaL_unref(state->lua, LUA_REGISTRYINDEX, timer->function);
    timer->used = false;
    timer->generation++;
    timer->place = list->first_free;
    list->first_free = number;
    list->count--;
}

/* --- What scripts call ----------------------------------------------------------------------------------------------
 */

/* The script that the function at `index` is of: its globals tell. */
static unsigned script_of_function(lua_State *lua, const struct script_state *state, int index)
{
    unsigned found = 0;
    lua_getfenv(lua, index);
    for (unsigned i = 0; i + 1 < state->script_count; i++) {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, state->scripts[i].environment);
        if (lua_rawequal(lua, -1, -2))
            found = i;
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    return found;
}

static int make_timer(lua_State *lua, const char *what, bool repeats)
{
    struct script_state *state = state_of(lua);
    struct timer_list *list = &state->timers;
    declaration_check(lua, what);
    uint32_t ms = wait_check_ms(lua, 1, repeats ? 1 : 0, what);
    if (lua_type(lua, 2) != LUA_TFUNCTION)
        return luaL_error(lua, "%s: expected a function as second argument, got %s", what, state_value_name(lua, 2));
    state_may_act(lua, state, what);
    if (!list->allowed)
        return luaL_error(lua, "%s: an operation of a worker has no timers", what);
    if (list->count == TIMERS_MAXIMUM)
        return luaL_error(lua, "%s: there are %d timers already, the most at a time", what, (int)TIMERS_MAXIMUM);
    if (!make_places(state))
        return luaL_error(lua, "not enough memory");
    lua_settop(lua, 2);
    struct handle *handle = lua_newuserdata(lua, sizeof *handle);
    luaL_getmetatable(lua, HANDLE);
    lua_setmetatable(lua, 3);
    unsigned script = script_of_function(lua, state, 2);
    lua_pushvalue(lua, 2);
    int function = luaL_ref(lua, LUA_REGISTRYINDEX); /* the last that may raise */
    uint16_t number = list->first_free;
    struct script_timer *timer = &list->timers[number];
    list->first_free = timer->place;
    *timer = (struct script_timer){.ms = repeats ? ms : 0,
                                   .generation = timer->generation,
                                   .function = function,
                                   .script = (uint16_t)script,
                                   .used = true};
    *handle = (struct handle){number, timer->generation};
    list->count++;
    set(list, number, list->live ? now_ms() + ms : ms);
    return 1;
}

int timer_after(lua_State *lua)
{
    return make_timer(lua, "luaduct.after", false);
}

int timer_every(lua_State *lua)
{
    return make_timer(lua, "luaduct.every", true);
}

/* handle:cancel(): whether it would have run again */
static int cancel(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    declaration_check(lua, "timer:cancel");
    const struct handle *handle = luaL_checkudata(lua, 1, HANDLE);
    struct script_timer *timer = &state->timers.timers[handle->number];
    bool due = timer->used && timer->generation == handle->generation && !timer->cancelled &&
               (timer->place != NOT_SET || timer->ms > 0);
    if (due && timer->place != NOT_SET)
        unset(&state->timers, (uint16_t)handle->number);
    if (due && timer->runs)
        timer->cancelled = true;
    else if (due)
        give_back(state, (uint16_t)handle->number);
    lua_pushboolean(lua, due);
    return 1;
}

void timer_open(lua_State *lua)
{
    luaL_newmetatable(lua, HANDLE);
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, cancel);
    lua_setfield(lua, -2, "cancel");
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 1);
}

/* --- Running --------------------------------------------------------------------------------------------------------
 */

void script_start_timers(struct script_state *state)
{
    struct timer_list *list = &state->timers;
    uint64_t now = now_ms();
    for (unsigned i = 0; i < list->heap_count; i++)
        list->timers[list->heap[i]].due_ms += now;
    list->live = true;
    note_next(list);
}

void script_stop_timers(struct script_state *state)
{
    struct timer_list *list = &state->timers;
    uint64_t now = now_ms();
    for (unsigned i = 0; list->live && i < list->heap_count; i++) { /* the time left: it may go live again */
        uint64_t *due_ms = &list->timers[list->heap[i]].due_ms;
        *due_ms = *due_ms > now ? *due_ms - now : 0;
    }
    list->live = false;
    note_next(list);
}

uint64_t script_next_timer(const struct script_state *state)
{
    return state->timers.next_ms;
}

int timer_reference(const struct script_state *state, const struct chain_call *call)
{
    return state->timers.timers[call->index].function;
}

void timer_ended(struct script_state *state, const struct chain_call *call)
{
    struct script_timer *timer = &state->timers.timers[call->index];
    timer->runs = false;
    if (timer->cancelled || timer->ms == 0) {
        give_back(state, (uint16_t)call->index);
        return;
    }
    if (!state->timers.live) {
        set(&state->timers, (uint16_t)call->index, timer->ms);
        return;
    }
    uint64_t now = now_ms(), due = timer->due_ms + timer->ms;
    set(&state->timers, (uint16_t)call->index, due > now ? due : now + timer->ms); /* what was missed is left out */
}

enum script_result timer_continue(struct script_state *state, const struct chain_call *call, int answers)
{
    bool stopped;
    int status = call_run(state, HOOK_TIMER, answers < 0 ? 1 : answers, &stopped);
    if (status != 0 || stopped) {
        if (call_put_aside(state, call, status, stopped))
            return SCRIPT_WAITS;
        call_fail_function(state, HOOK_TIMER, timer_reference(state, call), status, stopped);
        return SCRIPT_FAILED;
    }
    lua_settop(state->coroutine, 2 * state->route_count);
    return SCRIPT_DECIDED;
}

enum script_result script_run_timer(struct script_state *state)
{
    uint16_t number = state->timers.heap[0];
    struct script_timer *timer = &state->timers.timers[number];
    struct chain_call call = {.hook = HOOK_TIMER, .index = number};
    enum script_result result = SCRIPT_FAILED;
    call_begin(state);
    state->envelope = NULL;
    unset(&state->timers, number);
    timer->runs = true;
    count_up(&state->counts[HOOK_TIMER].calls);
    if (call_has_coroutine(state, HOOK_TIMER)) {
        call_next_generation(state);
        lua_rawgeti(state->coroutine, LUA_REGISTRYINDEX, timer->function);
        lua_rawgeti(state->coroutine, LUA_REGISTRYINDEX, state->scripts[timer->script].bridge);
        result = timer_continue(state, &call, -1);
    }
    return chain_finish(state, &call, result);
}
