/* What judging a message by access rules costs, by how many rules are about its sender; GRANT_ASKED follows from it.
 * Every rule fits but in one character of its last pattern, the last one decides.
 *
 *     make build/bench/access && build/bench/access */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/config/config.h"
#include "runtime/identity/access.h"
#include "script/bounds/watchdog.h"

#define ROUNDS 200000

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct access_policy *make_policy(unsigned rules)
{
    static char path[] = "/tmp/luaduct-access-bench.lua";
    static struct config config = {.script = {.budget_ms = 1000, .memory_limit = 64 << 20},
                                   .limits.memory = CONFIG_UNLIMITED};
    char error[512];
    FILE *file = fopen(path, "w");
    if (!file)
        return NULL;
    for (unsigned i = 1; i < rules; i++)
        fprintf(file, "allow { role = 'worker', send = 'task.*', to = 'worker-%u-*' }\n", 1000 + i);
    if (rules > 0)
        fprintf(file, "allow { role = 'worker', send = 'task.*', to = 'worker-9*' }\n");
    fclose(file);
    config.policies.access = path;
    struct access_policy *policy = access_policy_load(&config, NULL, error, sizeof error);
    if (!policy)
        fprintf(stderr, "%s\n", error);
    unlink(path);
    return policy;
}

static void measure(unsigned rules)
{
    struct slice roles[] = {SLICE("worker")};
    struct identity_source source = {.kind = IDENTITY_TOKEN, .name = SLICE("w"), .roles = {roles, 1}};
    struct identity *identity = identity_new(&source);
    struct access_policy *policy = make_policy(rules);
    struct access_subject who = {.identity = identity, .agent = SLICE("worker-1"), .agent_role = SLICE("worker")};
    struct grant *grant = policy && identity ? grant_new(policy, &who) : NULL;
    if (!grant)
        exit(1);
    struct slice intent = SLICE("task.progress"), to = SLICE("worker-9000");
    unsigned allowed = 0, rounds = rules > 0 ? ROUNDS * 8 / (rules + 7) : ROUNDS;
    uint64_t began_ns = cpu_ns();
    for (unsigned i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+m"(intent), "+m"(to));
        allowed += grant_may_send(grant, intent, to);
    }
    double with_grant = (double)(cpu_ns() - began_ns) / rounds;
    began_ns = cpu_ns();
    for (unsigned i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+m"(intent), "+m"(to));
        allowed += access_may_send(policy, &who, intent, to);
    }
    double without = (double)(cpu_ns() - began_ns) / rounds;
    printf("%5u rules   %8.1f ns with a grant (a message of an agent)   %8.1f ns without (over HTTP)   %s\n", rules,
           with_grant, without, allowed > 0 ? "allowed" : "refused");
    grant_free(grant);
    access_policy_release(policy);
    identity_release(identity);
}

int main(void)
{
    static const unsigned counts[] = {0, 1, 4, 16, 64, 256, 1024};
    hash_start();
    if (!watchdog_install())
        return 1;
    struct slice text = SLICE("task.progress");
    uint64_t hash = 0, began_ns = cpu_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        __asm__ volatile("" : "+m"(text));
        hash ^= hash_slice(text) * 31 + hash_slice(SLICE("worker-9000"));
    }
    printf("a key of a cache (two hashes)   %.1f ns%s\n", (double)(cpu_ns() - began_ns) / ROUNDS, hash ? "" : ".");
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++)
        measure(counts[i]);
    return 0;
}
