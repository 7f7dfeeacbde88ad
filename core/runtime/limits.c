/* Parties live in a fixed table of small sharded chains, found by a keyed hash. One without references whose buckets
 * are full again and whose window is over is stale, and dropped when its chain is next walked, or when room is wanted.
 *
 * The number of parties is bounded. Who owns a network has as many addresses as the table has places, so all addresses
 * of an IPv6 /48 are in one shard and have a part of it between them: a new one takes the place of one of the same /48
 * that is idle, and in a full shard of any that is idle. One that finds no place shares the limits of a common party
 * rather than having none. */
#include "runtime/limits.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "bridge/queue/mailbox.h"
#include "memory/pool.h"

#define SHARDS 64u
#define CHAINS 256u
/* 64 Ki parties of 200 bytes in all: no more than 13 MiB. */
#define PARTIES_PER_SHARD 1024u
/* Of one group: an IPv6 /48, or whatever else is known by itself. */
#define PARTIES_PER_GROUP 256u
#define GROUPS 1024u /* counters; groups that meet in one share it */

/* An agent is a sender without an identity, an identity may have many agents; a name of one is no name of the other.
 * GUESSES and FOREIGN are addresses too: wrong credentials, and requests of foreign pages, have windows of their own.
 */
enum kind { ADDRESS, AGENT, IDENTITY, GUESSES, FOREIGN, KINDS };

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
    enum kind kind;
    struct {
        atomic_uint connections, messages_per_second, message_burst;
        atomic_ullong bytes_per_second;
    } own; /* see own_limits */
};

static struct shard {
    pthread_mutex_t mutex;
    struct party *chains[CHAINS];
    struct party common[KINDS]; /* by kind: for those past PARTIES_PER_SHARD */
    uint32_t count;
    uint16_t groups[GROUPS]; /* parties */
    uint32_t hand;           /* the chain where the next idle one is looked for */
    uint64_t swept_ms;       /* when room was last made */
} shards[SHARDS];

static const struct config *config;
static struct party_limits limits_by_kind[KINDS];
static struct rate handshakes_rate, messages_rate, bytes_rate;
static bool addresses_bounded, senders_bounded;
atomic_bool limits_messages_bounded;

static atomic_uint connections, agents;
static rate_bucket handshakes, messages, bytes;
static atomic_ullong counted[LIMIT_COUNT];

const char *limit_name(enum limit limit)
{
    static const char *const names[LIMIT_COUNT] = {
        [LIMIT_NONE] = "none",
        [LIMIT_CONNECTIONS] = "connections",
        [LIMIT_CONNECTIONS_PER_ADDRESS] = "connections_per_address",
        [LIMIT_CONNECTIONS_PER_IDENTITY] = "connections_per_identity",
        [LIMIT_HANDSHAKES] = "handshakes",
        [LIMIT_HANDSHAKES_PER_ADDRESS] = "handshakes_per_address",
        [LIMIT_AGENTS] = "agents",
        [LIMIT_AGENTS_PER_ADDRESS] = "agents_per_address",
        [LIMIT_AGENTS_PER_IDENTITY] = "agents_per_identity",
        [LIMIT_MESSAGES] = "messages",
        [LIMIT_MESSAGES_PER_ADDRESS] = "messages_per_address",
        [LIMIT_MESSAGES_TOTAL] = "messages_total",
        [LIMIT_BYTES] = "bytes",
        [LIMIT_BYTES_PER_ADDRESS] = "bytes_per_address",
        [LIMIT_BYTES_TOTAL] = "bytes_total",
        [LIMIT_REQUESTS] = "requests",
        [LIMIT_SCRIPT_TIME] = "script_time",
        [LIMIT_MAILBOX_PER_SENDER] = "mailbox_per_sender",
        [LIMIT_MESSAGE_TIME] = "message_time",
        [LIMIT_COSTLY] = "costly_messages",
        [LIMIT_PINGS] = "pings",
        [LIMIT_PROXY_HEADER] = "proxy_header",
        [LIMIT_CREDENTIALS] = "credentials",
    };
    return names[limit];
}

