/* Values: from JSON and Lua, and back. */
#include "../../support/unit.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <stdint.h>

#include "protocol/json/json_number.h"
#include "workers/value.h"
#include "workers/value_lua.h"

static struct buffer out;
static char error[ERROR_TEXT_BYTES];

static const struct value *root(void)
{
    return (const struct value *)(const void *)out.data;
}

static enum code parse_slice(struct slice text, unsigned depth)
{
    buffer_free(&out);
    error[0] = '\0';
    return value_from_json(&out, text, depth, NULL, error);
}

static enum code parse(const char *text)
{
    return parse_slice(slice_from_string(text), VALUE_DEPTH_MAXIMUM);
}

static void check_written(const char *expected)
{
    struct buffer text = {0};
    CHECK(value_to_json(&text, root()));
    CHECK_TEXT(text.data, text.length, expected);
    buffer_free(&text);
}

static void check_refused(const char *text, const char *reason)
{
    CHECK(parse(text) == CODE_BAD_JSON);
    CHECK_TEXT(error, strlen(error), reason);
    CHECK(out.length == 0);
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* --- JSON ------------------------------------------------------------------------------------------------------- */

TEST("values: JSON of every kind comes back as it was")
{
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.5",
        "\"\"",
        "\"a\"",
        "\"12345678\"",
        "[]",
        "{}",
        "[1,2,3]",
        "[1,\"a\",2]",
        "[[1,2],[3,4],[]]",
        "[1,2,null]",
        "{\"a\":1,\"b\":[true,false,{\"c\":null}],\"\":\"\"}",
        "\"\\u0000\\u001f\\\"\\\\\"",
        "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CHECK(parse(texts[i]) == CODE_OK);
        CHECK(out.length == sizeof(struct value) + root()->bytes);
        check_written(texts[i]);
    }
    CHECK(parse(" [ 1 , { \"a\" : [ ] } , 2 ] \r\n\t") == CODE_OK);
    check_written("[1,{\"a\":[]},2]");
    buffer_free(&out);
}

TEST("values: an array of numbers lies side by side, any other one spread out")
{
    CHECK(parse("[1,2.5,-3]") == CODE_OK);
    CHECK(root()->kind == VALUE_NUMBERS && root()->count == 3 && root()->bytes == 24);
    CHECK(value_numbers(root())[1] == 2.5);
    CHECK(parse("[1,2,\"x\",4]") == CODE_OK);
    CHECK(root()->kind == VALUE_ARRAY && root()->count == 4);
    CHECK(value_number(value_next(value_first(root()))) == 2);
    CHECK(parse("[]") == CODE_OK && root()->kind == VALUE_ARRAY && root()->count == 0);
    buffer_free(&out);
}

TEST("values: of a name that stands twice, the last member counts")
{
    CHECK(parse("{\"a\":1,\"b\":2,\"a\":3}") == CODE_OK);
    CHECK(value_number(value_member(root(), SLICE("a"))) == 3);
    CHECK(!value_member(root(), SLICE("c")));
    CHECK(!value_member(value_member(root(), SLICE("a")), SLICE("a")));
    buffer_free(&out);
}

TEST("values: what is not JSON is refused with the place")
{
    check_refused("", "not JSON: unexpected end at byte 0");
    check_refused("[1,2", "not JSON: unexpected end at byte 4");
    check_refused("[1,]", "not JSON: expected a value at byte 3");
    check_refused("[1 2]", "not JSON: expected , or ] in an array at byte 3");
    check_refused("{\"a\" 1}", "not JSON: expected : behind the key at byte 5");
    check_refused("{\"a\":1 \"b\"}", "not JSON: expected , or } in an object at byte 7");
    check_refused("{1:2}", "not JSON: expected a key at byte 1");
    check_refused("01", "not JSON: something behind the value at byte 1");
    check_refused("[01]", "not JSON: expected , or ] in an array at byte 2");
    check_refused("1.x", "not JSON: a number that is not complete at byte 0");
    check_refused("[-]", "not JSON: a number that is not complete at byte 1");
    check_refused("1e999", "not JSON: a number beyond the range of a double at byte 0");
    check_refused("[-1e999]", "not JSON: a number beyond the range of a double at byte 1");
    check_refused("nul", "not JSON: expected a value at byte 0");
    check_refused("+1", "not JSON: expected a value at byte 0");
    check_refused("NaN", "not JSON: expected a value at byte 0");
    check_refused("1 2", "not JSON: something behind the value at byte 2");
    check_refused("\"a\nb\"", "not JSON: a control character in a string at byte 2");
    check_refused("\"\\x\"", "not JSON: no such escape at byte 1");
    check_refused("\"\\u12g4\"", "not JSON: expected four hexadecimal digits after \\u at byte 1");
    check_refused("\"abc", "not JSON: unexpected end at byte 4");
    check_refused("\"a\xff\"", "not JSON: not UTF-8 at byte 2");
    check_refused("\"a\xc3", "not JSON: not UTF-8 at byte 2");
}

