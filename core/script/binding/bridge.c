/* A constructor fills in the state's next decision_item and returns a handle (state/state.h) that names it: no object
 * is made. Texts are copied to the arena, because Lua may collect the string before the decision is carried out. */
#include "script/binding/bridge.h"

#include <stdio.h>

#include "protocol/registration.h"
#include "script/binding/send.h"
#include "script/json_value.h"
#include "script/pure/declaration.h"
#include "script/state/state.h"
#include "script/wait/ask.h"

/* A drop's reason goes into an error message and a log line. */
#define REASON_BYTES_MAXIMUM 1024

/* What a 32-bit timer holds: 24 days. */
#define EXPIRES_MS_MAXIMUM 2147483647

/* A route names at most as many agents as a table of that size can hold in a state of ordinary size. */
#define RECIPIENTS_MAXIMUM 100000

static struct decision_item *new_item(lua_State *lua, struct script_state *state, const char *what,
                                      enum decision_kind kind)
{
    if (!state->in_hook)
        luaL_error(lua, "%s: decisions are made in a hook, not while the script is loaded", what);
    if (state->item_count == DECISION_ITEMS_MAXIMUM)
        luaL_error(lua, "%s: more than %d decisions in one call", what, DECISION_ITEMS_MAXIMUM);
    struct decision_item *item = &state->made.items[state->item_count];
    item->kind = kind; /* what this kind uses, its constructor sets */
    item->expires_ms = 0;
    return item;
}

/* Counts the item that new_item gave, and returns its handle to the script. */
static int return_item(lua_State *lua, struct script_state *state)
{
    uintptr_t handle = (uintptr_t)state->generation << HANDLE_TAG_BITS | state->item_count++;
    lua_pushlightuserdata(lua, (void *)handle);
    return 1;
}

/* A bit for each of eight bytes that is below U+0020, U+007F or above (or, once one is, for its neighbours). */
static inline uint64_t odd_bytes(const char *at)
{
    uint64_t bytes, ones = UINT64_C(0x0101010101010101);
    memcpy(&bytes, at, sizeof bytes);
    return ((bytes - 0x20 * ones) | (bytes + ones) | bytes) & (0x80 * ones);
}

/* True for 8 to 32 bytes of printable ASCII, as most ids are: no reason to call the whole check. */
static inline bool is_plain_name(struct slice text)
{
    if (text.length < 8 || text.length > 32)
        return false;
    uint64_t odd = odd_bytes(text.data + text.length - 8);
    for (size_t i = 0; i + 8 < text.length; i += 8)
        odd |= odd_bytes(text.data + i);
    return odd == 0;
}

/* A name as the wire allows it: for ids, roles, labels, tools and intents. */
static inline struct slice take_name(lua_State *lua, struct script_state *state, int index, const char *what,
                                     const char *expected)
{
    if (lua_type(lua, index) != LUA_TSTRING)
        luaL_error(lua, "%s: expected %s, got %s", what, expected, state_value_name(lua, index));
    struct slice text;
    text.data = lua_tolstring(lua, index, &text.length);
    if (!is_plain_name(text) && !identifier_valid(text))
        luaL_error(lua, "%s: expected %s of 1 to %d bytes without control characters, got %s", what, expected,
                   TEXT_BYTES_MAXIMUM, text.length == 0 ? "an empty string" : "another string");
    return arena_copy(lua, state, text);
}

/* The value of expiresMs, at the top of the stack. */
static void take_expiry(lua_State *lua, const char *what, struct decision_item *item)
{
    double ms = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
    if (!(ms >= 1 && ms <= EXPIRES_MS_MAXIMUM) || ms != (double)(uint32_t)ms)
        luaL_error(lua, "%s: expected a whole number from 1 to %d for expiresMs, got %s", what, EXPIRES_MS_MAXIMUM,
                   lua_type(lua, -1) == LUA_TNUMBER ? "another number" : state_value_name(lua, -1));
    item->expires_ms = (uint32_t)ms;
}

/* {expiresMs = n}, or nothing. */
static void take_options(lua_State *lua, int index, const char *what, struct decision_item *item)
{
    if (lua_isnoneornil(lua, index))
        return;
    if (!lua_istable(lua, index))
        luaL_error(lua, "%s: expected {expiresMs = n} as options, got %s", what, state_value_name(lua, index));
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        if (lua_type(lua, -2) != LUA_TSTRING || strcmp(lua_tostring(lua, -2), "expiresMs") != 0)
            luaL_error(lua, "%s: expected {expiresMs = n} as options, got another key", what);
        take_expiry(lua, what, item);
        lua_pop(lua, 1);
    }
}

