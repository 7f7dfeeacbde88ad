/* Who a client certificate says that somebody is. The script's `on_identify` may say it; else its subject alternative
 * names do:
 *
 *   luaduct:agent:ID       a clientId that it may take, with * for any text; the first is its name
 *   luaduct:role:R         a role of the identity, such as "agent" or "admin"
 *   luaduct:agentRole:R    a role that it may register as
 *   luaduct:label:L        a label that it vouches for
 *
 * Without any agent its common name is its name and the one clientId; one with * in it is none. */
#ifndef LUADUCT_RUNTIME_CERTIFICATE_H
#define LUADUCT_RUNTIME_CERTIFICATE_H

#include "runtime/identity/authenticate.h"

struct reactor;
struct tls_peer;

/* By its names alone. AUTHENTICATION_WRONG: they name nobody; or AUTHENTICATION_FAILED. Any thread. */
enum authentication certificate_identity(const struct tls_peer *peer, struct identity **out);

/* As a method of authenticate.c: counts only where no token is shown. Asked once for a connection. */
enum authentication identity_by_certificate(struct reactor *reactor, const struct credentials *shown,
                                            struct identity **out);

/* Asks anew, after a reload. */
enum authentication certificate_identify(struct reactor *reactor, struct connection *connection, struct identity **out);

#endif
