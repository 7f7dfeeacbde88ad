/* traceparent. One that is taken must have the shape of one, must mean the same when it is written and read again, and
 * nothing may be read past its end. What an envelope says of its trace is searched in the same bytes, once they are
 * JSON. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/json/json.h"
#include "protocol/traceparent.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct trace_context *context)
{
    char text[TRACEPARENT_LENGTH];
    struct trace_context again;
    traceparent_write(text, context);
    REQUIRE(traceparent_parse(slice_from(text, sizeof text), &again));
    REQUIRE(memcmp(again.trace_id, context->trace_id, TRACE_ID_BYTES) == 0);
    REQUIRE(memcmp(again.span_id, context->span_id, SPAN_ID_BYTES) == 0 && again.sampled == context->sampled);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace_context context;
    char *copy = malloc(size ? size : 1); /* exactly that long: a sanitizer sees a read behind it */
    REQUIRE(copy);
    memcpy(copy, data, size);
    struct slice text = slice_from(copy, size);
    if (traceparent_parse(text, &context)) {
        REQUIRE(size >= TRACEPARENT_LENGTH);
        for (size_t i = 0; i < TRACEPARENT_LENGTH; i++)
            REQUIRE(memchr("0123456789abcdef-", copy[i], 17));
        REQUIRE(size == TRACEPARENT_LENGTH || (copy[TRACEPARENT_LENGTH] == '-' && memcmp(copy, "00", 2) != 0));
        check_same(&context);
    }
    if (json_validate(text, 64, NULL) == CODE_OK &&
        traceparent_find(slice_trim_space(text), &context) == TRACEPARENT_READ)
        check_same(&context);
    free(copy);
    return 0;
}
