#include "../../support/unit.h"

#include "runtime/http/http_gate.h"
#include "runtime/limits/limits.h"
#include "runtime/reactor.h"

static const struct peer_address loopback_4 = {{[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 9}};
static const struct peer_address loopback_6 = {{[15] = 1}};
static const struct peer_address elsewhere_4 = {{[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 7}};
static const struct peer_address elsewhere_6 = {{0x20, 0x01, 0x0d, 0xb8}};

static struct config config;

static struct http_gate check(const struct peer_address *address, const char *path, const char *headers)
{
    static struct reactor reactor;
    static struct lane lane = {.owner = &reactor};
    static struct connection connection = {.endpoint.lane = &lane};
    struct http_scan scan = {0};
    struct http_limits limits = {.head_bytes = 16384, .headers = HTTP_HEADERS_MAX, .body_bytes = 100};
    struct http_request request;
    struct http_gate gate;
    char text[1024];
    const char *method = strncmp(path, "OPTIONS ", 8) == 0 ? "" : "GET ";
    int length = snprintf(text, sizeof text, "%s%s HTTP/1.1\r\n%s\r\n", method, path, headers);
    CHECK(http_request_parse(&scan, text, (size_t)length, &limits, &request) == HTTP_DONE);
    reactor.config = &config;
    reactor.standing.config = &config;
    reactor.lane = &lane;
    if (!reactor.standing.access)
        reactor.standing.access = access_policy_load(&config, NULL, text, sizeof text);
    reactor.now_ms = 1000;
    connection.address = *address;
    limits_start(&config);
    http_gate_check(&connection, &request, request.path, &gate);
    return gate;
}

static void with_token(void)
{
    config.auth.required = true;
    config.auth.token = "secret";
}

#define HOST "Host: 127.0.0.1\r\n"
#define RIGHT "Authorization: Bearer secret\r\n"
#define WRONG "Authorization: Bearer other\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"

TEST("without a credential lets everyone in, and makes those on this machine administrators")
{
    CHECK(check(&loopback_4, "/agents", HOST).code == CODE_OK && check(&loopback_4, "/agents", HOST).admin);
    CHECK(check(&loopback_6, "/agents", HOST).admin);
    CHECK(check(&elsewhere_4, "/agents", HOST).code == CODE_OK && !check(&elsewhere_4, "/agents", HOST).admin);
    CHECK(check(&elsewhere_6, "/agents", HOST).code == CODE_OK && !check(&elsewhere_6, "/agents", HOST).admin);
}

TEST("asks those elsewhere for the token even for health, readiness and metrics")
{
    with_token();
    const char *probes[] = {"/health", "/ready", "/metrics"};
    for (unsigned i = 0; i < 3; i++) {
        CHECK(check(&loopback_4, probes[i], HOST).code == CODE_OK);
        CHECK(check(&loopback_6, probes[i], HOST).code == CODE_OK);
        CHECK(check(&elsewhere_4, probes[i], HOST).code == CODE_UNAUTHORIZED);
        CHECK(check(&elsewhere_6, probes[i], HOST).code == CODE_UNAUTHORIZED);
        CHECK(check(&elsewhere_4, probes[i], HOST RIGHT).code == CODE_OK);
    }
    CHECK(check(&loopback_4, "/agents", HOST).code == CODE_UNAUTHORIZED);
}

TEST("makes nobody an administrator by the shared token unless the configuration says so")
{
    with_token();
    CHECK(check(&loopback_4, "/agents", HOST RIGHT).code == CODE_OK);
    CHECK(!check(&loopback_4, "/agents", HOST RIGHT).admin);
    CHECK(!check(&loopback_4, "/health", HOST).admin);
    config.auth.token_is_admin = true;
    CHECK(check(&elsewhere_4, "/agents", HOST RIGHT).admin);
    CHECK(!check(&loopback_4, "/health", HOST).admin);
}

TEST("takes no token that is wrong, given twice or of another scheme")
{
    with_token();
    CHECK(check(&loopback_4, "/agents", HOST WRONG).code == CODE_UNAUTHORIZED);
    CHECK(check(&loopback_4, "/agents", HOST RIGHT RIGHT).code == CODE_UNAUTHORIZED);
    CHECK(check(&loopback_4, "/agents", HOST RIGHT WRONG).code == CODE_UNAUTHORIZED);
    CHECK(check(&loopback_4, "/agents", HOST "Authorization: Basic secret\r\n").code == CODE_UNAUTHORIZED);
    CHECK(check(&loopback_4, "/agents", HOST "Authorization: Bearer\r\n").code == CODE_UNAUTHORIZED);
}

TEST("lets an upgrade bring its token later, but not a wrong one")
{
    with_token();
    CHECK(check(&elsewhere_4, "/", HOST UPGRADE).code == CODE_OK && !check(&elsewhere_4, "/", HOST UPGRADE).identity);
    CHECK(check(&elsewhere_4, "/", HOST UPGRADE RIGHT).identity);
    CHECK(check(&elsewhere_4, "/", HOST UPGRADE WRONG).code == CODE_UNAUTHORIZED);
}

TEST("refuses an origin before it looks at the token, and answers a preflight before it too")
{
    char *allowed[] = {"https://good.example"};
    with_token();
    config.http.cors_origins.items = allowed;
    config.http.cors_origins.count = 1;
    CHECK(check(&loopback_4, "/agents", HOST RIGHT "Origin: https://evil.example\r\n").code == CODE_FORBIDDEN);
    struct http_gate gate = check(&loopback_4, "OPTIONS /agents", HOST "Origin: https://good.example\r\n");
    CHECK(gate.code == CODE_OK && gate.preflight);
    CHECK_TEXT(gate.origin.data, gate.origin.length, "https://good.example");
    struct http_gate both =
        check(&loopback_4, "/agents", HOST RIGHT "Origin: https://good.example\r\nOrigin: https://evil.example\r\n");
    CHECK(both.code == CODE_FORBIDDEN && both.origin.length == 0);
    CHECK(check(&loopback_4, "/agents", HOST RIGHT).code == CODE_OK);
}

TEST("counts preflights with other requests, and what is refused for its origin by itself")
{
    with_token();
    config.http.rate_max = 2;
    config.http.rate_window_ms = 60000;
    CHECK(check(&loopback_4, "/agents", HOST "Origin: https://evil.example\r\n").code == CODE_FORBIDDEN);
    CHECK(check(&loopback_4, "/health", HOST "Origin: https://evil.example\r\n").code == CODE_FORBIDDEN);
    CHECK(check(&loopback_4, "/", HOST UPGRADE "Origin: https://evil.example\r\n").code == CODE_RATE_LIMITED);
    CHECK(check(&loopback_4, "/agents", HOST RIGHT).code == CODE_OK);
    CHECK(check(&loopback_4, "OPTIONS /agents", HOST).preflight);
    struct http_gate third = check(&loopback_4, "OPTIONS /agents", HOST);
    CHECK(third.code == CODE_RATE_LIMITED && !third.preflight && third.retry_after == 60);
    CHECK(check(&loopback_4, "/agents", HOST RIGHT).code == CODE_RATE_LIMITED);
}

TEST("counts a wrong token against the rate, and neither probes nor upgrades")
{
    with_token();
    config.http.rate_max = 2;
    config.http.rate_window_ms = 60000;
    for (int i = 0; i < 5; i++) {
        CHECK(check(&elsewhere_4, "/metrics", HOST RIGHT).code == CODE_OK);
        CHECK(check(&elsewhere_4, "/", HOST UPGRADE).code == CODE_OK);
    }
    CHECK(check(&elsewhere_4, "/agents", HOST WRONG).code == CODE_UNAUTHORIZED);
    CHECK(check(&elsewhere_4, "/agents", HOST WRONG).code == CODE_UNAUTHORIZED);
    struct http_gate third = check(&elsewhere_4, "/agents", HOST RIGHT);
    CHECK(third.code == CODE_RATE_LIMITED && third.retry_after == 60);
    CHECK(check(&elsewhere_6, "/agents", HOST RIGHT).code == CODE_OK);
}

TEST("counts wrong tokens of upgrades and probes by themselves, and looks at none past the rate")
{
    with_token();
    config.http.rate_max = 2;
    config.http.rate_window_ms = 60000;
    for (int i = 0; i < 5; i++)
        CHECK(check(&elsewhere_4, "/", HOST UPGRADE RIGHT).code == CODE_OK);
    CHECK(check(&elsewhere_4, "/", HOST UPGRADE WRONG).code == CODE_UNAUTHORIZED);
    CHECK(check(&elsewhere_4, "/metrics", HOST WRONG).code == CODE_UNAUTHORIZED);
    struct http_gate upgrade = check(&elsewhere_4, "/", HOST UPGRADE RIGHT);
    CHECK(upgrade.code == CODE_RATE_LIMITED && upgrade.retry_after == 60);
    CHECK(check(&elsewhere_4, "/metrics", HOST RIGHT).code == CODE_RATE_LIMITED);
    CHECK(check(&elsewhere_4, "/agents", HOST RIGHT).code == CODE_OK);
    CHECK(check(&elsewhere_4, "/", HOST UPGRADE).code == CODE_OK);
    CHECK(check(&elsewhere_6, "/", HOST UPGRADE RIGHT).code == CODE_OK);
}

TEST("holds the host to account only while there is no credential")
{
    CHECK(check(&loopback_4, "/health", "Host: rebound.example\r\n").code == CODE_FORBIDDEN);
    CHECK(check(&loopback_4, "/", "Host: rebound.example\r\n" UPGRADE).code == CODE_FORBIDDEN);
    with_token();
    CHECK(check(&loopback_4, "/agents", "Host: bridge.example\r\n" RIGHT).code == CODE_OK);
}

TEST("keeps WebSockets off the paths that are reserved")
{
    CHECK(http_gate_path_reserved(SLICE("/events")) && http_gate_path_reserved(SLICE("/console")));
    CHECK(http_gate_path_reserved(SLICE("/admin")) && http_gate_path_reserved(SLICE("/admin/x")));
    CHECK(http_gate_path_reserved(SLICE("/console/")) && http_gate_path_reserved(SLICE("/console/assets/x")));
    CHECK(!http_gate_path_reserved(SLICE("/consoles")) && !http_gate_path_reserved(SLICE("/consol")));
    CHECK(!http_gate_path_reserved(SLICE("/administrators")) && !http_gate_path_reserved(SLICE("/")));
    CHECK(!http_gate_path_reserved(SLICE("/events/x")));
}
