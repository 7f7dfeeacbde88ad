/* A reactor takes its references when a version comes into use (reload/scripts.c), so that asking takes no lock. */
#include "runtime/identity/standing.h"

#include <pthread.h>

#include "runtime/agent/session.h"
#include "runtime/http/http_session.h"
#include "runtime/identity/certificate.h"
#include "runtime/identity/jwt/jwt_keys.h"
#include "runtime/reactor.h"
#include "runtime/tls/certificates.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct standing current; /* with the mutex */
static uint64_t last_serial;    /* the same */

bool standing_load(const struct config *config, script_log *log, struct standing *out, char *error, size_t error_size)
{
    *out = (struct standing){.tokens = token_store_load(config->auth.tokens, error, error_size), .config = config};
    if (!out->tokens)
        return false;
    out->access = access_policy_load(config, log, error, error_size);
    if (out->access && jwt_keys_load(config, &out->keys, error, error_size))
        return true;
    standing_release(out);
    return false;
}

void standing_release(struct standing *standing)
{
    token_store_release(standing->tokens);
    access_policy_release(standing->access);
    jwk_set_release(standing->keys);
    version_release(standing->version);
    *standing = (struct standing){0};
}

bool standing_load_for(struct version *version, script_log *log, struct standing *out, char *error, size_t error_size)
{
    struct standing now = standing_current();
    bool newer = version->read > (now.version ? now.version->read : 1);
    bool good = standing_load(newer ? version->config : now.config, log, out, error, error_size);
    if (good && newer)
        out->version = version_retain(version);
    else if (good && now.version)
        out->version = version_retain(now.version);
    standing_release(&now);
    return good;
}

bool standing_read_again(script_log *log, struct standing *out, char *error, size_t error_size)
{
    *out = standing_current();
    struct token_store *tokens = token_store_load(out->config->auth.tokens, error, error_size);
    struct access_policy *access = access_policy_load(out->config, log, error, error_size);
    struct jwk_set *keys = NULL;
    bool keys_good = jwt_keys_load(out->config, &keys, error, error_size);
    if (tokens) {
        token_store_release(out->tokens);
        out->tokens = tokens;
    }
    if (access) {
        access_policy_release(out->access);
        out->access = access;
    }
    if (keys_good) {
        jwk_set_release(out->keys);
        out->keys = keys;
    }
    return tokens && access && keys_good;
}

struct standing standing_use(struct standing standing)
{
    pthread_mutex_lock(&mutex);
    struct standing before = current;
    current = standing;
    current.serial = ++last_serial;
    pthread_mutex_unlock(&mutex);
    return before;
}

struct standing standing_current(void)
{
    pthread_mutex_lock(&mutex);
    struct standing copy = {token_store_retain(current.tokens),
                            access_policy_retain(current.access),
                            current.keys ? jwk_set_retain(current.keys) : NULL,
                            current.config,
                            current.version ? version_retain(current.version) : NULL,
                            current.serial};
    pthread_mutex_unlock(&mutex);
    return copy;
}

/* --- Looking again --- */

struct identity *standing_of(const struct connection *connection)
{
    return connection->phase == CONNECTION_HTTP        ? http_session_listener(connection)
           : connection->phase == CONNECTION_WEBSOCKET ? connection->identity
                                                       : NULL;
}

void standing_end(struct connection *connection)
{
    access_refused_from(connection_from(connection), REFUSED_CREDENTIAL, standing_of(connection),
                        SLICE("its credential is not valid any more"));
    if (connection->phase == CONNECTION_WEBSOCKET)
        session_refuse(connection, CODE_UNAUTHORIZED, SLICE("unauthorized"), slice_from(NULL, 0));
    else
        connection_kill(connection);
}

struct identity *standing_renew(struct connection *connection, struct identity *identity)
{
    struct reactor *reactor = connection_reactor(connection);
    const struct config *config = reactor->standing.config;
    struct identity *now = NULL;
    if (identity->kind == IDENTITY_TOKEN)
        now = identity_retain(token_store_same(reactor->standing.tokens, identity));
    else if (identity->kind == IDENTITY_CERTIFICATE)
        certificate_identify(reactor, connection, &now);
    else if (identity->kind == IDENTITY_SHARED && config->auth.required)
        now = config->auth.token ? identity_shared(config->auth.token_is_admin) : NULL;
    else
        now = identity_retain(identity);
    if (now && !identity_expired(now, reactor->lane->wall_ms) && identity_same(now, identity)) {
        lifetime_watch(reactor, now->expires_ms);
        return now;
    }
    identity_release(now);
    return NULL;
}

static void review_agent(struct connection *connection)
{
    struct identity *identity = connection->identity, *now = identity ? standing_renew(connection, identity) : NULL;
    /* One that has not registered yet can do nothing else before it does. */
    bool shows_none = !identity && connection_reactor(connection)->standing.config->auth.required &&
                      connection_registered(connection) && !connection->is_admin;
    if ((identity && !now) || shows_none) {
        standing_end(connection);
        return;
    }
    identity_put(&connection->identity, now);
    connection_follow_limits(connection);
    session_review(connection);
}

void standing_review(struct reactor *reactor)
{
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        next = connection->next;
        if (connection->phase == CONNECTION_WEBSOCKET) {
            review_agent(connection);
            continue;
        }
        if (connection->phase == CONNECTION_HTTP)
            http_session_review(connection);
        identity_put(&connection->identity, NULL); /* a certificate's is asked for anew */
    }
}

void standing_review_certificates(struct reactor *reactor)
{
    struct tls_context *context = certificates_current();
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        next = connection->next;
        if ((connection->phase == CONNECTION_HTTP || connection->phase == CONNECTION_WEBSOCKET) &&
            !transport_peer_stands(&connection->transport, context))
            standing_end(connection);
    }
    tls_context_release(context);
}
