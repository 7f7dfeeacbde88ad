/* One HTTP request to a bridge, on a connection of its own. Blocks, within a time. */
#ifndef LUADUCT_CLIENT_HTTP_CLIENT_H
#define LUADUCT_CLIENT_HTTP_CLIENT_H

#include <stdbool.h>

#include "client/arguments/bridge_url.h"
#include "memory/buffer.h"

#define HTTP_CLIENT_ERROR_SIZE 256

struct http_call {
    const struct bridge_url *url; /* its path is the bridge's own root, as behind a proxy */
    const char *method;
    const char *path;  /* "/send" */
    const char *token; /* NULL: none */
    struct slice body; /* JSON; empty: none */
    int timeout_ms;    /* for all of it; with `take` between two pieces of it */
    /* For an answer that goes on and on: gets each piece of a good answer's body (status 200) as it comes, and gives
     * whether it wants more. NULL: the body is gathered. */
    bool (*take)(void *context, struct slice piece);
    void *context;
};

struct http_answer {
    unsigned status;
    struct buffer body; /* the caller frees it */
};

/* False: no whole answer came, `error` says why and nothing is to be freed. */
bool http_client_call(const struct http_call *call, struct http_answer *answer, char error[HTTP_CLIENT_ERROR_SIZE]);

#endif
