/* The built-in operations: what each promises, what it says of wrong input, and that it stops and stays within bounds.
 */
#include "../../support/unit.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "workers/operation.h"
#include "workers/operations/vector_kernels.h"

static struct buffer input, result, json;
static atomic_bool stop;
static enum operation_status status;
static char error[OPERATION_ERROR_BYTES];
static lua_State *lua;

static lua_State *open_lua(void)
{
    if (!lua) {
        lua = luaL_newstate();
        CHECK(lua);
        luaL_openlibs(lua);
        lua_getglobal(lua, "package");
        lua_pushliteral(lua, "lua/?.lua");
        lua_setfield(lua, -2, "path");
        lua_pop(lua, 1);
        operations_open_lua(lua);
    }
    return lua;
}

/* Runs the operation on what lies in `input`. */
static void run_input(const char *name)
{
    const struct operation *operation = operation_find(slice_from_string(name));
    CHECK(operation);
    buffer_free(&result);
    struct operation_call call = {.data = (const struct value *)(const void *)input.data,
                                  .result = &result,
                                  .stop = &stop,
                                  .lua = operation->needs_lua ? open_lua() : NULL};
    status = operation->run(&call);
    memcpy(error, call.error, sizeof error);
    if (status == OPERATION_DONE) /* one whole value */
        CHECK(!result.failed &&
              result.length == sizeof(struct value) + ((const struct value *)(const void *)result.data)->bytes);
}

static void run(const char *name, const char *data)
{
    char reason[ERROR_TEXT_BYTES];
    buffer_free(&input);
    if (value_from_json(&input, slice_from_string(data), VALUE_DEPTH_MAXIMUM, NULL, reason) != CODE_OK) {
        fprintf(stderr, "%s: %s\n", data, reason);
        exit(1);
    }
    run_input(name);
}

static const struct value *answer(void)
{
    if (status != OPERATION_DONE) {
        fprintf(stderr, "status %d: %s\n", (int)status, error);
        exit(1);
    }
    return (const struct value *)(const void *)result.data;
}

static void check_answer(const char *expected)
{
    buffer_free(&json);
    CHECK(value_to_json(&json, answer()));
    CHECK_TEXT(json.data, json.length, expected);
}

static void check_member(const char *name, const char *expected)
{
    const struct value *member = value_member(answer(), slice_from_string(name));
    buffer_free(&json);
    CHECK(member && value_to_json(&json, member));
    CHECK_TEXT(json.data, json.length, expected);
}

static void check(const char *name, const char *data, const char *expected)
{
    run(name, data);
    check_answer(expected);
}

static void check_error(const char *expected)
{
    CHECK(status == OPERATION_FAILED);
    CHECK_TEXT(error, strlen(error), expected);
}

static void refuse(const char *name, const char *data, const char *expected)
{
    run(name, data);
    check_error(expected);
}

static void drop(void)
{
    buffer_free(&input);
    buffer_free(&result);
    buffer_free(&json);
    if (lua)
        lua_close(lua);
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* {"op": op, NAME: a string of `length` bytes, more…} with the string's bytes to be filled in. */
static char *begin_text(const char *name, size_t length)
{
    buffer_free(&input);
    value_begin(&input, VALUE_OBJECT);
    value_write_string(&input, slice_from_string(name));
    return value_write_room(&input, length);
}

static void add_text(const char *name, const char *text)
{
    value_write_string(&input, slice_from_string(name));
    value_write_string(&input, slice_from_string(text));
}

static void add_number(const char *name, double number)
{
    value_write_string(&input, slice_from_string(name));
    value_write_number(&input, number);
}

static void end_object(uint32_t count)
{
    value_end(&input, 0, count);
}

/* --- All -------------------------------------------------------------------------------------------------------- */

TEST("operations: each is found by its name, and nothing by another")
{
    for (const struct operation *operation = operations; operation->name; operation++)
        CHECK(operation_find(slice_from_string(operation->name)) == operation);
    CHECK(!operation_find(SLICE("")) && !operation_find(SLICE("sor")) && !operation_find(SLICE("sort2")));
}

TEST("operations: each says that it takes an object, whatever else it is given")
{
    static const char *const inputs[][2] = {{"null", "null"},      {"true", "true"},    {"1", "a number"},
                                            {"\"a\"", "a string"}, {"[1]", "an array"}, {"[]", "an array"}};
    for (const struct operation *operation = operations; operation->name; operation++)
        for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
            char expected[128];
            snprintf(expected, sizeof expected, "%s: data: expected an object, got %s", operation->name, inputs[i][1]);
            refuse(operation->name, inputs[i][0], expected);
        }
    drop();
}

TEST("operations: each refuses an empty object in words that begin with its name")
{
    for (const struct operation *operation = operations; operation->name; operation++) {
        run(operation->name, "{}");
        CHECK(status == OPERATION_FAILED);
        CHECK(strncmp(error, operation->name, strlen(operation->name)) == 0);
        CHECK(strncmp(error + strlen(operation->name), ": data", 6) == 0);
        CHECK(strstr(error, "expected"));
    }
    drop();
}

TEST("operations: data of random kinds is answered or refused, never more")
{
    static const char *const fields[] = {
        "text",   "op",      "value",   "path",    "items",  "by",   "pattern",   "flags",     "limit",    "group",
        "groups", "a",       "b",       "query",   "matrix", "k",    "metric",    "level",     "maxBytes", "encoding",
        "format", "records", "groupBy", "metrics", "n",      "unit", "algorithm", "descending"};
    static const char *const values[] = {"null",
                                         "true",
                                         "-1",
                                         "0",
                                         "1.5",
                                         "3",
                                         "1e300",
                                         "\"\"",
                                         "\"a\"",
                                         "\"abcd\"",
                                         "\"dot\"",
                                         "\"topK\"",
                                         "\"raw\"",
                                         "\"$.a[*]\"",
                                         "[]",
                                         "[1,2]",
                                         "[1,\"a\"]",
                                         "[[1,2],[3,4]]",
                                         "{}",
                                         "{\"a\":1}",
                                         "[{\"a\":1},{\"a\":\"x\"}]",
                                         "\"(a|\"",
                                         "\"ngrams\"",
                                         "\"hex\"",
                                         "\"base64\"",
                                         "[{\"op\":\"percentile\",\"field\":\"a\",\"p\":50}]"};
    uint64_t random = 88172645463325252u;
    for (unsigned turn = 0; turn < 20000; turn++) {
        char data[4096];
        size_t length = 0;
        unsigned members = 1 + next_random(&random) % 5;
        for (unsigned i = 0; i < members; i++)
            length += (size_t)snprintf(data + length, sizeof data - length, "%s\"%s\":%s", i ? "," : "{",
                                       fields[next_random(&random) % (sizeof fields / sizeof fields[0])],
                                       values[next_random(&random) % (sizeof values / sizeof values[0])]);
        snprintf(data + length, sizeof data - length, "}");
        const struct operation *operation = &operations[next_random(&random) % 11];
        run(operation->name, data);
        if (status == OPERATION_FAILED)
            CHECK(strncmp(error, operation->name, strlen(operation->name)) == 0);
        else
            CHECK(status == OPERATION_DONE);
    }
    drop();
}

