#include "../../support/unit.h"

#include "protocol/http/url.h"

static char buffer[64];

#define CHECK_DECODED(decode, text, expected)                                                                          \
    do {                                                                                                               \
        size_t decoded_ = 0;                                                                                           \
        CHECK(decode(SLICE(text), buffer, sizeof(buffer), &decoded_));                                                 \
        CHECK_TEXT(buffer, decoded_, expected);                                                                        \
    } while (0)

TEST("decodes percent escapes in paths and leaves the plus sign")
{
    CHECK_DECODED(url_decode_path, "/a%20b%2Fc+d", "/a b/c+d");
    CHECK_DECODED(url_decode_path, "%e2%82%aC", "\xe2\x82\xac");
    CHECK_DECODED(url_decode_path, "", "");
    CHECK_DECODED(url_decode_path, "%2541", "%41");
}

TEST("decodes the plus sign of a query as a space")
{
    CHECK_DECODED(url_decode_query, "a+b%2Bc", "a b+c");
}

TEST("refuses escapes that are cut short or not hexadecimal, and NUL")
{
    size_t length = 99;
    const struct slice bad[] = {SLICE("%"),   SLICE("a%4"),  SLICE("%4g"),  SLICE("%g4"), SLICE("%%41"),
                                SLICE("%00"), SLICE("a\0b"), SLICE("% 41"), SLICE("%+1"), SLICE("%u0041")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!url_decode_path(bad[i], buffer, sizeof(buffer), &length));
        CHECK(!url_decode_query(bad[i], buffer, sizeof(buffer), &length));
    }
    CHECK(length == 99);
}

TEST("decodes only what has room")
{
    size_t length;
    CHECK(url_decode_path(SLICE("%41bc"), buffer, 3, &length));
    CHECK(!url_decode_path(SLICE("%41bc"), buffer, 2, &length));
}

TEST("gives the parameters of a query in order")
{
    struct slice rest = SLICE("limit=10&&agentId=a%26b&flag&=v&x=1=2&"), name, value;
    const char *const expected[][2] = {{"limit", "10"}, {"agentId", "a%26b"}, {"flag", ""}, {"", "v"}, {"x", "1=2"}};
    for (size_t i = 0; i < 5; i++) {
        CHECK(url_query_next(&rest, &name, &value));
        CHECK_TEXT(name.data, name.length, expected[i][0]);
        CHECK_TEXT(value.data, value.length, expected[i][1]);
    }
    CHECK(!url_query_next(&rest, &name, &value));
    CHECK(!url_query_next(&rest, &name, &value));
    rest = slice_from(NULL, 0);
    CHECK(!url_query_next(&rest, &name, &value));
}

TEST("reads hosts as name, IPv4 or IPv6 with an optional port")
{
    struct url_authority authority;
    CHECK(url_authority_parse(SLICE("Bridge_1.example:4568"), &authority));
    CHECK_TEXT(authority.host.data, authority.host.length, "Bridge_1.example");
    CHECK(authority.kind == URL_HOST_NAME && authority.has_port && authority.port == 4568);
    CHECK(url_authority_parse(SLICE("127.0.0.1"), &authority));
    CHECK(authority.kind == URL_HOST_IPV4 && !authority.has_port);
    CHECK(url_authority_parse(SLICE("[::1]:65535"), &authority));
    CHECK_TEXT(authority.host.data, authority.host.length, "::1");
    CHECK(authority.kind == URL_HOST_IPV6 && authority.port == 65535);
    CHECK(url_authority_parse(SLICE("[::ffff:10.0.0.1]"), &authority));
    CHECK(url_authority_parse(SLICE("a:"), &authority));
    CHECK(!authority.has_port);
    /* A browser would read these as addresses; as a Host they are names, and names have to be listed. */
    CHECK(url_authority_parse(SLICE("0x7f.1"), &authority) && authority.kind == URL_HOST_NAME);
    CHECK(url_authority_parse(SLICE("2130706433"), &authority) && authority.kind == URL_HOST_NAME);
    CHECK(url_authority_parse(SLICE("127.0.0.1."), &authority) && authority.kind == URL_HOST_NAME);
}

TEST("refuses what is not host[:port]")
{
    const struct slice bad[] = {
        SLICE(""),        SLICE(":80"),   SLICE("a:65536"),     SLICE("a:123456"),    SLICE("a:8x"),
        SLICE("a:-1"),    SLICE("a:1:2"), SLICE("::1"),         SLICE("[::1"),        SLICE("[]"),
        SLICE("[::1]80"), SLICE("[a]"),   SLICE("[127.0.0.1]"), SLICE("[fe80::1%1]"), SLICE("[v1.a]"),
        SLICE("u@a"),     SLICE("a,b"),   SLICE("a b"),         SLICE("a/b"),         SLICE("a\0b"),
        SLICE("[::1\0]"), SLICE("a%41"),  SLICE("\xc3\xa9"),    SLICE("*"),
    };
    struct url_authority authority;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!url_authority_parse(bad[i], &authority));
}
