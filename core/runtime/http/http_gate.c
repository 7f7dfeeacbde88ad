/* The order matters. A web page that was not let in learns nothing, not even whether its token is right; a preflight
 * carries no token (Fetch standard, CORS-preflight fetch), so it is answered before one is asked for; and the rate is
 * counted before the token is looked at, so that tokens cannot be tried at will: of what counts for no rate, upgrades
 * and probes, wrong ones are counted by themselves. */
#include "runtime/http/http_gate.h"

#include <mbedtls/platform_util.h>

#include "protocol/http/origin.h"
#include "runtime/identity/access.h"
#include "runtime/identity/authenticate.h"
#include "runtime/identity/credential.h"
#include "runtime/identity/jwt/verifier.h"
#include "runtime/limits/attempts.h"
#include "runtime/reactor.h"

static bool is_loopback(const struct peer_address *address)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff}, one[16] = {[15] = 1};
    return (memcmp(address->bytes, mapped, sizeof mapped) == 0 && address->bytes[12] == 127) ||
           memcmp(address->bytes, one, sizeof one) == 0;
}

/* Open to anyone on this machine, and not counted: what supervisors and scrapers ask for. */
static bool is_probe(struct slice path)
{
    return slice_equal(path, SLICE("/health")) || slice_equal(path, SLICE("/ready")) ||
           slice_equal(path, SLICE("/metrics"));
}

/* Who does so needs no credential. */
static bool watches_from_here(const struct http_gate *gate, struct slice path)
{
    return is_probe(path) && is_loopback(&gate->address) && !gate->forwarded && !gate->of_unknown_proxy;
}

static bool begins_with(struct slice path, struct slice start)
{
    return path.length >= start.length && memcmp(path.data, start.data, start.length) == 0;
}

/* The folder itself, or something in it. */
static bool is_within(struct slice path, struct slice folder)
{
    return begins_with(path, folder) && (path.length == folder.length || path.data[folder.length] == '/');
}

/* The console's page and what it is made of. They show nothing of the bridge, and come before one can show a
 * credential; also to who follows a link from elsewhere. */
static bool is_console_page(const struct http_request *request, struct slice path)
{
    const struct slice assets = SLICE("/console/assets/");
    return !request->upgrade && (slice_equal(path, SLICE("/console")) || slice_equal(path, SLICE("/console/")) ||
                                 (begins_with(path, assets) && path.length > assets.length));
}

/* Whether a credential is needed is no secret; who has none is told, and nothing else. */
static bool is_console_session(struct slice path)
{
    return slice_equal(path, SLICE("/console/session"));
}

/* While memory is short nothing new begins, but who watches or helps is let in. */
static bool answered_under_pressure(struct slice path)
{
    const struct slice admin = SLICE("/admin/");
    return is_probe(path) || slice_equal(path, SLICE("/events")) || is_within(path, SLICE("/console")) ||
           slice_equal(path, SLICE("/optimization")) || slice_equal(path, SLICE("/alerts")) ||
           (begins_with(path, admin) && path.length > admin.length);
}

bool http_gate_path_reserved(struct slice path)
{
    return is_within(path, SLICE("/admin")) || is_within(path, SLICE("/console")) ||
           slice_equal(path, SLICE("/events"));
}

/* Whose web page asks. */
enum page {
    PAGE_NONE,   /* no browser says so */
    PAGE_OWN,    /* the bridge's own */
    PAGE_LISTED, /* of an origin that the configuration names */
    PAGE_ANY,    /* of another, where the configuration lets any in */
    PAGE_REFUSED,
};

static enum page judge_origin(const struct connection *connection, struct slice origin, struct slice host)
{
    const struct config *config = connection_reactor(connection)->standing.config;
    struct slice own = connection->transport.tls ? SLICE("https") : SLICE("http");
    if (origin_allowed(origin, own, host, NULL, 0))
        return PAGE_OWN;
    for (size_t i = 0; i < config->http.cors_origins.count; i++) {
        struct slice listed = slice_from_string(config->http.cors_origins.items[i]);
        if (!slice_equal(listed, SLICE("*")) && origin_allowed(origin, own, host, &listed, 1))
            return PAGE_LISTED;
    }
    return config->http.cors_any ? PAGE_ANY : PAGE_REFUSED;
}

/* Browsers leave Origin out where a page only fetches or embeds something, but say whose page it is (Fetch Metadata).
 */
static enum page judge_site(const struct config *config, struct slice site)
{
    if (slice_equal(site, SLICE("none")) || slice_equal(site, SLICE("same-origin")))
        return PAGE_NONE;
    return config->http.cors_any ? PAGE_ANY : PAGE_REFUSED;
}

static enum page judge_page(const struct connection *connection, const struct http_request *request,
                            struct slice *origin)
{
    const struct http_header *header = NULL;
    enum page worst = PAGE_NONE;
    while ((header = http_request_header(request, SLICE("origin"), header))) {
        enum page page = judge_origin(connection, header->value, request->host);
        worst = page > worst ? page : worst;
        *origin = header->value;
    }
    while (origin->length == 0 && (header = http_request_header(request, SLICE("sec-fetch-site"), header))) {
        enum page page = judge_site(connection_reactor(connection)->standing.config, header->value);
        worst = page > worst ? page : worst;
    }
    return worst;
}

