/* HAProxy, "The PROXY protocol", 2.1 and 2.2. */
#include "../../support/unit.h"

#include "protocol/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* Whole; and for each prefix of what is a header, that more is needed. */
static enum proxy_step parse(struct slice bytes, struct proxy_header *out)
{
    enum proxy_step step = proxy_header_parse(bytes, out);
    struct proxy_header part;
    if (step == PROXY_DONE)
        for (size_t i = 0; i < out->length; i++)
            CHECK(proxy_header_parse(slice_from(bytes.data, i), &part) == PROXY_NEED_BYTES);
    return step;
}

static bool names(struct slice bytes, const char *address)
{
    struct proxy_header header;
    struct address expected;
    CHECK(address_parse(slice_from_string(address), false, &expected));
    return parse(bytes, &header) == PROXY_DONE && header.known && !header.local &&
           memcmp(&header.source, &expected, sizeof expected) == 0;
}

static bool fails(struct slice bytes)
{
    struct proxy_header header;
    return parse(bytes, &header) == PROXY_FAIL;
}

TEST("proxy header: version 1 names the peer, and ends with its line")
{
    struct proxy_header header;
    CHECK(names(SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET /"), "192.0.2.1"));
    CHECK(parse(SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET /"), &header) == PROXY_DONE);
    CHECK(header.length == sizeof "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n" - 1);
    CHECK(names(SLICE("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), "2001:db8::1"));
    CHECK(names(SLICE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                      "65535 65535\r\n"),
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    CHECK(parse(SLICE("PROXY UNKNOWN\r\n"), &header) == PROXY_DONE && !header.known && !header.local);
    CHECK(parse(SLICE("PROXY UNKNOWN whatever 1 2 3\r\n"), &header) == PROXY_DONE && !header.known);
}

TEST("proxy header: what is no line of version 1 is refused")
{
    const struct slice wrong[] = {
        SLICE("GET / HTTP/1.1\r\n"),
        SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n"),
        SLICE("PROXY\r\n"),
        SLICE("PROXY \r\n"),
        SLICE("PROXY TCP4\r\n"),
        SLICE("PROXY TCP5 192.0.2.1 198.51.100.7 56324 443\r\n"),
        SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n"),
        SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n"),
        SLICE("PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n"),
        SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 56324 65536\r\n"),
        SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n"),
        SLICE("PROXY TCP4 192.0.2.1 198.51.100.7 01 443\r\n"),
        SLICE("PROXY TCP4 192.0.2.256 198.51.100.7 1 443\r\n"),
        SLICE("PROXY TCP4 2001:db8::1 ::1 1 443\r\n"),
        SLICE("PROXY TCP6 192.0.2.1 198.51.100.7 1 443\r\n"),
        SLICE("PROXY TCP4 192.0.2.1\0 198.51.100.7 1 443\r\n"),
        SLICE("PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
              "xxxxxxxxxxxxxxxxx\r\n"),
        SLICE("proxy TCP4 192.0.2.1 198.51.100.7 1 443\r\n"),
        SLICE("\x16\x03\x01"),
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(fails(wrong[i]));
}

TEST("proxy header: version 2 names the peer, and its extensions are passed over")
{
    struct proxy_header header;
    const struct slice ipv4 = SLICE(SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"
                                              "rest");
    CHECK(names(ipv4, "192.0.2.1"));
    CHECK(parse(ipv4, &header) == PROXY_DONE && header.length == 28);
    CHECK(names(SLICE(SIGNATURE
                      "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                      "\0\x01\0\x02"),
                "2001:db8::1"));
    const struct slice extended =
        SLICE(SIGNATURE "\x21\x11\0\x10\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb\x04\0\x01x");
    CHECK(names(extended, "192.0.2.1"));
    CHECK(parse(extended, &header) == PROXY_DONE && header.length == 32);
    CHECK(parse(SLICE(SIGNATURE "\x20\0\0\0"), &header) == PROXY_DONE && header.local && !header.known);
    CHECK(parse(SLICE(SIGNATURE "\x20\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"), &header) == PROXY_DONE && header.local);
    CHECK(parse(SLICE(SIGNATURE "\x21\0\0\0"), &header) == PROXY_DONE && !header.known && !header.local);
    CHECK(parse(SLICE(SIGNATURE "\x21\x31\0\x02xx"), &header) == PROXY_DONE && !header.known);
}

TEST("proxy header: what is no header of version 2 is refused")
{
    const struct slice wrong[] = {
        SLICE("\r\n\r\n\0\r\nQUIT\r"),
        SLICE("\r\nGET"),
        SLICE(SIGNATURE "\x11\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"),
        SLICE(SIGNATURE "\x22\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"),
        SLICE(SIGNATURE "\x21\x11\0\x0b\0\0\0\0\0\0\0\0\0\0\0"),
        SLICE(SIGNATURE "\x21\x21\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"),
        SLICE(SIGNATURE "\x21\x12\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"),
        SLICE(SIGNATURE "\x21\x41\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"),
        SLICE(SIGNATURE "\x21\x13\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"),
        SLICE(SIGNATURE "\x21\x11\xff\xff"),
        SLICE(SIGNATURE "\x20\0\x07\xf1"),
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(fails(wrong[i]));
}
