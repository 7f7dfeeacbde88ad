/* Pauses of senders, on a clock of numbers. */
#include "../../support/unit.h"

#include "runtime/dispatch/slowdown.h"

TEST("slowdown: the pause grows with each overrun, up to a bound, and is that sender's alone")
{
    slowdown_reset();
    CHECK(slowdown_left(1, 1000) == 0);
    CHECK(slowdown_strike(1, 50, 1000) == 50);
    CHECK(slowdown_strike(1, 50, 1100) == 100);
    CHECK(slowdown_left(1, 1150) == 50 && slowdown_left(2, 1150) == 0);
    CHECK(slowdown_left(1, 1200) == 0);
    for (unsigned i = 0; i < 100; i++)
        CHECK(slowdown_strike(1, 50, 1200) <= 50 * SLOWDOWN_STEPS);
    CHECK(slowdown_strike(1, 60000, 1200) == SLOWDOWN_MOST_MS);
}

TEST("slowdown: who has not overrun for a while begins anew")
{
    slowdown_reset();
    slowdown_strike(1, 50, 1000);
    CHECK(slowdown_strike(1, 50, 1000 + SLOWDOWN_FORGET_MS - 1) == 100);
    CHECK(slowdown_strike(1, 50, 1000 + 2 * SLOWDOWN_FORGET_MS) == 50);
}

TEST("slowdown: many senders share a table that does not grow, and the last ones are in it")
{
    slowdown_reset();
    for (uint64_t sender = 0; sender < 100000; sender++)
        CHECK(slowdown_strike(sender, 50, 1000 + sender) == 50);
    CHECK(slowdown_left(99999, 1000 + 99999) == 50);
    CHECK(slowdown_left(5, 1000 + 99999) == 0);
}
