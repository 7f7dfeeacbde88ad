/* Any bytes as the data of a task: what is read as a value must be written as JSON that reads as the same value again,
 * and the operations that take texts of a peer must answer, not fall over. */
#include <stdint.h>
#include <stdlib.h>

#include "memory.h"
#include "memory/pool.h"
#include "workers/operation.h"

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

static const struct value *root_of(const struct buffer *buffer)
{
    return (const struct value *)(const void *)buffer->data;
}

static void check_round_trip(struct slice text)
{
    struct buffer value = {0}, json = {0}, again = {0}, json_again = {0};
    char error[ERROR_TEXT_BYTES];
    enum code code = value_from_json(&value, text, VALUE_DEPTH_MAXIMUM, NULL, error);
    if (code != CODE_OK) {
        buffer_free(&value);
        return;
    }
    MUST(json_validate(text, VALUE_DEPTH_MAXIMUM, NULL) == CODE_OK);
    MUST(value.length == sizeof(struct value) + root_of(&value)->bytes);
    if (value_write_json(&json, root_of(&value), NULL, error) == CODE_OK) { /* a lone surrogate is no UTF-8 */
        MUST(json_validate(slice_from(json.data, json.length), VALUE_DEPTH_MAXIMUM, NULL) == CODE_OK);
        MUST(value_from_json(&again, slice_from(json.data, json.length), VALUE_DEPTH_MAXIMUM, NULL, error) == CODE_OK);
        MUST(value_write_json(&json_again, root_of(&again), NULL, error) == CODE_OK);
        MUST(json.length == json_again.length && memcmp(json.data, json_again.data, json.length) == 0);
    }
    buffer_free(&value);
    buffer_free(&json);
    buffer_free(&again);
    buffer_free(&json_again);
}

/* An allocation fails, or somebody says stop: no value and no text, and a reason. */
static void be_stopped(struct slice text, unsigned choice)
{
    static const atomic_bool now = true;
    struct buffer value = {0}, json = {0};
    char error[ERROR_TEXT_BYTES] = "";
    const atomic_bool *stop = choice & 1 ? &now : NULL;
    pool_set_enabled(false);
    memory_fail(stop ? 0 : 1 + choice / 2 % 8);
    enum code code = value_from_json(&value, text, VALUE_DEPTH_MAXIMUM, choice & 2 ? stop : NULL, error);
    MUST(code == CODE_OK || error[0]);
    if (code == CODE_OK) {
        code = value_write_json(&json, root_of(&value), stop, error);
        MUST(code == CODE_OK || error[0]);
    }
    (void)memory_failed();
    pool_set_enabled(true);
    buffer_free(&value);
    buffer_free(&json);
}

/* The first byte chooses the operation, the rest is its input as JSON. */
static void run_operation(unsigned char choice, struct slice text)
{
    static const char *const names[] = {"json_query", "regex_extract", "vector_operations", "sort",
                                        "hash",       "decompress",    "json_parse",        "json_stringify"};
    const struct operation *operation = operation_find(slice_from_string(names[choice % 8]));
    static const atomic_bool never;
    struct buffer data = {0}, result = {0};
    char error[ERROR_TEXT_BYTES];
    MUST(operation);
    if (value_from_json(&data, text, VALUE_DEPTH_MAXIMUM, NULL, error) == CODE_OK) {
        struct operation_call call = {.data = root_of(&data), .result = &result, .stop = &never};
        enum operation_status status = operation->run(&call);
        MUST(status == OPERATION_DONE || (status == OPERATION_FAILED && call.error[0]));
        if (status == OPERATION_DONE && !result.failed)
            MUST(result.length == sizeof(struct value) + root_of(&result)->bytes);
    }
    buffer_free(&data);
    buffer_free(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_round_trip(slice_from((const char *)data, size));
    if (size > 1 && data[0] & 0x80)
        be_stopped(slice_from((const char *)data + 1, size - 1), data[0] & 0x7f);
    if (size > 1)
        run_operation(data[0], slice_from((const char *)data + 1, size - 1));
    return 0;
}
