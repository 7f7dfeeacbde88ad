/* The JSON scanner: what RFC 8259 allows and what not, the same in each of its builds; the readers; the writer. */
#include "protocol/json/json.h"

#include "../../support/unit.h"
#include "protocol/json/json_write.h"
#include "protocol/json/scan.h"

struct verdict {
    const char *text;
    size_t length;
    bool accepted;
};

#define YES(text) {text, sizeof(text) - 1, true},
#define NO(text) {text, sizeof(text) - 1, false},

static const struct verdict verdicts[] = {
    /* Valid: values alone. */
    YES("null") YES("true") YES("false") YES("0") YES("-0") YES("1") YES("-1") YES("123456789") YES("1.5") YES("-1.5")
        YES("0.1") YES("1e5") YES("1E5") YES("1e+5") YES("1e-5") YES("1.5e10") YES("0e0") YES("-0.0e-0") YES("1.10")
            YES("12345678901234567890") YES("123e65") YES("\"\"") YES("\"a\"") YES("[]") YES("{}")
    /* Valid: white space. */
    YES(" null") YES("null ") YES("\t\r\n 1 \n\r\t") YES("[ ]") YES("{ }") YES("[ 1 , 2 ]")
        YES("{ \"a\" : 1 , \"b\" : 2 }") YES("                                        [                                "
                                             "      1                            ]")
    /* Valid: containers. */
    YES("[1]") YES("[1,2,3]") YES("[[]]") YES("[[],[]]") YES("[{}]") YES("[null,true,false]") YES("{\"a\":1}")
        YES("{\"\":0}") YES("{\"a\":{\"b\":{\"c\":[]}}}") YES("{\"a\":1,\"a\":2}") YES("{\"a\":[],\"b\":{}}")
            YES("[1,[2,[3,[4]]]]") YES("{\"a\\u0062\":1}") YES("{\"\\u0000\":1}")
    /* Valid: strings. */
    YES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"") YES("\"\\u0041\"") YES("\"\\uABCD\\uabcd\"") YES("\"\\ud83d\\ude00\"")
        YES("\"\\u0000\"") YES("\"\x7f\"") YES("\"\xc3\xa4\"") YES("\"\xe2\x82\xac\"") YES("\"\xf0\x9f\x98\x80\"")
            YES("\"\xe2\x80\xa8\"") YES("\"\xef\xbf\xbf\"") YES("\"//\"") YES("\"/* */\"") YES("\"'\"")
                YES("\"\\u2028\"") YES("\"0123456789012345678901234567890123456789012345678901234567890123456789\"")
                    YES("\"012345678901234567890123456789\\n01234567890123456789012345678901\\\\\"")
    /* Implementation-defined: the grammar allows them, and they pass on as they are. */
    YES("1e400") YES("-1e400") YES("1e-400") YES("0.4e00669999999999999999999999999999999999")
        YES("-237462374673276894279832") YES("\"\\ud800\"") YES("\"\\udc00\"") YES("\"\\ud800\\ud800\"")
            YES("\"\\ud800a\"") YES("\"\\udead\\ud800\"")
                YES("123456789012345678901234567890123456789012345678901234567890")
    /* Implementation-defined: not text in UTF-8, or a mark before it. */
    NO("\xef\xbb\xbf{}") NO("\"\xff\"") NO("\"\xc0\x80\"") NO("\"\xed\xa0\x80\"") NO("\"\xf4\x90\x80\x80\"")
        NO("\"\xe2\x82\"") NO("\"\x80\"") NO("\"\xc2\"") NO("[\"\xfc\x80\x80\x80\x80\x80\"]") NO("\xff\xfe[\0]\0")
    /* Not JSON: nothing, or too much. */
    NO("") NO(" ") NO("\n") NO("1 2") NO("null null") NO("[]]") NO("{}}") NO("[],") NO("{},{}") NO("1,") NO("\"a\"b")
        NO("[]x") NO("\0") NO("1\0") NO("[1\0]") NO("null\0")
    /* Not JSON: literals. */
    NO("nul") NO("nulL") NO("NULL") NO("tru") NO("True") NO("truee") NO("fals") NO("falsey") NO("undefined") NO("NaN")
        NO("Infinity") NO("-Infinity") NO("nan") NO("[nu]") NO("[t]")
    /* Not JSON: numbers. */
    NO("+1") NO("-") NO("01") NO("-01") NO("00") NO("1.") NO(".5") NO("-.5") NO("1.e5") NO("1e") NO("1e+") NO("1E-")
        NO("0x10") NO("1_000") NO("1.2.3") NO("--1") NO("1e5.5") NO("0e") NO("1 .5") NO("- 1") NO("1a") NO("2e1e1")
            NO("\xef\xbc\x91")
    /* Not JSON: strings. */
    NO("\"") NO("\"a") NO("a\"") NO("'a'") NO("\"\\\"") NO("\"\\x41\"") NO("\"\\a\"") NO("\"\\\"a") NO("\"\\u\"")
        NO("\"\\u12\"") NO("\"\\u12g4\"") NO("\"\\U0041\"") NO("\"\\") NO("\"\\u004") NO("\"\n\"") NO("\"\t\"")
            NO("\"\0\"") NO("\"\x1f\"") NO("\"a\0b\"") NO("\"\\ \"") NO("\"\\u 041\"") NO("\"\\\0\"")
                NO("\"\\u00\0\0\"") NO("\"\\\xc3\xa4\"")
                    NO("\"01234567890123456789012345678901234567890123456789\x01\"")
    /* Not JSON: arrays. */
    NO("[") NO("]") NO("[1") NO("[1,") NO("[,]") NO("[,1]") NO("[1,]") NO("[1,,2]") NO("[1 2]") NO("[1;2]") NO("[1}")
        NO("[\"a\":1]") NO("[(1)]") NO("[1]]") NO("[[1]") NO("[}")
    /* Not JSON: objects. */
    NO("{") NO("}") NO("{1}") NO("{a:1}") NO("{'a':1}") NO("{\"a\"}") NO("{\"a\":}") NO("{\"a\":1,}") NO("{,}")
        NO("{,\"a\":1}") NO("{\"a\":1,,\"b\":2}") NO("{\"a\" 1}") NO("{\"a\"::1}") NO("{\"a\":1 \"b\":2}")
            NO("{\"a\",\"b\"}") NO("{:1}") NO("{\"a\":1") NO("{\"a\":1]") NO("{null:1}") NO("{1:1}") NO("{[]:1}")
                NO("{\"a\":1}/**/") NO("/**/{}") NO("{\"a\":1}//") NO("{\"a\":1}#") NO("{\"a\":[}") NO("{]") NO("{\"a")
                    NO("{\"a\"") NO("{\"a\":") NO("{\"a\":\"b")
    /* Not JSON: other white space. */
    NO("\v1") NO("\f1") NO("\xc2\xa0") NO("[\xe2\x81\xa0]") NO("[\f]") NO("\x85")};