static bool host_passes(const struct config *config, struct slice host)
{
    if (origin_host_allowed(host, NULL, 0))
        return true;
    for (size_t i = 0; i < config->http.hosts.count; i++) {
        struct slice listed = slice_from_string(config->http.hosts.items[i]);
        if (origin_host_allowed(host, &listed, 1))
            return true;
    }
    return false;
}

static void refuse(struct http_gate *out, enum code code, const char *text)
{
    out->code = code;
    out->text = text;
}

static bool check_browser(const struct connection *connection, const struct http_request *request, bool open_page,
                          enum page *page, struct http_gate *out)
{
    const struct config *config = connection_reactor(connection)->standing.config;
    struct slice origin = {NULL, 0};
    *page = judge_page(connection, request, &origin);
    if (*page == PAGE_REFUSED && !(open_page && origin.length == 0)) {
        access_refused_from(&out->address, REFUSED_ORIGIN, NULL, origin);
        refuse(out, CODE_FORBIDDEN, "this origin is not allowed: see http.corsOrigins");
        return false;
    }
    out->origin = origin;
    if (!config->auth.required && !host_passes(config, request->host)) {
        access_refused_from(&out->address, REFUSED_ORIGIN, NULL, request->host);
        refuse(out, CODE_FORBIDDEN, "this Host is not allowed while no credential is configured: see http.hosts");
        return false;
    }
    return true;
}

/* Two Authorization headers are none that could be trusted, and a scheme that is not ours is a wrong token. */
static enum authentication authenticate(struct connection *connection, const struct http_request *request,
                                        enum page page, struct http_gate *out)
{
    const struct http_header *header = http_request_header(request, SLICE("authorization"), NULL);
    struct credentials shown = {
        .connection = connection, .address = &out->address, .request = request, .foreign_page = page == PAGE_ANY};
    if (header) {
        shown.token = credential_bearer(header->value);
        if (!shown.token.data || http_request_header(request, SLICE("authorization"), header))
            return AUTHENTICATION_WRONG;
    }
    enum authentication result = identity_authenticate(&shown, &out->identity);
    if (result != AUTHENTICATION_WAITS) /* it is not needed any more, and the buffer that it came in is kept */
        mbedtls_platform_zeroize((char *)shown.token.data, shown.token.length);
    return result;
}

static bool may_administer(const struct connection *connection, const struct identity *identity)
{
    struct access_subject who = {.identity = identity};
    return access_may_administer(connection_reactor(connection)->standing.access, &who);
}

/* The request in hand waited for the verifier, and was counted before; those behind it were not. */
static bool counted_before(struct connection *connection)
{
    struct verification *back = connection->verification;
    bool counted = back && !back->checked_again;
    if (back)
        back->checked_again = true;
    return counted;
}

/* A proxy adds the address it got the request from at the end of X-Forwarded-For, so the list is read from there: the
 * first that is no trusted proxy itself is who asks, and what stands before it was said by that one and proves nothing.
 * An entry that is no address ("unknown") ends the list: then it is somebody behind that proxy, and no more is known.
 */
static void read_forwarded(const struct config *config, const struct http_request *request, struct http_gate *out)
{
    struct address address;
    for (unsigned i = request->header_count; i-- > 0;) {
        if (!slice_equal_ignoring_case(request->headers[i].name, SLICE("x-forwarded-for")))
            continue;
        struct slice list = request->headers[i].value;
        out->forwarded = true;
        while (list.length > 0) {
            size_t start = list.length;
            while (start > 0 && list.data[start - 1] != ',')
                start--;
            struct slice entry = slice_trim_space(slice_from(list.data + start, list.length - start));
            if (!address_parse(entry, true, &address))
                return;
            out->address = peer_address_of(&address);
            if (!address_in_any(&address, &config->limits.trusted_proxies))
                return;
            list.length = start > 0 ? start - 1 : 0;
        }
    }
}

/* What proxies add, and nobody else sends: who is behind one that nobody trusts may be anywhere. */
static bool names_proxy(const struct http_request *request)
{
    const struct slice names[] = {SLICE("x-forwarded-for"), SLICE("forwarded"), SLICE("x-real-ip"), SLICE("via")};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (http_request_header(request, names[i], NULL))
            return true;
    return false;
}

