/* Who an envelope's trace belongs to: the `traceparent` of W3C Trace Context (https://www.w3.org/TR/trace-context/,
 * version 00). What cannot be read belongs to nobody; it is carried as it came. */
#ifndef LUADUCT_PROTOCOL_TRACEPARENT_H
#define LUADUCT_PROTOCOL_TRACEPARENT_H

#include <stdbool.h>

#include "base/slice.h"

#define TRACE_ID_BYTES 16
#define SPAN_ID_BYTES 8

struct trace_context {
    unsigned char trace_id[TRACE_ID_BYTES]; /* never all zero */
    unsigned char span_id[SPAN_ID_BYTES];   /* as is */
    bool sampled;
};

/* "00-<32 hex>-<16 hex>-<2 hex>", or what begins like that with a later version (section 3.2.2). */
bool traceparent_parse(struct slice text, struct trace_context *out);

#define TRACEPARENT_LENGTH 55
void traceparent_write(char out[TRACEPARENT_LENGTH], const struct trace_context *context);

/* What an envelope's `trace` says, a JSON value that was validated. */
enum traceparent_found {
    TRACEPARENT_NONE,  /* nothing: it is no object, or has no member "traceparent" */
    TRACEPARENT_WRONG, /* one that cannot be read */
    TRACEPARENT_READ,
};
enum traceparent_found traceparent_find(struct slice json, struct trace_context *out);

/* Lower-case hexadecimal digits of `count` bytes. */
void hex_write(char *out, const unsigned char *bytes, size_t count);

#endif
