/* The files of one version of the scripts: their texts, read once, and which of them are operations for the workers. So
 * every state of a version runs the same, whatever happens to the files meanwhile, and an older version can be taken up
 * again. While it is open one thread fills it in; sealed, it never changes and any thread may read it. Counted. */
#ifndef LUADUCT_SCRIPT_VERSION_SOURCES_H
#define LUADUCT_SCRIPT_VERSION_SOURCES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct script_sources;

/* An open one, with one reference for the caller; NULL: no memory. */
struct script_sources *sources_new(void);
struct script_sources *sources_retain(struct script_sources *sources);
void sources_release(struct script_sources *sources); /* NULL is fine */

void sources_seal(struct script_sources *sources);
bool sources_sealed(const struct script_sources *sources);

/* The file's text, which lives as long as the sources do: read from the file the first time while they are open. False:
 * *problem says why (static, or until the thread's next call). */
bool sources_text(struct script_sources *sources, const char *path, struct slice *text, const char **problem);

/* --- Operations --- */

/* Most operations of one version. */
#define SOURCES_OPERATIONS_MAXIMUM 256

/* While open. NULL when that was it; else what is wrong, in static words. The same again is fine. */
const char *sources_add_operation(struct script_sources *sources, struct slice name, const char *path,
                                  const char *folder);

struct sources_operation {
    char *name;
    char *path, *folder; /* the file's; where its `require` looks */
};
/* Its number (to be the same for the name in this version), or -1. */
int sources_find_operation(const struct script_sources *sources, struct slice name);
const struct sources_operation *sources_operation(const struct script_sources *sources, unsigned number);

/* --- Files --- */

/* The path of the file with that number, in the order of reading; NULL past the last. */
const char *sources_path(const struct script_sources *sources, unsigned number);

#define SOURCES_HASH_BYTES 65 /* SHA-256 in hexadecimal and the NUL */

/* Of all texts one after the other: with one file what sha256sum says of it. False: there is none. */
bool sources_hash(const struct script_sources *sources, char out[SOURCES_HASH_BYTES]);

#endif
