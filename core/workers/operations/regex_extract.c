/* regex_extract: PCRE2 with its JIT. Nothing can interrupt a match, so it is kept short from two sides: a limit on the
 * steps that PCRE2 may take from one place in the text, and a limit on the places that one call tries, which is adapted
 * to what the last call took. Between the calls the stop flag is looked at. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>

#include "base/clock.h"
#include "protocol/json/utf8.h"
#include "workers/operations/inputs.h"
#include "workers/operations/operations.h"

static const char name[] = "regex_extract";

#define PATTERN_BYTES 4096u
#define LIMIT_MOST 1000000u

/* Steps from one place: a pattern that explodes fails after some 20 ms. One call that tries many places may take
 * SHARED_LIMIT steps at all of them together; if that does not do, it is tried again with fewer places. */
#define MATCH_LIMIT 2000000u
#define SHARED_LIMIT 400000u
#define DEPTH_LIMIT 20000u         /* only without the JIT */
#define HEAP_LIMIT_KIB (16u << 10) /* the same */
#define JIT_STACK_LEAST (32u << 10)
#define JIT_STACK_MOST (512u << 10)

/* Places that one call tries: at first, at most, and the time that a call should take. */
#define WINDOW_FIRST 64u
#define WINDOW_MOST 16384u
#define WINDOW_NS 500000u

struct extraction {
    struct operation_call *call;
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    struct slice text;
    size_t window;
    uint64_t last_ns; /* when the last call ended */
    uint32_t group, group_count;
    bool groups;
    bool anchored; /* only where a call begins: no other place is to be tried */
    uint32_t name_count, name_entry_bytes;
    const unsigned char *names;
};

static void drop(struct extraction *extraction)
{
    pcre2_match_data_free(extraction->data);
    pcre2_match_context_free(extraction->context);
    pcre2_jit_stack_free(extraction->stack);
    pcre2_code_free(extraction->code);
}

static bool read_flags(struct operation_call *call, uint32_t *options)
{
    struct slice flags;
    if (!input_field(call, "flags"))
        return true;
    if (!input_text(call, name, "flags", &flags))
        return false;
    for (size_t i = 0; i < flags.length; i++) {
        switch (flags.data[i]) {
        case 'i':
            *options |= PCRE2_CASELESS;
            break;
        case 'm':
            *options |= PCRE2_MULTILINE;
            break;
        case 's':
            *options |= PCRE2_DOTALL;
            break;
        case 'x':
            *options |= PCRE2_EXTENDED;
            break;
        case 'u':
            *options |= PCRE2_UCP;
            break;
        default:
            inputs_refuse(call, "%s: data.flags: expected letters of i, m, s, x, u, got another at byte %zu", name, i);
            return false;
        }
    }
    return true;
}