enum code limit_code(enum limit limit)
{
    switch (limit) {
    case LIMIT_CONNECTIONS:
    case LIMIT_CONNECTIONS_PER_ADDRESS:
    case LIMIT_CONNECTIONS_PER_IDENTITY:
    case LIMIT_AGENTS:
    case LIMIT_AGENTS_PER_ADDRESS:
    case LIMIT_AGENTS_PER_IDENTITY:
        return CODE_OVERLOADED;
    default:
        return CODE_RATE_LIMITED;
    }
}

struct peer_address peer_address_of(const struct address *address)
{
    static const unsigned char loopback[16] = {[15] = 1}, mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct peer_address out;
    memcpy(out.bytes, address->bytes, sizeof out.bytes);
    if (memcmp(out.bytes, mapped, sizeof mapped) != 0 && memcmp(out.bytes, loopback, sizeof loopback) != 0)
        memset(out.bytes + 8, 0, 8);
    return out;
}

struct slice peer_address_text(const struct peer_address *address, char out[INET6_ADDRSTRLEN])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    const unsigned char *from = address->bytes;
    bool is_4 = memcmp(from, mapped, sizeof mapped) == 0;
    out[0] = '\0';
    inet_ntop(is_4 ? AF_INET : AF_INET6, is_4 ? from + sizeof mapped : from, out, INET6_ADDRSTRLEN);
    return slice_from_string(out);
}

void limit_count(enum limit limit)
{
    atomic_fetch_add_explicit(&counted[limit], 1, memory_order_relaxed);
}

uint64_t limit_counted(enum limit limit)
{
    if (limit == LIMIT_MAILBOX_PER_SENDER)
        return mailbox_share_refusals();
    return atomic_load_explicit(&counted[limit], memory_order_relaxed);
}

static struct slice address_key(const struct peer_address *address)
{
    return slice_from((const char *)address->bytes, sizeof address->bytes);
}

uint64_t peer_address_hash(const struct peer_address *address)
{
    return hash_slice(address_key(address));
}

static enum limit refused(enum limit limit)
{
    limit_count(limit);
    return limit;
}

/* A second's worth at once, where the config names no burst. */
static struct rate rate_of(uint64_t per_second)
{
    return (struct rate){per_second, per_second};
}

bool limits_start(const struct config *from)
{
    config = from;
    handshakes_rate = rate_of(config->limits.handshakes_per_second);
    messages_rate = rate_of(config->limits.messages_per_second_total);
    bytes_rate = rate_of(config->limits.bytes_per_second_total);
    limits_by_kind[ADDRESS] = (struct party_limits){
        .connections = config->limits.connections_per_address,
        .agents = config->limits.agents_per_address,
        .handshakes = rate_of(config->limits.handshakes_per_second_per_address),
        .messages = rate_of(config->limits.messages_per_second_per_address),
        .bytes = rate_of(config->limits.bytes_per_second_per_address),
    };
    limits_by_kind[AGENT] = limits_by_kind[IDENTITY] = (struct party_limits){
        .connections = config->limits.connections_per_identity,
        .agents = config->limits.agents_per_identity,
        .messages = {config->limits.messages_per_second, config->limits.message_burst},
        .bytes = rate_of(config->limits.bytes_per_second),
        .script_us = rate_of(config->limits.script_ms_per_second * 1000ull),
    };
    const struct party_limits *address = &limits_by_kind[ADDRESS], *sender = &limits_by_kind[IDENTITY];
    addresses_bounded = address->connections || address->agents || address->handshakes.per_second ||
                        address->messages.per_second || address->bytes.per_second;
    senders_bounded = sender->connections || sender->agents || sender->messages.per_second ||
                      sender->bytes.per_second || sender->script_us.per_second;
    limits_messages_bounded = address->messages.per_second || address->bytes.per_second ||
                              sender->messages.per_second || sender->bytes.per_second || messages_rate.per_second ||
                              bytes_rate.per_second;
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&shards[i].mutex, NULL);
        for (unsigned kind = ADDRESS; kind < KINDS; kind++)
            shards[i].common[kind].kind = (enum kind)kind;
    }
    return true;
}

static void free_party(struct shard *shard, struct party *party)
{
    shard->count--;
    shard->groups[party->group]--;
    pool_release(POOL_ARRAYS, party, sizeof *party);
}

