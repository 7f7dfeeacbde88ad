/* What happens in the bridge, told to whoever listens: events of a few kinds, each one line of JSON, published by any
 * thread and written as server-sent events to HTTP connections of any reactor.
 *
 * A publisher never waits for a listener: each one has a queue of bounded bytes, what finds no room there is counted,
 * and the listener is told how many events it lost. While nobody listens to a kind, events_wanted is all that it costs.
 */
#ifndef LUADUCT_RUNTIME_EVENTS_H
#define LUADUCT_RUNTIME_EVENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "memory/buffer.h"

struct reactor;
struct connection;
struct subscriber;

enum event_kind { EVENT_ALERT, EVENT_AGENT, EVENT_ENGINE, EVENT_MEMORY, EVENT_FIGURES, EVENT_TRACE, EVENT_KINDS };

/* Kinds for administrators only, a bit each: they show what is in messages. */
#define EVENT_ADMIN_KINDS (1u << EVENT_TRACE)

/* Kinds that come to those only who name them: they come all the time. */
#define EVENT_NAMED_KINDS (1u << EVENT_FIGURES)

const char *event_kind_name(enum event_kind kind);  /* "alert" … */
enum event_kind event_kind_find(struct slice name); /* EVENT_KINDS: there is none */

extern atomic_uint events_kinds_wanted; /* a bit for each kind that somebody listens to */

/* Whether it is worth while to make an event of this kind. Any thread. */
static inline bool events_wanted(enum event_kind kind)
{
    return atomic_load_explicit(&events_kinds_wanted, memory_order_relaxed) & (1u << kind);
}

/* When all who listen to traces want but so many a second, and without a filter: the largest number of them. 0: each
 * one is wanted by somebody. */
extern atomic_uint events_trace_pace;

/* --- Publishing: any thread --- */

/* `json`: one line. `subject` is what subscribers' filters look at, of a type that belongs to the kind; NULL: the kind
 * has none. Does nothing while nobody listens. */
void events_publish(enum event_kind kind, struct slice json, const void *subject);

/* For events of a few plain values: {"time":…,name:value…}, ended by a field without a name. */
struct event_field {
    const char *name;
    struct slice text; /* data NULL: the number */
    double number;
};
#define EVENT_TEXT(field, value)                                                                                       \
    {                                                                                                                  \
        .name = (field), .text = (value)                                                                               \
    }
#define EVENT_NUMBER(field, value)                                                                                     \
    {                                                                                                                  \
        .name = (field), .number = (value)                                                                             \
    }
void events_tell(enum event_kind kind, const struct event_field *fields);

/* Appends what events_tell publishes. */
void events_append_fields(struct buffer *out, const struct event_field *fields);

/* --- A pace --- */

/* Lets so many a second through, spread over its tenths. All zero: nothing has come yet. */
struct pace {
    uint64_t tenth;
    unsigned taken;
};
static inline bool pace_take(struct pace *pace, unsigned per_second, uint64_t now_ms)
{
    if (pace->tenth != now_ms / 100)
        *pace = (struct pace){.tenth = now_ms / 100};
    return pace->taken++ < (per_second + 9) / 10;
}

/* --- Listening: on the connection's reactor --- */

/* At most so many at a time, and so much waits for each. */
#define SUBSCRIBERS_MAXIMUM 64
#define SUBSCRIBER_BYTES (256u << 10)

struct subscription {
    unsigned kinds; /* a bit each */
    /* Called on the publisher's thread, with a lock held: looks, and no more. NULL: everything passes. */
    bool (*passes)(const void *filter, enum event_kind kind, const void *subject);
    void *filter;
    void (*drop)(void *filter); /* called when the subscriber leaves; NULL: nothing to free */
    unsigned pace;              /* so many a second at most, spread over it; the rest passes by. 0: all */
};

/* NULL: there are SUBSCRIBERS_MAXIMUM (the filter stays the caller's). Its connection is marked dirty in a pass of its
 * reactor when there is something to take. */
struct subscriber *events_join(struct connection *connection, const struct subscription *subscription);
void events_leave(struct subscriber *subscriber);           /* NULL is fine */
unsigned events_kinds(const struct subscriber *subscriber); /* of its subscription */

/* Appends all that waits, as text/event-stream. False: there was nothing. */
bool events_take(struct subscriber *subscriber, struct buffer *out);

/* The reactor was woken: marks the connections for which events came. */
void events_serve(struct reactor *reactor);

/* --- Figures: any thread --- */

struct events_figures {
    unsigned subscribers;
    unsigned long long published, lost; /* an event counts for each subscriber that lost it */
};
void events_read_figures(struct events_figures *out);

#endif
