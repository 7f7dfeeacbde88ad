/* Who may call from a browser. A page that a user happens to visit can make their browser talk to a bridge on their own
 * machine; Origin says which page it was, and Host shows a name that was rebound to a loopback address. Pure functions
 * over slices; any thread. */
#ifndef LUADUCT_PROTOCOL_ORIGIN_H
#define LUADUCT_PROTOCOL_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Whether a request with that Origin header passes: it is in the list ("*" there: any), or it is the bridge's own, that
 * is, scheme ("http" or "https", of this connection) and Host are equal, a default port counting as said. "null" is
 * never the bridge's own. Do not ask for a request without Origin: that is no browser, and it passes. */
bool origin_allowed(struct slice origin, struct slice scheme, struct slice host, const struct slice *list,
                    size_t count);

/* Whether Host passes while no credential is configured: an IPv4 or [IPv6] literal, "localhost", or a name in the list,
 * each with any port; upper and lower case are the same. An entry of the list with a port asks for that port. One
 * trailing dot is the same name (RFC 1034 3.1), so "localhost." passes; "a.localhost" does not unless listed. An empty
 * or malformed host does not pass. */
bool origin_host_allowed(struct slice host, const struct slice *list, size_t count);

#endif
