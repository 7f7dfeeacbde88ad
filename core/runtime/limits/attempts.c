#include "runtime/limits/attempts.h"

#include "runtime/limits/limit.h"
#include "runtime/limits/party_table.h"

/* Wrong ones of an address, of 1.5 ms each: half a tenth of a second's worth at once, then less than a 600th of a
 * processor. */
static const struct rate signatures_rate = {1, 32};

bool limits_signature(const struct peer_address *address, uint64_t now_ns)
{
    struct shard *shard;
    struct party *party = party_lock_known(PARTY_GUESSES, peer_address_key(address), now_ns / 1000000, &shard);
    bool may = !party || rate_wait(&party->signatures, &signatures_rate, now_ns) == 0;
    party_unlock(shard);
    if (!may)
        limit_count(LIMIT_CREDENTIALS);
    return may;
}

void limits_signature_wrong(const struct peer_address *address, uint64_t now_ns)
{
    struct shard *shard;
    struct party *party = party_lock(PARTY_GUESSES, peer_address_key(address), now_ns / 1000000, &shard);
    if (party->shard) /* the common one is everybody's */
        rate_charge(&party->signatures, &signatures_rate, 1, now_ns);
    party_unlock(shard);
}

static unsigned take_of_window(enum party_kind kind, const struct peer_address *address, uint32_t amount,
                               enum limit limit, uint64_t now_ms)
{
    if (limits_config->http.rate_max == 0)
        return 0;
    struct shard *shard;
    unsigned wait = 0;
    struct party *party = party_lock(kind, peer_address_key(address), now_ms, &shard);
    if (party->requests == 0 || party_window_over(party, now_ms)) {
        party->window_start_ms = now_ms;
        party->requests = 0;
    }
    if (party->requests >= limits_config->http.rate_max) {
        wait = (unsigned)((party->window_start_ms + limits_config->http.rate_window_ms - now_ms + 999) / 1000);
        limit_count(limit);
    } else {
        party->requests += amount;
    }
    party_unlock(shard);
    return wait;
}

unsigned limits_http_request(const struct peer_address *address, uint64_t now_ms)
{
    return take_of_window(PARTY_ADDRESS, address, 1, LIMIT_REQUESTS, now_ms);
}

unsigned limits_foreign_request(const struct peer_address *address, uint64_t now_ms)
{
    return take_of_window(PARTY_FOREIGN, address, 1, LIMIT_REQUESTS, now_ms);
}

unsigned limits_credential(const struct peer_address *address, uint64_t now_ms)
{
    return take_of_window(PARTY_GUESSES, address, 0, LIMIT_CREDENTIALS, now_ms);
}

void limits_credential_wrong(const struct peer_address *address, uint64_t now_ms)
{
    take_of_window(PARTY_GUESSES, address, 1, LIMIT_CREDENTIALS, now_ms);
}