static const struct scan_functions *builds[3];
static unsigned build_count;

static void find_builds(void)
{
    build_count = 0;
    builds[build_count++] = &scan_scalar;
#if defined(__x86_64__)
    builds[build_count++] = &scan_sse2;
    if (scan_best() == &scan_avx2)
        builds[build_count++] = &scan_avx2;
#endif
}

/* A copy with exactly the slack that a scan may read, so that the address sanitizer sees more. */
static char *with_slack(const char *text, size_t length)
{
    char *copy = malloc(length + JSON_SLACK);
    memcpy(copy, text, length);
    memset(copy + length, 0xaa, JSON_SLACK);
    copy[length] = '\0';
    return copy;
}

TEST("JSON: each case of the grammar gets its verdict, and the valid ones wherever they begin")
{
    size_t count = sizeof verdicts / sizeof verdicts[0];
    CHECK(count >= 200);
    for (size_t i = 0; i < count; i++) {
        char error[ERROR_TEXT_BYTES] = "";
        enum code code = json_validate(slice_from(verdicts[i].text, verdicts[i].length), 64, error);
        if ((code == CODE_OK) != verdicts[i].accepted)
            fprintf(stderr, "case %zu: %s (%s)\n", i, verdicts[i].text, error);
        CHECK(code == (verdicts[i].accepted ? CODE_OK : CODE_BAD_JSON));
        CHECK(verdicts[i].accepted || strncmp(error, "not JSON: ", 10) == 0);
        /* The same inside an array behind a string of any length, so that each vector boundary is crossed. */
        for (size_t before = 0; before < 70; before++) {
            char text[512];
            int length = snprintf(text, sizeof text, "[\"%0*d\",", (int)before + 1, 0);
            memcpy(text + length, verdicts[i].text, verdicts[i].length);
            length += (int)verdicts[i].length;
            text[length++] = ']';
            bool accepted = json_validate(slice_from(text, (size_t)length), 64, NULL) == CODE_OK;
            /* Some broken texts become whole by what stands around them; they are told apart by the first check. */
            if (verdicts[i].accepted)
                CHECK(accepted);
        }
    }
}