#define TO_EXPECTED "an agent id (string) or a list of them"

static int make_to(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct decision_item *item = new_item(lua, state, "bridge.to", DECISION_TO);
    take_options(lua, 2, "bridge.to", item);
    if (lua_type(lua, 1) == LUA_TTABLE) {
        size_t count = lua_objlen(lua, 1);
        if (count == 0)
            return luaL_error(lua, "bridge.to: expected " TO_EXPECTED ", got a table without elements");
        if (count > RECIPIENTS_MAXIMUM)
            return luaL_error(lua, "bridge.to: expected at most %d agents, got %d", RECIPIENTS_MAXIMUM, (int)count);
        struct slice *ids = arena_take_aligned(lua, state, count * sizeof *ids);
        for (size_t i = 0; i < count; i++) {
            lua_rawgeti(lua, 1, (int)i + 1);
            if (lua_type(lua, -1) != LUA_TSTRING)
                return luaL_error(lua, "bridge.to: expected an agent id (string) as element %d, got %s", (int)i + 1,
                                  state_value_name(lua, -1));
            ids[i] = take_name(lua, state, -1, "bridge.to", "an agent id");
            lua_pop(lua, 1);
        }
        item->ids = ids;
        item->id_count = (unsigned)count;
    } else {
        struct slice id = take_name(lua, state, 1, "bridge.to", TO_EXPECTED);
        state->single_ids[state->item_count] = id;
        item->ids = &state->single_ids[state->item_count];
        item->id_count = 1;
    }
    return return_item(lua, state);
}

static int make_role(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct decision_item *item = new_item(lua, state, "bridge.role", DECISION_ALL);
    take_options(lua, 2, "bridge.role", item);
    memset(&item->selector, 0, sizeof item->selector);
    item->selector.role = take_name(lua, state, 1, "bridge.role", "the name of a role (string)");
    return return_item(lua, state);
}

static int make_label(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct decision_item *item = new_item(lua, state, "bridge.label", DECISION_ALL);
    take_options(lua, 2, "bridge.label", item);
    memset(&item->selector, 0, sizeof item->selector);
    item->selector.label = take_name(lua, state, 1, "bridge.label", "a label (string)");
    return return_item(lua, state);
}

/* `item`: whose options (expiresMs, and wait of `any`) may stand beside the selector; NULL: none may. */
static void read_selector(lua_State *lua, struct script_state *state, const char *what, struct selector *selector,
                          struct decision_item *item)
{
    if (!lua_istable(lua, 1))
        luaL_error(lua, "%s: expected a table with role, label, intent, tool or id, got %s", what,
                   state_value_name(lua, 1));
    memset(selector, 0, sizeof *selector);
    bool empty = true;
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        struct slice *part = NULL;
        const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : state_value_name(lua, -2);
        if (item && item->kind == DECISION_ANY && strcmp(key, "wait") == 0) {
            if (!lua_isboolean(lua, -1))
                luaL_error(lua, "%s: expected true or false for wait, got %s", what, state_value_name(lua, -1));
            item->wait = lua_toboolean(lua, -1);
            lua_pop(lua, 1);
            continue;
        }
        if (item && strcmp(key, "expiresMs") == 0) {
            take_expiry(lua, what, item);
            lua_pop(lua, 1);
            continue;
        }
        if (lua_type(lua, -2) == LUA_TSTRING)
            part = strcmp(key, "role") == 0     ? &selector->role
                   : strcmp(key, "label") == 0  ? &selector->label
                   : strcmp(key, "intent") == 0 ? &selector->intent
                   : strcmp(key, "tool") == 0   ? &selector->tool
                   : strcmp(key, "id") == 0     ? &selector->id
                                                : NULL;
        if (!part)
            luaL_error(lua, "%s: expected role, label, intent, tool or id as a key, got %s", what, key);
        *part = take_name(lua, state, -1, what, "a name (string)");
        empty = false;
        lua_pop(lua, 1);
    }
    if (empty)
        luaL_error(lua, "%s: expected at least one of role, label, intent, tool, id, got an empty table", what);
}

static int make_all(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct decision_item *item = new_item(lua, state, "bridge.all", DECISION_ALL);
    read_selector(lua, state, "bridge.all", &item->selector, item);
    return return_item(lua, state);
}

static int make_any(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct decision_item *item = new_item(lua, state, "bridge.any", DECISION_ANY);
    item->wait = false;
    read_selector(lua, state, "bridge.any", &item->selector, item);
    return return_item(lua, state);
}

