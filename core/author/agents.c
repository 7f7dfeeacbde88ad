/* Agents of a spec: real entries of the registry whose connection is an endpoint that nobody writes out. So role,
 * label, load and mailboxes are looked up by the code that the bridge itself runs. */
#include "author/room.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "author/plain.h"
#include "bridge/queue/mailbox.h"
#include "bridge/queue/pending.h"
#include "bridge/registry/attachment.h"
#include "bridge/registry/registry.h"
#include "bridge/state/history.h"

struct fake {
    struct fake *next;
    struct endpoint endpoint;
};

static struct fake *fakes; /* in the order of joining */
static bool started;

static void wake_nobody(struct lane *lane)
{
    (void)lane; /* there is one lane, and it is drained by hand */
}

static void drain(void)
{
    while (lane_drain(lanes_get(0)))
        continue;
}

static void set_time(void)
{
    struct lane *lane = lanes_get(0);
    lane->wall_ms = clock_wall_ms();
    clock_format_iso(lane->wall_ms, lane->timestamp);
}

static void start(lua_State *lua)
{
    if (started)
        return;
    static const struct mailbox_limits wide = {.envelopes = 1000000,
                                               .mailboxes = 1000000,
                                               .bytes = UINT64_C(1) << 30,
                                               .total_bytes = UINT64_C(1) << 30,
                                               .ttl_ms = INT32_MAX};
    mailbox_start(&wide);
    pending_start(&(struct pending_limits){.envelopes = 1000000, .ttl_ms = INT32_MAX});
    started =
        history_start(0, 0) &&
        lanes_start(&(struct lane_options){
            .count = 1, .send_queue_bytes = UINT64_C(1) << 30, .slow_agent = SLOW_AGENT_QUEUE, .wake = wake_nobody});
    if (!started)
        luaL_error(lua, "not enough memory");
    lanes_get(0)->report_undeliverable = true;
    set_time();
}

/* What has arrived there, the oldest first; NULL at the end. */
static struct frame *take_frame(struct fake *fake)
{
    return frame_queue_pop_front(&fake->endpoint.outbox.queue);
}

static void empty(struct fake *fake)
{
    struct frame *frame;
    while ((frame = take_frame(fake)))
        frame_release(frame);
}

/* Nobody flushes, so nobody takes endpoints off the lane's list of those that have something to write. */
static void forget_dirty(void)
{
    lanes_get(0)->dirty = NULL;
    for (struct fake *fake = fakes; fake; fake = fake->next)
        fake->endpoint.dirty = false;
}

static void part_with(struct fake *fake)
{
    struct fake **at = &fakes;
    while (*at != fake)
        at = &(*at)->next;
    *at = fake->next;
    empty(fake);
    attachment_detach(&fake->endpoint);
    drain();
    forget_dirty();
    free(fake);
}

void agents_stop(void)
{
    if (!started)
        return;
    while (fakes)
        part_with(fakes);
    struct undeliverable *failure;
    while ((failure = lane_take_undeliverable(lanes_get(0))))
        undeliverable_free(failure);
    pending_stop();
    registry_stop();
    history_stop();
    lanes_stop();
    started = false;
}

static struct fake *find(struct slice id)
{
    struct fake *fake = fakes;
    while (fake && !slice_equal(fake->endpoint.profile->id, id))
        fake = fake->next;
    return fake;
}

bool agents_take(struct slice id, struct agent_view *view)
{
    struct fake *fake = find(id);
    if (!fake)
        return false;
    attachment_view(&fake->endpoint, view);
    part_with(fake);
    return true;
}

static int reset(lua_State *lua)
{
    agents_stop();
    start(lua);
    return 0;
}

/* Tasks that the agent has already: as many envelopes that assign it one, which it never sees. */
static void open_tasks(struct fake *fake, int count)
{
    struct slice id = fake->endpoint.profile->id;
    const struct decision_item item = {.kind = DECISION_TO, .ids = &id, .id_count = 1};
    struct decision decision = {.count = 1, .items = {item}};
    for (int i = 0; i < count; i++) {
        struct envelope envelope;
        struct text_store store = {0};
        char error[ERROR_TEXT_BYTES], task[32];
        int length = snprintf(task, sizeof task, "earlier task %d", i + 1);
        struct envelope_defaults defaults = {.timestamp = lanes_get(0)->timestamp};
        envelope_clear(&envelope, &store);
        if (envelope_set_text(&envelope, FIELD_INTENT, SLICE("task.assign"), error) == CODE_OK &&
            envelope_set_text(&envelope, FIELD_TASK_ID, slice_from(task, (size_t)length), error) == CODE_OK) {
            struct delivery delivery = {.lane = lanes_get(0), .envelope = &envelope, .defaults = &defaults};
            struct delivery_result result;
            delivery_carry_out(&delivery, &decision, &result);
            frame_release(result.frame);
        }
        text_store_free(&store);
    }
    empty(fake);
}

