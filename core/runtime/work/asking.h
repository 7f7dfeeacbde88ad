/* Questions that hooks put to agents (bridge.request, bridge.gather): sent, tried again, and answered by an envelope
 * that may come in on any reactor. A reply comes back the way that finished work does. */
#ifndef LUADUCT_RUNTIME_ASKING_H
#define LUADUCT_RUNTIME_ASKING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "script/hook.h"
#include "script/wait/ask.h"

struct asking;
struct dispatch;
struct dispatch_result;
struct reactor;
struct trace_context;

/* Puts the request's questions, and takes them out of it. `over` is called when the last reply that it needs has come,
 * on the reactor's thread, inside a pass, never from in here. Each question is a span below `trace` (NULL: none). NULL:
 * no memory. The reactor's thread, as all but the last function. */
struct asking *asking_start(struct reactor *reactor, struct script_request *request, const struct trace_context *trace,
                            void (*over)(void *owner), void *owner);

/* When to call asking_tick: milliseconds of the steady clock; 0: it is over already. */
uint64_t asking_due(const struct asking *asking);

/* Gives up and tries again what is due. */
void asking_tick(struct asking *asking, uint64_t now_ms);

/* What came of it; valid until the asking ends. */
void asking_answer(struct asking *asking, struct script_answer *out);

/* Nothing more is waited for. NULL is fine. */
void asking_end(struct asking *asking);

/* How many questions of the process are out: while it is 0, no envelope needs a look. */
extern atomic_uint asking_out;

/* Whether the envelope answers a question: then it is consumed, and *result says how. Any reactor. */
bool asking_take_reply(struct reactor *reactor, const struct dispatch *dispatch, struct dispatch_result *result);

#endif
