/* What peers have handed over and not got back yet is bounded in all, beside the number of tasks: otherwise a full
 * queue of the largest data would be many times the memory of the process. */
#include "runtime/work/execute.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/json/json.h"
#include "runtime/reactor.h"

/* Data of peers that may be out at once: this part of the memory budget. */
#define BUDGET_PART 8

static atomic_ullong bytes_out;

struct request {
    struct slice operation, data, priority, timeout;
};

static enum code read_request(struct slice json, struct request *out, char error[ERROR_TEXT_BYTES])
{
    struct slice key, value, rest = json;
    *out = (struct request){0};
    if (json_kind(json) != JSON_OBJECT) {
        snprintf(error, ERROR_TEXT_BYTES, "expected an object with operation and data, got %s",
                 json_kind_name(json_kind(json)));
        return CODE_BAD_FIELD;
    }
    while (json_next_member(&rest, &key, &value)) {
        struct slice *member = json_inside_equals(key, SLICE("operation"))   ? &out->operation
                               : json_inside_equals(key, SLICE("data"))      ? &out->data
                               : json_inside_equals(key, SLICE("priority"))  ? &out->priority
                               : json_inside_equals(key, SLICE("timeoutMs")) ? &out->timeout
                                                                             : NULL;
        if (!member) {
            snprintf(error, ERROR_TEXT_BYTES, "expected operation, data, priority or timeoutMs as a key, got \"%.*s\"",
                     (int)(key.length < 64 ? key.length : 64), key.data);
            return CODE_BAD_FIELD;
        }
        if (member->length > 0) {
            snprintf(error, ERROR_TEXT_BYTES, "\"%.*s\" is there twice", (int)key.length, key.data);
            return CODE_DUPLICATE_FIELD;
        }
        *member = value;
    }
    return CODE_OK;
}

static enum code bad_member(const char *name, const char *expected, struct slice value, char error[ERROR_TEXT_BYTES])
{
    snprintf(error, ERROR_TEXT_BYTES, "%s: expected %s, got %s", name, expected,
             value.length > 0 && value.length <= 24 ? "another value" : json_kind_name(json_kind(value)));
    if (value.length > 0 && value.length <= 24)
        snprintf(error, ERROR_TEXT_BYTES, "%s: expected %s, got %.*s", name, expected, (int)value.length, value.data);
    return CODE_BAD_FIELD;
}

static enum code fill_in(struct work *work, const struct request *request, struct buffer *whole,
                         char error[ERROR_TEXT_BYTES])
{
    static const struct slice priorities[TASK_PRIORITIES] = {{"\"high\"", 6}, {"\"normal\"", 8}, {"\"low\"", 5}};
    struct slice name = request->operation;
    if (json_kind(name) != JSON_STRING || name.length < 3 || name.length - 2 >= sizeof work->operation)
        return bad_member("operation", "a name of 1 to 63 bytes", name, error);
    work->operation[json_unescape(json_string_inside(name), work->operation, NULL)] = '\0';
    if (request->priority.length > 0) {
        unsigned priority = 0;
        while (priority < TASK_PRIORITIES && !slice_equal(priorities[priority], request->priority))
            priority++;
        if (priority == TASK_PRIORITIES)
            return bad_member("priority", "\"high\", \"normal\" or \"low\"", request->priority, error);
        work->task.priority = (enum task_priority)priority;
    }
    if (request->timeout.length > 0) {
        char digits[32];
        bool number = json_kind(request->timeout) == JSON_NUMBER && request->timeout.length < sizeof digits;
        double ms = 0;
        if (number) {
            memcpy(digits, request->timeout.data, request->timeout.length);
            digits[request->timeout.length] = '\0';
            ms = strtod(digits, NULL);
        }
        if (!(ms >= 1 && ms <= INT32_MAX))
            return bad_member("timeoutMs", "a number from 1 on", request->timeout, error);
        work->task.timeout_ms = (uint32_t)ceil(ms);
    }
    work->task.format = TASK_JSON;
    if (whole && request->data.length > 0) {
        work->task.data = *whole;
        work->task.json = request->data;
        *whole = (struct buffer){0};
        return CODE_OK;
    }
    buffer_append_slice(&work->task.data, request->data.length > 0 ? request->data : SLICE("null"));
    if (work->task.data.failed) {
        snprintf(error, ERROR_TEXT_BYTES, "out of memory");
        return CODE_OVERLOADED;
    }
    return CODE_OK;
}

static bool take_room(const struct config *config, size_t bytes)
{
    uint64_t most = config->limits.memory == CONFIG_UNLIMITED ? UINT64_MAX : config->limits.memory / BUDGET_PART;
    if (atomic_fetch_add_explicit(&bytes_out, bytes, memory_order_relaxed) + bytes <= most)
        return true;
    atomic_fetch_sub_explicit(&bytes_out, bytes, memory_order_relaxed);
    return false;
}

enum code execute_start(struct reactor *reactor, struct slice json, struct buffer *whole,
                        void (*finished)(struct work *), void *owner, struct work **out, char error[ERROR_TEXT_BYTES])
{
    const struct config *config = reactor->config;
    struct request request;
    enum code code = read_request(json, &request, error);
    if (code != CODE_OK)
        return code;
    if (request.data.length > config->phase2.worker_pool.execute_bytes) {
        snprintf(error, ERROR_TEXT_BYTES, "data is larger than phase2.workerPool.executeBytes");
        return CODE_TOO_LARGE;
    }
    struct work *work = take_room(config, request.data.length) ? work_new(reactor) : NULL;
    if (!work) {
        snprintf(error, ERROR_TEXT_BYTES, "too much data is with the workers already: try again later");
        return CODE_OVERLOADED;
    }
    struct slice why = {NULL, 0};
    work->bytes = request.data.length;
    work->finished = finished;
    work->owner = owner;
    code = fill_in(work, &request, whole, error);
    if (code == CODE_OK && (code = work_submit(work, &why)) != CODE_OK)
        snprintf(error, ERROR_TEXT_BYTES, "%.*s", (int)why.length, why.data);
    if (code == CODE_OK) {
        *out = work;
        return CODE_OK;
    }
    execute_finished(work);
    work_free(work);
    return code;
}

void execute_finished(const struct work *work)
{
    atomic_fetch_sub_explicit(&bytes_out, work->bytes, memory_order_relaxed);
}

void execute_append_result(struct buffer *out, const struct work *work)
{
    buffer_append_slice(out, SLICE("{\"result\":"));
    buffer_append(out, work->task.result.data, work->task.result.length);
    buffer_append_format(out, ",\"ms\":%.3f}", work->task.run_ms);
}
