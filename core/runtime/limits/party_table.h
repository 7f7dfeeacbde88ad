/* The parties themselves, for the files of this folder; others use party.h. */
#ifndef LUADUCT_RUNTIME_LIMITS_PARTY_TABLE_H
#define LUADUCT_RUNTIME_LIMITS_PARTY_TABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/rate.h"
#include "runtime/config/config.h"
#include "runtime/limits/party.h"

/* An agent is a sender without an identity, an identity may have many agents; a name of one is no name of the other.
 * PARTY_GUESSES and PARTY_FOREIGN are addresses too: wrong credentials, and requests of foreign pages, have windows of
 * their own.
 */
enum party_kind { PARTY_ADDRESS, PARTY_AGENT, PARTY_IDENTITY, PARTY_GUESSES, PARTY_FOREIGN, PARTY_KINDS };

/* What the config says of one party of a kind; 0: no limit. */
struct party_limits {
    uint32_t connections, agents;
    struct rate handshakes, messages, bytes, script_us;
};

struct party {
    struct party *next;
    uint64_t hash;       /* of kind and key; two that share all 64 bits share their limits */
    struct shard *shard; /* NULL: a common party */
    uint16_t group;      /* its counter in the shard */
    uint32_t references;
    uint32_t requests;
    uint64_t window_start_ms;
    atomic_uint connections, agents;
    rate_bucket handshakes, messages, bytes, script_us, signatures;
    enum party_kind kind;
    struct {
        atomic_uint connections, messages_per_second, message_burst;
        atomic_ullong bytes_per_second;
    } own; /* see own_limits */
};

/* What limits_start was given: what is read of it here needs a restart. */
extern const struct config *limits_config;
extern struct party_limits party_limits_by_kind[PARTY_KINDS];

static inline const struct party_limits *party_limits_of(const struct party *party)
{
    return &party_limits_by_kind[party->kind];
}

/* A second's worth at once, where the config names no burst. */
static inline struct rate rate_of(uint64_t per_second)
{
    return (struct rate){per_second, per_second};
}

/* As limits_start and limits_stop, which call them. */
void party_table_start(const struct config *config);
void party_table_stop(void);

/* The party of that kind and key, new where there was none, and *shard locked. Past the table's bounds a common party,
 * which has no shard of its own. */
struct party *party_lock(enum party_kind kind, struct slice key, uint64_t now_ms, struct shard **shard);

/* The same, but NULL where there is none. */
struct party *party_lock_known(enum party_kind kind, struct slice key, uint64_t now_ms, struct shard **shard);

void party_unlock(struct shard *shard);

/* Whether its window of requests has run out. With its shard locked. The clocks of two reactors may be a pass apart: a
 * start in the future is now. */
static inline bool party_window_over(const struct party *party, uint64_t now_ms)
{
    return (int64_t)(now_ms - party->window_start_ms) >= (int64_t)limits_config->http.rate_window_ms;
}

#endif
