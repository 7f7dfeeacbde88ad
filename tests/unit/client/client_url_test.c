#include "../../support/unit.h"

#include "client/arguments/bridge_url.h"

static void check_parts(const char *text, const char *host, const char *port, const char *path)
{
    struct bridge_url url;
    const char *wrong = bridge_url_parse(text, &url);
    if (wrong)
        fprintf(stderr, "%s: %s\n", text, wrong);
    CHECK(!wrong);
    CHECK_TEXT(url.host, strlen(url.host), host);
    CHECK_TEXT(url.port, strlen(url.port), port);
    CHECK_TEXT(url.path, strlen(url.path), path);
}

TEST("bridge url: takes host, port and path apart")
{
    check_parts("ws://127.0.0.1:4567", "127.0.0.1", "4567", "/");
    check_parts("http://bridge.example:80/a/b?c=d", "bridge.example", "80", "/a/b?c=d");
    check_parts("ws://localhost:1/?x", "localhost", "1", "/?x");
    check_parts("ws://localhost:1?x", "localhost", "1", "/?x");
    check_parts("ws://localhost:1/a#fragment", "localhost", "1", "/a");
    check_parts("WS://HOST:65535", "HOST", "65535", "/");
}

TEST("bridge url: a port that is not said is 80, as RFC 6455 has it")
{
    check_parts("ws://host", "host", "80", "/");
    check_parts("http://host/", "host", "80", "/");
}

TEST("bridge url: an IPv6 address stands in brackets, and in brackets again in the authority")
{
    struct bridge_url url;
    char authority[BRIDGE_URL_AUTHORITY_SIZE];
    check_parts("ws://[::1]:4567/x", "::1", "4567", "/x");
    check_parts("ws://[::1]", "::1", "80", "/");
    CHECK(!bridge_url_parse("ws://[::1]:4567", &url));
    bridge_url_authority(&url, authority);
    CHECK_TEXT(authority, strlen(authority), "[::1]:4567");
    CHECK(!bridge_url_parse("ws://name:1", &url));
    bridge_url_authority(&url, authority);
    CHECK_TEXT(authority, strlen(authority), "name:1");
}

TEST("bridge url: refuses what it cannot reach or what could break a request line")
{
    static const char *const wrong[] = {
        "",
        "localhost:4567",
        "ftp://host",
        "ws:/host",
        "ws://",
        "ws://:80",
        "ws://host:0",
        "ws://host:65536",
        "ws://host:x",
        "ws://user@host",
        "ws://[::1",
        "ws://[::1]x",
        "ws://ho st",
        "ws://host/a b",
        "ws://host/\n",
        "ws://host\r\n/x",
        "ws://host/\x7f",
        "ws://host/\xc3\xa4",
        "ws://host:-1",
    };
    struct bridge_url url;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (!bridge_url_parse(wrong[i], &url))
            fprintf(stderr, "taken: %s\n", wrong[i]);
        CHECK(bridge_url_parse(wrong[i], &url));
    }
}

TEST("bridge url: wss and https stand for TLS, on port 443 unless another is named")
{
    static const struct {
        const char *text;
        bool secure;
    } known[] = {{"ws://host", false},   {"http://host", false}, {"wss://host", true},
                 {"https://host", true}, {"WSS://host", true},   {"unix:/a/b", false}};
    struct bridge_url url;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        CHECK(!bridge_url_parse(known[i].text, &url));
        CHECK(url.secure == known[i].secure);
        CHECK(!url.tls);
    }
    check_parts("wss://host", "host", "443", "/");
    check_parts("https://[::1]:4567/a", "::1", "4567", "/a");
}

TEST("bridge url: refuses a host or a path that is longer than there is room for")
{
    char text[2048] = "ws://";
    struct bridge_url url;
    memset(text + 5, 'h', 300);
    CHECK(bridge_url_parse(text, &url));
    strcpy(text, "ws://host/");
    memset(text + 10, 'p', 600);
    CHECK(bridge_url_parse(text, &url));
    text[10 + 500] = '\0';
    CHECK(!bridge_url_parse(text, &url));
}
