#include "runtime/limits/limits.h"

#include <stdatomic.h>

#include "runtime/limits/party_table.h"

static struct rate handshakes_rate, messages_rate, bytes_rate;
atomic_bool limits_messages_bounded;

static atomic_uint connections, agents;
static rate_bucket handshakes, messages, bytes;

static enum limit refused(enum limit limit)
{
    limit_count(limit);
    return limit;
}

bool limits_start(const struct config *config)
{
    party_table_start(config);
    handshakes_rate = rate_of(config->limits.handshakes_per_second);
    messages_rate = rate_of(config->limits.messages_per_second_total);
    bytes_rate = rate_of(config->limits.bytes_per_second_total);
    const struct party_limits *address = &party_limits_by_kind[PARTY_ADDRESS],
                              *sender = &party_limits_by_kind[PARTY_IDENTITY];
    limits_messages_bounded = address->messages.per_second || address->bytes.per_second ||
                              sender->messages.per_second || sender->bytes.per_second || messages_rate.per_second ||
                              bytes_rate.per_second;
    return true;
}

void limits_stop(void)
{
    party_table_stop();
}

static uint32_t connections_of(const struct party *party)
{
    uint32_t own = atomic_load_explicit(&party->own.connections, memory_order_relaxed);
    return own ? own : party_limits_of(party)->connections;
}

static struct rate messages_of(const struct party *party)
{
    uint32_t own = atomic_load_explicit(&party->own.messages_per_second, memory_order_relaxed);
    uint32_t burst = atomic_load_explicit(&party->own.message_burst, memory_order_relaxed);
    return own ? (struct rate){own, burst ? burst : own} : party_limits_of(party)->messages;
}

static struct rate bytes_of(const struct party *party)
{
    uint64_t own = atomic_load_explicit(&party->own.bytes_per_second, memory_order_relaxed);
    return own ? rate_of(own) : party_limits_of(party)->bytes;
}

/* --- Connections and agents --- */

/* One more, if that is within the limit; 0: no limit. */
static bool take_one(atomic_uint *count, uint32_t limit)
{
    if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < limit || limit == 0)
        return true;
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}

static void drop_one(atomic_uint *count)
{
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

enum limit limits_take_connection(uint64_t now_ns)
{
    if (!take_one(&connections, limits_config->limits.connections))
        return refused(LIMIT_CONNECTIONS);
    if (rate_take(&handshakes, &handshakes_rate, 1, now_ns) == 0)
        return LIMIT_NONE;
    drop_one(&connections);
    return refused(LIMIT_HANDSHAKES);
}

void limits_drop_connection(void)
{
    drop_one(&connections);
}

void limits_return_handshake(void)
{
    rate_give_back(&handshakes, &handshakes_rate, 1);
}

enum limit party_take_connection(struct party *party, uint64_t now_ns)
{
    if (!party)
        return LIMIT_NONE;
    if (!take_one(&party->connections, connections_of(party)))
        return refused(party->kind == PARTY_ADDRESS ? LIMIT_CONNECTIONS_PER_ADDRESS : LIMIT_CONNECTIONS_PER_IDENTITY);
    if (rate_take(&party->handshakes, &party_limits_of(party)->handshakes, 1, now_ns) == 0)
        return LIMIT_NONE;
    drop_one(&party->connections);
    return refused(LIMIT_HANDSHAKES_PER_ADDRESS);
}

void limits_restore_connection(bool whole, struct party *party)
{
    if (whole)
        take_one(&connections, 0);
    if (party)
        take_one(&party->connections, 0);
}

void party_drop_connection(struct party *party)
{
    if (party)
        drop_one(&party->connections);
}

void party_join(struct party *party, bool with_agent)
{
    if (!party)
        return;
    atomic_fetch_add_explicit(&party->connections, 1, memory_order_relaxed);
    if (with_agent)
        atomic_fetch_add_explicit(&party->agents, 1, memory_order_relaxed);
}

void arrival_leave(struct arrival *arrival)
{
    if (arrival->counted)
        limits_drop_connection();
    party_drop_connection(arrival->party);
    party_release(arrival->party);
    *arrival = (struct arrival){0};
}

enum limit limits_take_agent(struct party *sender, struct party *address, bool returns)
{
    if (!take_one(&agents, returns ? 0 : limits_config->limits.agents))
        return refused(LIMIT_AGENTS);
    if (address && !take_one(&address->agents, returns ? 0 : party_limits_of(address)->agents)) {
        drop_one(&agents);
        return refused(LIMIT_AGENTS_PER_ADDRESS);
    }
    if (sender && !take_one(&sender->agents, returns ? 0 : party_limits_of(sender)->agents)) {
        drop_one(&agents);
        if (address)
            drop_one(&address->agents);
        return refused(LIMIT_AGENTS_PER_IDENTITY);
    }
    return LIMIT_NONE;
}

void limits_drop_agent(struct party *sender, struct party *address)
{
    drop_one(&agents);
    if (address)
        drop_one(&address->agents);
    if (sender)
        drop_one(&sender->agents);
}

/* --- Messages --- */

struct step {
    rate_bucket *bucket;
    struct rate rate;
    uint64_t amount;
    enum limit limit;
};

enum limit limits_take_message_bounded(struct party *sender, struct party *address, uint64_t size, uint64_t now_ns)
{
    struct step steps[6];
    unsigned count = 0, taken = 0;
    if (sender) {
        steps[count++] = (struct step){&sender->messages, messages_of(sender), 1, LIMIT_MESSAGES};
        steps[count++] = (struct step){&sender->bytes, bytes_of(sender), size, LIMIT_BYTES};
    }
    if (address) {
        steps[count++] = (struct step){&address->messages, messages_of(address), 1, LIMIT_MESSAGES_PER_ADDRESS};
        steps[count++] = (struct step){&address->bytes, bytes_of(address), size, LIMIT_BYTES_PER_ADDRESS};
    }
    steps[count++] = (struct step){&messages, messages_rate, 1, LIMIT_MESSAGES_TOTAL};
    steps[count++] = (struct step){&bytes, bytes_rate, size, LIMIT_BYTES_TOTAL};
    while (taken < count && rate_take(steps[taken].bucket, &steps[taken].rate, steps[taken].amount, now_ns) == 0)
        taken++;
    if (taken == count)
        return LIMIT_NONE;
    enum limit limit = steps[taken].limit;
    while (taken-- > 0)
        rate_give_back(steps[taken].bucket, &steps[taken].rate, steps[taken].amount);
    return refused(limit);
}

bool party_counts_time(const struct party *party)
{
    return party && party_limits_of(party)->script_us.per_second > 0;
}

bool party_out_of_time(const struct party *party, uint64_t now_ns)
{
    return party_counts_time(party) && rate_wait(&party->script_us, &party_limits_of(party)->script_us, now_ns) > 0;
}

void party_charge_time(struct party *party, uint64_t took_ns, uint64_t now_ns)
{
    if (party_counts_time(party))
        rate_charge(&party->script_us, &party_limits_of(party)->script_us, took_ns / 1000, now_ns);
}
