#include "base/system/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Thread_local char words[128];

static const char *words_for(int failure)
{
    snprintf(words, sizeof words, "%s", strerror(failure));
    return words;
}

static const char *words_for_size(size_t largest)
{
    bool mebibytes = largest % 1048576 == 0;
    snprintf(words, sizeof words, "larger than %zu %s", mebibytes ? largest / 1048576 : largest,
             mebibytes ? "MiB" : "bytes");
    return words;
}

int file_open(const char *path, struct stat *status, const char **problem)
{
    struct stat own;
    /* Without O_NONBLOCK a pipe that nobody writes is waited for here. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (!status)
        status = &own;
    if (fd >= 0 && fstat(fd, status) == 0 && S_ISREG(status->st_mode))
        return fd;
    *problem = fd < 0 ? words_for(errno) : S_ISDIR(status->st_mode) ? words_for(EISDIR) : "not a regular file";
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A file may grow meanwhile, and those of /proc say that they are empty: what counts is what is read. */
static bool read_all(int fd, size_t largest, char **text, size_t *length, const char **problem)
{
    size_t room = 4096, got = 0;
    char *bytes = malloc(room);
    for (ssize_t count = 1; bytes && count > 0; got += (size_t)count) {
        if (room - got < 2) {
            char *more = realloc(bytes, room * 2);
            if (!more)
                free(bytes);
            bytes = more;
            room *= 2;
        }
        do
            count = bytes ? read(fd, bytes + got, room - got - 1) : 0;
        while (count < 0 && errno == EINTR);
        if (count < 0 || got + (size_t)count > largest) {
            *problem = count < 0 ? words_for(errno) : words_for_size(largest);
            free(bytes);
            return false;
        }
    }
    if (!bytes) {
        *problem = "not enough memory";
        return false;
    }
    bytes[got] = '\0';
    *text = bytes;
    *length = got;
    return true;
}

bool file_read(const char *path, size_t largest, char **text, size_t *length, const char **problem)
{
    int fd = file_open(path, NULL, problem);
    if (fd < 0)
        return false;
    bool good = read_all(fd, largest, text, length, problem);
    close(fd);
    return good;
}
