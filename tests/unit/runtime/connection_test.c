#include "../../support/unit.h"

#include "memory/admission.h"
#include "memory/pool.h"
#include "runtime/agent/backlog.h"
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

TEST("keeps nothing of what a peer sent when the bridge may not grow")
{
    char text[8192] = {0};
    struct websocket_message message = {.opcode = WEBSOCKET_TEXT, .data = text, .length = sizeof text};
    struct connection *connection = killed();
    struct backlog *backlog = backlog_new();
    CHECK(backlog_add(backlog, WEBSOCKET_ON_MESSAGE, &message));
    size_t before = backlog_bytes(backlog);
    CHECK(before > sizeof text);

    admission_start(0, 0, NULL);
    admission_credit = 0;
    CHECK(!backlog_add(backlog, WEBSOCKET_ON_MESSAGE, &message) && backlog_bytes(backlog) == before);
    CHECK(!reactor_hold(connection, text, sizeof text) && !connection->holds && connection->held_bytes == 0);

    admission_start(UINT64_MAX, UINT64_MAX, NULL);
    backlog_entry_free(backlog_take(backlog));
    CHECK(backlog_bytes(backlog) == 0);
    backlog_free(backlog);
    connection_reap(&reactor);
}
