/* A list that is searched from its start: a version has a handful of files. */
#include "script/version/sources.h"

#include <mbedtls/sha256.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/system/file.h"

/* A script that is longer is some other file. */
#define FILE_BYTES_MAXIMUM (16u << 20)

struct source_file {
    char *path;
    char *text; /* `length` bytes */
    size_t length;
};

struct script_sources {
    atomic_uint references;
    bool sealed;
    struct source_file *files;
    unsigned file_count;
    struct sources_operation operations[SOURCES_OPERATIONS_MAXIMUM];
    unsigned operation_count;
};

struct script_sources *sources_new(void)
{
    struct script_sources *sources = calloc(1, sizeof *sources);
    if (sources)
        atomic_init(&sources->references, 1);
    return sources;
}

struct script_sources *sources_retain(struct script_sources *sources)
{
    atomic_fetch_add_explicit(&sources->references, 1, memory_order_relaxed);
    return sources;
}

void sources_release(struct script_sources *sources)
{
    if (!sources || atomic_fetch_sub_explicit(&sources->references, 1, memory_order_acq_rel) > 1)
        return;
    for (unsigned i = 0; i < sources->file_count; i++) {
        free(sources->files[i].path);
        free(sources->files[i].text);
    }
    for (unsigned i = 0; i < sources->operation_count; i++) {
        free(sources->operations[i].name);
        free(sources->operations[i].path);
        free(sources->operations[i].folder);
    }
    free(sources->files);
    free(sources);
}

void sources_seal(struct script_sources *sources)
{
    sources->sealed = true;
}

bool sources_sealed(const struct script_sources *sources)
{
    return sources->sealed;
}

/* --- Files --- */

static struct source_file *add_file(struct script_sources *sources, const char *path, const char **problem)
{
    struct source_file *files = realloc(sources->files, (sources->file_count + 1) * sizeof *files);
    if (files)
        sources->files = files;
    struct source_file added = {.path = files ? strdup(path) : NULL};
    *problem = "not enough memory";
    if (!added.path || !file_read(path, FILE_BYTES_MAXIMUM, &added.text, &added.length, problem)) {
        free(added.path);
        return NULL;
    }
    files[sources->file_count] = added;
    return &files[sources->file_count++];
}

bool sources_text(struct script_sources *sources, const char *path, struct slice *text, const char **problem)
{
    struct source_file *file = NULL;
    for (unsigned i = 0; i < sources->file_count && !file; i++)
        if (strcmp(sources->files[i].path, path) == 0)
            file = &sources->files[i];
    *problem = "not a file of this version of the scripts";
    if (!file && !sources->sealed)
        file = add_file(sources, path, problem);
    if (!file)
        return false;
    *text = slice_from(file->text, file->length);
    return true;
}

const char *sources_path(const struct script_sources *sources, unsigned number)
{
    return number < sources->file_count ? sources->files[number].path : NULL;
}

bool sources_hash(const struct script_sources *sources, char out[SOURCES_HASH_BYTES])
{
    unsigned char digest[32];
    mbedtls_sha256_context hash;
    if (sources->file_count == 0)
        return false;
    mbedtls_sha256_init(&hash);
    mbedtls_sha256_starts_ret(&hash, 0);
    for (unsigned i = 0; i < sources->file_count; i++)
        mbedtls_sha256_update_ret(&hash, (const unsigned char *)sources->files[i].text, sources->files[i].length);
    mbedtls_sha256_finish_ret(&hash, digest);
    mbedtls_sha256_free(&hash);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return true;
}

/* --- Operations --- */

const char *sources_add_operation(struct script_sources *sources, struct slice name, const char *path,
                                  const char *folder)
{
    int known = sources_find_operation(sources, name);
    if (known >= 0)
        return strcmp(sources->operations[known].path, path) == 0 ? NULL : "another file has that name already";
    if (sources->sealed)
        return "the version of the scripts that was checked did not register it";
    if (sources->operation_count == SOURCES_OPERATIONS_MAXIMUM)
        return "too many operations";
    struct sources_operation added = {strndup(name.data, name.length), strdup(path), strdup(folder)};
    if (!added.name || !added.path || !added.folder) {
        free(added.name);
        free(added.path);
        free(added.folder);
        return "not enough memory";
    }
    sources->operations[sources->operation_count++] = added;
    return NULL;
}

int sources_find_operation(const struct script_sources *sources, struct slice name)
{
    for (unsigned i = 0; i < sources->operation_count; i++)
        if (slice_equal(slice_from_string(sources->operations[i].name), name))
            return (int)i;
    return -1;
}

const struct sources_operation *sources_operation(const struct script_sources *sources, unsigned number)
{
    return &sources->operations[number];
}
