#include "runtime/connection/access_log.h"

#include "base/log.h"
#include "bridge/registry/profile.h"
#include "runtime/http/http_exchange.h"
#include "runtime/identity/identity.h"

/* What the log's ring holds by far when its file is as slow as a second. */
#define LINES_PER_SECOND 1000u

static struct slice way_of(const struct connection *connection)
{
    return connection->is_admin ? SLICE("admin") : connection->transport.tls ? SLICE("tls") : SLICE("plain");
}

static struct slice owner_of(const struct identity *identity)
{
    return identity ? identity->owner : SLICE("");
}

static struct slice address_of_peer(const struct connection *connection, const struct peer_address *address,
                                    char text[INET6_ADDRSTRLEN])
{
    return connection->is_admin ? SLICE("") : peer_address_text(address, text);
}

void access_log_opened(const struct connection *connection)
{
    static struct log_site site = {.room = LOG_ROOM_ACCESS, .name = "connected", .lines_per_second = LINES_PER_SECOND};
    char text[INET6_ADDRSTRLEN];
    const struct log_field fields[] = {LOG_TEXT("address", address_of_peer(connection, &connection->address, text)),
                                       LOG_TEXT("way", way_of(connection)),
                                       {0}};
    log_write_fields(&site, LOG_LEVEL_INFO, fields, "a connection has come");
}

void access_log_closed(const struct connection *connection)
{
    static struct log_site site = {
        .room = LOG_ROOM_ACCESS, .name = "disconnected", .lines_per_second = LINES_PER_SECOND};
    char text[INET6_ADDRSTRLEN];
    const struct profile *profile = connection->endpoint.profile;
    uint64_t lived_ms = connection_reactor(connection)->now_ms - connection->opened_ms;
    const struct log_field fields[] = {
        LOG_TEXT("address", address_of_peer(connection, &connection->address, text)),
        LOG_TEXT("way", way_of(connection)),
        LOG_TEXT("protocol", connection->is_websocket ? SLICE("websocket") : SLICE("http")),
        LOG_TEXT("agent", profile ? profile->id : SLICE("")),
        LOG_TEXT("identity", owner_of(connection->identity)),
        LOG_NUMBER("seconds", (double)lived_ms / 1000),
        {0}};
    log_write_fields(&site, LOG_LEVEL_INFO, fields, "a connection has gone");
}

void access_log_request(const struct connection *connection)
{
    static struct log_site site = {.room = LOG_ROOM_ACCESS, .name = "request", .lines_per_second = LINES_PER_SECOND};
    char text[INET6_ADDRSTRLEN];
    const struct http_exchange *exchange = connection->http;
    const struct request *request = &exchange->request;
    bool judged = request->began_ns != 0; /* else its head was no request, and for whom it spoke is not known */
    const struct peer_address *address = judged ? &request->gate.address : &connection->address;
    double ms = judged ? (double)((clock_steady_ns() - request->began_ns) / 1000) / 1000 : 0;
    struct slice method = request->is_head ? SLICE("HEAD") : http_exchange_kept(exchange, request->method);
    struct kept_text path = request->path.length > 0 ? request->path : request->shown;
    const struct log_field fields[] = {LOG_TEXT("address", address_of_peer(connection, address, text)),
                                       LOG_TEXT("way", way_of(connection)),
                                       LOG_TEXT("identity", owner_of(request->gate.identity)),
                                       LOG_TEXT("method", method),
                                       LOG_TEXT("path", http_exchange_kept(exchange, path)),
                                       LOG_NUMBER("status", request->status),
                                       LOG_NUMBER("bytes", request->answer_bytes),
                                       LOG_NUMBER("ms", ms),
                                       {0}};
    log_write_fields(&site, LOG_LEVEL_INFO, fields, request->status ? "a request was answered" : "a request was left");
}
