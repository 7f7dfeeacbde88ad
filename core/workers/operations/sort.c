/* sort: numbers by radix, strings and records by a stable merge. A number becomes a whole number that sorts alike: the
 * bits of a double with the sign turned, or all turned when negative. A string is known first by its first eight
 * bytes, so that most comparisons touch nothing else. */
#include <math.h>
#include <string.h>

#include "memory/pool.h"
#include "workers/operations/inputs.h"
#include "workers/operations/operations.h"

static const char name[] = "sort";

/* Entries between two looks at the stop flag: some 100 µs. */
#define BLOCK 32768u

/* NaN, whichever its sign, goes behind everything. */
static uint64_t key_of_number(double number)
{
    uint64_t bits;
    if (isnan(number))
        return UINT64_MAX;
    memcpy(&bits, &number, sizeof bits);
    return bits ^ (bits >> 63 ? UINT64_MAX : (uint64_t)1 << 63);
}

static double number_of_key(uint64_t key)
{
    uint64_t bits = key ^ (key >> 63 ? (uint64_t)1 << 63 : UINT64_MAX);
    double number;
    memcpy(&number, &bits, sizeof number);
    return key == UINT64_MAX ? (double)NAN : number;
}

/* --- Numbers ---------------------------------------------------------------------------------------------------- */

#define DIGIT_BITS 11
#define DIGITS 6
#define DIGIT_VALUES (1u << DIGIT_BITS)

struct radix {
    uint32_t counts[DIGITS][DIGIT_VALUES];
};

static unsigned digit_of(uint64_t key, int digit)
{
    return (unsigned)(key >> digit * DIGIT_BITS) & (DIGIT_VALUES - 1);
}

/* Spreads the keys by one digit. False when stopped. */
static bool spread(struct operation_call *call, const uint64_t *from, uint64_t *to, uint32_t count, uint32_t *places,
                   int digit)
{
    for (uint32_t at = 0; at < count;) {
        uint32_t end = count - at < BLOCK ? count : at + BLOCK;
        for (; at < end; at++)
            to[places[digit_of(from[at], digit)]++] = from[at];
        if (operation_stopped(call))
            return false;
    }
    return true;
}

/* Sorts `keys` with the help of `spare`; returns the one that holds the result, or NULL when stopped. */
static uint64_t *sort_keys(struct operation_call *call, uint64_t *keys, uint64_t *spare, uint32_t count,
                           struct radix *radix)
{
    for (int digit = 0; digit < DIGITS; digit++) {
        uint32_t *places = radix->counts[digit], sum = 0;
        if (places[digit_of(keys[0], digit)] == count)
            continue; /* all have the same: whole numbers have many such */
        for (unsigned value = 0; value < DIGIT_VALUES; value++) {
            uint32_t here = places[value];
            places[value] = sum;
            sum += here;
        }
        if (!spread(call, keys, spare, count, places, digit))
            return NULL;
        uint64_t *sorted = spare;
        spare = keys;
        keys = sorted;
    }
    return keys;
}

static enum operation_status sort_numbers(struct operation_call *call, const struct value *items, bool descending)
{
    uint32_t count = items->count;
    const double *from = value_numbers(items);
    double *out = value_write_numbers(call->result, count);
    size_t spare_bytes = count * sizeof(uint64_t) + sizeof(struct radix);
    struct radix *radix = out ? pool_acquire(POOL_ARRAYS, spare_bytes) : NULL;
    if (!radix)
        return inputs_refuse(call, "%s: out of memory", name);
    uint64_t *keys = (uint64_t *)(void *)out, *spare = (uint64_t *)(void *)(radix + 1);
    uint64_t turn = descending ? UINT64_MAX : 0;
    bool whole = true;
    memset(radix, 0, sizeof *radix);
    for (uint32_t at = 0; at < count && whole;) {
        uint32_t end = count - at < BLOCK ? count : at + BLOCK;
        for (; at < end; at++) {
            uint64_t key = key_of_number(from[at]) ^ turn;
            memcpy(&keys[at], &key, sizeof key);
            for (int digit = 0; digit < DIGITS; digit++)
                radix->counts[digit][digit_of(key, digit)]++;
        }
        whole = !operation_stopped(call);
    }
    uint64_t *sorted = whole ? sort_keys(call, keys, spare, count, radix) : NULL;
    for (uint32_t at = 0; at < count && sorted; at++) {
        double number = number_of_key(sorted[at] ^ turn);
        memcpy(&out[at], &number, sizeof number);
        if (at % BLOCK == BLOCK - 1 && operation_stopped(call))
            sorted = NULL;
    }
    pool_release(POOL_ARRAYS, radix, spare_bytes);
    return sorted ? inputs_finish(call, name) : OPERATION_STOPPED;
}

