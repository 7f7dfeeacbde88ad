#include "runtime/identity/authenticate.h"

#include "runtime/identity/certificate.h"
#include "runtime/identity/credential.h"
#include "runtime/identity/hooked.h"
#include "runtime/identity/jwt/jwt_identity.h"
#include "runtime/reactor.h"

static enum authentication by_shared_token(struct reactor *reactor, const struct credentials *shown,
                                           struct identity **out)
{
    if (!shown->token.data)
        return AUTHENTICATION_NONE;
    if (!credential_matches(reactor->standing.config, shown->token))
        return AUTHENTICATION_WRONG;
    *out = identity_shared(reactor->standing.config->auth.token_is_admin);
    return AUTHENTICATION_OK;
}

static enum authentication by_named_token(struct reactor *reactor, const struct credentials *shown,
                                          struct identity **out)
{
    if (!shown->token.data)
        return AUTHENTICATION_NONE;
    *out = identity_retain(token_store_find(reactor->standing.tokens, shown->token));
    return *out ? AUTHENTICATION_OK : AUTHENTICATION_WRONG;
}

/* What is cheap goes first. Each gives NONE when the peer shows nothing of its kind. */
static enum authentication (*const methods[])(struct reactor *reactor, const struct credentials *shown,
                                              struct identity **out) = {
    by_shared_token, by_named_token, identity_by_jwt, identity_by_certificate, identity_by_hook};

enum authentication identity_authenticate(const struct credentials *shown, struct identity **out)
{
    struct reactor *reactor = connection_reactor(shown->connection);
    enum authentication result = AUTHENTICATION_NONE;
    *out = NULL;
    if (shown->connection->is_admin && !shown->token.data) {
        *out = identity_socket();
        return AUTHENTICATION_OK;
    }
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        enum authentication one = methods[i](reactor, shown, out);
        if (one == AUTHENTICATION_OK && identity_expired(*out, reactor->lane->wall_ms)) {
            identity_put(out, NULL);
            return AUTHENTICATION_WRONG;
        }
        if (one == AUTHENTICATION_OK)
            lifetime_watch(reactor, (*out)->expires_ms);
        if (one == AUTHENTICATION_OK || one == AUTHENTICATION_FAILED || one == AUTHENTICATION_WAITS)
            return one;
        if (one == AUTHENTICATION_WRONG)
            result = one;
    }
    return result;
}
