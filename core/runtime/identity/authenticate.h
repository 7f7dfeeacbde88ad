/* From what a peer shows to who it is. */
#ifndef LUADUCT_RUNTIME_AUTHENTICATE_H
#define LUADUCT_RUNTIME_AUTHENTICATE_H

#include "base/slice.h"
#include "runtime/identity/identity.h"

struct connection;
struct http_request;

/* What is shown, in one request or register message. */
struct credentials {
    struct connection *connection;      /* what its transport knows of the peer */
    const struct peer_address *address; /* whose it is: the peer behind a proxy, not the proxy */
    const struct http_request *request; /* its head; NULL: a register message */
    struct slice token;                 /* Bearer, or authToken; data NULL: none */
    bool foreign_page;                  /* a web page of an origin that nobody listed has a browser show it */
};

enum authentication {
    AUTHENTICATION_OK,     /* *out is set, a reference for the caller */
    AUTHENTICATION_NONE,   /* nothing is shown */
    AUTHENTICATION_WRONG,  /* what is shown is no credential of ours, or not any more */
    AUTHENTICATION_FAILED, /* it could not be judged: memory is out, or too much waits to be judged */
    AUTHENTICATION_WAITS,  /* it is being judged: hold what showed it, which is handled again from its start */
};

/* Each kind that is configured is asked, in the order of `methods` in authenticate.c, until one knows the peer. A token
 * that nobody knows is wrong, whatever else the peer has. On the reactor's thread. */
enum authentication identity_authenticate(const struct credentials *shown, struct identity **out);

#endif
