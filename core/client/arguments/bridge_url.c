/* A strict little parser: what goes into a request line and a Host header must hold no byte that could end them. */
#include "client/arguments/bridge_url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "protocol/http/url.h"

static const char *take_scheme(const char **text, bool *secure)
{
    static const char *const schemes[] = {"ws://", "http://", "wss://", "https://"};
    for (size_t i = 0; i < 4; i++) {
        if (strncasecmp(*text, schemes[i], strlen(schemes[i])) == 0) {
            *text += strlen(schemes[i]);
            *secure = i >= 2;
            return NULL;
        }
    }
    return "expected ws://HOST:PORT, http://HOST:PORT, wss:// or https:// for TLS, or unix:PATH";
}

const char *bridge_url_parse(const char *text, struct bridge_url *url)
{
    url->socket[0] = '\0';
    url->secure = false;
    url->tls = NULL;
    if (strncmp(text, "unix:", 5) == 0) {
        if (strlen(text + 5) >= sizeof url->socket || text[5] == '\0')
            return "expected the path of a socket after unix:, of at most 107 bytes";
        snprintf(url->socket, sizeof url->socket, "%s", text + 5);
        snprintf(url->host, sizeof url->host, "localhost");
        snprintf(url->port, sizeof url->port, "80");
        snprintf(url->path, sizeof url->path, "/");
        return NULL;
    }
    const char *wrong = take_scheme(&text, &url->secure);
    if (wrong)
        return wrong;
    size_t length = strcspn(text, "/?#");
    struct url_authority authority;
    if (!url_authority_parse(slice_from(text, length), &authority))
        return "expected HOST or HOST:PORT (an IPv6 address in brackets) after the scheme";
    if (authority.host.length >= sizeof url->host)
        return "the host name is too long";
    memcpy(url->host, authority.host.data, authority.host.length);
    url->host[authority.host.length] = '\0';
    if (authority.has_port && authority.port == 0)
        return "there is no port 0";
    snprintf(url->port, sizeof url->port, "%u", authority.has_port ? authority.port : url->secure ? 443u : 80u);

    const char *path = text + length;
    size_t path_length = strcspn(path, "#"); /* a fragment is for the reader, never for the server */
    const char *slash = *path == '/' ? "" : "/";
    if (path_length + strlen(slash) >= sizeof url->path)
        return "the path is too long";
    for (size_t i = 0; i < path_length; i++)
        if (path[i] <= ' ' || path[i] > '~')
            return "the path holds a character that must be percent-encoded";
    snprintf(url->path, sizeof url->path, "%s%.*s", slash, (int)path_length, path);
    return NULL;
}

void bridge_url_authority(const struct bridge_url *url, char out[BRIDGE_URL_AUTHORITY_SIZE])
{
    bool literal = strchr(url->host, ':') != NULL;
    snprintf(out, BRIDGE_URL_AUTHORITY_SIZE, "%s%s%s:%s", literal ? "[" : "", url->host, literal ? "]" : "", url->port);
}

void bridge_url_unreachable(const struct bridge_url *url, bool websocket, const char *reason,
                            char out[BRIDGE_URL_UNREACHABLE_SIZE])
{
    char authority[BRIDGE_URL_AUTHORITY_SIZE];
    bridge_url_authority(url, authority);
    const char *scheme = url->socket[0] ? "unix:" : websocket ? "ws" : "http";
    snprintf(out, BRIDGE_URL_UNREACHABLE_SIZE, "cannot reach the bridge at %s%s%s%s: %s; %s", scheme,
             url->secure ? "s" : "", url->socket[0] ? "" : "://", url->socket[0] ? url->socket : authority, reason,
             url->secure ? "see --url, --ca, --cert and --key"
                         : "start one with `luaduct run`, or say where it is with --url");
}