TEST("values: the text may nest as deep as told and no deeper")
{
    char text[2 * VALUE_DEPTH_MAXIMUM + 4];
    for (unsigned depth = VALUE_DEPTH_MAXIMUM; depth <= VALUE_DEPTH_MAXIMUM + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        CHECK(parse_slice(slice_from(text, (size_t)2 * depth), 1000) ==
              (depth == VALUE_DEPTH_MAXIMUM ? CODE_OK : CODE_TOO_DEEP));
    }
    CHECK_TEXT(error, strlen(error), "nested deeper than 128 at byte 128");
    CHECK(parse_slice(SLICE("{\"a\":[1]}"), 2) == CODE_OK);
    CHECK(parse_slice(SLICE("{\"a\":[[1]]}"), 2) == CODE_TOO_DEEP);
    CHECK(parse_slice(SLICE("1"), 0) == CODE_OK);
    buffer_free(&out);
}

TEST("values: cut anywhere, a text is refused and nothing is read behind its end")
{
    static const char text[] = "{\"a\":[1,-2.5e3,\"x\\u00e4\\n\xc3\xa4\",null,true,false,{\"b\":[]}],\"c\":{}}";
    for (size_t length = 0; length + 1 < sizeof text; length++) {
        char *copy = malloc(length + 1); /* of its own, so that a sanitizer sees a step too far */
        CHECK(copy);
        char *end = memcpy(copy + 1, text, length);
        CHECK(parse_slice(slice_from(end, length), VALUE_DEPTH_MAXIMUM) == CODE_BAD_JSON);
        CHECK(out.length == 0);
        free(copy);
    }
    CHECK(parse(text) == CODE_OK);
    buffer_free(&out);
}

TEST("values: what was in the buffer before stays, whether a text is read or refused")
{
    buffer_free(&out);
    value_write_number(&out, 7);
    size_t before = out.length;
    CHECK(value_from_json(&out, SLICE("[1,\"a\",}"), VALUE_DEPTH_MAXIMUM, NULL, error) == CODE_BAD_JSON);
    CHECK(out.length == before);
    CHECK(value_from_json(&out, SLICE("\"x\""), VALUE_DEPTH_MAXIMUM, NULL, error) == CODE_OK);
    CHECK(value_number(root()) == 7);
    CHECK_TEXT(value_string(value_next(root())).data, value_next(root())->count, "x");
    buffer_free(&out);
}

TEST("values: reading and writing JSON stop when they are told to")
{
    struct buffer text = {0}, again = {0};
    atomic_bool stop = true;
    buffer_append(&text, "[", 1);
    for (int i = 0; i < 100000; i++)
        buffer_append(&text, "\"a\",1,", 6);
    buffer_append(&text, "1]", 2);
    struct slice whole = slice_from(text.data, text.length);
    buffer_free(&out);
    CHECK(value_from_json(&out, whole, VALUE_DEPTH_MAXIMUM, &stop, error) == CODE_TASK_TIMEOUT);
    CHECK(value_from_json(&out, whole, VALUE_DEPTH_MAXIMUM, NULL, error) == CODE_OK);
    CHECK(value_write_json(&again, root(), &stop, error) == CODE_TASK_TIMEOUT);
    CHECK(again.length < 100000);
    buffer_free(&again);
    CHECK(value_write_json(&again, root(), NULL, error) == CODE_OK);
    CHECK(again.length == text.length && memcmp(again.data, text.data, text.length) == 0);
    buffer_free(&again);
    buffer_free(&text);
    buffer_free(&out);
}