static int join(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    start(lua);
    set_time();
    lua_getfield(lua, 1, "maxConcurrentTasks");
    lua_getfield(lua, 1, "openTasks");
    struct profile_source source = {.id = plain_text(lua, 1, "id"),
                                    .role = plain_text(lua, 1, "role"),
                                    .labels = plain_text(lua, 1, "labels"),
                                    .tools = plain_text(lua, 1, "tools"),
                                    .intents = plain_text(lua, 1, "intents"),
                                    .max_concurrent_tasks = (uint32_t)luaL_optinteger(lua, -2, 1)};
    struct fake *fake = find(source.id);
    if (fake)
        part_with(fake);
    fake = calloc(1, sizeof *fake);
    struct profile *profile = profile_new(&source);
    if (!fake || !profile) {
        free(fake);
        profile_release(profile);
        return luaL_error(lua, "not enough memory");
    }
    fake->endpoint.lane = lanes_get(0);
    fake->endpoint.grace_over = true;
    if (attachment_attach(&fake->endpoint, profile) != CODE_OK) {
        free(fake);
        profile_release(profile);
        return luaL_error(lua, "not enough memory");
    }
    struct fake **last = &fakes;
    while (*last)
        last = &(*last)->next;
    *last = fake;
    attachment_go_live(&fake->endpoint);
    open_tasks(fake, (int)luaL_optinteger(lua, -1, 0));
    return 0;
}

static int leave(lua_State *lua)
{
    struct slice id;
    id.data = luaL_checklstring(lua, 1, &id.length);
    struct fake *fake = find(id);
    if (fake)
        part_with(fake);
    return 0;
}

void agents_deliver(lua_State *lua, struct envelope *envelope, const struct envelope_defaults *defaults,
                    struct slice sender, const struct decision *decision)
{
    start(lua);
    set_time();
    struct fake *from = sender.data ? find(sender) : NULL;
    struct delivery delivery = {.lane = lanes_get(0),
                                .envelope = envelope,
                                .defaults = defaults,
                                .sender = from ? &from->endpoint : NULL,
                                .answer_to = sender};
    struct delivery_result result;
    delivery_carry_out(&delivery, decision, &result);
    frame_release(result.frame);
    drain();
    forget_dirty();

    lua_pushboolean(lua, result.accepted);
    lua_setfield(lua, -2, "accepted");
    if (!result.accepted && !result.dropped) {
        lua_pushstring(lua, code_name(result.refusal));
        lua_setfield(lua, -2, "refusal");
    }
    lua_newtable(lua);
    int count = 0;
    for (struct fake *fake = fakes; fake; fake = fake->next) {
        struct frame *frame;
        while ((frame = take_frame(fake))) {
            lua_createtable(lua, 0, 2);
            plain_push_text(lua, fake->endpoint.profile->id);
            lua_setfield(lua, -2, "id");
            plain_push_text(lua, frame_envelope(frame));
            lua_setfield(lua, -2, "envelope");
            lua_rawseti(lua, -2, ++count);
            frame_release(frame);
        }
    }
    lua_setfield(lua, -2, "recipients");
    lua_newtable(lua);
    struct undeliverable *failure;
    for (count = 0; (failure = lane_take_undeliverable(lanes_get(0)));) {
        lua_createtable(lua, 0, 2);
        lua_pushstring(lua, undeliverable_reason_name(failure->reason));
        lua_setfield(lua, -2, "reason");
        if (failure->recipient_length > 0) {
            lua_pushlstring(lua, failure->recipient, failure->recipient_length);
            lua_setfield(lua, -2, "recipient");
        }
        lua_rawseti(lua, -2, ++count);
        undeliverable_free(failure);
    }
    lua_setfield(lua, -2, "undeliverable");
}

void agents_add_functions(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"reset", reset}, {"join", join}, {"leave", leave}, {NULL, NULL}};
    luaL_register(lua, NULL, functions);
}
