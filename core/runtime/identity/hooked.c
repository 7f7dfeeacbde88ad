#include "runtime/identity/hooked.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/tls/tls_peer.h"
#include "protocol/http/http_request.h"
#include "runtime/reactor.h"
#include "script/identify.h"

/* --- What is shown --- */

static uint64_t origin_of(const struct peer_address *address)
{
    return hash_slice(slice_from((const char *)address->bytes, sizeof address->bytes));
}

struct certificate_texts {
    struct script_certificate certificate;
    struct slice uris[TLS_PEER_NAMES], dns[TLS_PEER_NAMES];
    char fingerprint[2 * TLS_FINGERPRINT_BYTES + 1];
};

static const struct script_certificate *read_certificate(const struct tls_peer *peer, struct certificate_texts *out)
{
    uint32_t uris = 0, dns = 0;
    for (unsigned i = 0; i < peer->name_count; i++) {
        if (peer->names[i].kind == TLS_NAME_URI)
            out->uris[uris++] = peer->names[i].text;
        else
            out->dns[dns++] = peer->names[i].text;
    }
    for (size_t i = 0; i < TLS_FINGERPRINT_BYTES; i++)
        snprintf(out->fingerprint + 2 * i, 3, "%02x", peer->fingerprint[i]);
    out->certificate = (struct script_certificate){
        .common_name = peer->common_name.length > 0 ? peer->common_name : slice_from(NULL, 0),
        .uris = {out->uris, uris},
        .dns = {out->dns, dns},
        .fingerprint = slice_from(out->fingerprint, sizeof out->fingerprint - 1),
        .expires_ms = peer->not_after_s * 1000};
    return &out->certificate;
}

/* The token stands apart, so that a script that logs what it is given does not log that by accident. */
static size_t read_headers(const struct http_request *request, struct script_header out[HTTP_HEADERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; request && i < request->header_count; i++)
        if (!slice_equal_ignoring_case(request->headers[i].name, SLICE("authorization")))
            out[count++] = (struct script_header){request->headers[i].name, request->headers[i].value};
    return count;
}

/* --- What is said --- */

static enum authentication take(const struct script_identity *said, enum identity_kind kind, uint64_t mark,
                                struct identity **out)
{
    struct identity_source source = {.kind = kind,
                                     .name = said->name,
                                     .roles = said->roles,
                                     .client_ids = said->client_ids,
                                     .agent_roles = said->agent_roles,
                                     .labels = said->labels,
                                     .limits = {.messages_per_second = (uint32_t)said->limits[0],
                                                .message_burst = (uint32_t)said->limits[1],
                                                .connections = (uint32_t)said->limits[2],
                                                .bytes_per_second = (uint64_t)said->limits[3]},
                                     .expires_ms = said->expires_ms,
                                     .mark = mark};
    *out = identity_new(&source);
    return *out ? AUTHENTICATION_OK : AUTHENTICATION_FAILED;
}

static void log_denied(const char *hook, struct slice address, struct slice reason)
{
    log_info(AUTH, "hook_refused", "%s says no to %.*s: %.*s", hook, (int)address.length, address.data,
             (int)reason.length, reason.data);
}

enum authentication identity_by_hook(struct reactor *reactor, const struct credentials *shown, struct identity **out)
{
    if (!reactor->standing.config->auth.hook)
        return AUTHENTICATION_NONE;
    const struct tls_peer *peer = transport_peer_certificate(&shown->connection->transport);
    struct script_header headers[HTTP_HEADERS_MAX];
    struct certificate_texts texts;
    char address[INET6_ADDRSTRLEN];
    struct script_credentials credentials = {.token = shown->token,
                                             .address = peer_address_text(shown->address, address),
                                             .path = shown->request ? shown->request->path : slice_from(NULL, 0),
                                             .headers = headers,
                                             .header_count = read_headers(shown->request, headers),
                                             .certificate = peer ? read_certificate(peer, &texts) : NULL};
    struct script_identity *said = malloc(sizeof *said);
    struct slice reason;
    if (!said)
        return AUTHENTICATION_FAILED;
    enum authentication result = AUTHENTICATION_WRONG;
    switch (script_authenticate(reactor->script, &credentials, origin_of(shown->address), said, &reason)) {
    case SCRIPT_IDENTIFIED:
        result = take(said, IDENTITY_HOOK, 0, out);
        break;
    case SCRIPT_UNKNOWN:
        result = shown->token.data ? AUTHENTICATION_WRONG : AUTHENTICATION_NONE;
        break;
    case SCRIPT_DENIED:
        log_denied("authenticate", credentials.address, reason);
        break;
    }
    free(said);
    return result;
}

enum authentication hooked_identify(struct reactor *reactor, struct connection *connection, const struct tls_peer *peer,
                                    struct identity **out)
{
    if (!script_has_hook(reactor->script, HOOK_ON_IDENTIFY))
        return AUTHENTICATION_NONE;
    struct certificate_texts texts;
    char address[INET6_ADDRSTRLEN];
    struct script_identity *said = malloc(sizeof *said);
    struct slice reason;
    if (!said)
        return AUTHENTICATION_FAILED;
    enum authentication result = AUTHENTICATION_WRONG;
    uint64_t mark = hash_slice(slice_from((const char *)peer->fingerprint, sizeof peer->fingerprint));
    int64_t not_after_ms = peer->not_after_s * 1000;
    switch (script_identify(reactor->script, read_certificate(peer, &texts), origin_of(&connection->address), said,
                            &reason)) {
    case SCRIPT_IDENTIFIED: /* never longer than the certificate itself */
        if (said->expires_ms == 0 || said->expires_ms > not_after_ms)
            said->expires_ms = not_after_ms;
        result = take(said, IDENTITY_CERTIFICATE, mark, out);
        break;
    case SCRIPT_UNKNOWN:
        result = AUTHENTICATION_NONE;
        break;
    case SCRIPT_DENIED:
        log_denied("on_identify", peer_address_text(&connection->address, address), reason);
        break;
    }
    free(said);
    return result;
}
