#include "runtime/identity/certificate.h"

#include <string.h>

#include "net/tls/tls_peer.h"
#include "protocol/registration.h"
#include "runtime/identity/hooked.h"
#include "runtime/reactor.h"

struct names {
    struct slice items[4][TLS_PEER_NAMES];
    struct slice_list lists[4]; /* agents, roles, agent roles, labels */
};

static const struct slice prefixes[4] = {
    {"luaduct:agent:", 14}, {"luaduct:role:", 13}, {"luaduct:agentRole:", 18}, {"luaduct:label:", 14}};

static void read_names(const struct tls_peer *peer, struct names *out)
{
    for (size_t kind = 0; kind < 4; kind++)
        out->lists[kind] = (struct slice_list){out->items[kind], 0};
    for (unsigned i = 0; i < peer->name_count; i++) {
        struct slice text = peer->names[i].text;
        for (size_t kind = 0; peer->names[i].kind == TLS_NAME_URI && kind < 4; kind++) {
            size_t before = prefixes[kind].length;
            if (text.length <= before || memcmp(text.data, prefixes[kind].data, before) != 0)
                continue;
            struct slice rest = slice_from(text.data + before, text.length - before);
            if (identifier_valid(rest))
                out->items[kind][out->lists[kind].count++] = rest;
        }
    }
}

/* Common names with * are made for web servers: where clientIds are compared it would stand for any text. */
static bool names_one(struct slice common_name)
{
    return common_name.length > 0 && identifier_valid(common_name) &&
           !memchr(common_name.data, '*', common_name.length);
}

enum authentication certificate_identity(const struct tls_peer *peer, struct identity **out)
{
    struct names names;
    read_names(peer, &names);
    struct slice_list *agents = &names.lists[0];
    if (agents->count == 0 && names_one(peer->common_name))
        names.items[0][agents->count++] = peer->common_name;
    if (agents->count == 0)
        return AUTHENTICATION_WRONG;
    struct identity_source source = {
        .kind = IDENTITY_CERTIFICATE,
        .name = agents->items[0],
        .client_ids = *agents,
        .roles = names.lists[1],
        .agent_roles = names.lists[2],
        .labels = names.lists[3],
        .expires_ms = peer->not_after_s * 1000,
        .mark = hash_slice(slice_from((const char *)peer->fingerprint, sizeof peer->fingerprint))};
    *out = identity_new(&source);
    return *out ? AUTHENTICATION_OK : AUTHENTICATION_FAILED;
}

enum authentication certificate_identify(struct reactor *reactor, struct connection *connection, struct identity **out)
{
    const struct tls_peer *peer = transport_peer_certificate(&connection->transport);
    if (!peer)
        return AUTHENTICATION_NONE;
    enum authentication result = hooked_identify(reactor, connection, peer, out);
    return result == AUTHENTICATION_NONE ? certificate_identity(peer, out) : result;
}

enum authentication identity_by_certificate(struct reactor *reactor, const struct credentials *shown,
                                            struct identity **out)
{
    struct connection *connection = shown->connection;
    if (shown->token.data)
        return AUTHENTICATION_NONE;
    /* A browser shows it for every page that asks it to: so it counts for the bridge's own pages and listed ones. */
    if (shown->foreign_page || !transport_peer_certificate(&connection->transport))
        return AUTHENTICATION_NONE;
    if (connection->identity && connection->identity->kind == IDENTITY_CERTIFICATE) {
        *out = identity_retain(connection->identity);
        return AUTHENTICATION_OK;
    }
    enum authentication result = certificate_identify(reactor, connection, out);
    if (result == AUTHENTICATION_OK && !connection->identity)
        connection->identity = identity_retain(*out);
    return result;
}
