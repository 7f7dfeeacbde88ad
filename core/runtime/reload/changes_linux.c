/* Folders are watched, not files: editors write a new file and rename it over the old one, which a watch on the old one
 * would not see. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "runtime/reload/changes.h"

struct watched_file {
    int folder; /* inotify's number */
    char *name;
};

struct changes {
    int fd;
    struct watched_file files[CHANGES_FILES_MAXIMUM];
    unsigned count;
};

struct changes *changes_open(void)
{
    struct changes *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (made->fd >= 0)
        return made;
    free(made);
    return NULL;
}

bool changes_add(struct changes *changes, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? strdup("/") : slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    char *name = strdup(slash ? slash + 1 : path);
    int number = -1;
    if (changes->count == CHANGES_FILES_MAXIMUM)
        errno = ENOSPC;
    else if (folder && name)
        number = inotify_add_watch(changes->fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
    if (number >= 0)
        changes->files[changes->count++] = (struct watched_file){.folder = number, .name = name};
    else
        free(name);
    free(folder);
    return number >= 0;
}

static bool is_watched(const struct changes *of, const struct inotify_event *event)
{
    size_t length = event->len > 0 ? strlen(event->name) : 0;
    if (length > 4 && strcmp(event->name + length - 4, ".lua") == 0)
        return true;
    for (unsigned i = 0; event->len > 0 && i < of->count; i++)
        if (of->files[i].folder == event->wd && strcmp(of->files[i].name, event->name) == 0)
            return true;
    return false;
}

/* Takes what has happened; true: one of the files was among it. */
static bool take_events(const struct changes *of)
{
    _Alignas(struct inotify_event) char bytes[4096];
    bool changed = false;
    for (ssize_t got; (got = read(of->fd, bytes, sizeof bytes)) > 0;) {
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(bytes + at);
            changed = changed || is_watched(of, event);
            at += (ssize_t)sizeof *event + event->len;
        }
    }
    return changed;
}

unsigned changes_wait(struct changes *changes, int stop, int timeout_ms)
{
    struct pollfd descriptors[2] = {{.fd = changes->fd, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
    int count = poll(descriptors, 2, timeout_ms);
    unsigned seen = count < 0 ? CHANGES_OTHER : 0;
    if (count > 0 && descriptors[0].revents)
        seen |= take_events(changes) ? CHANGES_CAME : CHANGES_OTHER;
    if (count > 0 && descriptors[1].revents)
        seen |= CHANGES_STOP;
    return seen;
}

void changes_close(struct changes *changes)
{
    if (!changes)
        return;
    for (unsigned i = 0; i < changes->count; i++)
        free(changes->files[i].name);
    close(changes->fd);
    free(changes);
}