TEST("JSON: all builds of the scanner give each case the same answer and the same words")
{
    find_builds();
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        char *text = with_slack(verdicts[i].text, verdicts[i].length);
        char first[ERROR_TEXT_BYTES] = "";
        enum code expected = CODE_OK;
        for (unsigned build = 0; build < build_count; build++) {
            char error[ERROR_TEXT_BYTES] = "";
            struct scan scan = {
                .start = text, .end = text + verdicts[i].length, .depth = 64, .prefix = "", .error = error};
            enum code code = builds[build]->value(&scan);
            if (build == 0) {
                expected = code;
                memcpy(first, error, sizeof first);
            }
            CHECK(code == expected);
            CHECK(strcmp(error, first) == 0);
        }
        free(text);
    }
}

TEST("JSON: all builds agree on random damage to envelopes, fields and errors included")
{
    static const char *const seeds[] = {
        "{\"type\":\"envelope\",\"envelope\":{\"id\":\"3b241101-e2bb-4255-8caf-4136c566a962\",\"to\":\"agent-0042\","
        "\"payload\":{\"a\":[1,2.5e3,null,true],\"text\":\"0123456789 0123456789 0123456789 \\u00e4\\n\"}}}",
        "{ \"envelope\" : { \"fr\\u006fm\" : \"a\\u0062\", \"tools\":[{}],\"timestamp\":17, \"trace\":false } , "
        "\"type\" : \"env\\u0065lope\" }",
        "{\"type\":\"register\",\"clientId\":\"x\",\"labels\":[\"a\",\"b\"],\"deep\":[[[[[[]]]]]]}",
        "{\"type\":\"envelope\",\"envelope\":{\"intent\":\"\xc3\xa4\xe2\x82\xac\",\"priority\":\"high\",\"role\":null,"
        "\"context\":\"                                                  \",\"unknown\":{\"x\":\"y\"}}}",
    };
    static const char spice[] = "{}[]\",:\\u0 1e.-tn\x7f\x1f\n\xc3";
    find_builds();
    srand(7);
    for (int round = 0; round < 30000; round++) {
        const char *seed = seeds[rand() % 4];
        size_t length = strlen(seed);
        char *text = with_slack(seed, length);
        for (int damage = rand() % 4; damage > 0; damage--)
            text[(size_t)rand() % length] = spice[(size_t)rand() % (sizeof spice - 1)];
        bool lenient = rand() % 2;
        static struct message results[3];
        enum code codes[3];
        struct text_store stores[3] = {{0}};
        for (unsigned build = 0; build < build_count; build++) {
            struct message *result = &results[build];
            result->type = MESSAGE_UNKNOWN;
            envelope_clear(&result->envelope, &stores[build]);
            result->error[0] = '\0';
            struct scan scan = {.start = text,
                                .end = text + length,
                                .depth = 6,
                                .lenient = lenient,
                                .prefix = "envelope.",
                                .error = result->error};
            codes[build] = builds[build]->message(&scan, result);
            CHECK(codes[build] == codes[0]);
            CHECK(result->type == results[0].type);
            CHECK(strcmp(result->error, results[0].error) == 0);
            CHECK(result->envelope.escaped == results[0].envelope.escaped);
            for (unsigned field = 0; field < FIELD_COUNT; field++) {
                CHECK(result->envelope.json[field].length == results[0].envelope.json[field].length);
                if (result->envelope.json[field].length > 0)
                    CHECK(result->envelope.json[field].data == results[0].envelope.json[field].data);
            }
        }
        for (unsigned build = 0; build < build_count; build++)
            text_store_free(&stores[build]);
        free(text);
    }
}

