/* What becomes of each envelope, told to whoever traces (events.h, the kind trace): by which version of the scripts it
 * was routed, what that decided, how long it took, and who took it. Nothing is done while nobody traces. */
#ifndef LUADUCT_RUNTIME_TRACE_H
#define LUADUCT_RUNTIME_TRACE_H

#include "runtime/dispatch/dispatch.h"
#include "runtime/events/events.h"
#include "runtime/reactor.h"
#include "script/hook.h"

/* Envelopes that take more are left out of the trace, which then has null in their place. */
#define TRACE_ENVELOPE_BYTES (16u << 10)

/* What is known before anything is delivered, because delivering takes the decision's texts away. */
struct trace_record {
    const struct dispatch *dispatch;
    const struct script_sender *sender; /* NULL: over HTTP without an identity */
    unsigned version;
    const char *hook;
    const struct decision *decision; /* NULL: the script failed, and onError says to drop */
    bool failed, waited, cached;
    uint64_t took_ns; /* waiting included */
};

/* Whether this envelope is one to trace. */
static inline bool trace_wanted(struct reactor *reactor)
{
    if (!events_wanted(EVENT_TRACE))
        return false;
    unsigned pace = atomic_load_explicit(&events_trace_pace, memory_order_relaxed);
    return pace == 0 || pace_take(&reactor->trace_pace, pace, reactor->now_ms);
}

/* Begun when trace_wanted, and then ended once, on the reactor's thread. All zero: nobody traces, and
 * the end does nothing. */
struct trace {
    struct buffer head, tail; /* around how it came out */
    struct buffer texts;      /* of what filters look at */
    size_t lengths[4];
};
void trace_begin(struct trace *trace, struct reactor *reactor, const struct trace_record *record);
void trace_end(struct trace *trace, const struct dispatch_result *result);

/* What a listener wants to see, an empty text: anything. `agent` is who sends or who is named in `to`. For a
 * subscription: a filter to free with trace_filter_free; NULL: no memory. */
void *trace_filter_new(struct slice agent, struct slice intent, struct slice id);
void trace_filter_free(void *filter);
bool trace_filter_passes(const void *filter, enum event_kind kind, const void *subject);

#endif
