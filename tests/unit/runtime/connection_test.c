#include "../../support/unit.h"

#include "memory/pool.h"
#include "runtime/reactor.h"

static struct reactor reactor;
static struct lane lane = {.owner = &reactor};

/* As connection_kill leaves one. */
static struct connection *killed(void)
{
    struct connection *connection = pool_acquire(POOL_ARRAYS, sizeof *connection);
    CHECK(connection);
    memset(connection, 0, sizeof *connection);
    connection->endpoint.lane = &lane;
    connection->endpoint.state = ENDPOINT_DETACHED;
    connection->phase = CONNECTION_GONE;
    connection->next = reactor.connections;
    connection->previous = &reactor.connections;
    if (connection->next)
        connection->next->previous = &connection->next;
    reactor.connections = connection;
    connection->deadline_next = reactor.gone;
    reactor.gone = connection;
    atomic_fetch_add(&reactor.connection_count, 1);
    return connection;
}

TEST("frees the connections that nothing names any more, and keeps the others for later")
{
    struct verification *verification = (struct verification *)(void *)&lane; /* not looked into */
    struct connection *verified = killed(), *waited = killed(), *working = killed();
    killed();
    verified->verification = verification;
    waited->hook_waits = true;
    working->executing = 1;

    connection_reap(&reactor);
    CHECK(reactor.connection_count == 3 && reactor.gone == working && working->deadline_next == waited &&
          waited->deadline_next == verified && !verified->deadline_next);

    verified->verification = NULL;
    connection_reap(&reactor);
    CHECK(reactor.connection_count == 2 && !waited->deadline_next);

    waited->hook_waits = false;
    working->executing = 0;
    connection_reap(&reactor);
    CHECK(reactor.connection_count == 0 && !reactor.gone && !reactor.connections);
}