/* --- vector_operations ------------------------------------------------------------------------------------------ */

TEST("vector_operations: dot and cosine of numbers and of packed floats")
{
    check("vector_operations", "{\"op\":\"dot\",\"a\":[1,2,3],\"b\":[4,5,6]}", "32");
    check("vector_operations", "{\"op\":\"cosine\",\"a\":[1,0],\"b\":[0,1]}", "0");
    check("vector_operations", "{\"op\":\"cosine\",\"a\":[3,4],\"b\":[3,4]}", "1");
    check("vector_operations", "{\"op\":\"cosine\",\"a\":[0,0],\"b\":[1,1]}", "0");
    float floats[] = {1, 2, 3};
    memcpy(begin_text("a", sizeof floats), floats, sizeof floats);
    value_write_string(&input, SLICE("b"));
    value_write_string(&input, slice_from((const char *)floats, sizeof floats));
    add_text("op", "dot");
    end_object(3);
    run_input("vector_operations");
    check_answer("14");
    drop();
}

TEST("vector_operations: normalize answers in the form that it was given")
{
    check("vector_operations", "{\"op\":\"normalize\",\"a\":[3,4]}", "[0.6000000238418579,0.800000011920929]");
    check("vector_operations", "{\"op\":\"normalize\",\"a\":[0,0]}", "[0,0]");
    float floats[] = {3, 4}, scaled[2];
    memcpy(begin_text("a", sizeof floats), floats, sizeof floats);
    add_text("op", "normalize");
    end_object(2);
    run_input("vector_operations");
    CHECK(answer()->kind == VALUE_STRING && answer()->count == sizeof scaled);
    memcpy(scaled, value_body(answer()), sizeof scaled);
    CHECK(scaled[0] == 0.6f && scaled[1] == 0.8f);
    drop();
}

TEST("vector_operations: topK gives the best rows, the first of equals first")
{
    check("vector_operations", "{\"op\":\"topK\",\"query\":[1,0],\"matrix\":[[0,1],[2,0],[1,1],[3,0]],\"k\":2}",
          "[{\"index\":2,\"score\":1},{\"index\":4,\"score\":1}]");
    check("vector_operations",
          "{\"op\":\"topK\",\"query\":[1,0],\"matrix\":[0,1,2,0,1,1,3,0],\"k\":3,\"metric\":\"dot\",\"dimensions\":2}",
          "[{\"index\":4,\"score\":3},{\"index\":2,\"score\":2},{\"index\":3,\"score\":1}]");
    check("vector_operations", "{\"op\":\"topK\",\"query\":[1],\"matrix\":[]}", "[]");
    check("vector_operations", "{\"op\":\"topK\",\"query\":[1],\"matrix\":[[5]],\"k\":100000,\"metric\":\"dot\"}",
          "[{\"index\":1,\"score\":5}]");
    drop();
}

TEST("vector_operations: topK is what sorting all scores gives")
{
    enum { ROWS = 257, DIMENSIONS = 3, K = 40 };
    uint64_t random = 1;
    double matrix[ROWS][DIMENSIONS], query[DIMENSIONS] = {1, -2, 3};
    buffer_free(&input);
    value_begin(&input, VALUE_OBJECT);
    value_write_string(&input, SLICE("matrix"));
    double *numbers = value_write_numbers(&input, ROWS * DIMENSIONS);
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < DIMENSIONS; i++)
            matrix[row][i] = (double)(next_random(&random) % 9) - 4; /* few values: many equal scores */
    memcpy(numbers, matrix, sizeof matrix);
    value_write_string(&input, SLICE("query"));
    memcpy(value_write_numbers(&input, DIMENSIONS), query, sizeof query);
    add_text("op", "topK");
    add_text("metric", "dot");
    add_number("k", K);
    end_object(5);
    run_input("vector_operations");
    CHECK(answer()->count == K);
    bool taken[ROWS] = {false};
    const struct value *entry = value_first(answer());
    for (int place = 0; place < K; place++, entry = value_next(entry)) {
        int best = -1;
        double best_score = 0;
        for (int row = 0; row < ROWS; row++) {
            double score = matrix[row][0] * query[0] + matrix[row][1] * query[1] + matrix[row][2] * query[2];
            if (!taken[row] && (best < 0 || score > best_score)) {
                best = row;
                best_score = score;
            }
        }
        taken[best] = true;
        CHECK(value_number(value_member(entry, SLICE("index"))) == best + 1);
        CHECK(value_number(value_member(entry, SLICE("score"))) == best_score);
    }
    drop();
}

TEST("vector_operations: says what is wrong")
{
    static const char name[] = "vector_operations";
    refuse(name, "{}", "vector_operations: data.op: expected one of dot, cosine, normalize, topK, got nothing");
    refuse(name, "{\"op\":\"plus\"}",
           "vector_operations: data.op: expected one of dot, cosine, normalize, topK, got \"plus\"");
    refuse(name, "{\"op\":7}",
           "vector_operations: data.op: expected one of dot, cosine, normalize, topK, got a number");
    refuse(name, "{\"op\":\"dot\",\"a\":[1]}",
           "vector_operations: data.b: expected an array of numbers or a string of packed float32, got nothing");
    refuse(name, "{\"op\":\"dot\",\"a\":[],\"b\":[]}",
           "vector_operations: data.a: expected an array of numbers or a string of packed float32, got an empty array");
    refuse(name, "{\"op\":\"dot\",\"a\":[1,null],\"b\":[1,2]}",
           "vector_operations: data.a: expected an array of numbers or a string of packed float32, got an array with "
           "other values");
    refuse(name, "{\"op\":\"dot\",\"a\":\"abc\",\"b\":[1]}",
           "vector_operations: data.a: expected an array of numbers or a string of packed float32, got a string of 3 "
           "bytes");
    refuse(name, "{\"op\":\"dot\",\"a\":[1,2],\"b\":[1]}",
           "vector_operations: data.b: expected as many numbers as in a, 2, got 1");
    refuse(name, "{\"op\":\"dot\",\"a\":[1e300],\"b\":[1]}",
           "vector_operations: data: the numbers are too large: a sum exceeds the range of float32");
    refuse(name, "{\"op\":\"cosine\",\"a\":[1e30],\"b\":[1]}",
           "vector_operations: data: the numbers are too large: a sum exceeds the range of float32");
    refuse(name, "{\"op\":\"normalize\",\"a\":[1e30]}",
           "vector_operations: data: the numbers are too large: a sum exceeds the range of float32");
    refuse(name, "{\"op\":\"topK\",\"query\":[1,2],\"matrix\":[[1,2],[1]]}",
           "vector_operations: data.matrix[1]: expected as many numbers as in query, 2, got 1");
    refuse(name, "{\"op\":\"topK\",\"query\":[1,2],\"matrix\":[[1,2],{}]}",
           "vector_operations: data.matrix[1]: expected an array of numbers or a string of packed float32, got an "
           "object");
    refuse(name, "{\"op\":\"topK\",\"query\":[1,2],\"matrix\":[1,2,3]}",
           "vector_operations: data.matrix: expected a multiple of 2 numbers, got 3");
    refuse(name, "{\"op\":\"topK\",\"query\":[1],\"matrix\":[1],\"k\":0}",
           "vector_operations: data.k: expected a whole number from 1 to 100000, got 0");
    refuse(name, "{\"op\":\"topK\",\"query\":[1],\"matrix\":[1],\"dimensions\":2}",
           "vector_operations: data.dimensions: expected as many as query has, 1, got 2");
    refuse(name, "{\"op\":\"topK\",\"query\":[1],\"matrix\":[1],\"metric\":\"l2\"}",
           "vector_operations: data.metric: expected one of cosine, dot, got \"l2\"");
    drop();
}

