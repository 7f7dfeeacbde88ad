/* Tells of alerts outside of the bridge: a webhook (alerts.webhook), and an envelope to an agent (alerts.notify). The
 * webhook is served by a thread of its own, one alert after the other, each tried up to NOTIFY_TRIES times. */
#ifndef LUADUCT_RUNTIME_NOTIFY_H
#define LUADUCT_RUNTIME_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct config;
struct reactor;

#define NOTIFY_TRIES 5
/* Alerts that wait for either way; past it new ones are lost, counted and logged. */
#define NOTIFY_WAITING 64

/* Main thread, before anything is raised. False: no thread; `error` says why. */
bool notify_start(const struct config *config, char *error, size_t size);

/* Main thread, when no alert is raised any more: what waits is given up. */
void notify_stop(void);

/* Any thread; never waits. `json` is the event's text. */
void notify_alert(struct slice json);

/* The first reactor was woken: sends the envelopes that wait. */
void notify_serve(struct reactor *reactor);

struct notify_figures {
    unsigned long long delivered, retried, lost; /* of the webhook; lost: given up, or found no room */
};
void notify_read_figures(struct notify_figures *out);

#endif
