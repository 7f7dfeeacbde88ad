#include "../../support/unit.h"

#include "protocol/http/origin.h"

static const struct slice http = {"http", 4}, https = {"https", 5};
static const struct slice listed[] = {{"https://app.example", 19}, {"http://localhost:3000", 21}};

TEST("lets origins of the list pass and no similar ones")
{
    struct slice host = SLICE("bridge:4568");
    CHECK(origin_allowed(SLICE("https://app.example"), http, host, listed, 2));
    CHECK(origin_allowed(SLICE("http://LOCALHOST:3000"), http, host, listed, 2));
    CHECK(!origin_allowed(SLICE("http://app.example"), http, host, listed, 2));
    CHECK(!origin_allowed(SLICE("https://app.example.evil"), http, host, listed, 2));
    CHECK(!origin_allowed(SLICE("https://app.example:8443"), http, host, listed, 2));
    CHECK(!origin_allowed(SLICE("https://xapp.example"), http, host, listed, 2));
    CHECK(!origin_allowed(SLICE("http://localhost"), http, host, listed, 2));
    CHECK(!origin_allowed(SLICE("null"), http, host, listed, 2));
    CHECK(!origin_allowed(SLICE(""), http, host, listed, 2));
}

TEST("lets any origin pass when the list says *")
{
    const struct slice any = SLICE("*");
    CHECK(origin_allowed(SLICE("https://evil.example"), http, SLICE("a"), &any, 1));
    CHECK(origin_allowed(SLICE("null"), http, SLICE("a"), &any, 1));
    CHECK(!origin_allowed(SLICE("*"), http, SLICE("a"), listed, 2));
}

TEST("lets the bridge's own origin pass: scheme and Host equal")
{
    CHECK(origin_allowed(SLICE("http://localhost:4568"), http, SLICE("LocalHost:4568"), NULL, 0));
    CHECK(origin_allowed(SLICE("http://[::1]:4568"), http, SLICE("[::1]:4568"), NULL, 0));
    CHECK(origin_allowed(SLICE("http://a"), http, SLICE("a:80"), NULL, 0));
    CHECK(origin_allowed(SLICE("https://a:443"), https, SLICE("a"), NULL, 0));
    CHECK(!origin_allowed(SLICE("http://localhost:3000"), http, SLICE("localhost:4568"), NULL, 0));
    CHECK(!origin_allowed(SLICE("https://localhost:4568"), http, SLICE("localhost:4568"), NULL, 0));
    CHECK(!origin_allowed(SLICE("http://localhost:4568"), https, SLICE("localhost:4568"), NULL, 0));
    CHECK(!origin_allowed(SLICE("http://a:443"), https, SLICE("a"), NULL, 0));
    CHECK(!origin_allowed(SLICE("http://evil:4568"), http, SLICE("localhost:4568"), NULL, 0));
    CHECK(!origin_allowed(SLICE("http://localhost:4568/x"), http, SLICE("localhost:4568"), NULL, 0));
    CHECK(!origin_allowed(SLICE("http://u@localhost:4568"), http, SLICE("localhost:4568"), NULL, 0));
    CHECK(!origin_allowed(SLICE("null"), http, SLICE("null"), NULL, 0));
    CHECK(!origin_allowed(SLICE("http://"), http, SLICE(""), NULL, 0));
    CHECK(!origin_allowed(SLICE("http://::1"), http, SLICE("[::1]"), NULL, 0));
}

TEST("lets address literals and localhost pass as Host, with any port")
{
    const char *const good[] = {"127.0.0.1", "127.0.0.1:4568", "10.1.2.3:1", "[::1]",      "[::1]:4568",
                                "localhost", "localhost:4568", "LOCALHOST",  "localhost.", "localhost.:80"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        CHECK(origin_host_allowed(slice_from_string(good[i]), NULL, 0));
}

TEST("refuses names as Host that could have been rebound")
{
    const char *const bad[] = {"evil.example",
                               "localhost.evil.example",
                               "a.localhost",
                               "localhost..",
                               "127.0.0.1.",
                               "0x7f.1",
                               "127.1",
                               "2130706433",
                               "",
                               ".",
                               "::1",
                               "[::1",
                               "[::1%1]",
                               "localhost:x",
                               "127.0.0.1.evil.example"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!origin_host_allowed(slice_from_string(bad[i]), NULL, 0));
}

TEST("lets listed names pass as Host, with the entry's port where it has one")
{
    const struct slice hosts[] = {SLICE("bridge.example"), SLICE("other:4568"), SLICE("*")};
    CHECK(origin_host_allowed(SLICE("Bridge.Example"), hosts, 3));
    CHECK(origin_host_allowed(SLICE("bridge.example.:99"), hosts, 3));
    CHECK(origin_host_allowed(SLICE("other:4568"), hosts, 3));
    CHECK(!origin_host_allowed(SLICE("other"), hosts, 3));
    CHECK(!origin_host_allowed(SLICE("other:4567"), hosts, 3));
    CHECK(!origin_host_allowed(SLICE("sub.bridge.example"), hosts, 3));
}