TEST("values: a string that is not UTF-8 cannot be written as JSON, neither as a value nor as a key")
{
    static const char *const wrong[] = {"\xff",         "abc\xc3",          "\xc0\xaf",
                                        "\xed\xa0\x80", "\xf4\x90\x80\x80", "0123456789abcdef0123456789abcde\x80"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        for (int key = 0; key < 2; key++) {
            struct buffer text = {0};
            buffer_free(&out);
            size_t place = value_begin(&out, VALUE_OBJECT);
            value_write_string(&out, key ? slice_from_string(wrong[i]) : SLICE("key"));
            value_write_string(&out, key ? SLICE("text") : slice_from_string(wrong[i]));
            value_end(&out, place, 1);
            CHECK(value_write_json(&text, root(), NULL, error) == CODE_TASK_FAILED);
            CHECK(strstr(error, "not UTF-8"));
            buffer_free(&text);
        }
    }
    buffer_free(&out);
}

TEST("values: escapes become the bytes they mean, and only UTF-8")
{
    CHECK(parse("\"\\u00e4\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\"") == CODE_OK);
    CHECK_TEXT(value_string(root()).data, root()->count, "\xc3\xa4\xf0\x9f\x98\x80/\b\f\n\r\t");
    if (parse("\"\\ud800\"") == CODE_OK) { /* half of a pair, which has no UTF-8 of its own */
        struct buffer text = {0};
        CHECK(value_to_json(&text, root()));
        buffer_free(&text);
    }
    buffer_free(&out);
}

/* --- Numbers ---------------------------------------------------------------------------------------------------- */

static void check_number(const char *text, double expected)
{
    double number = 0;
    bool wide = false;
    const char *end = text + strlen(text);
    const char *after = json_number_read(text, end, &number, &wide);
    if (after != end || memcmp(&number, &expected, sizeof number) != 0) {
        fprintf(stderr, "%.60s: got %.17g, expected %.17g\n", text, number, expected);
        exit(1);
    }
}

