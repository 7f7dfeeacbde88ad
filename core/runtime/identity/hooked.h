/* What the script's hooks say about who somebody is, as identities. */
#ifndef LUADUCT_RUNTIME_HOOKED_H
#define LUADUCT_RUNTIME_HOOKED_H

#include "runtime/identity/authenticate.h"

struct reactor;
struct tls_peer;

/* The hook `authenticate`, as a method of authenticate.c, where the configuration says auth.hook. */
enum authentication identity_by_hook(struct reactor *reactor, const struct credentials *shown, struct identity **out);

/* The hook `on_identify`. AUTHENTICATION_NONE: there is none, or it says nothing. */
enum authentication hooked_identify(struct reactor *reactor, struct connection *connection, const struct tls_peer *peer,
                                    struct identity **out);

#endif
