/* luaduct.shared's dictionary: what is in it, how long, and what goes when it is full; used by many threads at once. */
#include "../../support/unit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"
#include "script/shared.h"

static void start(uint64_t bytes)
{
    hash_start();
    CHECK(shared_start(bytes));
    atexit(shared_stop);
}

static struct slice text_value(struct buffer *out, const char *text)
{
    out->length = 0;
    value_write_string(out, slice_from_string(text));
    return slice_from(out->data, out->length);
}

static enum shared_result set(const char *key, const char *text, uint64_t ttl_ms, bool only_absent)
{
    struct buffer value = {0};
    enum shared_result result = shared_set(slice_from_string(key), text_value(&value, text), ttl_ms, only_absent);
    buffer_free(&value);
    return result;
}

/* "": there is none. */
static const char *get(const char *key)
{
    static char text[4096];
    struct shared_found found;
    if (!shared_get(slice_from_string(key), &found))
        return "";
    struct slice inside = value_string(found.value);
    CHECK(found.value->kind == VALUE_STRING && inside.length < sizeof text);
    memcpy(text, inside.data, inside.length);
    text[inside.length] = '\0';
    shared_release(found.held);
    return text;
}

static struct shared_figures figures(void)
{
    struct shared_figures read;
    shared_read_figures(&read);
    return read;
}

TEST("shared: what is set is there until it is set again or deleted")
{
    char large[2000];
    start(1u << 20);
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    CHECK(strcmp(get("a"), "") == 0);
    CHECK(set("a", "one", 0, false) == SHARED_DONE);
    CHECK(set("b", large, 0, false) == SHARED_DONE);
    CHECK(strcmp(get("a"), "one") == 0 && strcmp(get("b"), large) == 0);
    CHECK(set("a", "two", 0, true) == SHARED_PRESENT && strcmp(get("a"), "one") == 0);
    CHECK(set("a", "two", 0, false) == SHARED_DONE && strcmp(get("a"), "two") == 0);
    CHECK(shared_delete(SLICE("a")) && !shared_delete(SLICE("a")) && strcmp(get("a"), "") == 0);
    CHECK(set("a", "three", 0, true) == SHARED_DONE && strcmp(get("a"), "three") == 0);
    struct shared_figures now = figures();
    CHECK(now.entries == 2 && now.hits == 5 && now.misses == 2 && now.evicted == 0 && now.bytes > 2000);
}

TEST("shared: a value that is held outlasts its entry")
{
    char large[2000];
    start(1u << 20);
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    CHECK(set("a", large, 0, false) == SHARED_DONE);
    struct shared_found found;
    CHECK(shared_get(SLICE("a"), &found) && found.held);
    CHECK(set("a", "other", 0, false) == SHARED_DONE && shared_delete(SLICE("a")));
    struct slice inside = value_string(found.value);
    CHECK_TEXT(inside.data, inside.length, large);
    shared_release(found.held);
}

TEST("shared: numbers are increased in place, and only numbers")
{
    double sum;
    start(1u << 20);
    CHECK(shared_increase(SLICE("n"), 2, 40, 0, &sum) == SHARED_DONE && sum == 42);
    CHECK(shared_increase(SLICE("n"), -0.5, 40, 0, &sum) == SHARED_DONE && sum == 41.5);
    struct shared_found found;
    CHECK(shared_get(SLICE("n"), &found) && !found.held && value_number(found.value) == 41.5);
    CHECK(set("t", "text", 0, false) == SHARED_DONE);
    CHECK(shared_increase(SLICE("t"), 1, 0, 0, &sum) == SHARED_NOT_A_NUMBER && strcmp(get("t"), "text") == 0);
}

static void wait_until_gone(const char *key)
{
    uint64_t latest = clock_steady_ns() + 10 * UINT64_C(1000000000);
    while (*get(key))
        CHECK(clock_steady_ns() < latest);
}