/* --- Strings and records ---------------------------------------------------------------------------------------- */

struct entry {
    uint64_t key;
    const struct value *item;
    const struct value *text; /* NULL: the key says all */
};

struct merge {
    struct operation_call *call;
    bool descending;
    uint32_t steps; /* since the last look at the stop flag */
};

/* Bytes of two texts that cost as much to compare as anything else that counts as a step. */
#define STEP_BYTES 256u

/* As memcmp: by bytes, which for UTF-8 is the order of code points. The first eight are the same. */
static int compare_rest(const struct value *a, const struct value *b)
{
    uint32_t shorter = a->count < b->count ? a->count : b->count;
    int order = memcmp(value_body(a), value_body(b), shorter);
    if (order != 0)
        return order;
    return a->count < b->count ? -1 : a->count > b->count;
}

/* Whether b has to go before a, which stood before it. */
static inline bool is_before(struct merge *merge, const struct entry *b, const struct entry *a)
{
    if (b->key != a->key)
        return (b->key < a->key) != merge->descending;
    if (!a->text)
        return false;
    merge->steps += (a->text->count < b->text->count ? a->text->count : b->text->count) / STEP_BYTES;
    int order = compare_rest(b->text, a->text);
    return merge->descending ? order > 0 : order < 0;
}

static uint64_t key_of_text(const struct value *text)
{
    uint64_t key = 0;
    memcpy(&key, value_body(text), text->count < sizeof key ? text->count : sizeof key);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    key = __builtin_bswap64(key);
#endif
    return key;
}

static inline bool is_told_to_stop(struct merge *merge, uint32_t steps)
{
    merge->steps += steps;
    if (merge->steps < BLOCK / 4)
        return false;
    merge->steps = 0;
    return operation_stopped(merge->call);
}

static bool merge_runs(struct merge *merge, const struct entry *from, struct entry *to, size_t middle, size_t count)
{
    size_t a = 0, b = middle, at = 0;
    while (a < middle && b < count) {
        to[at++] = is_before(merge, &from[b], &from[a]) ? from[b++] : from[a++];
        if (is_told_to_stop(merge, 1))
            return false;
    }
    memcpy(to + at, from + a, (middle - a) * sizeof *to);
    memcpy(to + at + (middle - a), from + b, (count - b) * sizeof *to);
    return true;
}

#define RUN 12

static void sort_run(struct merge *merge, struct entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct entry moved = entries[i];
        size_t at = i;
        for (; at > 0 && is_before(merge, &moved, &entries[at - 1]); at--)
            entries[at] = entries[at - 1];
        entries[at] = moved;
    }
}

/* From the bottom up: no recursion. Returns the one that holds the result, NULL when stopped. */
static struct entry *sort_entries(struct merge *merge, struct entry *entries, struct entry *spare, size_t count)
{
    for (size_t at = 0; at < count; at += RUN) {
        sort_run(merge, entries + at, count - at < RUN ? count - at : RUN);
        if (is_told_to_stop(merge, 2 * RUN))
            return NULL;
    }
    for (size_t width = RUN; width < count; width *= 2) {
        for (size_t at = 0; at < count; at += 2 * width) {
            size_t here = count - at < 2 * width ? count - at : 2 * width;
            if (!merge_runs(merge, entries + at, spare + at, here < width ? here : width, here))
                return NULL;
        }
        struct entry *sorted = spare;
        spare = entries;
        entries = sorted;
    }
    return entries;
}

