#include "../support/unit.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/random.h"

TEST("a time is formatted as ISO 8601 with milliseconds, leap days and ends of years included")
{
    static const struct {
        int64_t wall_ms;
        const char *text;
    } times[] = {{0, "1970-01-01T00:00:00.000Z"},
                 {951782399999, "2000-02-28T23:59:59.999Z"},
                 {951782400000, "2000-02-29T00:00:00.000Z"},
                 {1709164800123, "2024-02-29T00:00:00.123Z"},
                 {1798761599999, "2026-12-31T23:59:59.999Z"},
                 {4107542400000, "2100-03-01T00:00:00.000Z"}};
    for (unsigned i = 0; i < sizeof times / sizeof *times; i++) {
        char text[CLOCK_ISO_LENGTH];
        clock_format_iso(times[i].wall_ms, text);
        CHECK_TEXT(text, sizeof text, times[i].text);
    }
}

static int compare_uuids(const void *a, const void *b)
{
    return memcmp(a, b, UUID_LENGTH);
}

TEST("a UUID is lower-case hexadecimal of version 4 and never the same twice")
{
    enum { MANY = 20000 };
    static char made[MANY][UUID_LENGTH];
    for (unsigned i = 0; i < MANY; i++) {
        uuid_format(made[i]);
        for (unsigned k = 0; k < UUID_LENGTH; k++) {
            bool dash = k == 8 || k == 13 || k == 18 || k == 23;
            CHECK(dash ? made[i][k] == '-' : strchr("0123456789abcdef", made[i][k]) != NULL);
        }
        CHECK(made[i][14] == '4' && strchr("89ab", made[i][19]));
    }
    qsort(made, MANY, UUID_LENGTH, compare_uuids);
    for (unsigned i = 1; i < MANY; i++)
        CHECK(memcmp(made[i - 1], made[i], UUID_LENGTH) != 0);
}

static void *draw(void *into)
{
    random_bytes(into, 64);
    return NULL;
}

TEST("threads draw from streams of their own, and all bit values come up")
{
    unsigned char first[64], second[64], many[4096];
    unsigned ones = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, draw, first);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, draw, second);
    pthread_join(thread, NULL);
    CHECK(memcmp(first, second, sizeof first) != 0);
    random_bytes(many, sizeof many);
    for (unsigned i = 0; i < sizeof many; i++)
        ones += (unsigned)__builtin_popcount(many[i]);
    CHECK(ones > 15000 && ones < 17800); /* 16,384 expected; a bound that chance passes once in 10^20 */
}

TEST("equal texts hash alike, others do not")
{
    CHECK(hash_slice(SLICE("alice")) == hash_slice(slice_from_string("alice")));
    CHECK(hash_slice(SLICE("alice")) != hash_slice(SLICE("alicf")));
}
