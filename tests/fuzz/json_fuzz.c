/* Any bytes as JSON: the builds of the scanner must agree, and what they accept must be walked, unescaped and written
 * again without harm. */
#include <stdint.h>
#include <stdlib.h>

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

static void walk(struct slice value)
{
    struct slice rest = value, key, element;
    switch (json_kind(value)) {
    case JSON_OBJECT:
        while (json_next_member(&rest, &key, &element)) {
            MUST(key.data > value.data && element.data + element.length < value.data + value.length);
            walk(element);
        }
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
    free(copy);

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

    enum code code = json_validate(text, 80, NULL);
    MUST(code == (valid ? first : CODE_BAD_JSON));
    if (code == CODE_OK)
        walk(trimmed(text));
    return 0;
}
