/* vector_operations: dot, cosine, normalize, topK. A vector is an array of numbers or a string of packed little-endian
 * float32. The left side of a sum may be either and is narrowed on the way; the right side is made floats once. Sums
 * over long vectors are taken in blocks, added as doubles, with a look at the stop flag between. */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "memory/pool.h"
#include "workers/operations/inputs.h"
#include "workers/operations/operations.h"
#include "workers/operations/vector_kernels.h"

static const char name[] = "vector_operations";

/* Numbers between two looks at the stop flag: 20 to 100 µs. */
#define BLOCK 65536u

#define K_MOST 100000u

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packed vectors are little-endian, and read as they lie");

struct vector {
    const double *doubles; /* one of the two */
    const float *floats;
    size_t count;
};

static struct vector vector_from(struct vector all, size_t at, size_t count)
{
    return (struct vector){all.doubles ? all.doubles + at : NULL, all.floats ? all.floats + at : NULL, count};
}

/* `expected` names what would be right, for the error; `place` is the field, with the row's index if it has one. */
static bool read_vector(struct operation_call *call, const char *place, const struct value *value, struct vector *out)
{
    static const char expected[] = "an array of numbers or a string of packed float32";
    if (value && value->kind == VALUE_NUMBERS) {
        *out = (struct vector){value_numbers(value), NULL, value->count};
        return true;
    }
    if (value && value->kind == VALUE_STRING && value->count > 0 && value->count % sizeof(float) == 0) {
        *out = (struct vector){NULL, value_body(value), value->count / sizeof(float)};
        return true;
    }
    if (value && value->kind == VALUE_STRING)
        inputs_refuse(call, "%s: data.%s: expected %s, got a string of %u bytes", name, place, expected, value->count);
    else if (value && value->kind == VALUE_ARRAY && value->count == 0)
        inputs_refuse(call, "%s: data.%s: expected %s, got an empty array", name, place, expected);
    else if (value && value->kind == VALUE_ARRAY)
        inputs_refuse(call, "%s: data.%s: expected %s, got an array with other values", name, place, expected);
    else
        inputs_refuse(call, "%s: data.%s: expected %s, got %s", name, place, expected, value_kind_name(value));
    return false;
}

/* The vector as floats: itself, or a copy in *block, which the caller releases (count floats from POOL_ARRAYS). */
static const float *as_floats(struct operation_call *call, struct vector vector, float **block)
{
    *block = NULL;
    if (vector.floats)
        return vector.floats;
    *block = pool_acquire(POOL_ARRAYS, vector.count * sizeof(float));
    if (!*block) {
        inputs_refuse(call, "%s: out of memory", name);
        return NULL;
    }
    for (size_t at = 0; at < vector.count && !operation_stopped(call); at += BLOCK) {
        size_t count = vector.count - at < BLOCK ? vector.count - at : BLOCK;
        vector_best()->narrow(vector.doubles + at, *block + at, count);
    }
    return *block;
}

struct sums {
    double dot, square;
};

/* False when stopped. */
static bool sum(struct operation_call *call, const struct vector_kernels *kernels, struct vector a, const float *b,
                struct sums *out)
{
    *out = (struct sums){0, 0};
    for (size_t at = 0; at < a.count; at += BLOCK) {
        size_t count = a.count - at < BLOCK ? a.count - at : BLOCK;
        struct vector_sums block =
            a.floats ? kernels->floats(a.floats + at, b + at, count) : kernels->doubles(a.doubles + at, b + at, count);
        out->dot += (double)block.dot;
        out->square += (double)block.square;
        if (a.count > BLOCK && operation_stopped(call))
            return false;
    }
    return true;
}

/* 0 when one of the two has no direction. */
static double cosine(double dot, double square_a, double square_b)
{
    double size = sqrt(square_a) * sqrt(square_b);
    return size > 0 ? dot / size : 0;
}

static enum operation_status refuse_range(struct operation_call *call)
{
    return inputs_refuse(call, "%s: data: the numbers are too large: a sum exceeds the range of float32", name);
}

/* dot and cosine */
static enum operation_status compare(struct operation_call *call, bool as_cosine)
{
    struct vector a, b;
    float *block;
    if (!read_vector(call, "a", input_field(call, "a"), &a) || !read_vector(call, "b", input_field(call, "b"), &b))
        return OPERATION_FAILED;
    if (a.count != b.count)
        return inputs_refuse(call, "%s: data.b: expected as many numbers as in a, %zu, got %zu", name, a.count,
                             b.count);
    const float *right = as_floats(call, b, &block);
    if (!right)
        return OPERATION_FAILED;
    const struct vector_kernels *kernels = vector_best();
    struct sums sums, own = {0, 0};
    bool whole = sum(call, kernels, a, right, &sums) &&
                 (!as_cosine || sum(call, kernels, (struct vector){NULL, right, b.count}, right, &own));
    pool_release(POOL_ARRAYS, block, b.count * sizeof(float));
    if (!whole || operation_stopped(call))
        return OPERATION_STOPPED;
    double result = as_cosine ? cosine(sums.dot, sums.square, own.square) : sums.dot;
    if (!isfinite(result) || !isfinite(own.square) || (as_cosine && !isfinite(sums.square)))
        return refuse_range(call);
    value_write_number(call->result, result);
    return inputs_finish(call, name);
}