static int make_broadcast(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    take_options(lua, 1, "bridge.broadcast", new_item(lua, state, "bridge.broadcast", DECISION_BROADCAST));
    return return_item(lua, state);
}

static int make_reply(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct decision_item *item = new_item(lua, state, "bridge.reply", DECISION_REPLY);
    if (lua_isnoneornil(lua, 1))
        return luaL_error(lua, "bridge.reply: expected a payload, got nil");
    item->payload = json_value_encode(lua, state, 1, JSON_WANT_ANY, "bridge.reply");
    return return_item(lua, state);
}

static int make_drop(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct decision_item *item = new_item(lua, state, "bridge.drop", DECISION_DROP);
    if (lua_type(lua, 1) != LUA_TSTRING)
        return luaL_error(lua, "bridge.drop: expected a reason (string), got %s", state_value_name(lua, 1));
    if (lua_objlen(lua, 1) == 0 || lua_objlen(lua, 1) > REASON_BYTES_MAXIMUM)
        return luaL_error(lua, "bridge.drop: expected a reason of 1 to %d bytes, got %d", REASON_BYTES_MAXIMUM,
                          (int)lua_objlen(lua, 1));
    item->reason = arena_copy_string(lua, state, 1);
    item->tell = false;
    if (!lua_isnoneornil(lua, 2)) {
        if (!lua_istable(lua, 2))
            return luaL_error(lua, "bridge.drop: expected {tell = true} as second argument, got %s",
                              state_value_name(lua, 2));
        lua_pushnil(lua);
        while (lua_next(lua, 2)) {
            if (lua_type(lua, -2) != LUA_TSTRING || strcmp(lua_tostring(lua, -2), "tell") != 0)
                return luaL_error(lua, "bridge.drop: expected {tell = true} as second argument, got another key");
            if (!lua_isboolean(lua, -1))
                return luaL_error(lua, "bridge.drop: expected true or false for tell, got %s",
                                  state_value_name(lua, -1));
            item->tell = lua_toboolean(lua, -1);
            lua_pop(lua, 1);
        }
    }
    return return_item(lua, state);
}

/* --- Who is there ----------------------------------------------------------------------------------------------- */

void bridge_push_agent(lua_State *lua, struct script_state *state, const struct agent_view *view)
{
    const struct profile *profile = view->profile;
    luaL_checkstack(lua, 8, NULL);
    lua_createtable(lua, 0, 11);
    const struct {
        const char *name;
        struct slice text;
    } texts[] = {{"id", profile->id}, {"role", profile->role}},
      lists[] = {{"labels", profile->labels}, {"tools", profile->tools}, {"intents", profile->intents}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        lua_pushlstring(lua, texts[i].text.data, texts[i].text.length);
        lua_setfield(lua, -2, texts[i].name);
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        json_value_push(lua, state, lists[i].text.length ? lists[i].text : SLICE("[]"));
        lua_setfield(lua, -2, lists[i].name);
    }
    const struct {
        const char *name;
        double number;
    } numbers[] = {{"maxConcurrentTasks", profile->max_concurrent_tasks},
                   {"openTasks", view->open_tasks},
                   {"messageCount", (double)view->message_count},
                   {"errorCount", (double)view->error_count}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        lua_pushnumber(lua, numbers[i].number);
        lua_setfield(lua, -2, numbers[i].name);
    }
    char iso[CLOCK_ISO_LENGTH];
    clock_format_iso(view->connected_at_ms, iso);
    lua_pushlstring(lua, iso, sizeof iso);
    lua_setfield(lua, -2, "connectedAt");
    clock_format_iso(view->last_seen_ms, iso);
    lua_pushlstring(lua, iso, sizeof iso);
    lua_setfield(lua, -2, "lastSeen");
    if (__builtin_expect(state->pure != NULL, 0))
        declaration_hide_counts(lua);
}

void bridge_release_views(struct script_state *state)
{
    for (; state->view_count > 0; state->view_count--)
        agent_view_release(&state->views[state->view_first++]);
    state->view_first = 0;
}

/* bridge.agent(id): the agent, or nil when none of that id is connected */
static int find_agent(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if (lua_type(lua, 1) != LUA_TSTRING)
        return luaL_error(lua, "bridge.agent: expected an agent id (string), got %s", state_value_name(lua, 1));
    struct slice id;
    id.data = lua_tolstring(lua, 1, &id.length);
    state->asked_agents = true;
    bridge_release_views(state);
    if (!registry_find(id, &state->views[0])) {
        lua_pushnil(lua);
        return 1;
    }
    state->view_count = 1;
    bridge_push_agent(lua, state, &state->views[0]);
    bridge_release_views(state);
    return 1;
}