static bool compile(struct extraction *extraction, struct slice pattern, uint32_t options)
{
    struct operation_call *call = extraction->call;
    int error;
    size_t offset;
    options |= PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
    extraction->code = pcre2_compile((PCRE2_SPTR)pattern.data, pattern.length, options, &error, &offset, NULL);
    if (!extraction->code) {
        unsigned char words[128];
        pcre2_get_error_message(error, words, sizeof words);
        inputs_refuse(call, "%s: data.pattern: %s at byte %zu", name, (const char *)words, offset);
        return false;
    }
    bool jit = pcre2_jit_compile(extraction->code, PCRE2_JIT_COMPLETE) == 0; /* else it is interpreted */
    extraction->context = pcre2_match_context_create(NULL);
    extraction->data = pcre2_match_data_create_from_pattern(extraction->code, NULL);
    extraction->stack = jit ? pcre2_jit_stack_create(JIT_STACK_LEAST, JIT_STACK_MOST, NULL) : NULL;
    if (!extraction->context || !extraction->data || (jit && !extraction->stack)) {
        inputs_refuse(call, "%s: out of memory", name);
        return false;
    }
    pcre2_set_depth_limit(extraction->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(extraction->context, HEAP_LIMIT_KIB);
    if (jit)
        pcre2_jit_stack_assign(extraction->context, NULL, extraction->stack);
    pcre2_pattern_info(extraction->code, PCRE2_INFO_ALLOPTIONS, &options);
    extraction->anchored = (options & PCRE2_ANCHORED) != 0;
    pcre2_pattern_info(extraction->code, PCRE2_INFO_CAPTURECOUNT, &extraction->group_count);
    pcre2_pattern_info(extraction->code, PCRE2_INFO_NAMECOUNT, &extraction->name_count);
    pcre2_pattern_info(extraction->code, PCRE2_INFO_NAMEENTRYSIZE, &extraction->name_entry_bytes);
    pcre2_pattern_info(extraction->code, PCRE2_INFO_NAMETABLE, &extraction->names);
    return true;
}

/* data.group: a number, or the name of a group. */
static bool read_group(struct extraction *extraction)
{
    struct operation_call *call = extraction->call;
    const struct value *value = input_field(call, "group");
    uint64_t group = 0;
    if (value && value->kind == VALUE_STRING) {
        char wanted[64];
        struct slice text = value_string(value);
        int number = -1;
        if (text.length < sizeof wanted) {
            memcpy(wanted, text.data, text.length);
            wanted[text.length] = '\0';
            number = pcre2_substring_number_from_name(extraction->code, (PCRE2_SPTR)wanted);
        }
        if (number < 0) {
            inputs_refuse(call, "%s: data.group: expected a group that the pattern names once, got another name", name);
            return false;
        }
        group = (uint64_t)number;
    } else if (!input_optional_whole(call, name, "group", 0, extraction->group_count, &group)) {
        return false;
    }
    extraction->group = (uint32_t)group;
    return true;
}

static void write_group(struct extraction *extraction, uint32_t group)
{
    const size_t *spans = pcre2_get_ovector_pointer(extraction->data);
    if (spans[(size_t)2 * group] == PCRE2_UNSET)
        value_write_null(extraction->call->result);
    else
        value_write_string(extraction->call->result,
                           slice_from(extraction->text.data + spans[(size_t)2 * group],
                                      spans[(size_t)2 * group + 1] - spans[(size_t)2 * group]));
}

static void write_match(struct extraction *extraction)
{
    struct buffer *out = extraction->call->result;
    if (!extraction->groups) {
        write_group(extraction, extraction->group);
        return;
    }
    size_t place = value_begin(out, VALUE_OBJECT);
    value_write_string(out, SLICE("text"));
    write_group(extraction, 0);
    value_write_string(out, SLICE("index"));
    value_write_number(out, (double)pcre2_get_ovector_pointer(extraction->data)[0]);
    value_write_string(out, SLICE("groups"));
    size_t list = value_begin(out, VALUE_ARRAY);
    for (uint32_t group = 1; group <= extraction->group_count; group++)
        write_group(extraction, group);
    value_end(out, list, extraction->group_count);
    if (extraction->name_count > 0) {
        value_write_string(out, SLICE("names"));
        size_t names = value_begin(out, VALUE_OBJECT);
        for (uint32_t i = 0; i < extraction->name_count; i++) {
            const unsigned char *entry = extraction->names + (size_t)i * extraction->name_entry_bytes;
            value_write_string(out, slice_from_string((const char *)entry + 2));
            write_group(extraction, (uint32_t)entry[0] << 8 | entry[1]);
        }
        value_end(out, names, extraction->name_count);
    }
    value_end(out, place, extraction->name_count > 0 ? 4 : 3);
}

static size_t next_character(struct slice text, size_t at)
{
    at++;
    while (at < text.length && ((unsigned char)text.data[at] & 0xc0) == 0x80)
        at++;
    return at;
}

static enum operation_status refuse_match(struct extraction *extraction, int error)
{
    struct operation_call *call = extraction->call;
    if (error == PCRE2_ERROR_MATCHLIMIT || error == PCRE2_ERROR_DEPTHLIMIT || error == PCRE2_ERROR_HEAPLIMIT ||
        error == PCRE2_ERROR_JIT_STACKLIMIT)
        return inputs_refuse(call, "%s: data.pattern: takes too many steps on this text: it backtracks without end",
                             name);
    if (error == PCRE2_ERROR_NOMEMORY)
        return inputs_refuse(call, "%s: out of memory", name);
    unsigned char words[128];
    pcre2_get_error_message(error, words, sizeof words);
    return inputs_refuse(call, "%s: data.pattern: %s", name, (const char *)words);
}

/* Of match_window: PCRE2's own errors are negative and above this. */
#define TRY_FEWER (-100000)

/* One call of PCRE2 that tries the places from `at` to *last. More than 0: a match. */
static int match_window(struct extraction *extraction, size_t at, uint32_t options, size_t *last)
{
    size_t left = extraction->text.length - at;
    *last = extraction->window < left ? at + extraction->window : extraction->text.length;
    pcre2_set_offset_limit(extraction->context, *last);
    pcre2_set_match_limit(extraction->context,
                          extraction->window > 1 ? SHARED_LIMIT / (uint32_t)extraction->window : MATCH_LIMIT);
    PCRE2_SPTR text = (PCRE2_SPTR)extraction->text.data;
    int count = extraction->stack ? pcre2_jit_match(extraction->code, text, extraction->text.length, at, options,
                                                    extraction->data, extraction->context)
                                  : pcre2_match(extraction->code, text, extraction->text.length, at,
                                                options | PCRE2_NO_UTF_CHECK, extraction->data, extraction->context);
    uint64_t now = clock_steady_ns(), took = now - extraction->last_ns;
    extraction->last_ns = now;
    if (count == PCRE2_ERROR_MATCHLIMIT && extraction->window > 1) {
        extraction->window = extraction->window > 8 ? extraction->window / 8 : 1;
        return TRY_FEWER;
    }
    if (took > WINDOW_NS && extraction->window > 1)
        extraction->window /= 2;
    else if (count == PCRE2_ERROR_NOMATCH && took < WINDOW_NS / 2 && extraction->window < left &&
             extraction->window < WINDOW_MOST)
        extraction->window *= 2;
    return count;
}

static enum operation_status extract(struct extraction *extraction, uint64_t limit, uint32_t *found)
{
    struct operation_call *call = extraction->call;
    size_t at = 0, last;
    uint32_t options = 0;
    extraction->last_ns = clock_steady_ns();
    while (*found < limit) {
        if (operation_stopped(call))
            return OPERATION_STOPPED;
        int count = match_window(extraction, at, options, &last);
        if (count == TRY_FEWER)
            continue;
        if (count == PCRE2_ERROR_NOMATCH) {
            if (last >= extraction->text.length || extraction->anchored)
                break;
            at = next_character(extraction->text, last);
            options = 0;
            continue;
        }
        if (count <= 0)
            return refuse_match(extraction, count);
        const size_t *spans = pcre2_get_ovector_pointer(extraction->data);
        write_match(extraction);
        ++*found;
        if (call->result->failed || call->result->length > OPERATION_RESULT_MAXIMUM)
            break;
        /* Behind an empty match another may begin at the same place, as long as it is not empty too. */
        options = spans[0] == spans[1] ? PCRE2_NOTEMPTY_ATSTART : 0;
        at = spans[1];
    }
    return OPERATION_DONE;
}

enum operation_status operation_regex_extract(struct operation_call *call)
{
    struct extraction extraction = {.call = call, .window = WINDOW_FIRST};
    struct slice pattern;
    uint64_t limit = 100;
    uint32_t options = 0, found = 0;
    if (!input_is_object(call, name) || !input_text(call, name, "text", &extraction.text) ||
        !input_text(call, name, "pattern", &pattern) || !read_flags(call, &options) ||
        !input_optional_whole(call, name, "limit", 1, LIMIT_MOST, &limit) ||
        !input_optional_boolean(call, name, "groups", &extraction.groups))
        return OPERATION_FAILED;
    if (pattern.length > PATTERN_BYTES)
        return inputs_refuse(call, "%s: data.pattern: expected at most %u bytes, got %zu", name, PATTERN_BYTES,
                             pattern.length);
    if (!utf8_valid(pattern.data, pattern.length))
        return inputs_refuse(call, "%s: data.pattern: expected UTF-8, got other bytes", name);
    size_t valid = utf8_valid(extraction.text.data, extraction.text.length)
                       ? extraction.text.length
                       : utf8_valid_length(extraction.text.data, extraction.text.length);
    if (valid < extraction.text.length)
        return inputs_refuse(call, "%s: data.text: expected UTF-8, got something else at byte %zu", name, valid);
    enum operation_status status = OPERATION_FAILED;
    if (compile(&extraction, pattern, options) && read_group(&extraction)) {
        size_t place = value_begin(call->result, VALUE_ARRAY);
        status = extract(&extraction, limit, &found);
        value_end(call->result, place, found);
    }
    drop(&extraction);
    return status == OPERATION_DONE ? inputs_finish(call, name) : status;
}