void limits_stop(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        for (unsigned chain = 0; chain < CHAINS; chain++) {
            for (struct party *party = shards[i].chains[chain], *next; party; party = next) {
                next = party->next;
                free_party(&shards[i], party);
            }
            shards[i].chains[chain] = NULL;
        }
        pthread_mutex_destroy(&shards[i].mutex);
    }
}

/* --- Parties --- */

/* The clocks of two reactors may be a pass apart: a start in the future is now. */
static bool window_over(const struct party *party, uint64_t now_ms)
{
    return (int64_t)(now_ms - party->window_start_ms) >= (int64_t)config->http.rate_window_ms;
}

static bool full(const rate_bucket *bucket, uint64_t now_ns)
{
    return atomic_load_explicit(bucket, memory_order_relaxed) <= now_ns;
}

static bool stale(const struct party *party, uint64_t now_ms)
{
    uint64_t now_ns = now_ms * 1000000;
    return party->references == 0 && (party->requests == 0 || window_over(party, now_ms)) &&
           full(&party->handshakes, now_ns) && full(&party->messages, now_ns) && full(&party->bytes, now_ns) &&
           full(&party->script_us, now_ns) && full(&party->signatures, now_ns);
}

static void drop_stale(struct shard *shard, struct party **place, uint64_t now_ms)
{
    while (*place) {
        struct party *party = *place;
        if (stale(party, now_ms)) {
            *place = party->next;
            free_party(shard, party);
        } else {
            place = &party->next;
        }
    }
}

/* At most once a second: a walk of a thousand parties is nothing then. */
static void make_room(struct shard *shard, uint64_t now_ms)
{
    if (now_ms - shard->swept_ms < 1000)
        return;
    shard->swept_ms = now_ms;
    for (unsigned chain = 0; chain < CHAINS; chain++)
        drop_stale(shard, &shard->chains[chain], now_ms);
}

/* One that nobody refers to, of that group (GROUPS: of any), from where the last search ended. What it had used up is
 * forgotten. */
static bool drop_idle(struct shard *shard, unsigned group)
{
    for (unsigned looked = 0; looked < CHAINS; looked++) {
        struct party **place = &shard->chains[shard->hand++ % CHAINS];
        for (; *place; place = &(*place)->next) {
            struct party *party = *place;
            if (party->references > 0 || (group != GROUPS && party->group != group))
                continue;
            *place = party->next;
            free_party(shard, party);
            return true;
        }
    }
    return false;
}

static bool has_room(struct shard *shard, unsigned group, uint64_t now_ms)
{
    if (shard->groups[group] >= PARTIES_PER_GROUP && !drop_idle(shard, group))
        return false;
    if (shard->count >= PARTIES_PER_SHARD)
        make_room(shard, now_ms);
    return shard->count < PARTIES_PER_SHARD || drop_idle(shard, GROUPS);
}

/* By which parties share the part of a shard: an IPv6 address's /48, else the key itself. */
static struct slice group_key(enum kind kind, struct slice key)
{
    static const unsigned char nothing[10] = {0};
    bool is_address = kind != AGENT && kind != IDENTITY;
    return is_address && memcmp(key.data, nothing, sizeof nothing) != 0 ? slice_from(key.data, 6) : key;
}

/* With its shard locked. NULL: there is none, and none is to be made. */
static struct party *find_party(enum kind kind, struct slice key, bool make, uint64_t now_ms, struct shard **locked)
{
    /* The kind is folded in behind the keyed hash, where nobody can aim at it. */
    uint64_t hash = hash_slice(key) + kind * 0x9e3779b97f4a7c15u;
    uint64_t group_hash = hash_slice(group_key(kind, key));
    struct shard *shard = *locked = &shards[group_hash % SHARDS];
    unsigned group = group_hash / SHARDS % GROUPS;
    pthread_mutex_lock(&shard->mutex);
    struct party **chain = &shard->chains[hash / SHARDS % CHAINS];
    for (struct party *party = *chain; party; party = party->next)
        if (party->hash == hash)
            return party;
    if (!make)
        return NULL;
    drop_stale(shard, chain, now_ms);
    struct party *fresh = has_room(shard, group, now_ms) ? pool_acquire(POOL_ARRAYS, sizeof *fresh) : NULL;
    if (!fresh)
        return &shard->common[kind];
    memset(fresh, 0, sizeof *fresh);
    fresh->hash = hash;
    fresh->shard = shard;
    fresh->group = (uint16_t)group;
    shard->groups[group]++;
    fresh->kind = kind;
    fresh->next = *chain;
    *chain = fresh;
    shard->count++;
    return fresh;
}

