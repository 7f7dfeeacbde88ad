/* Envelopes that a script makes itself: bridge.send, and what a question (wait/ask.h) is made of. */
#ifndef LUADUCT_SCRIPT_BINDING_SEND_H
#define LUADUCT_SCRIPT_BINDING_SEND_H

#include <stdbool.h>

#include <lua.h>

#include "protocol/envelope.h"
#include "protocol/traceparent.h"

struct script_state;

/* What bridge.send asked for. The runtime carries it out once the hook has given way, so that nothing is delivered in
 * the middle of something else. */
struct script_send {
    struct script_send *next;
    struct frame *frame; /* a reference */
    size_t size;         /* of the block */
    bool caused;         /* by the span `cause` */
    struct trace_context cause;
    unsigned agent_count;
    struct slice agents[]; /* their texts behind */
};

/* One call may send this many. */
#define SENDS_MAXIMUM 64
/* Agents that one envelope goes to. */
#define SEND_AGENTS_MAXIMUM 1024

/* The oldest, the caller's, NULL when there is none; on the state's thread, outside of hooks. */
struct script_send *script_take_send(struct script_state *state);
void script_send_free(struct script_send *send);

/* What hooks send from now on belongs to that span, which has to stay until the next call; NULL: to none, as at first.
 * As above. */
void script_set_cause(struct script_state *state, const struct trace_context *cause);
bool script_has_sends(const struct script_state *state);

/* --- Inside of the script room --- */

/* An envelope under construction: kept in the state, so that an error leaves nothing behind. */
struct composition {
    struct envelope envelope;
    struct text_store store;
    struct envelope_defaults defaults;
    char timestamp[CLOCK_ISO_LENGTH];
};

/* Fills it from the table at `index`, but for `to`; keys that `also` lists (NULL at the end) are passed over. from and
 * role are "bridge" when the table names none. Raises, beginning with `what` ("bridge.send"). */
struct composition *send_compose(lua_State *lua, struct script_state *state, int index, const char *what,
                                 const char *const *also);

/* The ids in the field `to` of the table at `index`: one, or a list of up to `most`; in the arena. Raises. */
const struct slice *send_read_agents(lua_State *lua, struct script_state *state, int index, const char *what,
                                     unsigned most, unsigned *count);

/* Sets `to` to the id (data NULL: to nil). Raises. */
void send_set_to(lua_State *lua, struct composition *composition, struct slice id);

/* bridge.send{to =, …}: the envelope's id */
int send_envelope(lua_State *lua);

/* When the state is closed. */
void send_close(struct script_state *state);

#endif