static void check_kernels(const struct vector_kernels *kernels, const float *a, const double *doubles, const float *b,
                          size_t count)
{
    double bound = 0, square_bound = 0;
    for (size_t i = 0; i < count; i++) {
        bound += fabs((double)a[i] * (double)b[i]);
        square_bound += (double)a[i] * (double)a[i];
    }
    double allowed = (double)(count + 1) * 0x1p-23;
    struct vector_sums scalar = vector_scalar.floats(a, b, count), floats = kernels->floats(a, b, count),
                       narrowed = kernels->doubles(doubles, b, count);
    CHECK(fabs((double)floats.dot - (double)scalar.dot) <= bound * allowed);
    CHECK(fabs((double)floats.square - (double)scalar.square) <= square_bound * allowed);
    CHECK(memcmp(&floats, &narrowed, sizeof floats) == 0); /* the doubles are the floats, so nothing is rounded */
}

TEST("vector_operations: the vector builds agree with the plain one at every length and place")
{
    enum { MOST = 300, PLACES = 9 };
    const struct vector_kernels *builds[] = {
        &vector_scalar,
        vector_best(),
#if defined(__x86_64__)
        &vector_sse2,
#endif
    };
    uint64_t random = 42;
    for (size_t count = 0; count <= MOST; count++) {
        size_t place = count % PLACES;
        /* Of their own, and ending where the numbers end, so that a sanitizer sees a step too far. */
        float *a = malloc((count + place) * sizeof *a + 1), *b = malloc((count + place) * sizeof *b + 1);
        float *to = malloc(count * sizeof *to + 1);
        double *doubles = malloc(count * sizeof *doubles + 1);
        CHECK(a && b && doubles && to);
        for (size_t i = 0; i < count; i++) {
            doubles[i] = (double)(float)((double)(int64_t)next_random(&random) * 0x1p-60);
            a[place + i] = (float)doubles[i];
            b[place + i] = (float)((double)(int64_t)next_random(&random) * 0x1p-60);
        }
        for (size_t build = 0; build < sizeof builds / sizeof builds[0]; build++) {
            check_kernels(builds[build], a + place, doubles, b + place, count);
            memset(to, 0xff, count * sizeof *to);
            builds[build]->narrow(doubles, to, count);
            CHECK(count == 0 || memcmp(to, a + place, count * sizeof *to) == 0);
        }
        free(a);
        free(b);
        free(to);
        free(doubles);
    }
}

/* --- JSON ------------------------------------------------------------------------------------------------------- */

TEST("json_parse: gives the value, or says where the text is wrong")
{
    check("json_parse", "{\"text\":\"[1,{\\\"a\\\":null}]\"}", "[1,{\"a\":null}]");
    check("json_parse", "{\"text\":\" 1.50 \"}", "1.5");
    refuse("json_parse", "{\"text\":\"[1,\"}", "json_parse: data.text: not JSON: unexpected end at byte 3");
    refuse("json_parse", "{\"text\":1}", "json_parse: data.text: expected a string, got a number");
    refuse("json_parse", "{\"text\":null}", "json_parse: data.text: expected a string, got nothing");
    char *text = begin_text("text", 200);
    memset(text, '[', 200);
    end_object(1);
    run_input("json_parse");
    check_error("json_parse: data.text: nested deeper than 128 at byte 128");
    drop();
}

TEST("json_stringify: writes any value, and refuses bytes that JSON has no way to write")
{
    check("json_stringify", "{\"value\":{\"a\":[1,\"b\"]}}", "\"{\\\"a\\\":[1,\\\"b\\\"]}\"");
    check("json_stringify", "{\"value\":null}", "\"null\"");
    refuse("json_stringify", "{}", "json_stringify: data.value: expected a value, got nothing");
    *begin_text("value", 1) = '\xff';
    end_object(1);
    run_input("json_stringify");
    check_error("json_stringify: data.value: a string is not UTF-8: JSON has no way to write it");
    drop();
}

TEST("json_stringify: what json_parse reads comes back byte by byte")
{
    static const char text[] = "{\"text\":\"[0.1,1e+21,-0,5e-324,\\\"\\u00e4\\\",{\\\"\\\":[]},[[]],true]\"}";
    run("json_parse", text);
    (void)answer();
    struct buffer parsed = result;
    result = (struct buffer){0};
    buffer_free(&input);
    value_begin(&input, VALUE_OBJECT);
    value_write_string(&input, SLICE("value"));
    value_write_copy(&input, (const struct value *)(const void *)parsed.data);
    end_object(1);
    buffer_free(&parsed);
    run_input("json_stringify");
    CHECK_TEXT(value_string(answer()).data, answer()->count, "[0.1,1e+21,-0,5e-324,\"\xc3\xa4\",{\"\":[]},[[]],true]");
    drop();
}

