/* Shaking hands: threads of their own take accepted connections through the TLS handshake, which costs two milliseconds
 * of computing each, so that no reactor ever waits for one. A connection goes back to the reactor that accepted it when
 * it is open.
 *
 *   reactor accepts ──► waits for the first byte ──► shakes hands ──► the reactor serves it
 *                            │ no TLS: 400, closed        │ fails, or takes too long: closed
 *
 * What only waits costs some hundred bytes and is bounded by limits.connections; those that have begun take 40 KB each
 * and are bounded by tls.maxHandshakes. */
#ifndef LUADUCT_RUNTIME_HANDSHAKES_H
#define LUADUCT_RUNTIME_HANDSHAKES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"
#include "net/tls/tls_session.h"

struct arrival;
struct reactor;

/* As many as there may be: each costs parsed copies of all certificates. */
#define HANDSHAKE_THREADS_MAXIMUM 64u

/* How many threads there are, or will be when `wanted` are asked for: what once started stays as it is, and each has a
 * slot of every context to itself. Main or the loader. */
unsigned handshakes_threads(unsigned wanted);

/* Main or the loader, before the first connection comes. Started already is fine. False: *error says why. */
bool handshakes_start(unsigned threads, char *error, size_t size);

/* What holds from now on. Any thread. */
void handshakes_configure(uint32_t timeout_ms, uint32_t most);

/* Main, before the reactors stop: those under way are closed. Harmless when nothing was started. */
void handshakes_stop(void);

/* Takes over an accepted socket and its place among the counted. False: no memory, and both stay the caller's. On the
 * reactor's thread. */
bool handshakes_take(struct reactor *reactor, int fd, const struct arrival *arrival);

/* Why a handshake failed: enum tls_failure, and what never came that far. */
enum handshake_failure {
    HANDSHAKE_TIMEOUT = TLS_FAILURE_COUNT,
    HANDSHAKE_PLAIN,      /* spoke something else than TLS */
    HANDSHAKE_OVERLOADED, /* too many at once, or no memory for one more */
    HANDSHAKE_FAILURES,
};

struct handshake_figures {
    uint64_t full, resumed;
    uint64_t failed[HANDSHAKE_FAILURES]; /* [TLS_FAILURE_NONE] stays 0 */
    uint32_t waiting, in_progress;       /* now: without a first byte, and with one */
    unsigned threads;
};

/* Any thread. */
void handshakes_read(struct handshake_figures *out);

/* How long those took that were done, from their first byte on: added to the sums. Any thread. */
void handshakes_add_times(struct histogram_sums *full, struct histogram_sums *resumed);

/* "timeout"; NULL for TLS_FAILURE_NONE. */
const char *handshake_failure_name(unsigned failure);

#endif