/* The value that an item is sorted by: itself, or its field; NULL when it has none. False: it cannot be sorted. */
static bool read_key(struct operation_call *call, const struct value *item, uint32_t index, const struct slice *by,
                     const struct value **key, enum value_kind *kind)
{
    *key = item;
    if (by) {
        if (item->kind != VALUE_OBJECT) {
            inputs_refuse(call, "%s: data.items[%u]: expected an object, for there is data.by, got %s", name, index,
                          value_kind_name(item));
            return false;
        }
        *key = value_member(item, *by);
        if (!*key || (*key)->kind == VALUE_NULL) {
            *key = NULL;
            return true;
        }
    }
    enum value_kind got = (*key)->kind;
    bool first = *kind == VALUE_NULL;
    if ((got == VALUE_NUMBER || got == VALUE_STRING) && (first || got == *kind)) {
        *kind = got;
        return true;
    }
    const char *expected = first ? "a number or a string,"
                                 : (*kind == VALUE_NUMBER ? "a number, as before it," : "a string, as before it,");
    inputs_refuse(call, "%s: data.items[%u]%s: expected %s got %s", name, index, by ? ", the field of data.by" : "",
                  expected, value_kind_name(*key));
    return false;
}

static enum operation_status sort_items(struct operation_call *call, const struct value *items, const struct slice *by,
                                        bool descending)
{
    size_t count = items->count, bytes = 2 * (count + 1) * sizeof(struct entry), with = 0, without = count;
    struct entry *block = pool_acquire(POOL_ARRAYS, bytes);
    if (!block)
        return inputs_refuse(call, "%s: out of memory", name);
    enum operation_status status = OPERATION_DONE;
    enum value_kind kind = VALUE_NULL;
    const struct value *item = value_first(items);
    for (uint32_t i = 0; i < count && status == OPERATION_DONE; i++, item = value_next(item)) {
        const struct value *key;
        if (!read_key(call, item, i, by, &key, &kind))
            status = OPERATION_FAILED;
        else if (!key) /* collected from the end on, so in reverse */
            block[--without] = (struct entry){0, item, NULL};
        else if (key->kind == VALUE_NUMBER) /* + 0 makes of -0 a 0: the two are equal */
            block[with++] = (struct entry){key_of_number(value_number(key) + 0.0), item, NULL};
        else
            block[with++] = (struct entry){key_of_text(key), item, key};
        if (i % 4096 == 4095 && operation_stopped(call))
            status = OPERATION_STOPPED;
    }
    if (status == OPERATION_DONE) {
        struct merge merge = {call, descending, 0};
        struct entry *sorted = sort_entries(&merge, block, block + count + 1, with);
        size_t place = value_begin(call->result, VALUE_ARRAY);
        for (size_t i = 0; i < with && sorted && status == OPERATION_DONE; i++) {
            value_write_copy(call->result, sorted[i].item);
            if (is_told_to_stop(&merge, 1 + (uint32_t)(sorted[i].item->bytes / STEP_BYTES)))
                status = OPERATION_STOPPED;
        }
        for (size_t i = count; i-- > without;)
            value_write_copy(call->result, block[i].item);
        value_end(call->result, place, (uint32_t)count);
        if (!sorted)
            status = OPERATION_STOPPED;
    }
    pool_release(POOL_ARRAYS, block, bytes);
    return status == OPERATION_DONE ? inputs_finish(call, name) : status;
}

enum operation_status operation_sort(struct operation_call *call)
{
    bool descending = false;
    struct slice by;
    if (!input_is_object(call, name) || !input_optional_boolean(call, name, "descending", &descending))
        return OPERATION_FAILED;
    bool has_by = input_field(call, "by") != NULL;
    if (has_by && !input_text(call, name, "by", &by))
        return OPERATION_FAILED;
    const struct value *items = input_field(call, "items");
    if (items && items->kind == VALUE_NUMBERS && !has_by)
        return sort_numbers(call, items, descending);
    if (items && items->kind == VALUE_NUMBERS)
        return inputs_refuse(call, "%s: data.items[0]: expected an object, for there is data.by, got a number", name);
    if (!items || items->kind != VALUE_ARRAY)
        return inputs_refuse(call, "%s: data.items: expected an array, got %s", name, value_kind_name(items));
    return sort_items(call, items, has_by ? &by : NULL, descending);
}