static enum operation_status normalize(struct operation_call *call)
{
    struct vector a;
    float *block;
    if (!read_vector(call, "a", input_field(call, "a"), &a))
        return OPERATION_FAILED;
    const float *floats = as_floats(call, a, &block);
    if (!floats)
        return OPERATION_FAILED;
    struct sums sums;
    bool whole = sum(call, vector_best(), (struct vector){NULL, floats, a.count}, floats, &sums);
    double size = sqrt(sums.square), factor = size > 0 ? 1 / size : 0;
    if (whole && isfinite(size)) {
        /* As it came: numbers for numbers, packed for packed. */
        double *doubles = a.doubles ? value_write_numbers(call->result, (uint32_t)a.count) : NULL;
        char *packed = a.doubles ? NULL : value_write_room(call->result, a.count * sizeof(float));
        for (size_t i = 0; i < a.count && (doubles || packed); i++) {
            float scaled = (float)((double)floats[i] * factor);
            if (doubles)
                doubles[i] = (double)scaled;
            else
                memcpy(packed + i * sizeof scaled, &scaled, sizeof scaled);
            if (i % BLOCK == BLOCK - 1 && operation_stopped(call)) {
                whole = false;
                break;
            }
        }
    }
    pool_release(POOL_ARRAYS, block, a.count * sizeof(float));
    if (!whole || operation_stopped(call))
        return OPERATION_STOPPED;
    return isfinite(size) ? inputs_finish(call, name) : refuse_range(call);
}

/* --- topK ------------------------------------------------------------------------------------------------------- */

struct candidate {
    double score;
    uint32_t row; /* from 0 */
};

/* Whether a goes behind b in the answer: of equal scores the earlier row is first. */
static bool is_worse(struct candidate a, struct candidate b)
{
    return a.score < b.score || (a.score == b.score && a.row > b.row);
}

/* A heap with the worst at its top: moves the entry at `at` down to its place. */
static void sift_down(struct candidate *heap, size_t count, size_t at)
{
    struct candidate moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_worse(heap[child + 1], heap[child]))
            child++;
        if (!is_worse(heap[child], moved))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

struct best {
    struct candidate *heap;
    size_t count, most;
};

static void offer(struct best *best, struct candidate candidate)
{
    if (best->count < best->most) {
        best->heap[best->count++] = candidate;
        if (best->count == best->most)
            for (size_t i = best->count / 2; i-- > 0;)
                sift_down(best->heap, best->count, i);
    } else if (is_worse(best->heap[0], candidate)) {
        best->heap[0] = candidate;
        sift_down(best->heap, best->count, 0);
    }
}

/* The best first. */
static void sort_best(struct best *best)
{
    for (size_t i = best->count / 2; i-- > 0;)
        sift_down(best->heap, best->count, i);
    for (size_t count = best->count; count > 1;) {
        struct candidate worst = best->heap[0];
        best->heap[0] = best->heap[--count];
        sift_down(best->heap, count, 0);
        best->heap[count] = worst;
    }
}

struct search {
    struct operation_call *call;
    const float *query;
    size_t dimensions;
    double query_square;
    bool cosine;
    struct best best;
    size_t seen; /* numbers since the last look at the stop flag */
};

static enum operation_status score_row(struct search *search, struct vector row, uint32_t index)
{
    struct sums sums;
    if (!sum(search->call, vector_best(), row, search->query, &sums))
        return OPERATION_STOPPED;
    double score = search->cosine ? cosine(sums.dot, sums.square, search->query_square) : sums.dot;
    if (!isfinite(score) || !isfinite(sums.square))
        return refuse_range(search->call);
    offer(&search->best, (struct candidate){score, index});
    search->seen += row.count + 16;
    if (search->seen >= BLOCK) {
        search->seen = 0;
        if (operation_stopped(search->call))
            return OPERATION_STOPPED;
    }
    return OPERATION_DONE;
}

