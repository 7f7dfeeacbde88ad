/* One mutex guards the subscribers and their queues; it is held while a few kilobytes are copied, never over reading,
 * writing or Lua. A publisher appends to the queues and wakes the reactors of those that had been emptied, once until
 * these have served. */
#include "runtime/events/events.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "bridge/delivery/answer.h"
#include "runtime/reactor.h"

struct subscriber {
    struct connection *connection; /* NULL: the place is free */
    struct subscription subscription;
    struct buffer waiting;
    unsigned long long lost; /* since the last take */
    struct pace pace;
};

atomic_uint events_kinds_wanted, events_trace_pace;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static struct subscriber subscribers[SUBSCRIBERS_MAXIMUM];
static struct events_figures figures;
static unsigned long long number; /* the last event's */

static const char *const kind_names[EVENT_KINDS] = {
    [EVENT_ALERT] = "alert",   [EVENT_AGENT] = "agent",     [EVENT_ENGINE] = "engine",
    [EVENT_MEMORY] = "memory", [EVENT_FIGURES] = "figures", [EVENT_TRACE] = "trace"};

const char *event_kind_name(enum event_kind kind)
{
    return kind_names[kind];
}

enum event_kind event_kind_find(struct slice name)
{
    unsigned kind = 0;
    while (kind < EVENT_KINDS && !slice_equal(name, slice_from_string(kind_names[kind])))
        kind++;
    return (enum event_kind)kind;
}

/* --- Publishing --- */

/* False: no room, or no memory. */
static bool append_event(struct buffer *out, enum event_kind kind, struct slice json)
{
    size_t before = out->length;
    if (out->length + json.length > SUBSCRIBER_BYTES)
        return false;
    buffer_append_format(out, "id: %llu\nevent: %s\ndata: ", number, kind_names[kind]);
    buffer_append_slice(out, json);
    buffer_append_slice(out, SLICE("\n\n"));
    if (!out->failed)
        return true;
    out->failed = false;
    out->length = before;
    return false;
}

static void wake(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    if (!atomic_exchange_explicit(&reactor->events_wait, true, memory_order_release))
        ev_async_send(reactor->loop, &reactor->wake_watcher);
}

void events_publish(enum event_kind kind, struct slice json, const void *subject)
{
    if (!events_wanted(kind))
        return;
    uint64_t now_ms = clock_coarse_ns() / 1000000;
    pthread_mutex_lock(&mutex);
    number++;
    figures.published++;
    for (unsigned i = 0; i < SUBSCRIBERS_MAXIMUM; i++) {
        struct subscriber *subscriber = &subscribers[i];
        const struct subscription *subscription = &subscriber->subscription;
        if (!subscriber->connection || !(subscription->kinds & (1u << kind)) ||
            (subscription->passes && !subscription->passes(subscription->filter, kind, subject)) ||
            (subscription->pace > 0 && !pace_take(&subscriber->pace, subscription->pace, now_ms)))
            continue;
        bool was_empty = subscriber->waiting.length == 0 && subscriber->lost == 0;
        if (!append_event(&subscriber->waiting, kind, json)) {
            subscriber->lost++;
            figures.lost++;
        }
        if (was_empty)
            wake(subscriber->connection);
    }
    pthread_mutex_unlock(&mutex);
}

void events_append_fields(struct buffer *out, const struct event_field *fields)
{
    char time[CLOCK_ISO_LENGTH];
    clock_format_iso(clock_wall_ms(), time);
    buffer_append_slice(out, SLICE("{\"time\":\""));
    buffer_append(out, time, sizeof time);
    buffer_append_slice(out, SLICE("\""));
    for (; fields->name; fields++) {
        buffer_append_format(out, ",\"%s\":", fields->name);
        if (fields->text.data)
            buffer_append_json_string(out, fields->text);
        else if (isfinite(fields->number))
            buffer_append_format(out, "%.14g", fields->number);
        else
            buffer_append_slice(out, SLICE("null"));
    }
    buffer_append_slice(out, SLICE("}"));
}

void events_tell(enum event_kind kind, const struct event_field *fields)
{
    struct buffer json = {0};
    if (!events_wanted(kind))
        return;
    events_append_fields(&json, fields);
    if (!json.failed)
        events_publish(kind, slice_from(json.data, json.length), NULL);
    buffer_free(&json);
}

/* --- Listening --- */

/* Under the mutex. */
static void count_wanted(void)
{
    unsigned kinds = 0, pace = 0;
    bool all = false;
    for (unsigned i = 0; i < SUBSCRIBERS_MAXIMUM; i++) {
        const struct subscription *subscription = &subscribers[i].subscription;
        if (!subscribers[i].connection)
            continue;
        kinds |= subscription->kinds;
        if (!(subscription->kinds & (1u << EVENT_TRACE)))
            continue;
        all = all || subscription->pace == 0 || subscription->passes;
        pace = subscription->pace > pace ? subscription->pace : pace;
    }
    atomic_store_explicit(&events_kinds_wanted, kinds, memory_order_relaxed);
    atomic_store_explicit(&events_trace_pace, all ? 0 : pace, memory_order_relaxed);
}

struct subscriber *events_join(struct connection *connection, const struct subscription *subscription)
{
    struct subscriber *subscriber = NULL;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < SUBSCRIBERS_MAXIMUM && !subscriber; i++)
        if (!subscribers[i].connection)
            subscriber = &subscribers[i];
    if (subscriber) {
        *subscriber = (struct subscriber){.connection = connection, .subscription = *subscription};
        figures.subscribers++;
        count_wanted();
    }
    pthread_mutex_unlock(&mutex);
    return subscriber;
}

unsigned events_kinds(const struct subscriber *subscriber)
{
    return subscriber->subscription.kinds; /* which only its own reactor writes */
}

void events_leave(struct subscriber *subscriber)
{
    if (!subscriber)
        return;
    pthread_mutex_lock(&mutex);
    struct subscriber left = *subscriber;
    *subscriber = (struct subscriber){0};
    figures.subscribers--;
    count_wanted();
    pthread_mutex_unlock(&mutex);
    buffer_free(&left.waiting);
    if (left.subscription.drop)
        left.subscription.drop(left.subscription.filter);
}

bool events_take(struct subscriber *subscriber, struct buffer *out)
{
    pthread_mutex_lock(&mutex);
    struct buffer taken = subscriber->waiting;
    unsigned long long lost = subscriber->lost;
    subscriber->waiting = (struct buffer){0};
    subscriber->lost = 0;
    pthread_mutex_unlock(&mutex);
    buffer_append(out, taken.data, taken.length);
    if (lost > 0)
        buffer_append_format(out, "event: lost\ndata: {\"count\":%llu}\n\n", lost);
    bool any = taken.length > 0 || lost > 0;
    buffer_free(&taken);
    return any;
}

void events_serve(struct reactor *reactor)
{
    if (!atomic_exchange_explicit(&reactor->events_wait, false, memory_order_acquire))
        return;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < SUBSCRIBERS_MAXIMUM; i++) {
        struct subscriber *subscriber = &subscribers[i];
        if (subscriber->connection && connection_reactor(subscriber->connection) == reactor &&
            (subscriber->waiting.length > 0 || subscriber->lost > 0))
            lane_mark_dirty(reactor->lane, &subscriber->connection->endpoint);
    }
    pthread_mutex_unlock(&mutex);
}

void events_read_figures(struct events_figures *out)
{
    pthread_mutex_lock(&mutex);
    *out = figures;
    pthread_mutex_unlock(&mutex);
}