/* bridge.agents(): all that are connected. bridge.agents{role = …}: those that match. In no order. */
static int list_agents(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    struct selector selector;
    bool selects = !lua_isnoneornil(lua, 1);
    if (selects)
        read_selector(lua, state, "bridge.agents", &selector, NULL);
    lua_settop(lua, 1);
    lua_newtable(lua);
    state->asked_agents = true;
    bridge_release_views(state);
    uint64_t cursor = 0;
    int count = 0;
    while ((state->view_count = registry_list(&cursor, state->views, AGENT_BATCH)) > 0) {
        for (; state->view_count > 0; state->view_count--) {
            struct agent_view *view = &state->views[state->view_first];
            state_check_stop(lua, state);
            if (!selects || profile_matches(view->profile, &selector)) {
                bridge_push_agent(lua, state, view);
                lua_rawseti(lua, 2, ++count);
            }
            agent_view_release(view);
            state->view_first++;
        }
        state->view_first = 0;
    }
    return 1;
}

void bridge_binding_push(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"to", make_to},        {"role", make_role},           {"label", make_label},   {"all", make_all},
        {"any", make_any},      {"broadcast", make_broadcast}, {"reply", make_reply},   {"drop", make_drop},
        {"agent", find_agent},  {"agents", list_agents},       {"send", send_envelope}, {"request", ask_request},
        {"gather", ask_gather},
    };
    lua_createtable(lua, 0, sizeof functions / sizeof *functions);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        lua_pushcfunction(lua, functions[i].func);
        lua_setfield(lua, -2, functions[i].name);
    }
}

/* --- What a hook returned --------------------------------------------------------------------------------------- */

/* The number of the decision that the value names; -1 and *mistake when it names none of this call. */
static int read_handle(lua_State *lua, const struct script_state *state, int index, char *mistake, size_t mistake_size)
{
    if (lua_type(lua, index) != LUA_TLIGHTUSERDATA || lua_touserdata(lua, index) == NULL) {
        snprintf(mistake, mistake_size, "got %s", state_value_name(lua, index));
        return -1;
    }
    uintptr_t handle = (uintptr_t)lua_touserdata(lua, index);
    unsigned tag = handle & ((1u << HANDLE_TAG_BITS) - 1);
    if (tag == HANDLE_TAG_ENVELOPE) {
        snprintf(mistake, mistake_size, "got an envelope");
        return -1;
    }
    if (handle >> HANDLE_TAG_BITS != state->generation || tag >= state->item_count) {
        snprintf(mistake, mistake_size, "got a decision of an earlier call: make a new one in each call");
        return -1;
    }
    return (int)tag;
}

struct decision *bridge_read_decision(lua_State *lua, struct script_state *state, int index, char *mistake,
                                      size_t mistake_size)
{
    mistake[0] = '\0';
    int type = lua_type(lua, index);
    if (type == LUA_TNIL || type == LUA_TNONE)
        return NULL;
    if (type != LUA_TTABLE) {
        int number = read_handle(lua, state, index, mistake, mistake_size);
        if (number < 0)
            return NULL;
        struct decision *decision = number == 0 ? &state->made : &state->listed;
        decision->count = 1;
        if (number > 0)
            decision->items[0] = state->made.items[number];
        return decision;
    }
    size_t count = lua_objlen(lua, index);
    if (count == 0 || count > DECISION_ITEMS_MAXIMUM) {
        if (count == 0)
            snprintf(mistake, mistake_size, "got a table without decisions");
        else
            snprintf(mistake, mistake_size, "got %zu of them, the most is %d", count, DECISION_ITEMS_MAXIMUM);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(lua, index, (int)i + 1);
        char reason[128];
        int number = read_handle(lua, state, lua_gettop(lua), reason, sizeof reason);
        lua_pop(lua, 1);
        if (number >= 0 && state->made.items[number].kind == DECISION_DROP) {
            snprintf(reason, sizeof reason, "got bridge.drop, which stands alone");
            number = -1;
        }
        if (number < 0) {
            snprintf(mistake, mistake_size, "as element %zu of the list it %s", i + 1, reason);
            return NULL;
        }
        state->listed.items[i] = state->made.items[number];
    }
    state->listed.count = (unsigned)count;
    return &state->listed;
}
