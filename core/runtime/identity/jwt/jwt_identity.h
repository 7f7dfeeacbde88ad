/* From a JSON Web Token to an identity: which claims mean what is for auth.jwt to say. One of the methods of
 * authenticate.h, for its file. */
#ifndef LUADUCT_RUNTIME_JWT_IDENTITY_H
#define LUADUCT_RUNTIME_JWT_IDENTITY_H

#include "runtime/identity/authenticate.h"

struct reactor;

/* Why a token is refused goes to the log, never to whoever showed it. AUTHENTICATION_WAITS: its signature is with the
 * verifier. On the reactor's thread. */
enum authentication identity_by_jwt(struct reactor *reactor, const struct credentials *shown, struct identity **out);

#endif
