/* Spans: what happened to one envelope at one hop, from when to when. They wait in a bounded queue until the thread of
 * export.h has them; with a full queue they are dropped and counted. Nothing here waits for anybody but a short lock.
 */
#ifndef LUADUCT_RUNTIME_SPAN_H
#define LUADUCT_RUNTIME_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/traceparent.h"

enum span_kind {
    SPAN_RECEIVE,  /* from the bytes to the end of the dispatch */
    SPAN_ROUTE,    /* the script's hook, waiting included */
    SPAN_DELIVER,  /* to one agent: from the decision to its bytes in the kernel */
    SPAN_MAILBOX,  /* of that, how long it lay in a mailbox */
    SPAN_WORK,     /* what the workers had to do, from handing it over to its result */
    SPAN_REGISTER, /* an agent's, from its message to the answer */
    SPAN_REQUEST,  /* a question of a hook to an agent (bridge.request, bridge.gather), tries and pauses included */
    SPAN_SEND,     /* an envelope of a script's own (bridge.send): its way to whom it goes */
    SPAN_KINDS,
};

/* Names as they are exported: docs/operations.md. */
#define SPAN_ATTRIBUTES(X)                                                                                             \
    X(MESSAGE_ID, "messaging.message.id")                                                                              \
    X(FROM, "luaduct.from")                                                                                            \
    X(TO, "luaduct.to")                                                                                                \
    X(INTENT, "luaduct.intent")                                                                                        \
    X(TRANSPORT, "luaduct.transport")                                                                                  \
    X(OUTCOME, "luaduct.outcome")                                                                                      \
    X(CODE, "luaduct.code")                                                                                            \
    X(RECIPIENTS, "luaduct.recipients")                                                                                \
    X(REACTOR, "luaduct.reactor")                                                                                      \
    X(VERSION, "luaduct.script.version")                                                                               \
    X(WAITED, "luaduct.script.waited")                                                                                 \
    X(CACHED, "luaduct.script.cached")                                                                                 \
    X(DECISION, "luaduct.decision")                                                                                    \
    X(AGENT, "luaduct.agent")                                                                                          \
    X(OPERATION, "luaduct.operation")
enum span_attribute {
#define X(name, text) SPAN_##name,
    SPAN_ATTRIBUTES(X)
#undef X
        SPAN_ATTRIBUTE_COUNT
};

/* Room for the attributes of one span; a text is cut to SPAN_TEXT_BYTES, and what finds no room is left out. */
#define SPAN_ROOM 448
#define SPAN_TEXT_BYTES 96

struct span {
    struct trace_context context;        /* its own */
    unsigned char parent[SPAN_ID_BYTES]; /* all zero: none */
    uint64_t began_ns, ended_ns;         /* steady clock */
    uint8_t kind;                        /* enum span_kind */
    bool failed;
    uint16_t length; /* of `attributes` */
    char attributes[SPAN_ROOM];
};

/* The first of a trace, when it is to be one: a new trace id. */
void span_begin_trace(struct trace_context *out);

/* A span of that kind below another one, with an id of its own, and no attributes. */
void span_begin(struct span *span, enum span_kind kind, const struct trace_context *parent);

void span_add_text(struct span *span, enum span_attribute attribute, struct slice text); /* empty: left out */
void span_add_number(struct span *span, enum span_attribute attribute, int64_t number);
void span_add_flag(struct span *span, enum span_attribute attribute, bool flag);

/* Walks the attributes: `at` begins as 0. False: there are no more. */
struct span_value {
    enum span_attribute attribute;
    enum { SPAN_TEXT, SPAN_NUMBER, SPAN_FLAG } type;
    struct slice text;
    int64_t number;
};
bool span_next_attribute(const struct span *span, uint16_t *at, struct span_value *out);

const char *span_attribute_name(enum span_attribute attribute);

/* --- The queue --- */

/* Main thread. False: no memory. */
bool spans_start(uint32_t places);
void spans_stop(void);

/* Any thread: a copy is queued, or dropped. */
void span_record(const struct span *span);

/* The exporter: waits until `batch` spans are there, or since the first of them `interval_ms` have passed, or the queue
 * is closed. Gives how many may be read, at most `batch`; 0: it is closed and empty. They stay until spans_take. */
uint32_t spans_wait(uint32_t batch, uint32_t interval_ms);
const struct span *spans_at(uint32_t index);
void spans_take(uint32_t count);

/* Any thread: nobody records any more; spans_wait waits no more. */
void spans_close(void);

/* Since the start. */
struct span_figures {
    unsigned long long recorded, dropped; /* dropped: the queue was full */
};
void spans_read_figures(struct span_figures *out);

#endif