TEST("shared: an entry goes when its time is over, and may be added then")
{
    double sum;
    start(1u << 20);
    CHECK(set("short", "x", 1, false) == SHARED_DONE && set("long", "y", 3600000, false) == SHARED_DONE);
    CHECK(set("set short", "z", 0, false) == SHARED_DONE && shared_expire(SLICE("set short"), 1));
    CHECK(!shared_expire(SLICE("none"), 1));
    wait_until_gone("short");
    wait_until_gone("set short");
    CHECK(strcmp(get("long"), "y") == 0);
    CHECK(set("short", "again", 0, true) == SHARED_DONE && strcmp(get("short"), "again") == 0);
    CHECK(shared_increase(SLICE("n"), 1, 10, 1, &sum) == SHARED_DONE && sum == 11);
    uint64_t latest = clock_steady_ns() + 10 * UINT64_C(1000000000);
    do
        CHECK(shared_increase(SLICE("n"), 1, 10, 1, &sum) == SHARED_DONE && clock_steady_ns() < latest);
    while (sum != 11);
    CHECK(figures().expired >= 3 && figures().evicted == 0);
}

TEST("shared: the coldest go when the bytes are used up, and never more is held than that")
{
    char key[32], text[100];
    start(64u << 10);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK(set("kept", "warm", 0, false) == SHARED_DONE);
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key %d", i);
        CHECK(set(key, text, 0, false) == SHARED_DONE);
        CHECK(strcmp(get("kept"), "warm") == 0); /* it is used, so it stays */
        CHECK(strcmp(get(key), text) == 0);
        CHECK(figures().bytes <= 64u << 10);
    }
    struct shared_figures now = figures();
    CHECK(now.evicted == 5001 - now.entries && now.entries > 100 && strcmp(get("key 0"), "") == 0);
}

TEST("shared: a value of the largest size takes the place of what is there, also of its own key")
{
    start(64u << 10);
    size_t most = shared_value_maximum();
    char *large = calloc(1, most);
    CHECK(large && most == 1024);
    memset(large, 'x', most - sizeof(struct value) - 8);
    for (int i = 0; i < 200; i++) {
        char key[32];
        snprintf(key, sizeof key, "key %d", i % 90);
        CHECK(set(key, large, 0, false) == SHARED_DONE && strcmp(get(key), large) == 0);
    }
    CHECK(figures().bytes <= 64u << 10);
    free(large);
}

TEST("shared: the keys of a prefix are listed, each once")
{
    static bool seen[3000];
    start(16u << 20);
    for (int i = 0; i < 3000; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s %d", i % 2 ? "odd" : "even", i);
        CHECK(set(key, "", 0, false) == SHARED_DONE);
    }
    struct shared_keys keys;
    int count = 0;
    for (uint64_t cursor = 0; shared_list(&cursor, SLICE("odd "), &keys);) {
        for (size_t at = 0; at < keys.length;) {
            size_t length = (size_t)(unsigned char)keys.texts[at] + 1;
            char key[32] = "";
            CHECK(length < sizeof key && at + 1 + length <= keys.length);
            memcpy(key, keys.texts + at + 1, length);
            int number = atoi(key + 4);
            CHECK(memcmp(key, "odd ", 4) == 0 && number % 2 == 1 && !seen[number]);
            seen[number] = true;
            count++;
            at += 1 + length;
        }
    }
    CHECK(count == 1500);
}

static atomic_uint added;

static void *use_it(void *argument)
{
    char key[32], text[600];
    double sum;
    unsigned seed = (unsigned)(uintptr_t)argument;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 4000; i++) {
        snprintf(key, sizeof key, "key %d", rand_r(&seed) % 400);
        CHECK(shared_increase(SLICE("count"), 1, 0, 0, &sum) == SHARED_DONE);
        if (i % 3 == 0)
            CHECK(set(key, text, i % 2 ? 1 : 0, false) == SHARED_DONE);
        else if (i % 3 == 1)
            shared_delete(slice_from_string(key));
        struct shared_found found;
        if (shared_get(slice_from_string(key), &found)) {
            CHECK(value_string(found.value).length == sizeof text - 1);
            CHECK(memcmp(value_string(found.value).data, text, sizeof text - 1) == 0);
            shared_release(found.held);
        }
        snprintf(key, sizeof key, "once %d", i);
        struct shared_keys keys;
        uint64_t cursor = (uint64_t)i;
        if (i % 100 == 0)
            shared_list(&cursor, SLICE("key"), &keys);
        if (i < 100 && set(key, "x", 0, true) == SHARED_DONE)
            atomic_fetch_add(&added, 1);
    }
    return NULL;
}

TEST("shared: threads neither lose counts nor add twice, nor see a torn value")
{
    pthread_t threads[4];
    double sum;
    start(1u << 20);
    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, use_it, (void *)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK(shared_increase(SLICE("count"), 0, 0, 0, &sum) == SHARED_DONE && sum == 16000);
    CHECK(atomic_load(&added) == 100);
}