static enum code validate_nested(char open, unsigned levels, unsigned depth)
{
    char *text = malloc(levels * 8 + 8), *at = text;
    CHECK(text);
    for (unsigned i = 0; i < levels; i++)
        at += sprintf(at, "%s", open == '[' || (open == 'x' && i % 3) ? "[" : "{\"\":");
    at += sprintf(at, "0");
    for (unsigned i = levels; i-- > 0;)
        *at++ = open == '[' || (open == 'x' && i % 3) ? ']' : '}';
    enum code code = json_validate(slice_from(text, (size_t)(at - text)), depth, NULL);
    free(text);
    return code;
}

TEST("JSON: nesting is counted exactly, and deeper text is refused as too deep")
{
    static const unsigned depths[] = {1, 2, 63, 64, 65, 127, 128, 129, 192, 1000, JSON_DEPTH_MAXIMUM};
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++)
        for (const char *open = "[{x"; *open; open++) {
            CHECK(validate_nested(*open, depths[i], depths[i]) == CODE_OK);
            CHECK(validate_nested(*open, depths[i] + 1, depths[i]) == CODE_TOO_DEEP);
        }
    CHECK(json_validate(SLICE("[[]"), 8, NULL) == CODE_BAD_JSON);
    char error[ERROR_TEXT_BYTES];
    CHECK(json_validate(SLICE("[[[1]]]"), 2, error) == CODE_TOO_DEEP);
    CHECK_TEXT(error, strlen(error), "nested deeper than 2 at byte 2");
}

TEST("JSON: an error says what was expected and where")
{
    char error[ERROR_TEXT_BYTES];
    json_validate(SLICE("{\"a\":1,}"), 8, error);
    CHECK_TEXT(error, strlen(error), "not JSON: expected a key in quotes at byte 7");
    json_validate(SLICE("[1,2"), 8, error);
    CHECK_TEXT(error, strlen(error), "not JSON: unexpected end at byte 4");
    json_validate(SLICE("[1] x"), 8, error);
    CHECK_TEXT(error, strlen(error), "not JSON: text after the value at byte 4");
    json_validate(SLICE("[\"a\nb\"]"), 8, error);
    CHECK_TEXT(error, strlen(error), "not JSON: a control character in a string at byte 3");
    json_validate(SLICE("\"a\xff\""), 8, error);
    CHECK_TEXT(error, strlen(error), "not JSON: not UTF-8 at byte 2");
}

TEST("JSON: a large text is judged to its last byte")
{
    size_t length = 100000;
    char *text = malloc(length);
    memset(text, 'x', length);
    text[0] = text[length - 1] = '"';
    CHECK(json_validate(slice_from(text, length), 8, NULL) == CODE_OK);
    text[length - 1] = 'x';
    CHECK(json_validate(slice_from(text, length), 8, NULL) == CODE_BAD_JSON);
    free(text);
}

