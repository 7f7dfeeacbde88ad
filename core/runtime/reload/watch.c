/* Folders are watched, not files: editors write a new file and rename it over the old one, which a watch on the old one
 * would not see. A thread of its own sleeps until something happens in one of them. */
#include "runtime/reload/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/reload/loader.h"
#include "runtime/reload/version.h"

#define QUIET_MS 100 /* an editor, or a checkout of several files, is done by then */
#define FILES_MAXIMUM 256

struct watched_file {
    int folder; /* inotify's number */
    char *name;
};

struct watcher {
    pthread_t thread;
    int inotify_fd, stop_fd;
    struct watched_file files[FILES_MAXIMUM];
    unsigned count;
};

static struct watcher *watcher; /* whoever calls watch_files */

static void add_file(struct watcher *to, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? strdup("/") : slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    char *name = strdup(slash ? slash + 1 : path);
    int number = -1;
    if (folder && name && to->count < FILES_MAXIMUM)
        number = inotify_add_watch(to->inotify_fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
    if (number < 0) {
        log_warn(RELOAD, "watch_failed", "script.watch: cannot watch %s: %s", path, strerror(errno));
        free(name);
    } else {
        to->files[to->count++] = (struct watched_file){.folder = number, .name = name};
    }
    free(folder);
}

static bool is_watched(const struct watcher *of, const struct inotify_event *event)
{
    size_t length = event->len > 0 ? strlen(event->name) : 0;
    if (length > 4 && strcmp(event->name + length - 4, ".lua") == 0)
        return true; /* a version that was refused may have named it */
    for (unsigned i = 0; event->len > 0 && i < of->count; i++)
        if (of->files[i].folder == event->wd && strcmp(of->files[i].name, event->name) == 0)
            return true;
    return false;
}

/* Takes what has happened; true: one of the files was among it. */
static bool take_events(const struct watcher *of)
{
    _Alignas(struct inotify_event) char bytes[4096];
    bool changed = false;
    for (ssize_t got; (got = read(of->inotify_fd, bytes, sizeof bytes)) > 0;) {
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(bytes + at);
            changed = changed || is_watched(of, event);
            at += (ssize_t)sizeof *event + event->len;
        }
    }
    return changed;
}

static void *watch(void *argument)
{
    struct watcher *own = argument;
    struct pollfd descriptors[2] = {{.fd = own->inotify_fd, .events = POLLIN}, {.fd = own->stop_fd, .events = POLLIN}};
    bool changed = false;
    log_name_thread("watch");
    for (;;) {
        int count = poll(descriptors, 2, changed ? QUIET_MS : -1);
        bool over = descriptors[1].revents != 0;
        if (count > 0 && descriptors[0].revents)
            changed = take_events(own) || changed;
        if (changed && (count == 0 || over)) {
            loader_reload("a file changed");
            changed = false;
        }
        if (over)
            return NULL;
    }
}

static void free_watcher(struct watcher *gone)
{
    for (unsigned i = 0; i < gone->count; i++)
        free(gone->files[i].name);
    if (gone->inotify_fd >= 0)
        close(gone->inotify_fd);
    if (gone->stop_fd >= 0)
        close(gone->stop_fd);
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
    made->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    made->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (config_path)
        add_file(made, config_path);
    add_named_files(made, version->config);
    for (unsigned i = 0; sources_path(version->sources, i); i++)
        add_file(made, sources_path(version->sources, i));
    if (made->inotify_fd < 0 || made->stop_fd < 0 || pthread_create(&made->thread, NULL, watch, made) != 0) {
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
    uint64_t one = 1;
    (void)!write(before->stop_fd, &one, sizeof one);
    pthread_join(before->thread, NULL);
    free_watcher(before);
}
