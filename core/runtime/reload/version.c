/* The list is short and asked for by operators, so one mutex and a walk will do. */
#include "runtime/reload/version.h"

#include <mbedtls/sha256.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "runtime/config/bundle.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
/* The newest first; one place more than is kept, so that a trial does not push out what it may be taken back to. */
static struct version *kept[VERSIONS_KEPT + 1];
static unsigned kept_count, last_number;
static struct version *current, *trial; /* among the kept */
static enum version_use trial_use;

void script_totals_add(struct script_totals *totals, const struct script_state *state)
{
    struct script_statistics script;
    script_read_statistics(state, &script);
    for (unsigned hook = 0; hook < HOOK_COUNT; hook++) {
        totals->hooks[hook].calls += script.hooks[hook].calls;
        totals->hooks[hook].errors += script.hooks[hook].errors;
        totals->hooks[hook].overruns += script.hooks[hook].overruns;
        totals->hooks[hook].skipped += script.hooks[hook].skipped;
        totals->hooks[hook].trips += script.hooks[hook].trips;
    }
    totals->full_collections += script.full_collections;
    if (script.longest_collect_ns > totals->longest_collect_ns)
        totals->longest_collect_ns = script.longest_collect_ns;
    totals->heap_bytes += script.heap_bytes;
    totals->route_cache.hits += script.route_cache.hits;
    totals->route_cache.misses += script.route_cache.misses;
    totals->route_cache.uncached += script.route_cache.uncached;
    totals->route_cache.evicted += script.route_cache.evicted;
    totals->route_cache.outdated += script.route_cache.outdated;
    totals->route_cache.entries += script.route_cache.entries;
    totals->route_cache.bytes += script.route_cache.bytes;
    script_add_collections(state, &totals->collections);
}

/* Without files: what sha256sum says of the mode's own script, as it lies in the binary. */
static void hash_mode(const struct config *config, char out[SOURCES_HASH_BYTES])
{
    unsigned char digest[32] = {0};
    char module[128];
    snprintf(module, sizeof module, "luaduct.bridge.%s", config->mode_name);
    for (const struct bundle_entry *entry = bundle_entries; entry->name; entry++)
        if (strcmp(entry->name, module) == 0)
            mbedtls_sha256_ret((const unsigned char *)entry->content.data, entry->content.length, digest, 0);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

struct version *version_new(const struct config *config, struct config *own_config, struct script_sources *sources)
{
    struct version *version = calloc(1, sizeof *version);
    if (!version)
        return NULL;
    static atomic_uint_least64_t read;
    atomic_init(&version->references, 1);
    version->read = atomic_fetch_add_explicit(&read, 1, memory_order_relaxed) + 1;
    version->config = config;
    version->own_config = own_config;
    version->sources = sources_retain(sources);
    version->loaded_ms = clock_wall_ms();
    version_rehash(version);
    return version;
}

void version_rehash(struct version *version)
{
    if (!sources_hash(version->sources, version->hash))
        hash_mode(version->config, version->hash);
}

struct version *version_retain(struct version *version)
{
    atomic_fetch_add_explicit(&version->references, 1, memory_order_relaxed);
    return version;
}

void version_release(struct version *version)
{
    if (!version || atomic_fetch_sub_explicit(&version->references, 1, memory_order_acq_rel) > 1)
        return;
    sources_release(version->sources);
    if (version->own_config)
        config_free(version->own_config);
    free(version->own_config);
    free(version);
}

void versions_number(struct version *version)
{
    pthread_mutex_lock(&mutex);
    if (version->number == 0)
        version->number = last_number + 1;
    pthread_mutex_unlock(&mutex);
}

void versions_take_number(struct version *version)
{
    pthread_mutex_lock(&mutex);
    if (version->number > last_number)
        version->number = 0;
    pthread_mutex_unlock(&mutex);
}

void versions_add(struct version *version)
{
    struct version *gone = NULL;
    versions_number(version);
    pthread_mutex_lock(&mutex);
    if (version->number > last_number) {
        last_number = version->number;
        if (kept_count == VERSIONS_KEPT + 1) {
            unsigned oldest = kept_count - 1; /* never one in use */
            while (kept[oldest] == current || kept[oldest] == trial)
                oldest--;
            gone = kept[oldest];
            memmove(&kept[oldest], &kept[oldest + 1], (kept_count - oldest - 1) * sizeof *kept);
            kept_count--;
        }
        memmove(&kept[1], &kept[0], kept_count++ * sizeof *kept);
        kept[0] = version_retain(version);
    }
    pthread_mutex_unlock(&mutex);
    version_release(gone);
}

struct version *versions_find(unsigned number)
{
    struct version *found = NULL;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < kept_count && !found; i++)
        if (kept[i]->number == number)
            found = version_retain(kept[i]);
    pthread_mutex_unlock(&mutex);
    return found;
}

void versions_set_use(struct version *now_current, struct version *now_trial, enum version_use use)
{
    pthread_mutex_lock(&mutex);
    current = now_current;
    trial = now_trial;
    trial_use = use;
    pthread_mutex_unlock(&mutex);
}

struct version *versions_current(void)
{
    pthread_mutex_lock(&mutex);
    struct version *version = current ? version_retain(current) : NULL;
    pthread_mutex_unlock(&mutex);
    return version;
}

void versions_set_problem(struct version *version, const char *problem)
{
    pthread_mutex_lock(&mutex);
    snprintf(version->problem, sizeof version->problem, "%s", problem);
    pthread_mutex_unlock(&mutex);
}

unsigned versions_list(struct version_view views[VERSIONS_KEPT + 1])
{
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < kept_count; i++) {
        views[i] = (struct version_view){.version = version_retain(kept[i]),
                                         .use = kept[i] == current ? VERSION_CURRENT
                                                : kept[i] == trial ? trial_use
                                                                   : VERSION_KEPT};
        memcpy(views[i].problem, kept[i]->problem, sizeof views[i].problem);
    }
    unsigned count = kept_count;
    pthread_mutex_unlock(&mutex);
    return count;
}

void versions_stop(void)
{
    for (unsigned i = 0; i < kept_count; i++)
        version_release(kept[i]);
    kept_count = 0;
    current = trial = NULL;
}
