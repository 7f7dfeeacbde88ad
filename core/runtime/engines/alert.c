#include "runtime/engines/alert.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/events/events.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static struct alert alerts[ALERTS_MAXIMUM];
static unsigned count;

static void tell(const char *name, struct slice state, const char *text)
{
    events_tell(EVENT_ALERT, (struct event_field[]){EVENT_TEXT("name", slice_from_string(name)),
                                                    EVENT_TEXT("state", state),
                                                    EVENT_TEXT("text", slice_from_string(text)),
                                                    {0}});
}

static struct alert *find(const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(alerts[i].name, name) == 0)
            return &alerts[i];
    return NULL;
}

/* The place for a new one; NULL when all are active. */
static struct alert *free_place(void)
{
    struct alert *oldest = NULL;
    if (count < ALERTS_MAXIMUM)
        return &alerts[count++];
    for (unsigned i = 0; i < count; i++)
        if (alerts[i].until_ms != 0 && (!oldest || alerts[i].until_ms < oldest->until_ms))
            oldest = &alerts[i];
    return oldest;
}

void alert_raise(const char *name, const char *format, ...)
{
    char text[ALERT_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&mutex);
    struct alert *alert = find(name);
    bool known = alert != NULL, active = known && alert->until_ms == 0;
    if (!known && (alert = free_place())) {
        *alert = (struct alert){0};
        snprintf(alert->name, sizeof alert->name, "%s", name);
    }
    if (alert) {
        memcpy(alert->text, text, sizeof text);
        if (!active) {
            alert->since_ms = clock_wall_ms();
            alert->until_ms = 0;
            alert->count++;
        }
    }
    pthread_mutex_unlock(&mutex);
    if (!active) {
        log_warn("alert %s: %s", name, text);
        tell(name, SLICE("firing"), text);
    }
}

void alert_resolve(const char *name)
{
    pthread_mutex_lock(&mutex);
    struct alert *alert = find(name);
    bool active = alert && alert->until_ms == 0;
    if (active)
        alert->until_ms = clock_wall_ms();
    pthread_mutex_unlock(&mutex);
    if (active) {
        log_info("alert %s: over", name);
        tell(name, SLICE("resolved"), "");
    }
}

static int newer_first(const void *a, const void *b)
{
    const struct alert *one = a, *two = b;
    bool one_active = one->until_ms == 0, two_active = two->until_ms == 0;
    if (one_active != two_active)
        return one_active ? -1 : 1;
    return one->since_ms > two->since_ms ? -1 : one->since_ms < two->since_ms;
}

unsigned alert_list(struct alert out[ALERTS_MAXIMUM])
{
    pthread_mutex_lock(&mutex);
    unsigned found = count;
    memcpy(out, alerts, found * sizeof *out);
    pthread_mutex_unlock(&mutex);
    qsort(out, found, sizeof *out, newer_first);
    return found;
}
