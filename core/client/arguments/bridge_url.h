/* The address of a bridge as a user writes it: ws://HOST[:PORT][/PATH] or http://…, wss:// or https:// for TLS, or
 * unix:PATH for its administration socket. Each serves every command, because each of the bridge's listeners answers
 * WebSocket and HTTP. */
#ifndef LUADUCT_CLIENT_BRIDGE_URL_H
#define LUADUCT_CLIENT_BRIDGE_URL_H

#include <stdbool.h>

struct tls_client;

struct bridge_url {
    char socket[108]; /* the path of a Unix socket; empty: none, host and port count */
    char host[256];   /* without the brackets of an IPv6 literal */
    char port[6];
    char path[512];         /* begins with '/', the query included */
    bool secure;            /* wss:// or https:// */
    struct tls_client *tls; /* what to trust then; whoever reads the options sets it (target.h) */
};

/* Gives NULL and fills the URL, or says in a constant text what is wrong with it. Without a port: 80, with TLS 443
 * (RFC 6455 3). */
const char *bridge_url_parse(const char *text, struct bridge_url *url);

/* "host:port" as the Host header and messages want it, an IPv6 literal in brackets. */
#define BRIDGE_URL_AUTHORITY_SIZE 272
void bridge_url_authority(const struct bridge_url *url, char out[BRIDGE_URL_AUTHORITY_SIZE]);

/* "cannot reach the bridge at URL: REASON; what to do about it". */
#define BRIDGE_URL_UNREACHABLE_SIZE 1024
void bridge_url_unreachable(const struct bridge_url *url, bool websocket, const char *reason,
                            char out[BRIDGE_URL_UNREACHABLE_SIZE]);

#endif
