#include "../../support/unit.h"

#include "net/address.h"

static bool is_in(const char *address, const char *range)
{
    struct address parsed;
    struct address_range item;
    CHECK(address_parse(slice_from_string(address), false, &parsed));
    CHECK(address_range_parse(slice_from_string(range), &item));
    return address_in_any(&parsed, &(struct address_ranges){&item, 1});
}

static bool is_range(const char *text)
{
    struct address_range range;
    return address_range_parse(slice_from_string(text), &range);
}

static bool is_address(const char *text, bool suffixes)
{
    struct address address;
    return address_parse(slice_from_string(text), suffixes, &address);
}

TEST("address: ranges hold what their bits say")
{
    CHECK(is_in("10.1.2.3", "10.0.0.0/8") && !is_in("11.1.2.3", "10.0.0.0/8"));
    CHECK(is_in("192.0.2.127", "192.0.2.0/25") && !is_in("192.0.2.128", "192.0.2.0/25"));
    CHECK(is_in("192.0.2.1", "192.0.2.1") && !is_in("192.0.2.2", "192.0.2.1"));
    CHECK(is_in("203.0.113.9", "0.0.0.0/0") && !is_in("2001:db8::1", "0.0.0.0/0"));
    CHECK(is_in("2001:db8:1::5", "2001:db8::/32") && !is_in("2001:db9::5", "2001:db8::/32"));
    CHECK(is_in("::ffff:10.0.0.1", "10.0.0.0/8"));
    CHECK(is_in("2001:db8::1", "::/0") && is_in("10.0.0.1", "::/0"));
    CHECK(is_in("::1", "::1") && !is_in("::2", "::1"));
}

TEST("address: what is no range is none")
{
    const char *wrong[] = {"",           "10.0.0.0/33", "10.0.0.1/8",  "10.0.0.0/",   "10.0.0.0/8/8", "10.0.0/8", "a",
                           "2001::/129", "1::2::3",     "10.0.0.0/-1", "10.0.0.0/0x", "/8",           "010.0.0.1"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!is_range(wrong[i]));
}

TEST("address: proxies may write a port, and brackets")
{
    const char *right[] = {"192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:65535", "::1"};
    for (unsigned i = 0; i < sizeof right / sizeof *right; i++)
        CHECK(is_address(right[i], true));
    const char *wrong[] = {"",       "unknown", "_hidden", "192.0.2.1:",       "192.0.2.1:x", "[192.0.2.1]", "[::1",
                           "[::1]x", "::1%lo",  "[]",      "192.0.2.1:123456", "[::1]:",      " 192.0.2.1"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!is_address(wrong[i], true));
    CHECK(!is_address("192.0.2.1:80", false) && !is_address("[::1]", false));
    struct address address;
    CHECK(!address_parse(SLICE("1.2.3.4\0x"), false, &address));
}
