#include "runtime/engines/alert.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/events/events.h"
#include "runtime/policies/notify.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static struct alert alerts[ALERTS_MAXIMUM];
static unsigned count;

/* A rule's alert has its figures with it. */
static void tell(const char *name, struct slice state, const char *text, const struct alert_report *report)
{
    struct event_field fields[8] = {EVENT_TEXT("name", slice_from_string(name)), EVENT_TEXT("state", state),
                                    EVENT_TEXT("text", slice_from_string(text))};
    if (report) {
        fields[3] = (struct event_field)EVENT_TEXT("severity", slice_from_string(report->severity));
        fields[4] = (struct event_field)EVENT_NUMBER("value", report->value);
        fields[5] = (struct event_field)EVENT_NUMBER("threshold", report->threshold);
        fields[6] = (struct event_field)EVENT_TEXT("done", slice_from_string(report->done));
    }
    struct buffer json = {0};
    events_append_fields(&json, fields);
    if (!json.failed) {
        events_publish(EVENT_ALERT, slice_from(json.data, json.length), NULL);
        notify_alert(slice_from(json.data, json.length));
    }
    buffer_free(&json);
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

/* Whether it was not active. */
static bool note(const char *name, const char *text, const struct alert_report *report)
{
    pthread_mutex_lock(&mutex);
    struct alert *alert = find(name);
    bool known = alert != NULL, active = known && alert->until_ms == 0;
    if (!known && (alert = free_place())) {
        *alert = (struct alert){0};
        snprintf(alert->name, sizeof alert->name, "%s", name);
    }
    if (alert) {
        snprintf(alert->text, sizeof alert->text, "%s", text);
        snprintf(alert->severity, sizeof alert->severity, "%s", report ? report->severity : "ALERT");
        snprintf(alert->done, sizeof alert->done, "%s", report ? report->done : "");
        alert->by_rule = report != NULL;
        alert->value = report ? report->value : 0;
        alert->threshold = report ? report->threshold : 0;
        if (!active) {
            alert->since_ms = clock_wall_ms();
            alert->until_ms = 0;
            alert->count++;
        }
    }
    pthread_mutex_unlock(&mutex);
    return !active;
}

void alert_raise(const char *name, const char *format, ...)
{
    char text[ALERT_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!note(name, text, NULL))
        return;
    log_warn(ALERT, "raised", "alert %s: %s", name, text);
    tell(name, SLICE("firing"), text, NULL);
}

void alert_report(const struct alert_report *report)
{
    char text[ALERT_TEXT_BYTES];
    snprintf(text, sizeof text, "%.6g is %s %.6g", report->value, report->below ? "below" : "above", report->threshold);
    if (!note(report->name, text, report))
        return;
    log_warn(ALERT, "fired", "alert %s (%s): %s%s%s", report->name, report->severity, text, report->done[0] ? "; " : "",
             report->done);
    tell(report->name, SLICE("firing"), text, report);
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
        log_info(ALERT, "over", "alert %s: over", name);
        tell(name, SLICE("resolved"), "", NULL);
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