void http_gate_check(struct connection *connection, const struct http_request *request, struct slice path,
                     struct http_gate *out)
{
    const struct config *config = connection_reactor(connection)->config;
    *out = (struct http_gate){.address = connection->address,
                              .forwarded = connection->forwarded,
                              .standing = connection_reactor(connection)->standing.serial};
    if (connection->by_proxy)
        read_forwarded(config, request, out);
    else
        out->of_unknown_proxy =
            !connection->is_admin && !connection->forwarded && is_loopback(&out->address) && names_proxy(request);
    if (connection->is_admin) { /* no browser opens a Unix socket, and its mode says who may */
        out->identity = identity_socket();
        out->admin = true;
        return;
    }
    enum page page;
    out->open_page = is_console_page(request, path);
    uint64_t now_ms = connection_reactor(connection)->now_ms;
    if (!check_browser(connection, request, out->open_page, &page, out)) {
        out->retry_after = limits_foreign_request(&out->address, now_ms);
        out->origin = slice_from(NULL, 0);
        if (out->retry_after > 0)
            refuse(out, CODE_RATE_LIMITED, "too many requests from this address: see Retry-After");
        return;
    }
    bool preflight = slice_equal(request->method, SLICE("OPTIONS"));
    if (!request->upgrade && (preflight || !is_probe(path)) && !counted_before(connection)) {
        out->retry_after = limits_http_request(&out->address, now_ms);
        if (out->retry_after > 0)
            return refuse(out, CODE_RATE_LIMITED, "too many requests from this address: see Retry-After");
    }
    if (preflight) {
        out->preflight = true;
        out->by_browser = http_request_header(request, SLICE("access-control-request-method"), NULL) != NULL;
        return;
    }
    if (admission_is_tight() && (request->upgrade || !answered_under_pressure(path))) {
        counter_add(&connection_reactor(connection)->shed.refused_requests, 1);
        out->retry_after = 1;
        return refuse(out, CODE_OVERLOADED, "the bridge is short of memory: see Retry-After");
    }
    if (out->open_page)
        return;
    if (!connection_reactor(connection)->standing.config->auth.required) {
        /* Nothing but its address speaks for the caller: so a page has to be the bridge's own, whatever is let in; and
         * on the port of a proxy one cannot tell who is really here. */
        out->admin = is_loopback(&out->address) && !out->forwarded && !out->of_unknown_proxy && !connection->by_proxy &&
                     page <= PAGE_OWN && may_administer(connection, NULL);
        return;
    }
    /* Without one an `authenticate` may look at other headers. */
    bool tries = http_request_header(request, SLICE("authorization"), NULL) ||
                 (request->upgrade && connection_reactor(connection)->standing.config->auth.hook);
    bool counted_by_itself = tries && (request->upgrade || is_probe(path));
    if (counted_by_itself) {
        out->retry_after = limits_credential(&out->address, connection_reactor(connection)->now_ms);
        if (out->retry_after > 0 && watches_from_here(out, path) &&
            host_passes(connection_reactor(connection)->standing.config, request->host)) {
            out->retry_after = 0; /* a probe of this machine needs none: it is not looked at */
            return;
        }
        if (out->retry_after > 0)
            return refuse(out, CODE_RATE_LIMITED, "too many wrong credentials from this address: see Retry-After");
    }
    enum authentication result = authenticate(connection, request, page, out);
    if (counted_by_itself && result == AUTHENTICATION_WRONG)
        limits_credential_wrong(&out->address, connection_reactor(connection)->now_ms);
    out->waits = result == AUTHENTICATION_WAITS;
    if (out->waits)
        return;
    out->admin = out->identity && may_administer(connection, out->identity);
    /* An upgrade may do without: the credential can follow in the register message. */
    bool may_be_absent = request->upgrade || is_console_session(path)
                             ? result == AUTHENTICATION_NONE
                             : watches_from_here(out, path) &&
                                   host_passes(connection_reactor(connection)->standing.config, request->host);
    if (result == AUTHENTICATION_FAILED) {
        refuse(out, CODE_OVERLOADED, "the token cannot be judged now");
    } else if (result != AUTHENTICATION_OK && !may_be_absent) {
        access_refused_from(&out->address, REFUSED_CREDENTIAL, NULL,
                            SLICE("a request")); /* its path is whatever it says */
        refuse(out, CODE_UNAUTHORIZED, "unauthorized");
    }
}

void http_gate_check_again(struct connection *connection, struct slice path, struct http_gate *gate)
{
    const struct reactor *reactor = connection_reactor(connection);
    bool same = gate->standing == reactor->standing.serial && !identity_expired(gate->identity, reactor->lane->wall_ms);
    if (same || gate->code != CODE_OK || gate->preflight || gate->open_page || connection->is_admin)
        return;
    bool required = reactor->standing.config->auth.required, had = gate->identity != NULL;
    bool probes = watches_from_here(gate, path) || is_console_session(path);
    struct identity *now = had ? standing_renew(connection, gate->identity) : NULL;
    gate->standing = reactor->standing.serial;
    gate->admin = (now || (!required && gate->admin)) && may_administer(connection, now);
    if (had ? !now : required && !probes) {
        access_refused_from(&gate->address, REFUSED_CREDENTIAL, gate->identity,
                            SLICE("its credential is not valid any more"));
        refuse(gate, CODE_UNAUTHORIZED, "unauthorized");
    }
    identity_put(&gate->identity, now);
}

void http_gate_end(struct http_gate *gate)
{
    identity_put(&gate->identity, NULL);
}
