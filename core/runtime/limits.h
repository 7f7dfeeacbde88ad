/* Limits that hold across reactors: connections in all and of one address, HTTP requests of one address; and the token
 * bucket of one agent. */
#ifndef LUADUCT_RUNTIME_LIMITS_H
#define LUADUCT_RUNTIME_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/config.h"
#include "runtime/connection.h"

/* Main thread, before the reactors. False: no memory. */
bool limits_start(const struct config *config);
void limits_stop(void);

/* Any reactor. False: the limit of all connections, or of this address, is reached. */
bool limits_connection_opened(const struct peer_address *address);
void limits_connection_closed(const struct peer_address *address);

/* Counts one HTTP request. 0: go on; else the seconds after which the address may ask again. */
unsigned limits_http_request(const struct peer_address *address, uint64_t now_ms);

/* An agent's rate: messages with a burst, and bytes with one second's worth of burst. One thread. */
struct rate_bucket {
    double messages, bytes; /* what may still be sent */
    uint64_t filled_ms;
};

/* NULL when no rate is configured or memory is out (then nothing is limited). */
struct rate_bucket *rate_bucket_new(const struct config *config, uint64_t now_ms);
void rate_bucket_free(struct rate_bucket *bucket);

/* Whether one message of that many bytes may pass; takes it from the bucket if so. NULL passes. */
bool rate_bucket_take(struct rate_bucket *bucket, const struct config *config, size_t bytes, uint64_t now_ms);

#endif