static enum operation_status score_rows(struct search *search, const struct value *matrix)
{
    struct operation_call *call = search->call;
    struct vector all;
    enum operation_status status = OPERATION_DONE;
    if (matrix && matrix->kind == VALUE_ARRAY) {
        const struct value *row = value_first(matrix);
        for (uint32_t i = 0; i < matrix->count && status == OPERATION_DONE; i++, row = value_next(row)) {
            char place[32];
            if (row->kind != VALUE_NUMBERS || row->count != search->dimensions) {
                snprintf(place, sizeof place, "matrix[%u]", i);
                if (!read_vector(call, place, row, &all))
                    return OPERATION_FAILED;
                if (all.count != search->dimensions)
                    return inputs_refuse(call, "%s: data.%s: expected as many numbers as in query, %zu, got %zu", name,
                                         place, search->dimensions, all.count);
            } else {
                all = (struct vector){value_numbers(row), NULL, row->count};
            }
            status = score_row(search, all, i);
        }
        return status;
    }
    if (!read_vector(call, "matrix", matrix, &all))
        return OPERATION_FAILED;
    if (all.count % search->dimensions != 0)
        return inputs_refuse(call, "%s: data.matrix: expected a multiple of %zu numbers, got %zu", name,
                             search->dimensions, all.count);
    for (size_t i = 0; i < all.count / search->dimensions && status == OPERATION_DONE; i++)
        status = score_row(search, vector_from(all, i * search->dimensions, search->dimensions), (uint32_t)i);
    return status;
}

static enum operation_status find_top(struct operation_call *call)
{
    static const char *const metrics[] = {"cosine", "dot", NULL};
    uint64_t k = 10, dimensions = 0;
    unsigned metric = 0;
    struct vector query;
    float *block;
    if (!read_vector(call, "query", input_field(call, "query"), &query) ||
        !input_optional_whole(call, name, "k", 1, K_MOST, &k) ||
        !input_optional_whole(call, name, "dimensions", 1, UINT32_MAX, &dimensions) ||
        !input_optional_choice(call, name, "metric", metrics, &metric))
        return OPERATION_FAILED;
    if (dimensions != 0 && dimensions != query.count)
        return inputs_refuse(call, "%s: data.dimensions: expected as many as query has, %zu, got %zu", name,
                             query.count, (size_t)dimensions);
    const struct value *matrix = input_field(call, "matrix");
    if (matrix && k > matrix->bytes / sizeof(float)) /* no more rows than that */
        k = matrix->bytes / sizeof(float) + 1;
    struct search search = {.call = call, .dimensions = query.count, .cosine = metric == 0, .best = {.most = k}};
    search.query = as_floats(call, query, &block);
    if (!search.query)
        return OPERATION_FAILED;
    search.best.heap = pool_acquire(POOL_ARRAYS, k * sizeof(struct candidate));
    struct sums own = {0, 0};
    enum operation_status status = OPERATION_DONE;
    if (!search.best.heap)
        status = inputs_refuse(call, "%s: out of memory", name);
    else if (!sum(call, vector_best(), (struct vector){NULL, search.query, query.count}, search.query, &own))
        status = OPERATION_STOPPED;
    else if (!isfinite(own.square))
        status = refuse_range(call);
    if (status == OPERATION_DONE && search.best.heap) {
        search.query_square = own.square;
        status = score_rows(&search, matrix);
    }
    if (status == OPERATION_DONE) {
        sort_best(&search.best);
        size_t place = value_begin(call->result, VALUE_ARRAY);
        for (size_t i = 0; i < search.best.count; i++) {
            size_t entry = value_begin(call->result, VALUE_OBJECT);
            value_write_string(call->result, SLICE("index"));
            value_write_number(call->result, (double)search.best.heap[i].row + 1);
            value_write_string(call->result, SLICE("score"));
            value_write_number(call->result, search.best.heap[i].score);
            value_end(call->result, entry, 2);
        }
        value_end(call->result, place, (uint32_t)search.best.count);
        status = inputs_finish(call, name);
    }
    pool_release(POOL_ARRAYS, search.best.heap, k * sizeof(struct candidate));
    pool_release(POOL_ARRAYS, block, query.count * sizeof(float));
    return status;
}

enum operation_status operation_vector_operations(struct operation_call *call)
{
    static const char *const choices[] = {"dot", "cosine", "normalize", "topK", NULL};
    unsigned choice = 4;
    if (!input_is_object(call, name) || !input_optional_choice(call, name, "op", choices, &choice))
        return OPERATION_FAILED;
    switch (choice) {
    case 0:
    case 1:
        return compare(call, choice == 1);
    case 2:
        return normalize(call);
    case 3:
        return find_top(call);
    default:
        return inputs_refuse(call, "%s: data.op: expected one of dot, cosine, normalize, topK, got nothing", name);
    }
}