TEST("values: numbers are read correctly rounded")
{
    static const char *const texts[] = {"0",
                                        "-0",
                                        "0.1",
                                        "123456789012345678",
                                        "9007199254740993",
                                        "9007199254740993.0000000000000000000000000000001",
                                        "1e22",
                                        "1e23",
                                        "8.5e-23",
                                        "2.2250738585072011e-308",
                                        "2.2250738585072014e-308",
                                        "5e-324",
                                        "2e-324",
                                        "1.7976931348623157e308",
                                        "179769313486231570000e288",
                                        "0.000000000000000000000000000000000000000000000001",
                                        "1E+2",
                                        "1e0000000000000000002",
                                        "1e-99999999999",
                                        "0e99999999999",
                                        "6929495644600919.5",
                                        "3.1415926535897932384626433832795028841971693993751"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_number(texts[i], strtod(texts[i], NULL));
}

TEST("values: a long row of zeros and an exponent that undoes it give the number")
{
    static char text[300100];
    static const struct {
        unsigned zeros;
        const char *exponent;
    } cases[] = {{1001, "1e1005"}, {5000, "1e5003"}, {200000, "1e200003"}, {200000, "1e-5"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        strcpy(text, "0.");
        memset(text + 2, '0', cases[i].zeros);
        strcpy(text + 2 + cases[i].zeros, cases[i].exponent);
        check_number(text, strtod(text, NULL));
    }
    strcpy(text, "1");
    memset(text + 1, '0', 5000);
    strcpy(text + 5001, "e-4998");
    check_number(text, 100);
}

TEST("values: every number comes back the same from its own text, with no more digits than it takes")
{
    uint64_t state = 88172645463325252u;
    for (unsigned i = 0; i < 400000; i++) {
        uint64_t bits = next_random(&state);
        double number, again = 0;
        if (i % 4 == 1)
            bits = (bits & 0x800fffffffffffffu) | (uint64_t)(1023 - 40 + bits % 100) << 52;
        memcpy(&number, &bits, sizeof number);
        if (i % 4 == 2)
            number = (double)(int64_t)(bits >> 20) / 100; /* as prices are */
        if (i % 4 == 3)
            number = (double)(int64_t)bits;
        if (!isfinite(number))
            continue;
        char text[JSON_NUMBER_BYTES + 1], shorter[64];
        size_t length = json_number_write(number, text);
        CHECK(length <= JSON_NUMBER_BYTES);
        text[length] = '\0';
        bool wide = false;
        CHECK(json_number_read(text, text + length, &again, &wide) == text + length);
        CHECK(memcmp(&again, &number, sizeof number) == 0);
        CHECK(strtod(text, NULL) == number);
        snprintf(shorter, sizeof shorter, "%.14e", number);
        if (strtod(shorter, NULL) == number) { /* 15 digits do: there are no more, but for the zeros of large ones */
            unsigned digits = 0;
            for (const char *p = text; *p && *p != 'e'; p++)
                digits += (digits > 0 || (*p >= '1' && *p <= '9')) && *p != '.' && *p != '-';
            CHECK(digits <= 15 || fabs(number) >= 1e15);
        }
    }
}

TEST("values: numbers are laid out as JavaScript does")
{
    static const struct {
        double number;
        const char *text;
    } cases[] = {{1e20, "100000000000000000000"},    {1e21, "1e+21"},        {1.5e300, "1.5e+300"},
                 {0.1 + 0.2, "0.30000000000000004"}, {0.000001, "0.000001"}, {1e-7, "1e-7"},
                 {123456.789, "123456.789"},         {-2.5, "-2.5"},         {9007199254740991, "9007199254740991"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[JSON_NUMBER_BYTES];
        size_t length = json_number_write(cases[i].number, text);
        CHECK_TEXT(text, length, cases[i].text);
    }
}

TEST("values: NaN and the infinities are null in JSON")
{
    buffer_free(&out);
    double *numbers = value_write_numbers(&out, 4);
    numbers[0] = (double)NAN;
    numbers[1] = (double)INFINITY;
    numbers[2] = -(double)INFINITY;
    numbers[3] = 1;
    check_written("[null,null,null,1]");
    buffer_free(&out);
}

/* --- Writing ---------------------------------------------------------------------------------------------------- */

TEST("values: an array that turns out to hold numbers only is packed when it ends")
{
    buffer_free(&out);
    size_t outer = value_begin(&out, VALUE_ARRAY), place = value_begin(&out, VALUE_ARRAY);
    for (int i = 0; i < 3; i++)
        value_write_number(&out, i);
    value_end(&out, place, 3);
    place = value_begin(&out, VALUE_ARRAY);
    value_write_number(&out, 1);
    value_write_string(&out, SLICE("12345678")); /* as many bytes as a number */
    value_end(&out, place, 2);
    value_end(&out, outer, 2);
    CHECK(value_first(root())->kind == VALUE_NUMBERS && value_first(root())->bytes == 24);
    CHECK(value_next(value_first(root()))->kind == VALUE_ARRAY);
    check_written("[[0,1,2],[1,\"12345678\"]]");
    buffer_free(&out);
}

TEST("values: a string whose bytes are appended one by one is padded when it ends")
{
    for (unsigned length = 0; length < 20; length++) {
        buffer_free(&out);
        size_t place = value_begin(&out, VALUE_STRING);
        for (unsigned i = 0; i < length; i++)
            buffer_append(&out, "x", 1);
        value_end(&out, place, length);
        CHECK(out.length % 8 == 0 && root()->count == length && root()->bytes == (length + 7) / 8 * 8);
    }
    buffer_free(&out);
}

TEST("values: a string of 4 GiB is no string")
{
    buffer_free(&out);
    CHECK(!value_write_room(&out, (size_t)1 << 32));
    CHECK(out.failed);
    buffer_free(&out);
}

/* --- Lua -------------------------------------------------------------------------------------------------------- */

static lua_State *lua;
static atomic_bool stop;
static int array_index; /* of the metatable of empty arrays */

static void open_lua(void)
{
    lua = luaL_newstate();
    CHECK(lua);
    luaL_openlibs(lua);
    lua_newtable(lua);
    array_index = lua_gettop(lua);
    lua_pushvalue(lua, array_index);
    lua_setglobal(lua, "array");
    lua_pushlightuserdata(lua, NULL);
    lua_setglobal(lua, "null");
}

static int take(lua_State *state)
{
    value_from_lua(state, 1, &out, lua_topointer(state, lua_upvalueindex(1)), &stop);
    return 0;
}

/* Runs a chunk and makes a value of what it returns. False: `error` has the words. */
static bool from_lua(const char *source)
{
    if (!lua)
        open_lua();
    buffer_free(&out);
    lua_pushvalue(lua, array_index);
    lua_pushcclosure(lua, take, 1);
    CHECK(luaL_loadstring(lua, source) == 0 && lua_pcall(lua, 0, 1, 0) == 0);
    if (lua_pcall(lua, 1, 0, 0) == 0)
        return true;
    snprintf(error, sizeof error, "%s", lua_tostring(lua, -1));
    lua_settop(lua, array_index);
    return false;
}

static void check_from_lua(const char *source, const char *json)
{
    if (!from_lua(source)) {
        fprintf(stderr, "%s: %s\n", source, error);
        exit(1);
    }
    CHECK(out.length == sizeof(struct value) + root()->bytes);
    check_written(json);
    lua_settop(lua, array_index);
    value_to_lua(lua, root(), array_index);
    CHECK(lua_gettop(lua) == array_index + 1);
    lua_setglobal(lua, "again"); /* and back, which has to give the same */
    if (strcmp(source, "return again") != 0)
        check_from_lua("return again", json);
}

static void check_lua_refused(const char *source, const char *reason)
{
    CHECK(!from_lua(source));
    CHECK_TEXT(error, strlen(error), reason);
}

TEST("values: Lua's values become values and come back")
{
    check_from_lua("return nil", "null");
    check_from_lua("return null", "null");
    check_from_lua("return true", "true");
    check_from_lua("return 1.25", "1.25");
    check_from_lua("return 'text'", "\"text\"");
    check_from_lua("return {}", "{}");
    check_from_lua("return setmetatable({}, array)", "[]");
    check_from_lua("return {1, 2, 3}", "[1,2,3]");
    check_from_lua("return {'a', 1, {2}, null, false}", "[\"a\",1,[2],null,false]");
    check_from_lua("return {1, 'a'}", "[1,\"a\"]");
    check_from_lua("return {a = {b = {}}}", "{\"a\":{\"b\":{}}}");
    check_from_lua("return {['1'] = 2}", "{\"1\":2}");
    check_from_lua("local t = {} for i = 5, 1, -1 do t[i] = i end return t", "[1,2,3,4,5]");
    check_from_lua("local t = {} t[3] = 3 t[2] = 2 t[1] = 1 return {t, t}", "[[1,2,3],[1,2,3]]");
    lua_close(lua);
    buffer_free(&out);
}

/* (value): appended twice, each with a bound of 64 bytes */
static int take_bounded(lua_State *state)
{
    for (int i = 0; i < 2; i++)
        value_from_lua_for(state, 1, &out, NULL, NULL, "a test", 64);
    return 0;
}

TEST("values: a bound is for the value, whatever stands before it")
{
    open_lua();
    for (size_t length = 0; length < 80; length++) {
        buffer_free(&out);
        lua_pushcfunction(lua, take_bounded);
        for (size_t i = 0; i < length; i++)
            lua_pushliteral(lua, "x");
        lua_concat(lua, (int)length);
        bool good = lua_pcall(lua, 1, 0, 0) == 0;
        CHECK(good == (sizeof(struct value) + (length + 7) / 8 * 8 <= 64));
        lua_settop(lua, array_index);
    }
    lua_close(lua);
    buffer_free(&out);
}

TEST("values: NUL bytes in Lua's strings stay, in keys too, and whatever bytes there are")
{
    CHECK(from_lua("return {['a\\0b'] = 'c\\0\\255d\\0'}"));
    const struct value *text = value_member(root(), slice_from("a\0b", 3));
    CHECK(text && text->count == 5 &&
          memcmp(value_body(text),
                 "c\0\xff"
                 "d\0",
                 5) == 0);
    value_to_lua(lua, root(), 0);
    lua_getfield(lua, -1, "a");
    CHECK(lua_isnil(lua, -1));
    lua_pop(lua, 1);
    lua_pushlstring(lua, "a\0b", 3);
    lua_rawget(lua, -2);
    CHECK(lua_objlen(lua, -1) == 5);
    lua_close(lua);
    buffer_free(&out);
}

TEST("values: what cannot be passed from Lua is refused in words")
{
    check_lua_refused("return print", "cannot pass a function to a worker");
    check_lua_refused("return {1, {print}}", "cannot pass a function to a worker");
    check_lua_refused("return coroutine.create(print)", "cannot pass a thread to a worker");
    check_lua_refused("return io.stdout", "cannot pass a userdata to a worker");
    check_lua_refused("return 1LL", "cannot pass a cdata to a worker");
    check_lua_refused("return {1, 2, nil, 4}", "cannot pass a table with gaps to a worker");
    check_lua_refused("return {[0] = 1}", "cannot pass a table with gaps to a worker");
    check_lua_refused("return {[1.5] = 1}", "cannot pass a table with gaps to a worker");
    check_lua_refused("return {[-1] = 1}", "cannot pass a table with gaps to a worker");
    check_lua_refused("return {[1e300] = 1}", "cannot pass a table with gaps to a worker");
    check_lua_refused("return {1, a = 1}", "cannot pass a table with both numbers and names as keys to a worker");
    check_lua_refused("return {[true] = 1}", "cannot pass a table with boolean as a key to a worker");
    lua_close(lua);
    buffer_free(&out);
}

TEST("values: a Lua table within itself is refused, one that stands in two places is not")
{
    check_lua_refused("local t = {} t[1] = t return t", "cannot pass a table that contains itself to a worker");
    check_lua_refused("local a, b = {}, {} a.b, b.a = b, a return {1, a}",
                      "cannot pass a table that contains itself to a worker");
    check_from_lua("local t = {1} return {{t}, t}", "[[[1]],[1]]");
    lua_close(lua);
    buffer_free(&out);
}

TEST("values: Lua tables nest 128 deep and no deeper")
{
    CHECK(from_lua("local t = 1 for i = 1, 128 do t = {t} end return t"));
    value_to_lua(lua, root(), 0);
    check_lua_refused("local t = 1 for i = 1, 129 do t = {t} end return t",
                      "cannot pass tables nested deeper than 128 to a worker");
    lua_close(lua);
    buffer_free(&out);
}

TEST("values: the 256 MiB that a value may take hold for Lua tables too")
{
    check_lua_refused("local s, t = ('x'):rep(1024 * 1024), {} for i = 1, 300 do t[i] = s end return t",
                      "cannot pass more than 256 MiB to a worker");
    lua_close(lua);
    buffer_free(&out);
}

TEST("values: a Lua table is left soon when the flag is set, whatever it holds")
{
    static const char *const sources[] = {
        "local t = {} for i = 1, 100000 do t[i] = i end return t",
        "local t = {} for i = 1, 100000 do t[i] = true end return t",
        "local t = {} for i = 1, 100000 do t['k' .. i] = i end return t",
        "local t = {} for i = 1, 100000 do t[i] = {} end return t",
        "local s, t = ('x'):rep(1024 * 1024), {} for i = 1, 60 do t[i] = s end return t",
    };
    atomic_store(&stop, true);
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        check_lua_refused(sources[i], "stopped");
        CHECK(out.length < 4u << 20);
    }
    CHECK(from_lua("return {1, 2, 3}")); /* too little to look */
    lua_close(lua);
    buffer_free(&out);
}
