/* C unit tests: TEST("what it promises") { … CHECK(condition); }. tests/unit/units_spec.lua runs each in a process of
 * its own. */
#ifndef LUADUCT_TESTS_UNIT_H
#define LUADUCT_TESTS_UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit_test {
    const char *promise, *file;
    void (*run)(void);
    struct unit_test *next;
};

void unit_register(struct unit_test *test);

#define UNIT_JOIN_(a, b) a##b
#define UNIT_JOIN(a, b) UNIT_JOIN_(a, b)
#define TEST(promise_text)                                                                                             \
    static void UNIT_JOIN(run_, __LINE__)(void);                                                                       \
    static struct unit_test UNIT_JOIN(test_, __LINE__) = {promise_text, __FILE__, UNIT_JOIN(run_, __LINE__), NULL};    \
    __attribute__((constructor)) static void UNIT_JOIN(register_, __LINE__)(void)                                      \
    {                                                                                                                  \
        unit_register(&UNIT_JOIN(test_, __LINE__));                                                                    \
    }                                                                                                                  \
    static void UNIT_JOIN(run_, __LINE__)(void)

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* As CHECK(actual == expected) for text, and shows both. */
#define CHECK_TEXT(actual_data, actual_length, expected)                                                               \
    do {                                                                                                               \
        size_t length_ = (actual_length);                                                                              \
        if (length_ != strlen(expected) || memcmp((actual_data), (expected), length_) != 0) {                          \
            fprintf(stderr, "%s:%d: got \"%.*s\", expected \"%s\"\n", __FILE__, __LINE__, (int)length_,                \
                    (const char *)(actual_data), (expected));                                                          \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
