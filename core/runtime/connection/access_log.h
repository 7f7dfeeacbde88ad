/* The access log (log.access): a line for each HTTP request when it is answered, and for each connection when it comes
 * and when it goes. Queries are left out, because they may carry a token. On the reactor's thread; nothing is done
 * while it is off. */
#ifndef LUADUCT_RUNTIME_ACCESS_LOG_H
#define LUADUCT_RUNTIME_ACCESS_LOG_H

#include "runtime/reactor.h"

static inline bool access_log_on(const struct connection *connection)
{
    return __builtin_expect(connection_reactor(connection)->config->log.access, 0);
}

void access_log_opened(const struct connection *connection);

/* Before it leaves the registry. */
void access_log_closed(const struct connection *connection);

/* The request of the connection's exchange, before its texts go. */
void access_log_request(const struct connection *connection);

#endif