TEST("json_query: follows names, indexes and both kinds of all")
{
    static const char *const cases[][2] = {
        {"", "{\"a\":[{\"b\":1},{\"b\":[2,3]},{\"c\":4}],\"d.e\":5}"},
        {"$", "{\"a\":[{\"b\":1},{\"b\":[2,3]},{\"c\":4}],\"d.e\":5}"},
        {"a[0].b", "1"},
        {"$.a[1].b[1]", "3"},
        {"a[*].b", "[1,[2,3]]"},
        {"a[*].b[*]", "[2,3]"},
        {"a.*.*", "[1,[2,3],4]"},
        {"*", "[[{\"b\":1},{\"b\":[2,3]},{\"c\":4}],5]"},
        {"[\\\"d.e\\\"]", "5"},
        {"['d.e']", "5"},
        {"a[9]", "null"},
        {"a.b", "null"},
        {"x[*]", "[]"},
        {"a[1].b[0].c", "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[256];
        snprintf(data, sizeof data, "{\"value\":{\"a\":[{\"b\":1},{\"b\":[2,3]},{\"c\":4}],\"d.e\":5},\"path\":\"%s\"}",
                 cases[i][0]);
        check("json_query", data, cases[i][1]);
    }
    check("json_query", "{\"text\":\"{\\\"a\\\":[1,2]}\",\"path\":\"a[1]\"}", "2");
    check("json_query", "{\"value\":null,\"text\":\"[7]\",\"path\":\"[0]\"}", "7");
    check("json_query", "{\"value\":null,\"path\":\"a\"}", "null");
    drop();
}

TEST("json_query: says what is wrong with a path")
{
    static const char *const cases[][2] = {
        {"a..b", "expected a name at byte 1"},
        {"a[", "expected a number, * or a quoted name at byte 1"},
        {"a[1", "expected ] at byte 1"},
        {"a[x]", "expected a number, * or a quoted name at byte 1"},
        {"a['b]", "expected the quote that ends the name at byte 1"},
        {"a]", "expected . or [ at byte 1"},
        {"a[0]b", "expected . or [ at byte 4"},
        {"a[99999999999]", "expected a number, * or a quoted name at byte 1"},
        {"a.", "expected a name at byte 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[256], expected[256];
        snprintf(data, sizeof data, "{\"value\":1,\"path\":\"%s\"}", cases[i][0]);
        snprintf(expected, sizeof expected, "json_query: data.path: %s", cases[i][1]);
        refuse("json_query", data, expected);
    }
    refuse("json_query", "{\"value\":1}", "json_query: data.path: expected a string, got nothing");
    refuse("json_query", "{\"path\":\"a\"}", "json_query: data: expected a field text or value, got neither");
    refuse("json_query", "{\"path\":\"a\",\"text\":\"[\"}",
           "json_query: data.text: not JSON: unexpected end at byte 1");
    memset(begin_text("path", 1025), 'a', 1025);
    add_number("value", 1);
    end_object(2);
    run_input("json_query");
    check_error("json_query: data.path: expected at most 1024 bytes, got 1025");
    memset(begin_text("path", 1), '*', 1);
    buffer_free(&input);
    char data[512] = "{\"value\":1,\"path\":\"a";
    for (int i = 0; i < 64; i++)
        strcat(data, ".a");
    refuse("json_query", strcat(data, "\"}"), "json_query: data.path: expected at most 64 steps");
    drop();
}

/* --- hash ------------------------------------------------------------------------------------------------------- */

TEST("hash: digests as others compute them")
{
    static const char *const cases[][3] = {
        {"sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"md5", "", "d41d8cd98f00b204e9800998ecf8427e"},
        {"sha224", "abc", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
        {"sha384", "abc",
         "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
        {"sha512", "abc",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce"
         "80e2a9ac94fa54ca49f"},
        {"crc32", "123456789", "cbf43926"},
        {"xxh64", "", "ef46db3751d8e999"},
        {"xxh3", "", "2d06800538d394c2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char data[128];
        snprintf(data, sizeof data, "{\"algorithm\":\"%s\",\"text\":\"%s\"}", cases[i][0], cases[i][1]);
        run("hash", data);
        CHECK_TEXT(value_string(answer()).data, answer()->count, cases[i][2]);
    }
    check("hash", "{\"text\":\"123456789\",\"algorithm\":\"crc32\",\"encoding\":\"base64\"}", "\"y/Q5Jg==\"");
    run("hash", "{\"text\":\"123456789\",\"algorithm\":\"crc32\",\"encoding\":\"raw\"}");
    CHECK_TEXT(value_string(answer()).data, answer()->count, "\xcb\xf4\x39\x26");
    drop();
}

TEST("hash: base64 there and back, for every length and byte")
{
    check("hash", "{\"op\":\"base64Encode\",\"text\":\"\"}", "\"\"");
    check("hash", "{\"op\":\"base64Encode\",\"text\":\"f\"}", "\"Zg==\"");
    check("hash", "{\"op\":\"base64Decode\",\"text\":\"Zg\"}", "\"f\"");
    check("hash", "{\"op\":\"base64Decode\",\"text\":\"Zm9vYmE=\"}", "\"fooba\"");
    uint64_t random = 7;
    for (size_t length = 0; length < 600; length += 1 + length / 64) {
        unsigned char bytes[600];
        for (size_t i = 0; i < length; i++)
            bytes[i] = (unsigned char)next_random(&random);
        char *text = begin_text("text", length);
        memcpy(text, bytes, length);
        add_text("op", "base64Encode");
        end_object(2);
        run_input("hash");
        CHECK(answer()->count == (length + 2) / 3 * 4);
        struct buffer encoded = result;
        result = (struct buffer){0};
        struct slice again = value_string((const struct value *)(const void *)encoded.data);
        text = begin_text("text", again.length);
        memcpy(text, again.data, again.length);
        add_text("op", "base64Decode");
        end_object(2);
        buffer_free(&encoded);
        run_input("hash");
        CHECK(answer()->count == length && memcmp(value_body(answer()), bytes, length) == 0);
    }
    drop();
}

TEST("hash: says what is wrong")
{
    refuse("hash", "{\"text\":1}", "hash: data.text: expected a string, got a number");
    refuse("hash", "{\"text\":\"\",\"algorithm\":\"md4\"}",
           "hash: data.algorithm: expected one of sha256, sha512, sha384, sha224, sha1, md5, crc32, xxh64, xxh3, got "
           "\"md4\"");
    refuse("hash", "{\"text\":\"\",\"encoding\":\"utf8\"}",
           "hash: data.encoding: expected one of raw, hex, base64, got \"utf8\"");
    refuse("hash", "{\"op\":\"base64Decode\",\"text\":\"Zm9v!mFy\"}", "hash: data.text: not base64 at byte 4");
    refuse("hash", "{\"op\":\"base64Decode\",\"text\":\"Zm9vYm!\"}", "hash: data.text: not base64 at byte 6");
    refuse("hash", "{\"op\":\"base64Decode\",\"text\":\"Zm9vY\"}", "hash: data.text: not base64 at byte 5");
    refuse("hash", "{\"op\":\"base64Decode\",\"text\":\"Zm=v\"}", "hash: data.text: not base64 at byte 2");
    refuse("hash", "{\"text\":\"\",\"algorithm\":\"\\u001b[31m\"}",
           "hash: data.algorithm: expected one of sha256, sha512, sha384, sha224, sha1, md5, crc32, xxh64, xxh3, got "
           "something else");
    drop();
}

/* --- compress and decompress ------------------------------------------------------------------------------------ */

TEST("compress: decompress gives the text back, in every format, level and encoding")
{
    static const char *const formats[] = {"gzip", "zlib", "raw"}, *const encodings[] = {"raw", "base64"};
    enum { LENGTH = 300001 };
    char *text = malloc(LENGTH);
    CHECK(text);
    uint64_t random = 3;
    for (size_t i = 0; i < LENGTH; i++)
        text[i] = (char)("abcdefgh "[next_random(&random) % 9] & (i % 1000 ? 0xff : 0));
    static const size_t lengths[] = {0, 1, 1000, LENGTH};
    for (unsigned turn = 0; turn < 3 * 2 * 4 * 3; turn++) {
        const char *format = formats[turn % 3], *encoding = encodings[turn / 3 % 2];
        size_t length = lengths[turn / 6 % 4];
        memcpy(begin_text("text", length), text, length);
        add_text("format", format);
        add_text("encoding", encoding);
        add_number("level", turn / 24 * 4);
        end_object(4);
        run_input("compress");
        struct buffer packed = result;
        struct slice bytes = value_string(answer());
        result = (struct buffer){0};
        memcpy(begin_text("text", bytes.length), bytes.data, bytes.length);
        add_text("format", format);
        add_text("inputEncoding", encoding);
        end_object(3);
        buffer_free(&packed);
        run_input("decompress");
        CHECK(answer()->count == length && memcmp(value_body(answer()), text, length) == 0);
    }
    free(text);
    drop();
}

/* What compress gave is what decompress gets, with more members behind. */
static void feed_decompress(size_t take, const char *behind)
{
    struct buffer packed = result;
    struct slice bytes = value_string(answer());
    result = (struct buffer){0};
    if (take > bytes.length)
        take = bytes.length;
    char *room = begin_text("text", take + strlen(behind));
    memcpy(room, bytes.data, take);
    memcpy(room + take, behind, strlen(behind));
    buffer_free(&packed);
}

static void compress_zeros(size_t length, const char *format)
{
    char *text = begin_text("text", length);
    CHECK(text);
    memset(text, 0, length);
    add_text("format", format);
    end_object(2);
    run_input("compress");
}

TEST("decompress: a bomb ends at maxBytes, and at 64 MiB without it")
{
    compress_zeros(100000, "gzip");
    feed_decompress(SIZE_MAX, "");
    add_number("maxBytes", 99999);
    end_object(2);
    run_input("decompress");
    check_error("decompress: data.text: gives more than maxBytes (99999)");
    CHECK(result.capacity < 1u << 20);
    compress_zeros(100000, "gzip");
    feed_decompress(SIZE_MAX, "");
    add_number("maxBytes", 100000);
    end_object(2);
    run_input("decompress");
    CHECK(answer()->count == 100000);
    compress_zeros(((size_t)64 << 20) + 1, "zlib");
    feed_decompress(SIZE_MAX, "");
    add_text("format", "zlib");
    end_object(2);
    run_input("decompress");
    check_error("decompress: data.text: gives more than maxBytes (67108864)");
    drop();
}

TEST("decompress: says what is wrong")
{
    refuse("decompress", "{\"text\":\"\"}", "decompress: data.text: cut short");
    refuse("decompress", "{\"text\":\"hello there\"}", "decompress: data.text: incorrect header check at byte 2");
    refuse("decompress", "{\"text\":\"a-\",\"inputEncoding\":\"base64\"}",
           "decompress: data.text: not base64 at byte 1");
    refuse("decompress", "{\"text\":\"\",\"maxBytes\":0}",
           "decompress: data.maxBytes: expected a whole number from 1 to 134217728, got 0");
    refuse("compress", "{\"text\":\"\",\"level\":10}",
           "compress: data.level: expected a whole number from 0 to 9, got 10");
    refuse("compress", "{\"text\":\"\",\"format\":\"zip\"}",
           "compress: data.format: expected one of gzip, zlib, raw, got \"zip\"");
    for (size_t take = 0; take < 30; take++) {
        compress_zeros(1000, "gzip");
        if (take >= answer()->count)
            break;
        feed_decompress(take, "");
        end_object(1);
        run_input("decompress");
        check_error("decompress: data.text: cut short");
    }
    compress_zeros(1000, "zlib");
    feed_decompress(SIZE_MAX, "x");
    add_text("format", "zlib");
    end_object(2);
    run_input("decompress");
    CHECK(status == OPERATION_FAILED && strstr(error, "something behind the end of the data at byte"));
    drop();
}

/* --- sort ------------------------------------------------------------------------------------------------------- */

TEST("sort: numbers, strings and records, up and down, and stable")
{
    check("sort", "{\"items\":[3,1,2]}", "[1,2,3]");
    check("sort", "{\"items\":[3,-1,2.5,-0.5,1e300,-1e300,0]}", "[-1e+300,-1,-0.5,0,2.5,3,1e+300]");
    check("sort", "{\"items\":[3,1,2],\"descending\":true}", "[3,2,1]");
    check("sort", "{\"items\":[]}", "[]");
    check("sort", "{\"items\":[\"b\",\"a\",\"\",\"aa\",\"abcdefgh\",\"abcdefghi\",\"\xc3\xa4\"]}",
          "[\"\",\"a\",\"aa\",\"abcdefgh\",\"abcdefghi\",\"b\",\"\xc3\xa4\"]");
    check("sort", "{\"items\":[\"abcdefgh1\",\"abcdefgh2\"],\"descending\":true}", "[\"abcdefgh2\",\"abcdefgh1\"]");
    check("sort",
          "{\"items\":[{\"k\":2,\"n\":1},{\"k\":1,\"n\":2},{\"n\":3},{\"k\":2,\"n\":4},{\"k\":null,\"n\":5}],"
          "\"by\":\"k\"}",
          "[{\"k\":1,\"n\":2},{\"k\":2,\"n\":1},{\"k\":2,\"n\":4},{\"n\":3},{\"k\":null,\"n\":5}]");
    check("sort",
          "{\"items\":[{\"k\":1,\"n\":1},{\"n\":2},{\"k\":2},{\"k\":1,\"n\":3}],\"by\":\"k\","
          "\"descending\":true}",
          "[{\"k\":2},{\"k\":1,\"n\":1},{\"k\":1,\"n\":3},{\"n\":2}]");
    drop();
}

static uint64_t mix_numbers(const double *numbers, uint32_t count)
{
    uint64_t mixed = 0, bits;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&bits, &numbers[i], sizeof bits);
        mixed += bits * 0x9e3779b97f4a7c15u; /* whatever their order */
    }
    return mixed;
}

TEST("sort: many numbers come in order, and are the same ones")
{
    uint64_t random = 5;
    for (uint32_t count = 1; count < 100000; count = count * 3 + 1) {
        buffer_free(&input);
        value_begin(&input, VALUE_OBJECT);
        value_write_string(&input, SLICE("items"));
        double *numbers = value_write_numbers(&input, count);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t bits = next_random(&random);
            memcpy(&numbers[i], &bits, sizeof bits);
            if (count % 2 == 0 || !isfinite(numbers[i]))
                numbers[i] = (double)(bits % 1000);
        }
        uint64_t mixed = mix_numbers(numbers, count);
        end_object(1);
        run_input("sort");
        const double *sorted = value_numbers(answer());
        CHECK(answer()->count == count && mix_numbers(sorted, count) == mixed);
        for (uint32_t i = 1; i < count; i++)
            CHECK(sorted[i - 1] <= sorted[i]);
    }
    drop();
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

TEST("sort: many strings come as by comparing")
{
    enum { COUNT = 5000 };
    static char texts[COUNT][24];
    static const char *list[COUNT];
    uint64_t random = 11;
    buffer_free(&input);
    value_begin(&input, VALUE_OBJECT);
    value_write_string(&input, SLICE("items"));
    size_t place = value_begin(&input, VALUE_ARRAY);
    for (int i = 0; i < COUNT; i++) {
        unsigned length = next_random(&random) % 20;
        for (unsigned at = 0; at < length; at++)
            texts[i][at] = (char)('a' + next_random(&random) % (at < 9 ? 2 : 20));
        list[i] = texts[i];
        value_write_string(&input, slice_from_string(texts[i]));
    }
    value_end(&input, place, COUNT);
    end_object(1);
    run_input("sort");
    qsort(list, COUNT, sizeof list[0], compare_texts);
    const struct value *item = value_first(answer());
    for (int i = 0; i < COUNT; i++, item = value_next(item))
        CHECK_TEXT(value_string(item).data, item->count, list[i]);
    drop();
}

TEST("sort: says what is wrong")
{
    refuse("sort", "{}", "sort: data.items: expected an array, got nothing");
    refuse("sort", "{\"items\":\"abc\"}", "sort: data.items: expected an array, got a string");
    refuse("sort", "{\"items\":[1,\"a\"]}", "sort: data.items[1]: expected a number, as before it, got a string");
    refuse("sort", "{\"items\":[\"a\",1]}", "sort: data.items[1]: expected a string, as before it, got a number");
    refuse("sort", "{\"items\":[null]}", "sort: data.items[0]: expected a number or a string, got null");
    refuse("sort", "{\"items\":[1,2],\"by\":\"k\"}",
           "sort: data.items[0]: expected an object, for there is data.by, got a number");
    refuse("sort", "{\"items\":[{\"k\":1},[2]],\"by\":\"k\"}",
           "sort: data.items[1]: expected an object, for there is data.by, got an array");
    refuse("sort", "{\"items\":[{\"k\":[1]}],\"by\":\"k\"}",
           "sort: data.items[0], the field of data.by: expected a number or a string, got an array");
    refuse("sort", "{\"items\":[],\"by\":1}", "sort: data.by: expected a string, got a number");
    refuse("sort", "{\"items\":[],\"descending\":1}", "sort: data.descending: expected true or false, got a number");
    drop();
}

/* --- regex_extract ---------------------------------------------------------------------------------------------- */

TEST("regex_extract: texts, one group, or all groups with their names")
{
    check("regex_extract", "{\"text\":\"a1 b22\",\"pattern\":\"\\\\d+\"}", "[\"1\",\"22\"]");
    check("regex_extract", "{\"text\":\"a1 b22\",\"pattern\":\"([a-z])(\\\\d)\",\"group\":2}", "[\"1\",\"2\"]");
    check("regex_extract", "{\"text\":\"k=v\",\"pattern\":\"(?<key>\\\\w)=(?<value>\\\\w)\",\"group\":\"value\"}",
          "[\"v\"]");
    check("regex_extract", "{\"text\":\"xab\",\"pattern\":\"(?<a>a)(b)?(c)?\",\"groups\":true}",
          "[{\"text\":\"ab\",\"index\":1,\"groups\":[\"a\",\"b\",null],\"names\":{\"a\":\"a\"}}]");
    check("regex_extract", "{\"text\":\"AaA\",\"pattern\":\"a\",\"flags\":\"i\",\"limit\":2}", "[\"A\",\"a\"]");
    check("regex_extract", "{\"text\":\"a\\nb\",\"pattern\":\"^.$\",\"flags\":\"m\"}", "[\"a\",\"b\"]");
    check("regex_extract", "{\"text\":\"a\\nb\",\"pattern\":\"^.*$\",\"flags\":\"s\"}", "[\"a\\nb\"]");
    check("regex_extract", "{\"text\":\"abc\",\"pattern\":\"x*\"}", "[\"\",\"\",\"\",\"\"]");
    check("regex_extract", "{\"text\":\"\xc3\xa4\xc3\xb6\",\"pattern\":\"\"}", "[\"\",\"\",\"\"]");
    check("regex_extract", "{\"text\":\"a\",\"pattern\":\"b\"}", "[]");
    check("regex_extract", "{\"text\":\"aab\",\"pattern\":\"a\\\\K\"}", "[\"\",\"\"]");
    drop();
}

TEST("regex_extract: a match is found wherever it stands in a long text, and none is found twice")
{
    enum { LENGTH = 100000 };
    for (size_t place = 1; place + 3 < LENGTH; place = place * 2 + 1) {
        char *text = begin_text("text", LENGTH);
        memset(text, 'x', LENGTH);
        memcpy(text + place, "abc", 3);
        add_text("pattern", "(?<=x)abc");
        end_object(2);
        run_input("regex_extract");
        check_answer("[\"abc\"]");
    }
    char *text = begin_text("text", LENGTH);
    for (size_t i = 0; i < LENGTH; i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    add_text("pattern", "\xc3\xa4");
    add_number("limit", LENGTH);
    end_object(3);
    run_input("regex_extract");
    CHECK(answer()->count == LENGTH / 2);
    drop();
}

TEST("regex_extract: an anchor holds where the text or the last match ends, and nowhere in between")
{
    enum { LENGTH = 5000 };
    static const char *const patterns[] = {"\\Gx", "^x", "\\Ax"};
    for (size_t i = 0; i < 3; i++) {
        char *text = begin_text("text", LENGTH);
        memset(text, 'x', LENGTH);
        *text = 'a';
        add_text("pattern", patterns[i]);
        end_object(2);
        run_input("regex_extract");
        check_answer("[]");
    }
    check("regex_extract", "{\"text\":\"112a3\",\"pattern\":\"\\\\G\\\\d\"}", "[\"1\",\"1\",\"2\"]");
    drop();
}

TEST("regex_extract: a pattern that backtracks without end fails in words, and soon")
{
    static const char *const patterns[] = {"(a+)+$", "(a|aa)+$", "(a*)*b", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        char *text = begin_text("text", 10000);
        memset(text, 'a', 10000);
        text[9999] = '!';
        add_text("pattern", patterns[i]);
        end_object(2);
        struct timespec before, after; /* of processor time: other programs do not count */
        CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before) == 0);
        run_input("regex_extract");
        CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after) == 0);
        CHECK(after.tv_sec - before.tv_sec < 5);
        if (status == OPERATION_FAILED)
            check_error("regex_extract: data.pattern: takes too many steps on this text: it backtracks without end");
        else
            check_answer("[]");
    }
    drop();
}

TEST("regex_extract: says what is wrong")
{
    static const char name[] = "regex_extract";
    refuse(name, "{\"text\":\"\"}", "regex_extract: data.pattern: expected a string, got nothing");
    refuse(name, "{\"text\":\"\",\"pattern\":\"(a\"}",
           "regex_extract: data.pattern: missing closing parenthesis at byte 2");
    refuse(name, "{\"text\":\"\",\"pattern\":\"a\",\"flags\":\"ig\"}",
           "regex_extract: data.flags: expected letters of i, m, s, x, u, got another at byte 1");
    refuse(name, "{\"text\":\"\",\"pattern\":\"a\",\"group\":1}",
           "regex_extract: data.group: expected a whole number from 0 to 0, got 1");
    refuse(name, "{\"text\":\"\",\"pattern\":\"a\",\"group\":\"x\"}",
           "regex_extract: data.group: expected a group that the pattern names once, got another name");
    refuse(name, "{\"text\":\"\",\"pattern\":\"a\",\"limit\":0}",
           "regex_extract: data.limit: expected a whole number from 1 to 1000000, got 0");
    run(name, "{\"text\":\"\",\"pattern\":\"a\\\\Cb\"}");
    CHECK(status == OPERATION_FAILED);
    memset(begin_text("pattern", 4097), 'a', 4097);
    add_text("text", "");
    end_object(2);
    run_input(name);
    check_error("regex_extract: data.pattern: expected at most 4096 bytes, got 4097");
    memcpy(begin_text("text", 3), "ab\xff", 3);
    add_text("pattern", "a");
    end_object(2);
    run_input(name);
    check_error("regex_extract: data.text: expected UTF-8, got something else at byte 2");
    drop();
}

/* --- In Lua ----------------------------------------------------------------------------------------------------- */

TEST("text_analysis: tokens, counts, n-grams, similarity and statistics")
{
    static const char name[] = "text_analysis";
    run(name, "{\"op\":\"tokens\",\"text\":\"Hello, hello W\xc3\xb6rld 42!\"}");
    CHECK(value_number(value_member(answer(), SLICE("total"))) == 4);
    check_member("tokens", "[\"hello\",\"hello\",\"w\xc3\xb6rld\",\"42\"]");
    run(name, "{\"text\":\"b a b\"}");
    const struct value *counts = value_member(answer(), SLICE("counts"));
    CHECK(counts && counts->count == 2);
    CHECK_TEXT(value_string(value_member(value_first(counts), SLICE("token"))).data, 1, "b");
    CHECK(value_number(value_member(value_first(counts), SLICE("count"))) == 2);
    run(name, "{\"op\":\"ngrams\",\"text\":\"a b a b\",\"limit\":1}");
    CHECK(value_number(value_member(answer(), SLICE("total"))) == 3);
    CHECK(value_member(answer(), SLICE("ngrams"))->count == 1);
    run(name, "{\"op\":\"similarity\",\"a\":\"a b\",\"b\":\"b c\"}");
    CHECK(fabs(value_number(value_member(answer(), SLICE("cosine"))) - 0.5) < 1e-9);
    CHECK(fabs(value_number(value_member(answer(), SLICE("jaccard"))) - 1.0 / 3) < 1e-9);
    run(name, "{\"op\":\"statistics\",\"text\":\"\xc3\xa4 b\\nc\"}");
    CHECK(value_number(value_member(answer(), SLICE("characters"))) == 5);
    CHECK(value_number(value_member(answer(), SLICE("lines"))) == 2);
    run(name, "{\"text\":\"\"}");
    CHECK(value_member(answer(), SLICE("counts"))->kind == VALUE_ARRAY);
    refuse(name, "{\"op\":\"x\"}",
           "text_analysis: data.op: expected one of tokens, counts, ngrams, similarity, statistics, got \"x\"");
    refuse(name, "{\"text\":1}", "text_analysis: data.text: expected a string, got a number");
    refuse(name, "{\"text\":\"\",\"limit\":1.5}",
           "text_analysis: data.limit: expected a whole number from 1 to 100000, got 1.5");
    refuse(name, "{\"op\":\"ngrams\",\"text\":\"\",\"unit\":\"words\"}",
           "text_analysis: data.unit: expected one of tokens, characters, got \"words\"");
    drop();
}

TEST("aggregate: figures by group, in the order of the first record")
{
    static const char name[] = "aggregate";
    run(name, "{\"records\":[{\"k\":\"a\",\"v\":1},{\"k\":\"b\",\"v\":10},{\"k\":\"a\",\"v\":3},{\"k\":\"a\"}],"
              "\"groupBy\":\"k\",\"metrics\":[{\"op\":\"sum\",\"field\":\"v\"},{\"op\":\"avg\",\"field\":\"v\"},"
              "{\"op\":\"min\",\"field\":\"v\"},{\"op\":\"max\",\"field\":\"v\"},{\"op\":\"count\"},"
              "{\"op\":\"percentile\",\"field\":\"v\",\"p\":50}]}");
    CHECK(answer()->count == 2);
    const struct value *first = value_first(answer()), *metrics = value_member(first, SLICE("metrics"));
    CHECK_TEXT(value_string(value_member(value_member(first, SLICE("group")), SLICE("k"))).data, 1, "a");
    CHECK(value_number(value_member(metrics, SLICE("sum_v"))) == 4);
    CHECK(value_number(value_member(metrics, SLICE("avg_v"))) == 2);
    CHECK(value_number(value_member(metrics, SLICE("min_v"))) == 1);
    CHECK(value_number(value_member(metrics, SLICE("max_v"))) == 3);
    CHECK(value_number(value_member(metrics, SLICE("count"))) == 3);
    CHECK(value_number(value_member(metrics, SLICE("p50_v"))) == 2);
    check(name, "{\"records\":[]}", "[]");
    run(name, "{\"records\":[{},{}]}");
    CHECK(answer()->count == 1);
    CHECK(value_number(value_member(value_member(value_first(answer()), SLICE("metrics")), SLICE("count"))) == 2);
    refuse(name, "{\"records\":1}", "aggregate: data.records: expected an array, got a number");
    refuse(name, "{\"records\":{\"a\":1}}", "aggregate: data.records: expected an array, got an object");
    refuse(name, "{\"records\":[1]}", "aggregate: data.records[0]: expected an object, got a number");
    refuse(name, "{\"records\":[{\"v\":\"x\"}],\"metrics\":[{\"op\":\"sum\",\"field\":\"v\"}]}",
           "aggregate: data.records[0].v: expected a number, got a string");
    refuse(name, "{\"records\":[],\"metrics\":[{\"op\":\"mean\",\"field\":\"v\"}]}",
           "aggregate: data.metrics[0].op: expected one of sum, avg, min, max, count, percentile, got \"mean\"");
    refuse(name, "{\"records\":[],\"metrics\":[{\"op\":\"percentile\",\"field\":\"v\",\"p\":101}]}",
           "aggregate: data.metrics[0].p: expected a number from 0 to 100, got 101");
    refuse(name, "{\"records\":[],\"metrics\":[]}", "aggregate: data.metrics: expected 1 to 64 metrics, got 0");
    drop();
}

TEST("aggregate: percentiles are those of the sorted values")
{
    for (unsigned count = 1; count < 60; count += 7) {
        char data[4096] = "{\"records\":[";
        for (unsigned i = 0; i < count; i++)
            snprintf(data + strlen(data), sizeof data - strlen(data), "%s{\"v\":%u}", i ? "," : "",
                     (i * 37 + 11) % count);
        strcat(data,
               "],\"metrics\":[{\"op\":\"percentile\",\"field\":\"v\",\"p\":0,\"as\":\"a\"},{\"op\":\"percentile\","
               "\"field\":\"v\",\"p\":100,\"as\":\"z\"},{\"op\":\"percentile\",\"field\":\"v\",\"p\":25,\"as\":"
               "\"q\"}]}");
        run("aggregate", data);
        const struct value *metrics = value_member(value_first(answer()), SLICE("metrics"));
        if (count % 37 == 0)
            continue;
        CHECK(value_number(value_member(metrics, SLICE("a"))) == 0);
        CHECK(value_number(value_member(metrics, SLICE("z"))) == count - 1);
        CHECK(fabs(value_number(value_member(metrics, SLICE("q"))) - (count - 1) * 0.25) < 1e-9);
    }
    drop();
}

/* --- Time ------------------------------------------------------------------------------------------------------- */

/* In processor time of the thread that runs the operation: other programs do not count. */
static clockid_t running_clock;
static uint64_t told_ns;

static uint64_t running_ns(void)
{
    struct timespec time;
    clock_gettime(running_clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void *tell_later(void *nothing)
{
    nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    told_ns = running_ns();
    atomic_store(&stop, true);
    return nothing;
}

/* Told to stop while it runs, over and over until it was caught at it, an operation comes back soon. */
static void check_stops(const char *name, uint64_t most_ms)
{
    for (unsigned turn = 0; turn < 100; turn++) { /* on a busy machine it may be told too late again and again */
        pthread_t thread;
        atomic_store(&stop, false);
        CHECK(pthread_getcpuclockid(pthread_self(), &running_clock) == 0);
        CHECK(pthread_create(&thread, NULL, tell_later, NULL) == 0);
        run_input(name);
        uint64_t ended_ns = running_ns();
        pthread_join(thread, NULL);
        if (status == OPERATION_STOPPED) {
            if (ended_ns > told_ns + most_ms * 1000000) {
                fprintf(stderr, "%s ended %.1f ms after it was told to\n", name, (double)(ended_ns - told_ns) / 1e6);
                exit(1);
            }
            return;
        }
        (void)answer();
    }
    fprintf(stderr, "%s was never caught running: status %d %s\n", name, (int)status, error);
    exit(1);
}

/* Far more than the millisecond that each strives for: the tests run under sanitizers too. */
#define SOON_MS 200

TEST("operations: told to stop before they begin, those that do much give up")
{
    atomic_store(&stop, true);
    enum { LENGTH = 4 << 20 };
    static const char *const texts[] = {"hash", "compress", "text_analysis", "regex_extract"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        memset(begin_text("text", LENGTH), 'a', LENGTH);
        add_text("pattern", "b");
        end_object(2);
        run_input(texts[i]);
        CHECK(status == OPERATION_STOPPED);
    }
    drop();
}

TEST("operations: hash, compress and decompress stop while they run")
{
    enum { LENGTH = 60 << 20 };
    char *text = begin_text("text", LENGTH);
    uint64_t random = 9;
    for (size_t i = 0; i < LENGTH; i += 8) {
        uint64_t bits = next_random(&random) & 0x0f0f0f0f0f0f0f0f;
        memcpy(text + i, &bits, sizeof bits);
    }
    end_object(1);
    check_stops("hash", SOON_MS);
    check_stops("compress", SOON_MS);
    atomic_store(&stop, false);
    compress_zeros(LENGTH, "gzip");
    feed_decompress(SIZE_MAX, "");
    end_object(1);
    check_stops("decompress", SOON_MS);
    drop();
}

TEST("operations: json_parse, json_stringify and json_query stop while they run")
{
    enum { COUNT = 6 << 20 };
    char *text = begin_text("text", 3 * COUNT);
    text[0] = '[';
    for (size_t i = 0; i < COUNT; i++)
        memcpy(text + 1 + 3 * i, "{},", i + 1 < COUNT ? 3 : 2);
    text[3 * COUNT - 1] = ' ';
    text[3 * COUNT - 2] = ' ';
    memcpy(text + 3 * COUNT - 3, "}]", 2);
    text[3 * COUNT - 4] = '{';
    end_object(1);
    check_stops("json_parse", SOON_MS);
    buffer_free(&input);
    value_begin(&input, VALUE_OBJECT);
    value_write_string(&input, SLICE("value"));
    double *numbers = value_write_numbers(&input, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        numbers[i] = (double)i / 7;
    add_text("path", "[*]");
    end_object(2);
    check_stops("json_stringify", SOON_MS);
    check_stops("json_query", SOON_MS);
    drop();
}

TEST("operations: sort stops while it runs, on numbers and on long strings that begin alike")
{
    enum { COUNT = 4 << 20, TEXTS = 3000, TEXT_BYTES = 20000 };
    uint64_t random = 13;
    buffer_free(&input);
    value_begin(&input, VALUE_OBJECT);
    value_write_string(&input, SLICE("items"));
    double *numbers = value_write_numbers(&input, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        numbers[i] = (double)next_random(&random);
    end_object(1);
    check_stops("sort", SOON_MS);
    buffer_free(&input);
    value_begin(&input, VALUE_OBJECT);
    value_write_string(&input, SLICE("items"));
    size_t place = value_begin(&input, VALUE_ARRAY);
    for (size_t i = 0; i < TEXTS; i++) {
        char *text = value_write_room(&input, TEXT_BYTES);
        memset(text, 'a', TEXT_BYTES);
        memcpy(text + TEXT_BYTES - 8, &(uint64_t){next_random(&random)}, 8);
    }
    value_end(&input, place, TEXTS);
    end_object(1);
    check_stops("sort", SOON_MS);
    drop();
}

TEST("operations: vector_operations stops while it runs")
{
    enum { COUNT = 16 << 20 };
    buffer_free(&input);
    value_begin(&input, VALUE_OBJECT);
    value_write_string(&input, SLICE("query"));
    memcpy(value_write_numbers(&input, 2), (double[]){1, 2}, 2 * sizeof(double));
    value_write_string(&input, SLICE("matrix"));
    double *numbers = value_write_numbers(&input, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        numbers[i] = (double)(i % 100);
    add_text("op", "topK");
    end_object(3);
    check_stops("vector_operations", SOON_MS);
    drop();
}

TEST("operations: regex_extract stops while it runs, on patterns that take long at every place")
{
    static const struct {
        const char *pattern;
        size_t length;
    } cases[] = {
        {"(?:a|b)*[xy]", 20000},   /* long at every place, for the text is long */
        {"(a?){18}[bc]", 4000000}, /* some thousand steps at every place, and below the limit */
        {"(?:a|aa){12}(?:a|b)?[bc]", 4000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(begin_text("text", cases[i].length), 'a', cases[i].length);
        add_text("pattern", cases[i].pattern);
        end_object(2);
        atomic_store(&stop, false);
        check_stops("regex_extract", SOON_MS);
    }
    drop();
}

TEST("operations: those in Lua stop while they run, compiled or not")
{
    open_lua();
    for (int compiled = 0; compiled < 2; compiled++) {
        CHECK(luaL_dostring(lua, compiled ? "jit.on()" : "jit.off()") == 0);
        static const char *const ops[] = {"counts", "ngrams", "statistics"};
        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
            enum { LENGTH = 4 << 20 };
            char *text = begin_text("text", LENGTH);
            uint64_t random = 17;
            for (size_t at = 0; at < LENGTH; at++)
                text[at] = "abcdefghijklmnop   "[next_random(&random) % 19];
            add_text("op", ops[i]);
            end_object(2);
            check_stops("text_analysis", 4 * SOON_MS);
        }
    }
    atomic_store(&stop, false);
    drop();
}
