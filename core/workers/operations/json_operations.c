/* json_parse, json_stringify and json_query. A path is compiled to steps first; a value is then followed step by step,
 * and `[*]` and `.*` fan out. */
#include <stdio.h>

#include "workers/operations/inputs.h"
#include "workers/operations/operations.h"

#define PATH_BYTES 1024
#define STEPS_MOST 64

static enum operation_status refuse_parse(struct operation_call *call, const char *operation, enum code code,
                                          const char *error)
{
    if (code == CODE_TASK_TIMEOUT)
        return OPERATION_STOPPED;
    return inputs_refuse(call, "%s: data.text: %s", operation, error);
}

enum operation_status operation_json_parse(struct operation_call *call)
{
    static const char name[] = "json_parse";
    struct slice text;
    char error[ERROR_TEXT_BYTES];
    if (!input_is_object(call, name) || !input_text(call, name, "text", &text))
        return OPERATION_FAILED;
    enum code code = value_from_json(call->result, text, VALUE_DEPTH_MAXIMUM, call->stop, error);
    return code == CODE_OK ? OPERATION_DONE : refuse_parse(call, name, code, error);
}

enum operation_status operation_json_stringify(struct operation_call *call)
{
    static const char name[] = "json_stringify";
    if (!input_is_object(call, name))
        return OPERATION_FAILED;
    const struct value *value = value_member(call->data, SLICE("value"));
    if (!value)
        return inputs_refuse(call, "%s: data.value: expected a value, got nothing", name);
    char error[ERROR_TEXT_BYTES];
    size_t place = value_begin(call->result, VALUE_STRING);
    enum code code = value_write_json(call->result, value, call->stop, error);
    if (code == CODE_TASK_TIMEOUT)
        return OPERATION_STOPPED;
    if (code == CODE_TASK_FAILED)
        return inputs_refuse(call, "%s: data.value: a string is not UTF-8: JSON has no way to write it", name);
    if (code != CODE_OK)
        return inputs_refuse(call, "%s: %s", name, error);
    value_end(call->result, place, (uint32_t)(call->result->length - place - sizeof(struct value)));
    return inputs_finish(call, name);
}

/* --- Paths ------------------------------------------------------------------------------------------------------ */

struct step {
    enum { STEP_NAME, STEP_INDEX, STEP_ALL } kind;
    struct slice name;
    uint32_t index;
};

struct path {
    struct step steps[STEPS_MOST];
    unsigned count;
    bool many; /* some step fans out: the result is a list */
};

static bool ends_name(char byte)
{
    return byte == '.' || byte == '[' || byte == ']' || byte == '"' || byte == '\'';
}

/* At a bracket: [3], [*], ["name"] or ['name']. The byte behind it; NULL: *expected says what was. */
static const char *read_bracket(const char *p, const char *end, struct step *step, const char **expected)
{
    p++;
    if (p < end && (*p == '"' || *p == '\'')) {
        const char *close = memchr(p + 1, *p, (size_t)(end - p - 1));
        *step = (struct step){STEP_NAME, slice_from(p + 1, close ? (size_t)(close - p - 1) : 0), 0};
        *expected = "the quote that ends the name";
        if (!close)
            return NULL;
        p = close + 1;
    } else if (p < end && *p == '*') {
        *step = (struct step){STEP_ALL, {NULL, 0}, 0};
        p++;
    } else {
        const char *first = p;
        uint64_t index = 0;
        for (; p < end && (unsigned char)(*p - '0') < 10 && index <= UINT32_MAX; p++)
            index = index * 10 + (uint64_t)(*p - '0');
        *expected = "a number, * or a quoted name";
        if (p == first || index > UINT32_MAX)
            return NULL;
        *step = (struct step){STEP_INDEX, {NULL, 0}, (uint32_t)index};
    }
    *expected = "]";
    return p < end && *p == ']' ? p + 1 : NULL;
}

