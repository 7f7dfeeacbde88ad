/* The spans of an envelope on its way through the bridge: a `receive` below what its sender (or the request that it
 * came by) said, and below that a `route`, and a `deliver` for each agent that got it, with a `mailbox` inside when it
 * lay there. What it had workers do is a `work`. A `register` is below what the request said that opened its
 * connection, which says nothing of the envelopes that come later; a `send` is of an envelope that a script has made.
 *
 * Who is sampled is decided as by a parent-based sampler over a ratio (OpenTelemetry SDK, "ParentBased"), with a bound
 * on how much of it one sender may ask for (W3C Trace Context, "Security Considerations").
 *
 * While tracing is off nothing of this is called: callers look at `tracing_on` or at a pointer that is NULL then. All
 * on the reactor's thread, but where said otherwise. */
#ifndef LUADUCT_RUNTIME_HOP_H
#define LUADUCT_RUNTIME_HOP_H

#include "runtime/dispatch/dispatch.h"
#include "runtime/tracing/span.h"

struct http_request;

/* Set by tracing_start, before the reactors run. */
extern bool tracing_on;

/* Main thread, before and after the reactors. False: `error` says why. */
bool tracing_start(const struct config *config, char *error, size_t size);
void tracing_stop(void);

/* What a request's header says, kept for the envelopes that come by it or by the connection that it opens; NULL: it
 * says nothing that can be read, or no memory. */
struct trace_context *tracing_keep_header(const struct http_request *request);
void tracing_forget_header(struct trace_context *context); /* NULL is fine */

/* The first span of something, and what its others hang on. */
struct hop {
    struct trace_context context;
    unsigned char parent[SPAN_ID_BYTES]; /* all zero: none */
    uint64_t began_ns;                   /* steady clock */
};

/* What an envelope goes by: the parent that it names; without one `inherited`; without that either
 * tracing.sampleRatio. `share` is who pays for what a parent asks for (bridge/queue/mailbox.h); 0: nobody. */
struct hop_origin {
    const struct envelope *envelope;
    const struct trace_context *inherited; /* NULL: nothing */
    uint16_t share;
};

/* From the beginning of the pass on. False: it is not traced. */
bool hop_begin(struct hop *hop, struct reactor *reactor, const struct hop_origin *origin);

/* The same of an envelope that a script has made, in a hook that belongs to that span (NULL: to none). */
bool hop_begin_send(struct hop *hop, const struct envelope *envelope, const struct trace_context *cause);
void hop_sent(const struct hop *hop, struct reactor *reactor, struct envelope *envelope,
              const struct envelope_defaults *defaults, uint32_t taken);

/* A question of a hook that belongs to that span, to that agent in the end. */
void hop_begin_below(struct hop *hop, const struct trace_context *parent);
void hop_asked(const struct hop *hop, struct slice agent, enum code code);

/* The same of a connection's registration; `said`: by the request that opened it. */
bool hop_begin_register(struct hop *hop, struct reactor *reactor, const struct trace_context *said, uint16_t share);
void hop_registered(const struct hop *hop, struct reactor *reactor, struct slice agent, bool accepted);

/* Whether work that a request asks for is traced below what it says (NULL: nothing). */
bool hop_samples(const struct trace_context *said, uint16_t share);

/* After the route. `decision` NULL: it failed, and the envelope is dropped. */
struct trace_record;
void hop_routed(const struct hop *hop, const struct trace_record *record);

/* A hook's work has come back, with that code. */
struct work;
void hop_worked(const struct trace_context *parent, const struct work *work, enum code code);

/* For the frame that goes out; NULL: no memory, and it is delivered untraced. delivery_carry_out takes it over. Of one
 * that nobody has sent (`is_own`) the time is none that exemplars are for. */
struct frame_trace *hop_frame_trace(const struct hop *hop, bool is_own);

/* An envelope that says nothing of a trace says whose it is from here on. `text` has to stay until its frame is built.
 */
#define TRACE_MEMBER_BYTES (sizeof "{\"traceparent\":\"\"}" + TRACEPARENT_LENGTH)
void hop_tell_recipients(const struct hop *hop, struct envelope *envelope, char text[TRACE_MEMBER_BYTES]);

/* Before: an envelope that was read from a frame of the bridge's own has all fields, and an empty `trace` says nothing.
 */
void hop_drop_empty(struct envelope *envelope);

void hop_take_back(struct envelope *envelope, const char text[TRACE_MEMBER_BYTES]); /* when the frame is built */

/* The dispatch is over. */
void hop_end(const struct hop *hop, struct reactor *reactor, const struct dispatch *dispatch,
             const struct dispatch_result *result);

/* Sampled flags that were not followed because their sender had shown too many. Any thread. */
unsigned long long tracing_unforced(void);

/* The last sampled envelope that was written to an agent and had not waited in a mailbox, for exemplars. False: there
 * was none. Any thread. */
struct exemplar {
    char trace_id[2 * TRACE_ID_BYTES + 1];
    double seconds; /* from the bytes that came to the bytes that went */
    int64_t wall_ms;
};
bool tracing_read_exemplar(struct exemplar *out);

#endif
