/* What GET /events is given: listening to events. */
#include "runtime/dispatch/trace.h"
#include "runtime/events/events.h"
#include "runtime/http/api/api_native.h"
#include "runtime/reactor.h"

/* event_kinds(): a list of {name, admin, named (comes only when it is named)}. */
static int native_event_kinds(lua_State *L)
{
    lua_newtable(L);
    for (unsigned kind = 0; kind < EVENT_KINDS; kind++) {
        lua_newtable(L);
        set_text(L, "name", event_kind_name((enum event_kind)kind));
        set_boolean(L, "admin", (EVENT_ADMIN_KINDS >> kind) & 1);
        set_boolean(L, "named", (EVENT_NAMED_KINDS >> kind) & 1);
        lua_rawseti(L, -2, (int)kind + 1);
    }
    return 1;
}

/* One that listens is a connection of its identity, as an agent is. */
static enum code begin_listening(struct api_call *call, const struct subscription *subscription, struct slice *text)
{
    enum limit limit = connection_count_listening(call->connection, call->identity);
    if (limit != LIMIT_NONE) {
        *text = SLICE("too many connections of this identity: see Retry-After");
        return limit_code(limit);
    }
    call->subscriber = events_join(call->connection, subscription);
    if (call->subscriber)
        return CODE_OK;
    connection_end_listening(call->connection);
    *text = SLICE("as many listen to events as may: see Retry-After");
    return CODE_OVERLOADED;
}

/* Nothing, or the status of a refusal. */
static int join(lua_State *L, struct api *api, const struct subscription *subscription)
{
    enum code code = CODE_OK;
    struct slice text = {NULL, 0};
    if ((subscription->kinds & EVENT_ADMIN_KINDS) && !api->call->admin)
        code = CODE_FORBIDDEN;
    else if (api->reactor->draining)
        code = CODE_DRAINING;
    else if (!api->call->subscriber)
        code = begin_listening(api->call, subscription, &text);
    if (code == CODE_OK)
        return 0;
    if (subscription->drop)
        subscription->drop(subscription->filter);
    if (code == CODE_FORBIDDEN)
        access_refused(REFUSED_ADMIN, api->call->identity, SLICE("/events"));
    if (code == CODE_FORBIDDEN)
        text = SLICE("only an administrator may listen to this kind of events" API_ADMINISTRATORS);
    else if (code == CODE_DRAINING)
        text = SLICE("the bridge is going away");
    return api_push_status(L, code, text);
}

/* listen(kinds): when the endpoint has ended, its answer goes on with events of the kinds in this list of names, until
 * the peer leaves or the bridge stops. Nothing, or the status of a refusal. */
static int native_listen(lua_State *L)
{
    struct api *api = api_of(L);
    struct subscription subscription = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    for (int i = 1; i <= (int)lua_objlen(L, 1); i++) {
        lua_rawgeti(L, 1, i);
        enum event_kind kind = event_kind_find(check_slice(L, -1));
        luaL_argcheck(L, kind < EVENT_KINDS, 1, "no such kind");
        subscription.kinds |= 1u << kind;
        lua_pop(L, 1);
    }
    return join(L, api, &subscription);
}

static struct slice optional_slice(lua_State *L, int index)
{
    size_t length = 0;
    const char *data = luaL_optlstring(L, index, "", &length);
    return slice_from(data, length);
}

/* listen_trace(agent, intent, id, pace): the same for the trace of envelopes, each of those nil for any; at most `pace`
 * a second, 0 for all. */
static int native_listen_trace(lua_State *L)
{
    struct api *api = api_of(L);
    struct slice agent = optional_slice(L, 1), intent = optional_slice(L, 2), id = optional_slice(L, 3);
    bool any = agent.length + intent.length + id.length == 0;
    void *filter = any ? NULL : trace_filter_new(agent, intent, id);
    if (!any && !filter)
        return api_push_status(L, CODE_OVERLOADED, SLICE("out of memory"));
    return join(L, api,
                &(struct subscription){.kinds = 1u << EVENT_TRACE,
                                       .passes = any ? NULL : trace_filter_passes,
                                       .filter = filter,
                                       .drop = trace_filter_free,
                                       .pace = (unsigned)luaL_optinteger(L, 4, 0)});
}

/* event_figures(): {listeners, published, lost}. */
static int native_event_figures(lua_State *L)
{
    struct events_figures figures;
    events_read_figures(&figures);
    lua_newtable(L);
    set_number(L, "listeners", figures.subscribers);
    set_number(L, "published", (double)figures.published);
    set_number(L, "lost", (double)figures.lost);
    return 1;
}

const luaL_Reg api_events_functions[] = {
    {"event_figures", native_event_figures},
    {"event_kinds", native_event_kinds},
    {"listen", native_listen},
    {"listen_trace", native_listen_trace},
    {NULL, NULL},
};
