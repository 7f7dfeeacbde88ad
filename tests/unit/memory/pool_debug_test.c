/* Misuse in a build that looks for it: the pool and its depots compiled once more with LUADUCT_POOL_DEBUG, under other
 * names. Each mistake is made in a child, which must abort and say what it was. */
#ifndef LUADUCT_POOL_DEBUG
#define LUADUCT_POOL_DEBUG 1
#endif
#define pool_acquire debug_pool_acquire
#define pool_release debug_pool_release
#define pool_usable_size debug_pool_usable_size
#define pool_configure debug_pool_configure
#define pool_set_enabled debug_pool_set_enabled
#define pool_take_failure debug_pool_take_failure
#define pool_age debug_pool_age
#define pool_age_thread debug_pool_age_thread
#define pool_flush_thread debug_pool_flush_thread
#define pool_reclaim debug_pool_reclaim
#define pool_read_statistics debug_pool_read_statistics
#define pool_bytes_in_all debug_pool_bytes_in_all
#define pool_leave_thread debug_pool_leave_thread
#define pool_trim debug_pool_trim
#define depots_init debug_depots_init
#define depots_count debug_depots_count
#define depot_put debug_depot_put
#define depot_take debug_depot_take
#define depot_take_surplus debug_depot_take_surplus
#define depot_take_old debug_depot_take_old
#define depots_take_coldest debug_depots_take_coldest
#include "memory/depot.c"
#include "memory/pool.c"

#include "../../support/unit.h"

#include <sys/wait.h>
#include <unistd.h>

/* Runs the mistake in a child; true: it aborted with that text. */
static bool aborts(void (*mistake)(void), const char *text)
{
    int ends[2];
    char said[4096] = "";
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        mistake();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], said + length, sizeof said - 1 - length)) > 0;)
        length += (size_t)got;
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    bool died = WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
    if (!died || !strstr(said, text))
        fprintf(stderr, "status %d, said: %s\n", status, said);
    return died && strstr(said, text);
}

static void release_twice(void)
{
    void *block = pool_acquire(POOL_ENVELOPES, 100);
    pool_release(POOL_ENVELOPES, block, 100);
    pool_release(POOL_ENVELOPES, block, 100);
}

static void release_elsewhere(void)
{
    pool_release(POOL_BUFFERS, pool_acquire(POOL_ENVELOPES, 100), 100);
}

static void release_another_size(void)
{
    pool_release(POOL_ENVELOPES, pool_acquire(POOL_ENVELOPES, 100), 1000);
}

static void write_late(void)
{
    char *block = pool_acquire(POOL_ENVELOPES, 200);
    pool_release(POOL_ENVELOPES, block, 200);
    block[150] = 'x';
    pool_acquire(POOL_ENVELOPES, 200);
}

TEST("pools: a debug build aborts at misuse and says which")
{
    CHECK(aborts(release_elsewhere, "released to another pool"));
    CHECK(aborts(release_another_size, "released with another size"));
#if defined(__SANITIZE_ADDRESS__)
    CHECK(aborts(release_twice, "heap-use-after-free"));
    CHECK(aborts(write_late, "heap-use-after-free"));
#else
    CHECK(aborts(release_twice, "released twice"));
    CHECK(aborts(write_late, "written to after its release"));
#endif
}

TEST("pools: a debug build works like any other otherwise")
{
    for (size_t size = 1; size < 70000; size = size * 9 / 8 + 1) {
        unsigned char *block = pool_acquire(POOL_BUFFERS, size);
        CHECK(block && (uintptr_t)block % 16 == 0);
        memset(block, 0xab, pool_usable_size(size));
        pool_release(POOL_BUFFERS, block, size);
        pool_release(POOL_BUFFERS, pool_acquire(POOL_BUFFERS, size), size);
    }
    struct pool_statistics figures;
    pool_read_statistics(POOL_BUFFERS, &figures);
    CHECK(figures.acquired == figures.released);
    pool_trim();
}
