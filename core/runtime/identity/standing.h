/* Who may come in and what he may do, for all reactors and whatever version of the scripts is in use: the named tokens,
 * the keys of JSON Web Tokens and the access policy, always as the files were when they were last read well, and the
 * configuration that came into use last. So what was revoked stays so when somebody returns to an older version. */
#ifndef LUADUCT_RUNTIME_STANDING_H
#define LUADUCT_RUNTIME_STANDING_H

#include "protocol/jwt/jwk.h"
#include "runtime/identity/access.h"
#include "runtime/identity/tokens/token_store.h"
#include "runtime/reload/version.h"

struct connection;
struct reactor;

/* A reference to each; all zero: none. */
struct standing {
    struct token_store *tokens;
    struct access_policy *access;
    struct jwk_set *keys; /* of JSON Web Tokens; NULL: none are configured */
    /* By which credentials, origins and hosts are judged: auth, tls, http.corsOrigins, http.hosts, policies.access. */
    const struct config *config;
    struct version *version; /* whose configuration that is; NULL: the one that the process started with */
    uint64_t serial;         /* another after each standing_use */
};

/* Reads the files that the configuration names, which must live as long. False: `error` is one line with the file, and
 * nothing is taken. Not on a reactor; watchdog_install must have been called. */
bool standing_load(const struct config *config, script_log *log, struct standing *out, char *error, size_t error_size);

/* The same for a version that is about to come into use: by its configuration when it was read after the one that
 * counts now, else by that one again. */
bool standing_load_for(struct version *version, script_log *log, struct standing *out, char *error, size_t error_size);

/* Reads the files of the configuration that counts now again, each by itself: a bad one leaves what it gave as it is.
 * False: one is bad, the last of which `error` names. The same. */
bool standing_read_again(script_log *log, struct standing *out, char *error, size_t error_size);

/* Gives the references back, and empties it. */
void standing_release(struct standing *standing);

/* Makes it current, with the caller's references, and gives those that were. Main or the loader. */
struct standing standing_use(struct standing standing);

/* References to the current ones. Any thread. */
struct standing standing_current(void);

/* Looks at the reactor's connections again: whose token is revoked or expired, or does not allow any more what its
 * agent is or listens to, and who has shown none where one is asked for by now, is closed; the others get what their
 * token says now, and new grants. On the reactor's thread, inside a pass. */
void standing_review(struct reactor *reactor);

/* Ends the reactor's connections whose client certificate the authorities and revocation lists in use do not let in any
 * more. On the reactor's thread, inside a pass. */
void standing_review_certificates(struct reactor *reactor);

/* What an identity that was found before is now, a reference; NULL: it is not valid any more. The same. */
struct identity *standing_renew(struct connection *connection, struct identity *identity);

/* Whose connection it is: a WebSocket's, or that of an answer that goes on with events; NULL: nobody's. Borrowed. */
struct identity *standing_of(const struct connection *connection);

/* Its credential is none any more: an agent is told `unauthorized` and closed with 1008. */
void standing_end(struct connection *connection);

#endif
