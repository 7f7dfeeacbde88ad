/* Who may ask: what is checked of a request's head before anything is done for it. */
#ifndef LUADUCT_RUNTIME_HTTP_GATE_H
#define LUADUCT_RUNTIME_HTTP_GATE_H

#include "protocol/http/http_request.h"
#include "runtime/connection/connection.h"

struct http_gate {
    enum code code;            /* CODE_OK: it may go on */
    const char *text;          /* why not; static */
    unsigned retry_after;      /* seconds; 0: says nothing of it */
    bool waits;                /* who asks is being found out: check again when http_session_authenticated is called */
    bool preflight;            /* OPTIONS: what is allowed here; no credential is needed for that */
    bool by_browser;           /* one that asks whether a page may ask (Fetch standard, CORS-preflight request) */
    bool open_page;            /* of the console: to anyone, and whoever asks is a nobody */
    bool forwarded;            /* `address` is what a trusted proxy said */
    bool of_unknown_proxy;     /* from this machine, by a proxy that is not among limits.trustedProxies */
    bool admin;                /* may speak for others and change things */
    struct identity *identity; /* who asks, a reference; NULL: nobody has said */
    uint64_t standing;         /* the serial of the standing that it was judged by */
    struct peer_address address; /* who asks, as far as limits are concerned */
    struct slice origin;         /* of a browser that is let in, in the request's head; empty: no browser */
};

/* Checks, in this order: for whom a trusted proxy speaks, origin, host, rate, (preflight ends here,) credential. A
 * second check of a request that waited counts no second time. `path` is decoded. On the reactor's thread. */
void http_gate_check(struct connection *connection, const struct http_request *request, struct slice path,
                     struct http_gate *out);

/* Judges again who asks, when the standing is another than when the head came, or his credential has run out: the body
 * came later, or an answer goes on. A request that was let in may be refused then. */
void http_gate_check_again(struct connection *connection, struct slice path, struct http_gate *gate);

/* Gives back what it holds; harmless for one that holds nothing. */
void http_gate_end(struct http_gate *gate);

/* Paths where no WebSocket opens: they are kept for HTTP. */
bool http_gate_path_reserved(struct slice path);

#endif
