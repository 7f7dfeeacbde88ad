#include "../../support/unit.h"

#include <string.h>

#include "memory/pool.h"
#include "runtime/limits/attempts.h"
#include "runtime/limits/limits.h"

static struct config config;

static void start(void)
{
    config.limits.connections_per_address = 1;
    config.http.rate_max = 10;
    config.http.rate_window_ms = 60000;
    limits_start(&config);
}

static struct peer_address ipv4(unsigned number)
{
    return (struct peer_address){{[10] = 0xff,
                                  [11] = 0xff,
                                  [12] = 10,
                                  [13] = (unsigned char)(number >> 16),
                                  [14] = (unsigned char)(number >> 8),
                                  [15] = (unsigned char)number}};
}

/* The /64 of that number in one /48. */
static struct peer_address ipv6(unsigned number)
{
    return (struct peer_address){{0x20, 0x01, 0x0d, 0xb8, 0, 1, (unsigned char)(number >> 8), (unsigned char)number}};
}

/* How many of a thousand addresses are refused their one connection, as those are that share a common party. */
static unsigned refused_of_a_thousand(void)
{
    struct party *parties[1000];
    unsigned refused = 0;
    for (unsigned i = 0; i < 1000; i++) {
        struct peer_address address = ipv4(i);
        parties[i] = party_of_address(&address);
        refused += party_take_connection(parties[i], 1) != LIMIT_NONE;
    }
    for (unsigned i = 0; i < 1000; i++) {
        party_drop_connection(parties[i]);
        party_release(parties[i]);
    }
    return refused;
}

TEST("counts everybody else for themselves, however many addresses of one IPv6 network have asked")
{
    start();
    for (unsigned i = 0; i < 65536; i++) {
        struct peer_address address = ipv6(i);
        CHECK(limits_http_request(&address, 1) == 0);
    }

    CHECK(refused_of_a_thousand() == 0);
    limits_stop();
}

TEST("forgets who is idle rather than have newcomers share, when the table is full")
{
    start();
    for (unsigned i = 0; i < 200000; i++) {
        struct peer_address address = ipv4(1000 + i);
        CHECK(limits_http_request(&address, 1) == 0);
    }

    CHECK(refused_of_a_thousand() == 0);
    limits_stop();
}

TEST("has the addresses of one network share what is left when it holds its part of the table")
{
    static struct party *parties[1000];
    unsigned refused = 0;
    start();
    for (unsigned i = 0; i < 1000; i++) {
        struct peer_address address = ipv6(i);
        parties[i] = party_of_address(&address);
        refused += party_take_connection(parties[i], 1) != LIMIT_NONE;
    }
    CHECK(refused > 700);
    CHECK(refused_of_a_thousand() <= 3); /* those that have the same counter by chance */
    for (unsigned i = 0; i < 1000; i++)
        party_release(parties[i]);
    limits_stop();
}

TEST("gives an identity new limits while it is connected, and none")
{
    struct slice owner = SLICE("token:alice");
    start();
    struct party *held = party_of_identity(owner, &(struct own_limits){.messages_per_second = 1});
    CHECK(limits_take_message(held, NULL, 1, 1) == LIMIT_NONE &&
          limits_take_message(held, NULL, 1, 1) == LIMIT_MESSAGES);

    struct party *again = party_of_identity(owner, &(struct own_limits){0});
    CHECK(again == held && limits_take_message(held, NULL, 1, 1) == LIMIT_NONE);
    party_release(again);
    party_release(held);
    limits_stop();
}

TEST("verifies no more slow signatures of an address after many wrong ones, and others' still")
{
    struct peer_address attacker = ipv4(1), other = ipv4(2);
    uint64_t now_ns = 1000000000;
    config.http.rate_max = 0;
    limits_start(&config);
    unsigned wrong = 0;
    for (; limits_signature(&attacker, now_ns) && wrong < 100; wrong++)
        limits_signature_wrong(&attacker, now_ns);

    CHECK(wrong == 33 && limits_signature(&other, now_ns));
    CHECK(limits_signature(&attacker, now_ns + 2000000000));
    limits_stop();
}
