/* Whether files change: on Linux the kernel says so (inotify), elsewhere they are looked at four times a second. */
#ifndef LUADUCT_RUNTIME_CHANGES_H
#define LUADUCT_RUNTIME_CHANGES_H

#include <stdbool.h>

#define CHANGES_FILES_MAXIMUM 256

struct changes;

/* What changes_wait tells, as bits; none: the time is over. */
#define CHANGES_CAME 1u  /* one of the files, or another in Lua beside them, which a refused version may have named */
#define CHANGES_OTHER 2u /* something that is none of them */
#define CHANGES_STOP 4u  /* `stop` is readable */

/* NULL: errno says why. One thread at a time, for all of these. */
struct changes *changes_open(void);

/* From now on this file counts, also when it is replaced by another or is not there yet. False: errno says why. */
bool changes_add(struct changes *changes, const char *path);

/* For so long (-1: without an end). */
unsigned changes_wait(struct changes *changes, int stop, int timeout_ms);

/* NULL is fine. */
void changes_close(struct changes *changes);

#endif