static struct party *lock_party(enum kind kind, struct slice key, uint64_t now_ms, struct shard **locked)
{
    return find_party(kind, key, true, now_ms, locked);
}

/* A common party is never dropped: its references do not matter. */
static struct party *hold_party(enum kind kind, struct slice key, bool make)
{
    struct shard *shard;
    struct party *party = find_party(kind, key, make, clock_coarse_ns() / 1000000, &shard);
    if (party && party->shard)
        party->references++;
    pthread_mutex_unlock(&shard->mutex);
    return party;
}

struct party *party_of_address(const struct peer_address *address)
{
    return addresses_bounded ? hold_party(ADDRESS, address_key(address), true) : NULL;
}

struct party *party_of_agent(struct slice client_id)
{
    return senders_bounded ? hold_party(AGENT, client_id, true) : NULL;
}

static void set_own_limits(struct party *party, const struct own_limits *own)
{
    atomic_store_explicit(&party->own.connections, own->connections, memory_order_relaxed);
    atomic_store_explicit(&party->own.messages_per_second, own->messages_per_second, memory_order_relaxed);
    atomic_store_explicit(&party->own.message_burst, own->message_burst, memory_order_relaxed);
    atomic_store_explicit(&party->own.bytes_per_second, own->bytes_per_second, memory_order_relaxed);
    if (own->messages_per_second || own->bytes_per_second)
        atomic_store_explicit(&limits_messages_bounded, true, memory_order_relaxed);
}

struct party *party_of_identity(struct slice owner, const struct own_limits *own)
{
    /* One that is there had limits of its own before, which may be gone now. */
    bool needed = senders_bounded || own->connections || own->messages_per_second || own->bytes_per_second;
    struct party *party = hold_party(IDENTITY, owner, needed);
    if (party && party->shard) /* the common party's are the config's */
        set_own_limits(party, own);
    return party;
}

struct own_limits limits_of_identity(struct slice owner)
{
    struct own_limits own = {0};
    struct shard *shard;
    const struct party *party = find_party(IDENTITY, owner, false, 0, &shard);
    if (party) {
        own.connections = atomic_load_explicit(&party->own.connections, memory_order_relaxed);
        own.messages_per_second = atomic_load_explicit(&party->own.messages_per_second, memory_order_relaxed);
        own.message_burst = atomic_load_explicit(&party->own.message_burst, memory_order_relaxed);
        own.bytes_per_second = atomic_load_explicit(&party->own.bytes_per_second, memory_order_relaxed);
    }
    pthread_mutex_unlock(&shard->mutex);
    return own;
}

struct party *party_retain(struct party *party)
{
    if (!party || !party->shard)
        return party;
    pthread_mutex_lock(&party->shard->mutex);
    party->references++;
    pthread_mutex_unlock(&party->shard->mutex);
    return party;
}

void party_release(struct party *party)
{
    if (!party || !party->shard)
        return;
    pthread_mutex_lock(&party->shard->mutex);
    party->references--;
    pthread_mutex_unlock(&party->shard->mutex);
}

static const struct party_limits *limits_of(const struct party *party)
{
    return &limits_by_kind[party->kind];
}

static uint32_t connections_of(const struct party *party)
{
    uint32_t own = atomic_load_explicit(&party->own.connections, memory_order_relaxed);
    return own ? own : limits_of(party)->connections;
}

static struct rate messages_of(const struct party *party)
{
    uint32_t own = atomic_load_explicit(&party->own.messages_per_second, memory_order_relaxed);
    uint32_t burst = atomic_load_explicit(&party->own.message_burst, memory_order_relaxed);
    return own ? (struct rate){own, burst ? burst : own} : limits_of(party)->messages;
}

