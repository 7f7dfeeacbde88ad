/* Files that people name: regular files only, so that a pipe or a device in a file's place is said to be none instead
 * of holding up who reads it. */
#ifndef LUADUCT_BASE_FILE_H
#define LUADUCT_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Opens it for reading, and fills in *status where that is not NULL. -1: *problem says why, a text that lives until the
 * thread's next call. Any thread. */
int file_open(const char *path, struct stat *status, const char **problem);

/* All of it, at most `largest` bytes, with a zero behind them, from malloc: the caller frees it. False: as above. */
bool file_read(const char *path, size_t largest, char **text, size_t *length, const char **problem);

#endif
