#include "../../support/unit.h"

#include "client/bench/bench_tally.h"
#include "client/connection/http_head.h"

static uint64_t counted(const struct tally *tally, const char *name)
{
    for (unsigned i = 0; i < tally->count; i++)
        if (strcmp(tally->codes[i].name, name) == 0)
            return tally->codes[i].count;
    return 0;
}

TEST("load generator: refusals count by their code, closes by their status, the rest as unknown")
{
    struct tally tally = {0};
    tally_count_answer(&tally, SLICE("{\"type\":\"error\",\"error\":\"\",\"code\":\"mailbox_full\"}"));
    tally_count_answer(&tally, SLICE("{\"error\":\"\",\"code\":\"mailbox_full\",\"id\":\"e\"}"));
    tally_count_answer(&tally, SLICE("\x03\xf5too slow"));
    tally_count_answer(&tally, SLICE("{\"code\":\"<script>\"}"));
    tally_count_answer(&tally, SLICE("{\"code\":\"cut"));
    tally_count_answer(&tally, SLICE("an upgrade that was refused"));
    tally_count_answer(&tally, SLICE(""));
    CHECK(counted(&tally, "mailbox_full") == 2);
    CHECK(counted(&tally, "closed_1013") == 1);
    CHECK(counted(&tally, "unknown") == 4);
    CHECK(tally.count == 3);
}

TEST("load generator: more codes than there is room for count as other")
{
    struct tally tally = {0};
    char name[16];
    for (int i = 0; i < 100; i++) {
        int length = snprintf(name, sizeof name, "code_%d", i);
        tally_count(&tally, slice_from(name, (size_t)length));
    }
    CHECK(tally.count == TALLY_CODES);
    CHECK(counted(&tally, "code_0") == 1);
    CHECK(counted(&tally, "other") == 100 - (TALLY_CODES - 1));
}

TEST("http client: a head says where its body ends and whether the connection does")
{
    struct http_head head = {0};
    CHECK(http_head_read(SLICE("HTTP/1.1 202 Accepted\r\nContent-Le"), &head) && head.length == 0);
    CHECK(http_head_read(SLICE("HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\nconnection: close\r\n\r\nbody"), &head));
    CHECK(head.status == 202 && head.has_length && head.content_length == 12 && head.closes && !head.chunked);
    CHECK(!http_head_read(SLICE("SMTP ready\r\n\r\n"), &head));
}
