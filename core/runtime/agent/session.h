/* What the files of an agent's conversation share; others use agent_session.h. The reactor's thread only. */
#ifndef LUADUCT_RUNTIME_SESSION_H
#define LUADUCT_RUNTIME_SESSION_H

#include "protocol/envelope.h"
#include "runtime/connection/connection.h"

/* Says no and leaves the connection open. `id`: of the envelope; length 0: none. */
void session_object(struct connection *connection, enum code code, struct slice text, struct slice id);

/* Says no, and closes where the code says so. */
void session_refuse(struct connection *connection, enum code code, struct slice text, struct slice id);

/* A message made a hook overrun: what its sender sends next waits for a while, as behind a hook that waits. `sender`:
 * the agent's id; data NULL: it had none (see slowdown_key). */
void session_slow_down(struct connection *connection, struct slice sender);

/* As much of that as is left when it registers anew. */
void session_still_slow(struct connection *connection);

/* Whose limits.scriptMsPerSecond the hooks about the connection itself take: its identity's or agent's, else its
 * address's, for nobody else is known before it registers. Borrowed; NULL: nobody's time is counted. */
struct party *session_payer(const struct connection *connection);
/* It is slowed for so long, or for how much longer it is; 0: it is not. */
void session_pause(struct connection *connection, uint32_t ms);
uint32_t session_pause_left(const struct connection *connection);

/* The connection ends: no pause is waited for. */
void session_forget_pause(struct connection *connection);

/* The message in hand cannot be judged yet: it and what follows wait for session_hook_ended. */
void session_hold_message(struct connection *connection, struct slice text);

/* The hook that this connection's messages waited for is over: they are handled, until one's hook waits again. */
void session_hook_ended(struct connection *connection);

/* Its identity or the access policy may be another now: what it may send is resolved anew, and it is closed where the
 * identity does not allow its agent any more. */
void session_review(struct connection *connection);

/* A whole message, from the socket or the backlog: it is scanned, counted, and handled by its type, an envelope by
 * dispatching it. Its hook may wait: then connection->hook_waits is set. */
void session_message(struct connection *connection, const struct websocket_message *received);

/* A `register` message. Its on_register may wait: then connection->hook_waits is set. */
void session_register(struct connection *connection, struct slice text, const struct message_rules *rules);

/* An envelope with the intent bridge.execute: the bridge's to answer, no script sees it. */
void session_execute(struct connection *connection, struct envelope *envelope,
                     const struct envelope_defaults *defaults);

/* What this reactor's agents asked for and workers have not done, for another process: runtime/handover/late.h. */
struct frame_writer;
void session_put_executing(struct reactor *reactor, struct frame_writer *writer);

/* What a task came to that another process had done for an agent of this one. */
struct late_answer {
    struct slice id; /* the agent's, and who holds it: agent.owner */
    uint64_t owner;
    struct frame *asked; /* the envelope that asked for it */
    enum code code;
    struct slice text; /* CODE_OK: the result as JSON; else what is wrong */
};

/* False: it is no good news, and its agent is on no connection of this reactor. In a pass. */
bool session_answer_late(struct reactor *reactor, const struct late_answer *late);

/* Tasks of this reactor's agents are not waited for any more: soon they are answered `overloaded`. */
void session_cancel_executing(struct reactor *reactor);

#endif
