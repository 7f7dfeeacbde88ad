/* The small part of RFC 3986 that a server needs: percent-decoding, query parameters, and host[:port]. All of it works
 * on slices of the request, allocates nothing, and may run on any thread. */
#ifndef LUADUCT_PROTOCOL_URL_H
#define LUADUCT_PROTOCOL_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Decodes %XX (RFC 3986 2.1) into out and says in *length how many bytes it wrote, never more than text.length.
 * False, with *length untouched: an escape that is cut short or not hexadecimal, a NUL (plain or escaped), or no room.
 * The result is bytes: whether they are UTF-8 is the caller's question. */
bool url_decode_path(struct slice text, char *out, size_t capacity, size_t *length);

/* The same for one name or value of a query, where "+" is a space (HTML forms, URLSearchParams). */
bool url_decode_query(struct slice text, char *out, size_t capacity, size_t *length);

/* Takes the next parameter off *rest, which starts as the whole query: "a=1&b" gives a=1, then b with an empty value,
 * both still encoded. Empty pieces ("&&") are skipped. False at the end. */
bool url_query_next(struct slice *rest, struct slice *name, struct slice *value);

enum url_host_kind {
    URL_HOST_NAME, /* letters, digits, "-", ".", "_", "~": what DNS and hosts files hold */
    URL_HOST_IPV4, /* dotted quad, four decimal numbers */
    URL_HOST_IPV6, /* was in brackets; no zone */
};

struct url_authority {
    struct slice host; /* without brackets and port; as it was written, not lower-cased */
    enum url_host_kind kind;
    bool has_port; /* false also for "host:" */
    uint16_t port;
};

/* Reads host[:port] (RFC 3986 3.2, RFC 9110 7.2). Narrower than the grammar: no user part, no percent-encoding, no
 * sub-delimiters (a comma would be two Host headers joined by somebody on the way), not empty. False: not that. */
bool url_authority_parse(struct slice text, struct url_authority *out);

#endif
