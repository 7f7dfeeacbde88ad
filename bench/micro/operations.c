/* The workers' operations by themselves, on the inputs of bench/peers/node-workers/bench.js:
 *   operations [--seconds S] [NAME]...      one "name<TAB>milliseconds of a call" a line
 *   operations --speedup [NAME]...          one "name<TAB>how much more two threads do than one" a line
 * and behind a second tab the same in processor time: what it is, or would be, where nothing else runs.
 * bench/workers runs both. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "workers/operation.h"

#define THREADS 2
#define ROWS 2000
#define DIMENSIONS 256
#define DOT_NUMBERS 4096
#define TEXT_BYTES (1u << 20)
#define SORT_NUMBERS 1000000u
#define RECORDS 9000u

static double seconds = 0.5;

/* The same numbers as the peer's: xorshift32. */
static uint32_t next_random(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static double next_unit(uint32_t *state)
{
    return next_random(state) / 4294967296.0;
}

static void put_text(struct buffer *out, const char *name, const char *text)
{
    value_write_string(out, slice_from_string(name));
    value_write_string(out, slice_from_string(text));
}

static void put_vector(struct buffer *out, const char *name, uint32_t count, bool packed)
{
    uint32_t random = 1;
    value_write_string(out, slice_from_string(name));
    double *doubles = packed ? NULL : value_write_numbers(out, count);
    char *floats = packed ? value_write_room(out, count * sizeof(float)) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        float number = (float)(next_unit(&random) - 0.5);
        if (packed)
            memcpy(floats + i * sizeof number, &number, sizeof number);
        else
            doubles[i] = (double)number;
    }
}

static void make_search(struct buffer *out, bool packed)
{
    size_t place = value_begin(out, VALUE_OBJECT);
    put_text(out, "op", "topK");
    put_vector(out, "query", DIMENSIONS, packed);
    put_vector(out, "matrix", ROWS * DIMENSIONS, packed);
    value_end(out, place, 3);
}

static void make_topk(struct buffer *out)
{
    make_search(out, true);
}

static void make_topk_numbers(struct buffer *out)
{
    make_search(out, false);
}

static void make_dot(struct buffer *out)
{
    size_t place = value_begin(out, VALUE_OBJECT);
    put_text(out, "op", "dot");
    put_vector(out, "a", DOT_NUMBERS, true);
    put_vector(out, "b", DOT_NUMBERS, true);
    value_end(out, place, 3);
}

/* Some 1 MB of JSON. */
static void write_records(struct buffer *text)
{
    uint32_t random = 1;
    buffer_append(text, "[", 1);
    for (uint32_t i = 0; i < RECORDS; i++) {
        unsigned cents = next_random(&random) % 100000;
        buffer_append_format(text,
                             "%s{\"id\":%u,\"name\":\"user %u\",\"score\":%u.%u,\"active\":%s,"
                             "\"tags\":[\"red\",\"green\",\"blue\"],\"point\":[%u,%u],\"note\":null}",
                             i ? "," : "", i, i * 7, cents / 100, cents % 9 + 1, i % 2 ? "true" : "false", i % 100,
                             i % 7);
    }
    buffer_append(text, "]", 1);
}

static void make_json_parse(struct buffer *out)
{
    struct buffer text = {0};
    write_records(&text);
    size_t place = value_begin(out, VALUE_OBJECT);
    value_write_string(out, SLICE("text"));
    value_write_string(out, slice_from(text.data, text.length));
    value_end(out, place, 1);
    buffer_free(&text);
}

static void make_json_stringify(struct buffer *out)
{
    struct buffer text = {0};
    char error[ERROR_TEXT_BYTES];
    write_records(&text);
    size_t place = value_begin(out, VALUE_OBJECT);
    value_write_string(out, SLICE("value"));
    if (value_from_json(out, slice_from(text.data, text.length), VALUE_DEPTH_MAXIMUM, NULL, error) != CODE_OK) {
        fprintf(stderr, "operations: %s\n", error);
        exit(1);
    }
    value_end(out, place, 1);
    buffer_free(&text);
}

/* Words of letters, as text is to a compressor; now and then an address, for the pattern. */
static void put_words(struct buffer *out)
{
    uint32_t random = 1;
    value_write_string(out, SLICE("text"));
    char *text = value_write_room(out, TEXT_BYTES);
    for (uint32_t i = 0; i < TEXT_BYTES; i++)
        text[i] = "eeeettaaooiinnsshrdlu   cm@."[next_random(&random) % 28];
}

static void make_words(struct buffer *out)
{
    size_t place = value_begin(out, VALUE_OBJECT);
    put_words(out);
    value_end(out, place, 1);
}

