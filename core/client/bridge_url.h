/* The address of a bridge as a user writes it: ws://HOST[:PORT][/PATH] or http://HOST[:PORT][/PATH], or unix:PATH for
 * its administration socket. Each serves every command, because each of the bridge's listeners answers WebSocket and
 * HTTP (TLS is not there). */
#ifndef LUADUCT_CLIENT_BRIDGE_URL_H
#define LUADUCT_CLIENT_BRIDGE_URL_H

struct bridge_url {
    char socket[108]; /* the path of a Unix socket; empty: none, host and port count */
    char host[256];   /* without the brackets of an IPv6 literal */
    char port[6];
    char path[512]; /* begins with '/', the query included */
};

/* Gives NULL and fills the URL, or says in a constant text what is wrong with it. Without a port: 80 (RFC 6455 3). */
const char *bridge_url_parse(const char *text, struct bridge_url *url);

/* "host:port" as the Host header and messages want it, an IPv6 literal in brackets. */
#define BRIDGE_URL_AUTHORITY_SIZE 272
void bridge_url_authority(const struct bridge_url *url, char out[BRIDGE_URL_AUTHORITY_SIZE]);

#endif
