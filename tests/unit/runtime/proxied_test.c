#include "../../support/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/limits/limits.h"
#include "runtime/reactor.h"

static long largest;

static void *allocate(void *memory, long size)
{
    if (size > largest)
        largest = size;
    if (size > 0)
        return realloc(memory, (size_t)size);
    free(memory);
    return NULL;
}

/* libev knows its descriptors by a table with a place for each number. */
TEST("waits for PROXY headers on any number of sockets without larger tables of the loop")
{
    enum { SOCKETS = 300, NUMBER = 3000 };
    static struct reactor reactor;
    static struct config config = {.http.header_timeout_ms = 1};
    static struct lane lane = {.owner = &reactor};
    struct address proxy = {0};
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > NUMBER + SOCKETS);
    ev_set_allocator(allocate);
    reactor.config = &config;
    reactor.lane = &lane;
    reactor.loop = ev_loop_new(0);
    CHECK(reactor.loop && proxied_prepare(&reactor));

    for (int i = 0; i < SOCKETS; i++) {
        int pair[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
        int high = fcntl(pair[0], F_DUPFD, NUMBER);
        CHECK(high >= NUMBER);
        close(pair[0]);
        proxied_begin(&reactor, high, &proxy);
    }
    while (limit_counted(LIMIT_PROXY_HEADER) < SOCKETS)
        ev_run(reactor.loop, EVRUN_ONCE);
    CHECK(!reactor.proxied.first && largest < 8192);
    proxied_stop(&reactor);
    ev_loop_destroy(reactor.loop);
    proxied_release(&reactor);
}