static void make_regex(struct buffer *out)
{
    size_t place = value_begin(out, VALUE_OBJECT);
    put_words(out);
    put_text(out, "pattern", "[a-z]+@[a-z]+\\.[a-z]+");
    value_write_string(out, SLICE("limit"));
    value_write_number(out, 1000000);
    value_end(out, place, 3);
}

static void make_sort(struct buffer *out)
{
    uint32_t random = 1;
    size_t place = value_begin(out, VALUE_OBJECT);
    value_write_string(out, SLICE("items"));
    double *numbers = value_write_numbers(out, SORT_NUMBERS);
    for (uint32_t i = 0; i < SORT_NUMBERS; i++)
        numbers[i] = next_unit(&random) * 1e6;
    value_end(out, place, 1);
}

static const struct benchmark {
    const char *name, *operation;
    void (*make)(struct buffer *out);
} benchmarks[] = {
    {"topk", "vector_operations", make_topk},
    {"topk_numbers", "vector_operations", make_topk_numbers},
    {"dot", "vector_operations", make_dot},
    {"json_parse", "json_parse", make_json_parse},
    {"json_stringify", "json_stringify", make_json_stringify},
    {"sha256", "hash", make_words},
    {"gzip", "compress", make_words},
    {"sort", "sort", make_sort},
    {"regex", "regex_extract", make_regex},
};

struct runner {
    const struct benchmark *benchmark;
    pthread_barrier_t *start;
    uint64_t calls;
    double per_second, per_cpu_second;
};

static uint64_t thread_cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void call_once(const struct operation *operation, const struct buffer *data)
{
    static const atomic_bool stop = false;
    struct buffer result = {0};
    struct operation_call call = {
        .data = (const struct value *)(const void *)data->data, .result = &result, .stop = &stop};
    if (operation->run(&call) != OPERATION_DONE) {
        fprintf(stderr, "operations: %s\n", call.error);
        exit(1);
    }
    buffer_free(&result);
}

static void *run(void *argument)
{
    struct runner *runner = argument;
    struct buffer data = {0};
    const struct operation *operation = operation_find(slice_from_string(runner->benchmark->operation));
    runner->benchmark->make(&data);
    for (uint64_t end = clock_steady_ns() + 100000000u; clock_steady_ns() < end;)
        call_once(operation, &data);
    if (runner->start)
        pthread_barrier_wait(runner->start);
    uint64_t begun = clock_steady_ns(), now = begun, begun_cpu = thread_cpu_ns();
    runner->calls = 0;
    for (uint64_t end = begun + (uint64_t)(seconds * 1e9); now < end; now = clock_steady_ns()) {
        call_once(operation, &data);
        runner->calls++;
    }
    runner->per_cpu_second = (double)runner->calls * 1e9 / (double)(thread_cpu_ns() - begun_cpu);
    runner->per_second = (double)runner->calls * 1e9 / (double)(now - begun);
    buffer_free(&data);
    return NULL;
}

struct rates {
    double wall, cpu;
};

static struct rates run_threads(const struct benchmark *benchmark, unsigned count)
{
    struct runner runners[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t start;
    struct rates sum = {0, 0};
    pthread_barrier_init(&start, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        runners[i] = (struct runner){.benchmark = benchmark, .start = &start};
        if (pthread_create(&threads[i], NULL, run, &runners[i]) != 0) {
            fprintf(stderr, "operations: no thread\n");
            exit(1);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        sum.wall += runners[i].per_second;
        sum.cpu += runners[i].per_cpu_second;
    }
    pthread_barrier_destroy(&start);
    return sum;
}

int main(int argc, char **argv)
{
    bool speedup = false, chosen = false;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--speedup") == 0)
            speedup = true;
        else if (strcmp(argv[at], "--seconds") == 0 && at + 1 < argc)
            seconds = atof(argv[++at]);
        else
            return fprintf(stderr, "usage: operations [--speedup] [--seconds S] [NAME]...\n"), 2;
    }
    for (size_t i = 0; i < sizeof benchmarks / sizeof benchmarks[0]; i++) {
        const struct benchmark *benchmark = &benchmarks[i];
        bool wanted = at == argc;
        for (int name = at; name < argc; name++)
            wanted |= strcmp(argv[name], benchmark->name) == 0;
        if (!wanted)
            continue;
        chosen = true;
        struct rates one = run_threads(benchmark, 1);
        if (speedup) {
            struct rates two = run_threads(benchmark, THREADS);
            printf("%s\t%.6g\t%.6g\n", benchmark->name, two.wall / one.wall, two.cpu / one.cpu);
        } else {
            printf("%s\t%.6g\t%.6g\n", benchmark->name, 1000 / one.wall, 1000 / one.cpu);
        }
        fflush(stdout);
    }
    return chosen ? 0 : 2;
}