TEST("JSON: members and elements come out in order, whatever white space and brackets their strings hold")
{
    struct slice rest = SLICE(" { \"a\" : [1,\"]\",{}] ,\"b\\\"\":\"}\\\\\", \"c\" :-1.5e3 } ");
    rest = slice_from(rest.data + 1, rest.length - 1);
    struct slice key, value;
    CHECK(json_next_member(&rest, &key, &value));
    CHECK_TEXT(key.data, key.length, "a");
    CHECK_TEXT(value.data, value.length, "[1,\"]\",{}]");
    struct slice element;
    CHECK(json_next_element(&value, &element));
    CHECK_TEXT(element.data, element.length, "1");
    CHECK(json_next_element(&value, &element));
    CHECK_TEXT(element.data, element.length, "\"]\"");
    CHECK(json_next_element(&value, &element));
    CHECK_TEXT(element.data, element.length, "{}");
    CHECK(!json_next_element(&value, &element));
    CHECK(json_next_member(&rest, &key, &value));
    CHECK_TEXT(key.data, key.length, "b\\\"");
    CHECK_TEXT(value.data, value.length, "\"}\\\\\"");
    CHECK(json_next_member(&rest, &key, &value));
    CHECK_TEXT(value.data, value.length, "-1.5e3");
    CHECK(!json_next_member(&rest, &key, &value));
}

TEST("JSON: unescaping gives the text that was meant, and says when half a surrogate pair was")
{
    static const struct {
        const char *inside, *text;
        bool lone;
    } cases[] = {
        {"plain", "plain", false},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", false},
        {"fr\\u006fm", "from", false},
        {"\\u00e4\\u20AC", "\xc3\xa4\xe2\x82\xac", false},
        {"\\ud83d\\ude00!", "\xf0\x9f\x98\x80!", false},
        {"\\ud83d", "\xef\xbf\xbd", true},
        {"\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd", true},
        {"\\ude00\\ude00", "\xef\xbf\xbd\xef\xbf\xbd", true},
        {"\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd\xf0\x9f\x98\x80", true},
        {"\\ud83dx\\u0041", "\xef\xbf\xbdxA", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice inside = slice_from_string(cases[i].inside);
        char *out = malloc(inside.length);
        bool lone = false;
        size_t length = json_unescape(inside, out, &lone);
        CHECK_TEXT(out, length, cases[i].text);
        CHECK(lone == cases[i].lone);
        CHECK(json_inside_equals(inside, slice_from_string(cases[i].text)));
        CHECK(!json_inside_equals(inside, SLICE("other")));
        CHECK(!json_inside_equals(inside, slice_from(cases[i].text, strlen(cases[i].text) - 1)));
        free(out);
    }
}

TEST("JSON: any text becomes a string that reads back as the same text")
{
    char all[256];
    for (int i = 0; i < 128; i++)
        all[i] = (char)i;
    struct slice texts[] = {slice_from(all, 128), SLICE(""), SLICE("plain"), SLICE("\xc3\xa4\xf0\x9f\x98\x80\"\\")};
    for (size_t i = 0; i < 4; i++) {
        size_t length = json_string_length(texts[i]);
        char *json = malloc(length);
        CHECK(json_write_string(json, texts[i]) == json + length);
        CHECK(json_validate(slice_from(json, length), 1, NULL) == CODE_OK);
        CHECK(json_inside_equals(slice_from(json + 1, length - 2), texts[i]));
        free(json);
    }
}

TEST("JSON: control characters are written in their short forms, DEL and the others as numbers")
{
    char json[64];
    char *end = json_write_string(json, SLICE("\b\f\n\r\t\x01\x7f/"));
    CHECK_TEXT(json, (size_t)(end - json), "\"\\b\\f\\n\\r\\t\\u0001\\u007f/\"");
}

TEST("JSON: bytes that are no text are written as replacement characters, never as broken JSON")
{
    struct slice text = SLICE("a\xff\xe2\x82z\xc3");
    size_t length = json_string_length(text);
    char *json = malloc(length);
    CHECK(json_write_string(json, text) == json + length);
    CHECK_TEXT(json, length, "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\"");
    free(json);
}
