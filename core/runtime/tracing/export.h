/* Posts spans to a collector (tracing.endpoint), batch by batch, on a thread of its own. A collector that does not
 * answer costs a line in the log a minute and, once the queue is full, spans; nobody waits for it. */
#ifndef LUADUCT_RUNTIME_EXPORT_H
#define LUADUCT_RUNTIME_EXPORT_H

#include <stdbool.h>
#include <stddef.h>

struct config;

/* Tries of one batch, with pauses of about 0.5, 1, 2 and 4 seconds between, or what the collector's Retry-After says.
 */
#define EXPORT_TRIES 5

/* How long the last batches have when the bridge stops. */
#define EXPORT_LAST_MS 2000

/* Main thread, before the reactors; nothing without an endpoint. False: `error` says why. */
bool export_start(const struct config *config, char *error, size_t size);

/* Main thread, when nobody records any more. What waits is still tried. */
void export_stop(void);

/* Any thread. */
struct export_figures {
    unsigned long long exported, lost, rejected; /* lost: the collector did not take them; rejected: it took the request
                                                    and threw them away */
};
void export_read_figures(struct export_figures *out);

#endif
