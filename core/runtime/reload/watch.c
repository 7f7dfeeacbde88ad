/* A thread of its own sleeps until one of the files changes. */
#include "runtime/reload/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/threads/wake.h"
#include "runtime/reload/changes.h"
#include "runtime/reload/loader.h"
#include "runtime/reload/version.h"

#define QUIET_MS 100 /* an editor, or a checkout of several files, is done by then */

struct watcher {
    pthread_t thread;
    struct changes *changes;
    struct wake stop;
};

static struct watcher *watcher; /* whoever calls watch_files */

static void add_file(struct watcher *to, const char *path)
{
    if (to->changes && !changes_add(to->changes, path))
        log_warn(RELOAD, "watch_failed", "script.watch: cannot watch %s: %s", path, strerror(errno));
}

static void *watch(void *argument)
{
    struct watcher *own = argument;
    bool changed = false;
    log_name_thread("watch");
    for (;;) {
        unsigned seen = changes_wait(own->changes, own->stop.fd, changed ? QUIET_MS : -1);
        bool over = seen & CHANGES_STOP;
        changed = changed || seen & CHANGES_CAME;
        if (changed && (seen == 0 || over)) {
            loader_reload("a file changed");
            changed = false;
        }
        if (over)
            return NULL;
    }
}

static void free_watcher(struct watcher *gone)
{
    changes_close(gone->changes);
    wake_close(&gone->stop);
    free(gone);
}

/* What the configuration names, and a reload reads again. NULLs are left out. */
static void add_named_files(struct watcher *to, const struct config *config)
{
    const char *const files[] = {config->policies.alerts, config->policies.access, config->auth.tokens,
                                 config->auth.jwt.keys,   config->auth.jwt.key,    config->tls.client_ca,
                                 config->tls.crl};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i])
            add_file(to, files[i]);
    for (size_t i = 0; i < config->tls.pair_count; i++) {
        add_file(to, config->tls.pairs[i].cert);
        add_file(to, config->tls.pairs[i].key);
    }
    for (size_t i = 0; i < config->secret_files.count; i++)
        add_file(to, config->secret_files.items[i]);
}

static struct watcher *start(const struct version *version, const char *config_path)
{
    struct watcher *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->stop = WAKE_NONE;
    made->changes = changes_open();
    if (config_path)
        add_file(made, config_path);
    add_named_files(made, version->config);
    for (unsigned i = 0; sources_path(version->sources, i); i++)
        add_file(made, sources_path(version->sources, i));
    if (!made->changes || !wake_open(&made->stop) || pthread_create(&made->thread, NULL, watch, made) != 0) {
        log_warn(RELOAD, "watch_failed", "script.watch: cannot watch the files: %s", strerror(errno));
        free_watcher(made);
        return NULL;
    }
    return made;
}

void watch_files(const struct version *version, const char *config_path)
{
    /* The new one first: what changes meanwhile one of them sees. */
    struct watcher *before = watcher;
    watcher = version ? start(version, config_path) : NULL;
    if (!before)
        return;
    wake_call(before->stop.caller);
    pthread_join(before->thread, NULL);
    free_watcher(before);
}
