#include "workers/operations/inputs.h"

#include <stdarg.h>
#include <stdio.h>

#include "protocol/json/utf8.h"

/* Text from outside is repeated in an error up to this many bytes. */
#define ECHO_BYTES 40

enum operation_status inputs_refuse(struct operation_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(call->error, sizeof call->error, format, arguments);
    va_end(arguments);
    return OPERATION_FAILED;
}

enum operation_status inputs_finish(struct operation_call *call, const char *operation)
{
    if (call->result->failed)
        return inputs_refuse(call, "%s: out of memory", operation);
    if (call->result->length > OPERATION_RESULT_MAXIMUM)
        return inputs_refuse(call, "%s: the result has more than %zu MiB", operation, OPERATION_RESULT_MAXIMUM >> 20);
    return OPERATION_DONE;
}

bool input_is_object(struct operation_call *call, const char *operation)
{
    if (call->data->kind == VALUE_OBJECT)
        return true;
    inputs_refuse(call, "%s: data: expected an object, got %s", operation, value_kind_name(call->data));
    return false;
}

const struct value *input_field(const struct operation_call *call, const char *field)
{
    const struct value *value = value_member(call->data, slice_from_string(field));
    return value && value->kind == VALUE_NULL ? NULL : value;
}

static bool refuse_kind(struct operation_call *call, const char *operation, const char *field, const char *expected,
                        const struct value *got)
{
    inputs_refuse(call, "%s: data.%s: expected %s, got %s", operation, field, expected, value_kind_name(got));
    return false;
}

bool input_text(struct operation_call *call, const char *operation, const char *field, struct slice *out)
{
    const struct value *value = input_field(call, field);
    if (!value || value->kind != VALUE_STRING)
        return refuse_kind(call, operation, field, "a string", value);
    *out = value_string(value);
    return true;
}

bool input_optional_boolean(struct operation_call *call, const char *operation, const char *field, bool *out)
{
    const struct value *value = input_field(call, field);
    if (!value)
        return true;
    if (value->kind != VALUE_TRUE && value->kind != VALUE_FALSE)
        return refuse_kind(call, operation, field, "true or false", value);
    *out = value->kind == VALUE_TRUE;
    return true;
}

bool input_optional_whole(struct operation_call *call, const char *operation, const char *field, uint64_t least,
                          uint64_t most, uint64_t *out)
{
    const struct value *value = input_field(call, field);
    if (!value)
        return true;
    char expected[64];
    snprintf(expected, sizeof expected, "a whole number from %llu to %llu", (unsigned long long)least,
             (unsigned long long)most);
    if (value->kind != VALUE_NUMBER)
        return refuse_kind(call, operation, field, expected, value);
    double number = value_number(value);
    if (!(number >= (double)least && number <= (double)most) || number != (double)(uint64_t)number) {
        inputs_refuse(call, "%s: data.%s: expected %s, got %.17g", operation, field, expected, number);
        return false;
    }
    *out = (uint64_t)number;
    return true;
}

bool input_optional_choice(struct operation_call *call, const char *operation, const char *field,
                           const char *const *names, unsigned *out)
{
    const struct value *value = input_field(call, field);
    if (!value)
        return true;
    struct slice text = value->kind == VALUE_STRING ? value_string(value) : (struct slice){NULL, 0};
    char expected[160];
    size_t length = 0;
    for (unsigned i = 0; names[i]; i++) {
        if (value->kind == VALUE_STRING && slice_equal(text, slice_from_string(names[i]))) {
            *out = i;
            return true;
        }
        int written = snprintf(expected + length, sizeof expected - length, i ? ", %s" : "%s", names[i]);
        if (written > 0 && (size_t)written < sizeof expected - length)
            length += (size_t)written;
    }
    if (value->kind == VALUE_STRING && text.length <= ECHO_BYTES && utf8_printable(text))
        inputs_refuse(call, "%s: data.%s: expected one of %s, got \"%.*s\"", operation, field, expected,
                      (int)text.length, text.data);
    else
        inputs_refuse(call, "%s: data.%s: expected one of %s, got %s", operation, field, expected,
                      value->kind == VALUE_STRING ? "something else" : value_kind_name(value));
    return false;
}
