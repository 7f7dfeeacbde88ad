/* Spans as a request body of OTLP/HTTP with JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp, the protocol
 * buffers of opentelemetry-proto 1.x in their JSON form: ids in hexadecimal, 64-bit numbers as text). */
#ifndef LUADUCT_RUNTIME_OTLP_H
#define LUADUCT_RUNTIME_OTLP_H

#include "memory/buffer.h"
#include "runtime/tracing/span.h"

struct otlp_resource {
    const char *service, *instance, *version, *environment;
    int64_t wall_offset_ns; /* to add to a span's times, to have them since 1970 */
};

/* The first `count` spans of the queue. Memory's end is the buffer's `failed`. */
void otlp_write(struct buffer *out, const struct otlp_resource *resource, uint32_t count);

/* --- What the collector answers; of text that is nothing of the kind, nothing --- */

/* How many spans of a request it threw away (ExportTraceServiceResponse.partialSuccess), and what it says about that or
 * besides: `message`, "" where it says nothing, cut to `size`. */
uint64_t otlp_read_rejected(struct slice body, char *message, size_t size);

/* What it says to a request that it refuses (google.rpc.Status.message). */
void otlp_read_message(struct slice body, char *message, size_t size);

#endif
