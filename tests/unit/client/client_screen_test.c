/* What `luaduct top` and the lists are made of: numbers for people, widths, who comes first. */
#include <stdlib.h>

#include "../../support/unit.h"
#include "client/screen/charset.h"
#include "client/screen/senders.h"
#include "client/screen/units.h"

static void check_text(const char *text, const char *expected)
{
    CHECK_TEXT(text, strlen(text), expected);
}

TEST("units: numbers as people read them")
{
    char out[UNITS_SIZE];
    check_text(units_count(0, out), "0");
    check_text(units_count(999.4, out), "999");
    check_text(units_count(1234567, out), "1,234,567");
    check_text(units_count(-1000, out), "-1,000");
    check_text(units_count(1e300, out), "1e+300");
    check_text(units_bytes(1023, out), "1023 B");
    check_text(units_bytes(43200000, out), "41.2 MiB");
    check_text(units_duration(-1, out), "0s");
    check_text(units_duration(59.9, out), "59s");
    check_text(units_duration(729, out), "12m09s");
    check_text(units_duration(3600, out), "1h00m");
    check_text(units_duration(273600, out), "3d04h");
    check_text(units_duration(1e300, out), "1e+300s");
    check_text(units_latency(0.043, out), "43 us");
    check_text(units_latency(1.2, out), "1.20 ms");
    check_text(units_latency(2100, out), "2.10 s");
}

TEST("units: a time is text of ISO 8601 or milliseconds")
{
    int64_t wall_ms = 0;
    char out[UNITS_SIZE];
    CHECK(units_read_time(SLICE("\"2026-01-31T12:00:00.000Z\""), &wall_ms) && wall_ms == 1769860800000);
    CHECK(units_read_time(SLICE("1769860800000"), &wall_ms) && wall_ms == 1769860800000);
    CHECK(!units_read_time(SLICE("1e400"), &wall_ms));
    CHECK(!units_read_time(SLICE("\"soon\""), &wall_ms));
    CHECK(!units_read_time(SLICE("null"), &wall_ms));
    check_text(units_time(SLICE("\"soon\\u001b\""), out), "soon ");
}

TEST("charset: a text is cut between characters, by the columns that it takes")
{
    size_t columns;
    charset_start();
    CHECK(charset_fit(SLICE("abc"), 2, &columns) == 2 && columns == 2);
    CHECK(charset_fit(SLICE("\xc3\xbcx"), 1, &columns) == 2 && columns == 1);
    CHECK(charset_fit(SLICE("\xe6\xbc\xa2\xe5\xad\x97"), 3, &columns) == 3 && columns == 2); /* each takes two */
    CHECK(charset_fit(SLICE("e\xcc\x81x"), 1, &columns) == 3 && columns == 1);               /* an accent takes none */
    CHECK(charset_fit(SLICE("\xff\xe6"), 9, &columns) == 2 && columns == 2);
}

static void check_order(const struct senders *senders, const char *filter, enum sender_order order, bool reversed,
                        const char *expected)
{
    size_t indices[8], count = senders_select(senders, filter, order, reversed, indices), length = strlen(expected);
    CHECK(count == length);
    for (size_t i = 0; i < count && i < length; i++)
        CHECK(senders->entries[indices[i]].id[0] == expected[i]);
}

TEST("senders: rates are what was sent between two answers, and ties stand by id")
{
    static const char first[] = "{\"agents\":[{\"id\":\"b\",\"role\":\"x\",\"messageCount\":10,\"errorCount\":0},"
                                "{\"id\":\"a\",\"role\":\"y\",\"messageCount\":5,\"errorCount\":2}]}";
    static const char second[] = "{\"agents\":[{\"id\":\"c\",\"role\":\"x\",\"messageCount\":8,\"errorCount\":0},"
                                 "{\"id\":\"b\",\"role\":\"x\",\"messageCount\":30,\"errorCount\":0},"
                                 "{\"id\":\"a\",\"role\":\"y\",\"messageCount\":1,\"errorCount\":2}]}";
    struct senders before, now;
    CHECK(senders_read(slice_from_string(first), NULL, 1000000000, &before));
    CHECK(senders_read(slice_from_string(second), &before, 3000000000, &now));
    CHECK(now.entries[0].rate == 0.5); /* a has connected anew */
    CHECK(now.entries[1].rate == 10);
    CHECK(now.entries[2].rate == 4);
    check_order(&now, "", ORDER_RATE, false, "bca");
    check_order(&now, "", ORDER_MESSAGES, false, "bca");
    check_order(&now, "", ORDER_ERRORS, false, "abc");
    check_order(&now, "", ORDER_ID, false, "abc");
    check_order(&now, "", ORDER_ID, true, "cba");
    check_order(&now, "x", ORDER_ID, false, "bc");
    check_order(&now, "nobody", ORDER_ID, false, "");
    senders_free(&before);
    senders_free(&now);
    CHECK(!senders_read(SLICE("{}"), NULL, 0, &now));
    CHECK(!senders_read(SLICE("[]"), NULL, 0, &now));
}
