/* luaduct.shared: one dictionary of the process that the scripts of all reactors and the operations of all workers see.
 * Values are flat (workers/value.h), go at their time, and the coldest go when the bytes are used up.
 *
 * All functions but shared_start and shared_stop: any thread. Locks are held for a few entries' worth of work, never
 * over an allocation, a free or a call of Lua. */
#ifndef LUADUCT_SCRIPT_SHARED_H
#define LUADUCT_SCRIPT_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "workers/value.h"

/* Of any bytes, at least one. */
#define SHARED_KEY_BYTES_MAXIMUM 256

/* Before any other thread uses it, after hash_start. Each key lives in one of 16 parts, which have a sixteenth of the
 * bytes each. False: no memory. */
bool shared_start(uint64_t bytes);
void shared_stop(void);

/* Bytes of the largest value that is taken: a quarter of a part, and at most 1 MiB. */
size_t shared_value_maximum(void);

/* A value that was found: copied when it is small, else held. */
#define SHARED_COPY_BYTES 256
struct shared_entry;
struct shared_found {
    const struct value *value;
    struct shared_entry *held; /* for shared_release; NULL: the value is in `copy` */
    union {
        struct value align;
        char bytes[SHARED_COPY_BYTES];
    } copy;
};

/* False: there is none (any more), and nothing to release. */
bool shared_get(struct slice key, struct shared_found *out);
void shared_release(struct shared_entry *held); /* NULL is fine */

enum shared_result { SHARED_DONE, SHARED_PRESENT, SHARED_NOT_A_NUMBER, SHARED_NO_MEMORY };

/* Copies the value, which is at most shared_value_maximum() bytes. ttl_ms 0: for ever. `only_absent`: SHARED_PRESENT
 * when there is one, and it stays. */
enum shared_result shared_set(struct slice key, struct slice value, uint64_t ttl_ms, bool only_absent);

/* Adds `by` to the number that is there, or else to `initial`, which then gets the time to live; *out is the sum. */
enum shared_result shared_increase(struct slice key, double by, double initial, uint64_t ttl_ms, double *out);

/* False: there is none. */
bool shared_expire(struct slice key, uint64_t ttl_ms);
bool shared_delete(struct slice key);

/* Some of the keys that begin with `prefix`: each a byte for its length less one and the text, `length` bytes in all.
 * Start with a cursor of 0, go on while true comes back. What is set or deleted meanwhile may be there or not. */
struct shared_keys {
    size_t length;
    char texts[8192];
};
bool shared_list(uint64_t *cursor, struct slice prefix, struct shared_keys *out);

struct shared_figures {
    uint64_t bytes, limit, entries;
    uint64_t hits, misses;     /* of shared_get */
    uint64_t evicted, expired; /* entries that went for room, and by their time */
};
void shared_read_figures(struct shared_figures *out);

#endif
