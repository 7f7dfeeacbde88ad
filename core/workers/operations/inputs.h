/* Inside of the operations: reading the fields of the input, and saying what is wrong with one. A reader gives false
 * after it has put its words into call->error; the operation then returns OPERATION_FAILED. A field that is null counts
 * as absent. `operation` is the operation's name, which the error begins with. */
#ifndef LUADUCT_WORKERS_OPERATIONS_INPUTS_H
#define LUADUCT_WORKERS_OPERATIONS_INPUTS_H

#include "workers/operation.h"

/* Writes the error. Returns OPERATION_FAILED for the operation to return. */
enum operation_status inputs_refuse(struct operation_call *call, const char *format, ...)
    __attribute__((cold, noinline, format(printf, 2, 3)));

/* DONE, unless memory ran out or the result is too large. The last thing that an operation calls. */
enum operation_status inputs_finish(struct operation_call *call, const char *operation);

bool input_is_object(struct operation_call *call, const char *operation);

/* NULL: absent. */
const struct value *input_field(const struct operation_call *call, const char *field);

bool input_text(struct operation_call *call, const char *operation, const char *field, struct slice *out);

/* Optional ones leave *out alone when the field is absent. */
bool input_optional_boolean(struct operation_call *call, const char *operation, const char *field, bool *out);
bool input_optional_whole(struct operation_call *call, const char *operation, const char *field, uint64_t least,
                          uint64_t most, uint64_t *out);

/* One of the names, which end with NULL: its place in the list. */
bool input_optional_choice(struct operation_call *call, const char *operation, const char *field,
                           const char *const *names, unsigned *out);

/* How bytes are written into a string of the result. */
enum encoding { ENCODING_RAW, ENCODING_HEX, ENCODING_BASE64 };
extern const char *const encoding_names[];

/* Appends the bytes as one string value. OPERATION_DONE or OPERATION_STOPPED. */
enum operation_status encoding_write(struct operation_call *call, struct slice bytes, enum encoding encoding);

/* Appends what the base64 text means as one string value. Padding may be missing; `wrong` is the offset of the first
 * byte that does not fit, when the answer is OPERATION_FAILED. */
enum operation_status base64_decode(struct operation_call *call, struct slice text, struct buffer *out, size_t *wrong);

#endif