static struct rate bytes_of(const struct party *party)
{
    uint64_t own = atomic_load_explicit(&party->own.bytes_per_second, memory_order_relaxed);
    return own ? rate_of(own) : limits_of(party)->bytes;
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
    if (!take_one(&connections, config->limits.connections))
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
        return refused(party->kind == ADDRESS ? LIMIT_CONNECTIONS_PER_ADDRESS : LIMIT_CONNECTIONS_PER_IDENTITY);
    if (rate_take(&party->handshakes, &limits_of(party)->handshakes, 1, now_ns) == 0)
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
    if (!take_one(&agents, returns ? 0 : config->limits.agents))
        return refused(LIMIT_AGENTS);
    if (address && !take_one(&address->agents, returns ? 0 : limits_of(address)->agents)) {
        drop_one(&agents);
        return refused(LIMIT_AGENTS_PER_ADDRESS);
    }
    if (sender && !take_one(&sender->agents, returns ? 0 : limits_of(sender)->agents)) {
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
    return party && limits_of(party)->script_us.per_second > 0;
}

bool party_out_of_time(const struct party *party, uint64_t now_ns)
{
    return party_counts_time(party) && rate_wait(&party->script_us, &limits_of(party)->script_us, now_ns) > 0;
}

void party_charge_time(struct party *party, uint64_t took_ns, uint64_t now_ns)
{
    if (party_counts_time(party))
        rate_charge(&party->script_us, &limits_of(party)->script_us, took_ns / 1000, now_ns);
}

/* --- Signatures --- */

/* Wrong ones of an address, of 1.5 ms each: half a tenth of a second's worth at once, then less than a 600th of a
 * processor. */
static const struct rate signatures_rate = {1, 32};

bool limits_signature(const struct peer_address *address, uint64_t now_ns)
{
    struct shard *shard;
    struct party *party = find_party(GUESSES, address_key(address), false, now_ns / 1000000, &shard);
    bool may = !party || rate_wait(&party->signatures, &signatures_rate, now_ns) == 0;
    pthread_mutex_unlock(&shard->mutex);
    if (!may)
        limit_count(LIMIT_CREDENTIALS);
    return may;
}

void limits_signature_wrong(const struct peer_address *address, uint64_t now_ns)
{
    struct shard *shard;
    struct party *party = lock_party(GUESSES, address_key(address), now_ns / 1000000, &shard);
    if (party->shard) /* the common one is everybody's */
        rate_charge(&party->signatures, &signatures_rate, 1, now_ns);
    pthread_mutex_unlock(&shard->mutex);
}

/* --- HTTP --- */

static unsigned take_of_window(enum kind kind, const struct peer_address *address, uint32_t amount, enum limit limit,
                               uint64_t now_ms)
{
    if (config->http.rate_max == 0)
        return 0;
    struct shard *shard;
    unsigned wait = 0;
    struct party *party = lock_party(kind, address_key(address), now_ms, &shard);
    if (party->requests == 0 || window_over(party, now_ms)) {
        party->window_start_ms = now_ms;
        party->requests = 0;
    }
    if (party->requests >= config->http.rate_max) {
        wait = (unsigned)((party->window_start_ms + config->http.rate_window_ms - now_ms + 999) / 1000);
        limit_count(limit);
    } else {
        party->requests += amount;
    }
    pthread_mutex_unlock(&shard->mutex);
    return wait;
}

unsigned limits_http_request(const struct peer_address *address, uint64_t now_ms)
{
    return take_of_window(ADDRESS, address, 1, LIMIT_REQUESTS, now_ms);
}

unsigned limits_foreign_request(const struct peer_address *address, uint64_t now_ms)
{
    return take_of_window(FOREIGN, address, 1, LIMIT_REQUESTS, now_ms);
}

unsigned limits_credential(const struct peer_address *address, uint64_t now_ms)
{
    return take_of_window(GUESSES, address, 0, LIMIT_CREDENTIALS, now_ms);
}

void limits_credential_wrong(const struct peer_address *address, uint64_t now_ms)
{
    take_of_window(GUESSES, address, 1, LIMIT_CREDENTIALS, now_ms);
}