static bool read_path(struct operation_call *call, const char *name, struct slice text, struct path *path)
{
    const char *p = text.data, *end = p + text.length, *expected = NULL;
    path->count = 0;
    path->many = false;
    if (text.length > PATH_BYTES) {
        inputs_refuse(call, "%s: data.path: expected at most %d bytes, got %zu", name, PATH_BYTES, text.length);
        return false;
    }
    if (p < end && *p == '$' && (end - p == 1 || p[1] == '.' || p[1] == '['))
        p++;
    while (p < end) {
        if (path->count == STEPS_MOST) {
            inputs_refuse(call, "%s: data.path: expected at most %d steps", name, STEPS_MOST);
            return false;
        }
        struct step *step = &path->steps[path->count];
        if (*p == '[') {
            const char *after = read_bracket(p, end, step, &expected);
            if (!after)
                break;
            p = after;
        } else {
            bool dot = *p == '.';
            const char *first = p + dot;
            expected = "a name";
            if (!dot && path->count > 0) {
                expected = ". or [";
                break;
            }
            const char *q = first;
            while (q < end && !ends_name(*q))
                q++;
            if (q == first)
                break;
            *step = (struct step){STEP_NAME, slice_from(first, (size_t)(q - first)), 0};
            if (slice_equal(step->name, SLICE("*")))
                step->kind = STEP_ALL;
            p = q;
        }
        path->many |= step->kind == STEP_ALL;
        path->count++;
    }
    if (p == end)
        return true;
    inputs_refuse(call, "%s: data.path: expected %s at byte %zu", name, expected, (size_t)(p - text.data));
    return false;
}

struct query {
    struct operation_call *call;
    const struct path *path;
    uint32_t found;
    unsigned steps; /* since the last look at the stop flag */
    bool stopped, full;
};

static void follow(struct query *query, const struct value *value, unsigned at);

/* Each takes three times the room that it had; inputs_finish says so when that is too much. */
static void follow_numbers(struct query *query, const struct value *value)
{
    struct buffer *out = query->call->result;
    for (uint32_t i = 0; i < value->count; i++) {
        value_write_number(out, value_numbers(value)[i]);
        query->found++;
        if (i % 8192 == 8191) {
            query->stopped |= operation_stopped(query->call);
            query->full |= out->failed || out->length > OPERATION_RESULT_MAXIMUM;
            if (query->stopped || query->full)
                return;
        }
    }
}

static void follow_all(struct query *query, const struct value *value, unsigned at)
{
    if (value->kind == VALUE_NUMBERS && at == query->path->count) {
        follow_numbers(query, value);
        return;
    }
    if (value->kind != VALUE_ARRAY && value->kind != VALUE_OBJECT)
        return;
    const struct value *inner = value_first(value);
    for (uint32_t i = 0; i < value->count && !query->stopped && !query->full; i++) {
        if (value->kind == VALUE_OBJECT)
            inner = value_next(inner);
        follow(query, inner, at);
        inner = value_next(inner);
    }
}

/* At most STEPS_MOST deep. */
static void follow(struct query *query, const struct value *value, unsigned at)
{
    if (++query->steps % 1024 == 0 && operation_stopped(query->call))
        query->stopped = true;
    for (; at < query->path->count; at++) {
        const struct step *step = &query->path->steps[at];
        if (step->kind == STEP_ALL) {
            follow_all(query, value, at + 1);
            return;
        }
        if (step->kind == STEP_NAME) {
            value = value_member(value, step->name);
        } else if (value->kind == VALUE_NUMBERS && step->index < value->count && at + 1 == query->path->count) {
            value_write_number(query->call->result, value_numbers(value)[step->index]);
            query->found++;
            return;
        } else if (value->kind == VALUE_ARRAY && step->index < value->count) {
            value = value_first(value);
            for (uint32_t i = 0; i < step->index; i++)
                value = value_next(value);
        } else {
            value = NULL;
        }
        if (!value)
            return;
    }
    value_write_copy(query->call->result, value);
    query->found++;
}

enum operation_status operation_json_query(struct operation_call *call)
{
    static const char name[] = "json_query";
    struct slice path_text, text;
    struct path path;
    if (!input_is_object(call, name) || !input_text(call, name, "path", &path_text) ||
        !read_path(call, name, path_text, &path))
        return OPERATION_FAILED;
    struct buffer parsed = {0};
    const struct value *value = value_member(call->data, SLICE("value"));
    if (!value || (value->kind == VALUE_NULL && input_field(call, "text"))) {
        char error[ERROR_TEXT_BYTES];
        if (!input_field(call, "text"))
            return inputs_refuse(call, "%s: data: expected a field text or value, got neither", name);
        if (!input_text(call, name, "text", &text))
            return OPERATION_FAILED;
        enum code code = value_from_json(&parsed, text, VALUE_DEPTH_MAXIMUM, call->stop, error);
        if (code != CODE_OK) {
            buffer_free(&parsed);
            return refuse_parse(call, name, code, error);
        }
        value = (const struct value *)(const void *)parsed.data;
    }
    struct query query = {.call = call, .path = &path};
    size_t place = path.many ? value_begin(call->result, VALUE_ARRAY) : 0;
    follow(&query, value, 0);
    if (path.many && !query.full)
        value_end(call->result, place, query.found);
    else if (query.found == 0)
        value_write_null(call->result);
    buffer_free(&parsed);
    return query.stopped ? OPERATION_STOPPED : inputs_finish(call, name);
}
