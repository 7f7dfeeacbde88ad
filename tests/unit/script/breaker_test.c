/* When a breaker opens and closes, on a clock of numbers. */
#include "../../support/unit.h"

#include "script/bounds/breaker.h"

static const struct breaker_rules rules = {.overruns = 4, .senders = 2, .window_ms = 1000, .cooldown_ms = 500};

TEST("breaker: opens after so many overruns of several senders within the window")
{
    struct breaker breaker = {0};
    CHECK(!breaker_overran(&breaker, &rules, 1, 0));
    CHECK(!breaker_overran(&breaker, &rules, 1, 10));
    CHECK(!breaker_overran(&breaker, &rules, 2, 20));
    CHECK(breaker_admits(&breaker, 25));
    CHECK(breaker_overran(&breaker, &rules, 1, 30));
    CHECK(!breaker_admits(&breaker, 30));
    CHECK(breaker_senders(&breaker) == 2);
}

TEST("breaker: one sender alone never opens it, and does not hide the others")
{
    struct breaker breaker = {0};
    for (unsigned i = 0; i < 1000; i++)
        CHECK(!breaker_overran(&breaker, &rules, 7, 1000 + i));
    CHECK(breaker_overran(&breaker, &rules, 8, 2000));

    struct breaker_rules three = rules;
    three.senders = 3;
    memset(&breaker, 0, sizeof breaker);
    CHECK(!breaker_overran(&breaker, &three, 8, 1));
    for (unsigned i = 0; i < 100; i++)
        CHECK(!breaker_overran(&breaker, &three, 7, 2 + i));
    CHECK(breaker_overran(&breaker, &three, 9, 200));
}

TEST("breaker: what is older than the window does not count")
{
    struct breaker breaker = {0};
    for (unsigned i = 0; i < 20; i++)
        CHECK(!breaker_overran(&breaker, &rules, i, i * 400));
    CHECK(breaker.count <= 3);
}

TEST("breaker: after the cool-down one call is tried, which closes it or begins a new one")
{
    struct breaker breaker = {0};
    for (unsigned i = 0; i < 4; i++)
        breaker_overran(&breaker, &rules, i, 0);
    CHECK(!breaker_admits(&breaker, 499));
    CHECK(!breaker_went_well(&breaker, 499)); /* a call from before that had waited */
    CHECK(breaker_admits(&breaker, 500));
    CHECK(!breaker_overran(&breaker, &rules, 1, 600));
    CHECK(!breaker_admits(&breaker, 1099));
    CHECK(breaker_admits(&breaker, 1100));
    CHECK(breaker_went_well(&breaker, 1150));
    CHECK(breaker_admits(&breaker, 1150) && breaker.count == 0);
    CHECK(!breaker_overran(&breaker, &rules, 1, 1160));
}

TEST("breaker: never opens where the rule is 0, nor for more senders than overruns")
{
    struct breaker breaker = {0};
    struct breaker_rules off = rules, odd = rules;
    off.overruns = 0;
    odd.senders = 5;
    for (unsigned i = 0; i < 300; i++) {
        CHECK(!breaker_overran(&breaker, &off, i, i));
        CHECK(!breaker_overran(&breaker, &odd, i, i));
    }
}
