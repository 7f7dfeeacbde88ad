/* Data on its way to a worker and back: a tree of plain values laid out flat in one block, so that handing it over is
 * handing over a pointer. Numbers that stand in a row lie side by side as doubles (VALUE_NUMBERS), ready for vector
 * code.
 *
 * Layout: every value begins at a multiple of 8 with a header of 16 bytes; what follows is padded to 8 and counted in
 * header.bytes, so that a reader steps over a value without looking into it.
 *   VALUE_NUMBER   a double
 *   VALUE_STRING   `count` bytes
 *   VALUE_NUMBERS  `count` doubles: an array of numbers only, not empty
 *   VALUE_ARRAY    `count` values; an empty array is one of these
 *   VALUE_OBJECT   `count` pairs of a VALUE_STRING and any value
 * The bytes are the process's own: never read from a peer, so readers trust them. */
#ifndef LUADUCT_WORKERS_VALUE_H
#define LUADUCT_WORKERS_VALUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "memory/buffer.h"
#include "protocol/json/json.h"

enum value_kind {
    VALUE_NULL,
    VALUE_FALSE,
    VALUE_TRUE,
    VALUE_NUMBER,
    VALUE_STRING,
    VALUE_NUMBERS,
    VALUE_ARRAY,
    VALUE_OBJECT,
};

struct value {
    uint32_t kind;  /* enum value_kind */
    uint32_t count; /* see above */
    uint64_t bytes; /* of what follows the header, padding included */
};

/* Values nest at most this deep, made from whatever. */
#define VALUE_DEPTH_MAXIMUM 128

/* --- Reading ---------------------------------------------------------------------------------------------------- */

static inline const void *value_body(const struct value *value)
{
    return value + 1;
}

/* The value behind this one, where its parent has one. */
static inline const struct value *value_next(const struct value *value)
{
    return (const struct value *)(const void *)((const char *)(value + 1) + value->bytes);
}

static inline double value_number(const struct value *value)
{
    return *(const double *)value_body(value);
}

static inline const double *value_numbers(const struct value *value)
{
    return value_body(value);
}

static inline struct slice value_string(const struct value *value)
{
    return slice_from(value_body(value), value->count);
}

/* The first element of an array, the first key of an object. */
static inline const struct value *value_first(const struct value *value)
{
    return value_body(value);
}

/* The member of that name, NULL when the value is no object or has none. With a name twice, the last. */
const struct value *value_member(const struct value *object, struct slice name);

/* With its article, for error texts: "a number", "an array", "nothing" (NULL). VALUE_NUMBERS is "an array". */
const char *value_kind_name(const struct value *value);

/* --- Writing: appends to a buffer; memory's end is the buffer's `failed` --------------------------------------------
 */

void value_write_null(struct buffer *out);
void value_write_boolean(struct buffer *out, bool value);
void value_write_number(struct buffer *out, double value);
void value_write_string(struct buffer *out, struct slice text);

/* Room for `count` doubles that the caller fills at once; NULL when memory is out. count 0 writes an empty array and
 * gives NULL. */
double *value_write_numbers(struct buffer *out, uint32_t count);

/* Room for a string of `length` bytes that the caller fills at once; NULL when memory is out or length is 4 GiB. */
char *value_write_room(struct buffer *out, size_t length);

/* A copy of a value that lies elsewhere. */
void value_write_copy(struct buffer *out, const struct value *value);

/* Around the elements of an array, or the keys (value_write_string) and values of an object: begin gives the place to
 * hand to end, which fills in how many there were, and makes VALUE_NUMBERS of an array that holds numbers only. Around
 * a VALUE_STRING stand plain bytes (buffer_append), and count is how many. */
size_t value_begin(struct buffer *out, enum value_kind kind);
void value_end(struct buffer *out, size_t place, uint32_t count);

/* --- JSON ------------------------------------------------------------------------------------------------------- */

/* No value made from a text, or by an operation, takes more bytes. */
#define VALUE_BYTES_MAXIMUM ((size_t)256 << 20)

/* Text between two looks at the stop flag: some 100 µs. */
#define VALUE_STOP_BYTES (32u << 10)

/* `stop` may be NULL. */
static inline bool value_stopped(const atomic_bool *stop)
{
    return stop && atomic_load_explicit(stop, memory_order_relaxed);
}

/* Appends what the text says. Validates it (RFC 8259, UTF-8, `depth` at most VALUE_DEPTH_MAXIMUM). Numbers become
 * doubles; one beyond their range is refused. CODE_OK, CODE_BAD_JSON, CODE_TOO_DEEP, CODE_TOO_LARGE, CODE_INTERNAL
 * (memory); `error` says where. On failure *out is as it was but for its capacity. `stop`, when not NULL, is looked at
 * now and then: set, the answer is CODE_TASK_TIMEOUT. */
enum code value_from_json(struct buffer *out, struct slice text, unsigned depth, const atomic_bool *stop,
                          char error[ERROR_TEXT_BYTES]);

/* Appends the value as JSON: numbers with as few digits as read back the same, NaN and infinities as null. CODE_OK;
 * CODE_TASK_FAILED when a string is not UTF-8 (JSON has no way to write it); CODE_TOO_LARGE beyond
 * VALUE_BYTES_MAXIMUM; CODE_TASK_TIMEOUT when *stop, which may be NULL, was set; CODE_INTERNAL (memory). `error`, when
 * not NULL, says which; what was appended is then to be thrown away. */
enum code value_write_json(struct buffer *out, const struct value *value, const atomic_bool *stop,
                           char error[ERROR_TEXT_BYTES]);

/* The same without the reasons: false when the value cannot be JSON, or memory is out (then out->failed). */
static inline bool value_to_json(struct buffer *out, const struct value *value)
{
    return value_write_json(out, value, NULL, NULL) == CODE_OK;
}

#endif
