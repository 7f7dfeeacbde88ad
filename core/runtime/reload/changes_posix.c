/* Of each file, and of each in Lua beside it, a number is made of what stat says; what changes changes their sum. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/hash.h"
#include "runtime/reload/changes.h"

#define LOOK_MS 250

struct changes {
    char *files[CHANGES_FILES_MAXIMUM], *folders[CHANGES_FILES_MAXIMUM];
    unsigned file_count, folder_count;
    uint64_t sum;
};

struct changes *changes_open(void)
{
    return calloc(1, sizeof(struct changes));
}

static uint64_t number_of_file(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return 0;
    uint64_t words[] = {(uint64_t)about.st_dev,         (uint64_t)about.st_ino,          (uint64_t)about.st_size,
                        (uint64_t)about.st_mtim.tv_sec, (uint64_t)about.st_mtim.tv_nsec, 0};
    words[5] = hash_slice(slice_from_string(path));
    return hash_slice(slice_from((const char *)words, sizeof words));
}

static uint64_t number_of_folder(const char *folder)
{
    uint64_t sum = 0;
    char path[PATH_MAX];
    DIR *open = opendir(folder);
    const struct dirent *entry;
    while (open && (entry = readdir(open))) {
        size_t length = strlen(entry->d_name);
        int needed = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (length > 4 && strcmp(entry->d_name + length - 4, ".lua") == 0 && needed > 0 && needed < (int)sizeof path)
            sum += number_of_file(path);
    }
    if (open)
        closedir(open);
    return sum;
}

bool changes_add(struct changes *changes, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? strdup("/") : slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    char *file = strdup(path);
    DIR *open = folder && file && changes->file_count < CHANGES_FILES_MAXIMUM ? opendir(folder) : NULL;
    if (!open) {
        errno = changes->file_count == CHANGES_FILES_MAXIMUM ? ENOSPC : errno;
        free(folder);
        free(file);
        return false;
    }
    closedir(open);
    changes->files[changes->file_count++] = file;
    changes->sum += number_of_file(file);
    for (unsigned i = 0; i < changes->folder_count; i++)
        if (strcmp(changes->folders[i], folder) == 0) {
            free(folder);
            return true;
        }
    changes->folders[changes->folder_count++] = folder;
    changes->sum += number_of_folder(folder);
    return true;
}

static bool look(struct changes *changes)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < changes->file_count; i++)
        sum += number_of_file(changes->files[i]);
    for (unsigned i = 0; i < changes->folder_count; i++)
        sum += number_of_folder(changes->folders[i]);
    bool other = sum != changes->sum;
    changes->sum = sum;
    return other;
}

unsigned changes_wait(struct changes *changes, int stop, int timeout_ms)
{
    uint64_t began_ms = clock_steady_ns() / 1000000;
    for (;;) {
        struct pollfd descriptor = {.fd = stop, .events = POLLIN};
        uint64_t past_ms = clock_steady_ns() / 1000000 - began_ms;
        bool last = timeout_ms >= 0 && past_ms + LOOK_MS >= (uint64_t)timeout_ms;
        int left_ms = past_ms < (uint64_t)timeout_ms ? timeout_ms - (int)past_ms : 0;
        int count = poll(&descriptor, 1, last ? left_ms : LOOK_MS);
        unsigned seen = (look(changes) ? CHANGES_CAME : 0) | (count > 0 ? CHANGES_STOP : 0);
        if (seen || last)
            return seen;
    }
}

void changes_close(struct changes *changes)
{
    if (!changes)
        return;
    for (unsigned i = 0; i < changes->file_count; i++)
        free(changes->files[i]);
    for (unsigned i = 0; i < changes->folder_count; i++)
        free(changes->folders[i]);
    free(changes);
}
