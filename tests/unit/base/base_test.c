#include "../../support/unit.h"

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

TEST("the keyed hash is SipHash: the vectors of its paper's appendix A and of its reference code")
{
    const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    char text[64];
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = (char)i;
    CHECK(hash_sip(key, 2, 4, slice_from(text, 15)) == 0xa129ca6149be45e5u);
    CHECK(hash_sip(key, 2, 4, slice_from(text, 0)) == 0x726fdb47dd0e0e31u);
    CHECK(hash_sip(key, 2, 4, slice_from(text, 8)) == 0x93f5f5799a932462u);
    CHECK(hash_sip(key, 2, 4, slice_from(text, 63)) == 0x958a324ceb064572u);
}

TEST("equal texts hash alike, others do not")
{
    CHECK(hash_slice(SLICE("alice")) == hash_slice(slice_from_string("alice")));
    CHECK(hash_slice(SLICE("alice")) != hash_slice(SLICE("alicf")));
}

TEST("a time of ISO 8601 is read with its zone, and what is none is refused")
{
    static const struct {
        const char *text;
        int64_t wall_ms;
    } good[] = {{"1970-01-01T00:00:00Z", 0},
                {"2026-01-31T12:00Z", 1769860800000},
                {"2026-01-31T12:00:00.000Z", 1769860800000},
                {"2026-01-31t12:00:00,25z", 1769860800250},
                {"2026-01-31 13:30:00.1239+01:30", 1769860800123},
                {"2026-01-31T08:00:00-0400", 1769860800000},
                {"2026-01-31T13:00:00+01", 1769860800000},
                {"2024-02-29T23:59:60Z", 1709251200000},
                {"1969-12-31T23:59:59.999Z", -1},
                {"0000-03-01T00:00:00Z", -62162035200000}};
    static const char *const bad[] = {
        "",       "2026-01-31",        "2026-01-31T12:00:00",   "2026-02-29T12:00:00Z", "2026-13-01T12:00:00Z",
        "now",    "2026-01-31T24:00Z", "2026-01-31T12:60Z",     "2026-01-31T12:00:61Z", "2026-01-31T12:00:00.Z",
        "202-01", "2026-01-00T12:00Z", "2026-01-31T12:00:00ZZ", "2026-01-31T12:00+1",   "2026-01-31T12:00+24:00",
        "2026",   "2026-1-31T12:00Z",  "2026-01-31T12Z",        "2026-01-31T12:00+01:", "9999-12-31T23:59-00:01"};
    int64_t wall_ms;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(clock_parse_iso(slice_from_string(good[i].text), &wall_ms) && wall_ms == good[i].wall_ms);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!clock_parse_iso(slice_from_string(bad[i]), &wall_ms));
    /* The reverse of clock_format_iso. */
    for (int64_t ms = 0; ms < 253402300800000; ms += INT64_C(8380799903)) {
        char text[CLOCK_ISO_LENGTH];
        clock_format_iso(ms, text);
        CHECK(clock_parse_iso(slice_from(text, sizeof text), &wall_ms) && wall_ms == ms);
    }
}
