/* Any bytes as JSON: the builds of the scanner must agree, and what they accept must be walked, unescaped and written
 * again without harm. */
#include <stdint.h>
#include <stdlib.h>

#include "memory.h"
#include "memory/pool.h"
#include "protocol/json/json_number.h"
#include "protocol/json/json_object.h"
#include "protocol/json/json_write.h"
#include "protocol/json/scan.h"
#include "protocol/json/utf8.h"

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

static void walk_string(struct slice value)
{
    struct slice inside = json_string_inside(value);
    char *text = malloc(inside.length + !inside.length);
    MUST(text);
    struct slice unescaped = slice_from(text, json_unescape(inside, text, NULL));
    MUST(unescaped.length <= inside.length && utf8_valid(text, unescaped.length));
    MUST(json_inside_equals(inside, unescaped));
    size_t length = json_string_length(unescaped);
    char *again = malloc(length);
    MUST(again && json_write_string(again, unescaped) == again + length);
    MUST(json_validate(slice_from(again, length), 1, NULL) == CODE_OK);
    MUST(json_inside_equals(slice_from(again + 1, length - 2), unescaped));
    free(again);
    free(text);
}

/* Written shortest, it reads as the same number; the byte behind it is known. */
static void walk_number(struct slice value)
{
    double number, again;
    bool wide;
    char text[JSON_NUMBER_BYTES];
    const char *end = value.data + value.length;
    if (!json_number_read(value.data, end, &number, &wide)) {
        MUST(wide);
        return;
    }
    MUST(json_number_read(value.data, end, &number, &wide) == end);
    size_t length = json_number_write(number, text);
    MUST(length <= sizeof text);
    MUST(json_number_read(text, text + length, &again, &wide) == text + length);
    MUST(memcmp(&number, &again, sizeof number) == 0 || number == 0);
}

/* Any bytes become a string of JSON. */
static void write_bytes(struct slice bytes)
{
    struct buffer out = {0};
    buffer_append_json_string(&out, bytes);
    MUST(!out.failed && out.length == json_string_length(bytes));
    MUST(json_validate(slice_from(out.data, out.length), 1, NULL) == CODE_OK);
    buffer_free(&out);
}

static void compare_fields(const struct envelope *a, const struct envelope *b)
{
    MUST(a->escaped == b->escaped);
    for (unsigned field = 0; field < FIELD_COUNT; field++)
        MUST(slice_equal(a->json[field], b->json[field]));
}

/* As a message and as an envelope, by each build. */
static void compare_messages(const struct scan_functions *const *builds, size_t count, char *text, size_t size)
{
    static struct message first, message;
    for (unsigned way = 0; way < 4; way++) {
        for (size_t i = 0; i < count; i++) {
            char words[ERROR_TEXT_BYTES] = "", *error = way & 1 ? message.error : words;
            struct text_store store = {0};
            struct message *out = i > 0 ? &message : &first;
            struct scan scan = {.start = text,
                                .end = text + size,
                                .depth = 80,
                                .lenient = way & 2,
                                .prefix = way & 1 ? "envelope." : "",
                                .error = error};
            envelope_clear(&out->envelope, &store);
            out->type = MESSAGE_UNKNOWN;
            static enum code code;
            enum code now = way & 1 ? builds[i]->message(&scan, out) : builds[i]->envelope(&scan, &out->envelope);
            if (i == 0)
                code = now;
            MUST(now == code && out->type == first.type);
            if (now == CODE_OK)
                compare_fields(&first.envelope, &out->envelope);
            text_store_free(&store);
        }
    }
}

static void walk(struct slice value)
{
    MUST(json_kind_name(json_kind(value)));
    struct slice rest = value, key, element;
    switch (json_kind(value)) {
    case JSON_OBJECT:
        if (json_object_is_strict(value) && json_next_member(&rest, &key, &element)) {
            MUST(json_has_escape(key) || slice_equal(json_object_get(value, key), element));
            rest = value;
        }
        while (json_next_member(&rest, &key, &element)) {
            MUST(key.data > value.data && element.data + element.length < value.data + value.length);
            walk(element);
        }
        MUST(!json_next_member(&rest, &key, &element));
        break;
    case JSON_ARRAY:
        while (json_next_element(&rest, &element)) {
            MUST(element.length > 0 && element.data + element.length < value.data + value.length);
            walk(element);
        }
        break;
    case JSON_STRING:
        walk_string(value);
        break;
    case JSON_NUMBER:
        walk_number(value);
        break;
    default:
        break;
    }
}

static struct slice trimmed(struct slice text)
{
    while (text.length > 0 && (unsigned char)text.data[0] <= ' ')
        text.data++, text.length--;
    while (text.length > 0 && (unsigned char)text.data[text.length - 1] <= ' ')
        text.length--;
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_from((const char *)data, size);
    char *copy = malloc(size + JSON_SLACK);
    MUST(copy);
    memcpy(copy, text.data, size);
    memset(copy + size, 0xff, JSON_SLACK);
    copy[size] = '\0';
    const struct scan_functions *builds[] = {
        &scan_scalar,
#if defined(__x86_64__)
        &scan_sse2,
        scan_best(),
#endif
    };
    enum code first = CODE_OK;
    char words[2][ERROR_TEXT_BYTES] = {"", ""};
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        struct scan scan = {.start = copy, .end = copy + size, .depth = 80, .prefix = "", .error = words[i > 0]};
        enum code code = builds[i]->value(&scan);
        if (i == 0)
            first = code;
        MUST(code == first && strcmp(words[0], i > 0 ? words[1] : words[0]) == 0);
    }
    compare_messages(builds, sizeof builds / sizeof builds[0], copy, size);
    free(copy);
    write_bytes(text);

    bool valid = utf8_valid(text.data, size);
    MUST(valid == (utf8_valid_length(text.data, size) == size));
    struct utf8_stream stream = {0};
    bool good = true;
    for (size_t at = 0, piece = 1; at < size && good; at += piece, piece = piece * 3 % 37) {
        if (piece > size - at)
            piece = size - at;
        good = utf8_stream_feed(&stream, text.data + at, piece);
    }
    MUST(valid == (good && utf8_stream_complete(&stream)));

    MUST(valid || !utf8_printable(text));
    MUST(json_kind(slice_from(text.data, 0)) == JSON_NONE);
    char error[ERROR_TEXT_BYTES];
    enum code code = json_validate(text, 80, error);
    MUST(code == CODE_OK || memchr(error, 0, sizeof error));
    if (size > 4096) { /* it is copied */
        pool_set_enabled(false);
        memory_fail(1);
        enum code scarce = json_validate(text, 80, error);
        MUST(memory_failed() ? scarce == CODE_INTERNAL : scarce == CODE_BAD_JSON);
        pool_set_enabled(true);
    }
    MUST(code == (valid ? first : CODE_BAD_JSON));
    if (code == CODE_OK)
        walk(trimmed(text));
    return 0;
}
