#include "../../support/unit.h"

#include <stdio.h>

#include "bridge/delivery/dedup.h"

static uint64_t key_of(const char *sender, unsigned id)
{
    char text[16];
    int length = snprintf(text, sizeof text, "e%u", id);
    return dedup_key(slice_from_string(sender), slice_from(text, (size_t)length));
}

static bool take(uint64_t key, uint64_t now_ms)
{
    return dedup_take(key, now_ms).number != 0;
}

static struct dedup_figures figures(void)
{
    struct dedup_figures read;
    dedup_read(&read);
    return read;
}

TEST("dedup: an id is known for its window, of its sender alone")
{
    CHECK(dedup_start(100, 50) && dedup_on);
    CHECK(take(key_of("a", 1), 1000));
    CHECK(!take(key_of("a", 1), 1000) && !take(key_of("a", 1), 1099));
    CHECK(take(key_of("b", 1), 1050) && take(key_of("a", 2), 1050));
    CHECK(take(key_of("a", 1), 1100) && !take(key_of("b", 1), 1149));
    dedup_stop();
    CHECK(!dedup_on);
}

TEST("dedup: what is forgotten passes again, whether it was the newest or not")
{
    CHECK(dedup_start(100, 4));
    struct dedup_entry taken[4];
    for (unsigned i = 0; i < 4; i++)
        taken[i] = dedup_take(key_of("a", i), 1000);
    dedup_forget(taken[3]);
    dedup_forget(taken[1]);
    dedup_forget((struct dedup_entry){.key = key_of("a", 9), .number = 1});
    CHECK(figures().remembered == 2);
    CHECK(!take(key_of("a", 0), 1000) && !take(key_of("a", 2), 1000));
    CHECK(take(key_of("a", 3), 1000) && take(key_of("a", 1), 1000));
    CHECK(!take(key_of("a", 3), 1000) && !take(key_of("a", 1), 1000));
    dedup_stop();
}

TEST("dedup: what was refused late leaves a retry that has passed meanwhile remembered")
{
    CHECK(dedup_start(100, 2));
    struct dedup_entry first = dedup_take(key_of("a", 1), 1000);
    CHECK(take(key_of("a", 1), 1100)); /* the first one's time is over */
    dedup_forget(first);
    CHECK(!take(key_of("a", 1), 1150) && figures().remembered == 1);
    dedup_stop();

    CHECK(dedup_start(100, 2));
    first = dedup_take(key_of("a", 1), 1000);
    CHECK(take(key_of("a", 2), 1000) && take(key_of("a", 3), 1000)); /* the first one's place is needed */
    CHECK(take(key_of("a", 1), 1000));
    dedup_forget(first);
    CHECK(!take(key_of("a", 1), 1000) && figures().remembered == 2);
    dedup_stop();
}

TEST("dedup: past its bound the oldest ids go, and it grows no more")
{
    enum { IDS = 5000 };
    CHECK(dedup_start(1000000, IDS));
    for (unsigned i = 0; i < 4 * IDS; i++)
        CHECK(take(key_of("a", i), 1000 + i / 100));
    CHECK(figures().remembered >= IDS && figures().remembered <= IDS + 64);
    CHECK(figures().evicted + figures().remembered == 4 * IDS);
    for (unsigned i = 4 * IDS - 1000; i < 4 * IDS; i++)
        CHECK(!take(key_of("a", i), 2000));
    CHECK(take(key_of("a", 0), 2000));
    dedup_stop();
}

TEST("dedup: a random history is answered as a plain table would")
{
    enum { IDS = 40, STEPS = 20000 };
    uint64_t until[IDS] = {0}, now = 1;
    struct dedup_entry taken[IDS] = {0};
    unsigned seed = 7;
    CHECK(dedup_start(50, 2 * STEPS));
    for (unsigned step = 0; step < STEPS; step++) {
        seed = seed * 1103515245 + 12345;
        unsigned id = (seed >> 16) % IDS, what = (seed >> 8) % 4;
        now += what == 0;
        if (what == 1) {
            dedup_forget(taken[id]);
            until[id] = 0;
        } else {
            struct dedup_entry entry = dedup_take(key_of("a", id), now);
            CHECK((entry.number != 0) == (until[id] <= now));
            if (until[id] <= now) {
                until[id] = now + 50;
                taken[id] = entry;
            }
        }
    }
    dedup_stop();
}

TEST("dedup: a window of 0 takes no memory and is off")
{
    CHECK(dedup_start(0, 1000000) && !dedup_on);
}
