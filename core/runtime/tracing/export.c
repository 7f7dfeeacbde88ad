#include "runtime/tracing/export.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/threads/thread.h"
#include "base/version.h"
#include "memory/pool.h"
#include "net/post.h"
#include "net/tls/tls_client.h"
#include "runtime/config/config.h"
#include "runtime/tracing/otlp.h"

/* The pause after a failed try, doubled each time; and how often it looks whether the bridge stops. */
#define FIRST_PAUSE_MS 500u
#define PAUSE_SLICE_MS 20u

/* A collector that asks for more time than this gets this much: the queue is no larger for it. */
#define RETRY_AFTER_SECONDS 60u

/* What a collector says of what it does not take, as far as the log has it. */
#define MESSAGE_BYTES 200u

/* Between two lines about a collector that takes nothing. */
#define COMPLAINT_NS 60000000000u

/* How far the wall clock may go from where it was before spans follow it: within a trace times are to fit together. */
#define CLOCK_STEP_NS 10000000

static const struct config *config;
static struct post_target target;
static struct buffer headers;
static struct otlp_resource resource;
static char instance[UUID_LENGTH + 1];
static pthread_t thread;
static bool running;
static atomic_bool closing, stop; /* no second tries any more; not even the first */
static atomic_ullong exported, lost, rejected;

/* --- The thread --- */

/* What was logged of the collector: however it comes and goes, three lines a minute. */
static struct {
    bool failing; /* it was complained of, and has taken nothing since */
    uint64_t complained_ns, rejected_ns;
} collector;

/* Once in a while. */
static bool may_complain(uint64_t *complained_ns)
{
    uint64_t now_ns = clock_steady_ns();
    if (*complained_ns != 0 && now_ns - *complained_ns < COMPLAINT_NS)
        return false;
    *complained_ns = now_ns;
    return true;
}

static void complain(const char *error, uint32_t count)
{
    if (!may_complain(&collector.complained_ns))
        return;
    log_warn(TRACING, "export_failed", "tracing.endpoint: %u spans were not taken, and are lost: %s", count, error);
    collector.failing = true;
}

static void settle_wall_clock(void)
{
    int64_t offset_ns = clock_wall_ms() * 1000000 - (int64_t)clock_steady_ns();
    int64_t moved_ns = offset_ns - resource.wall_offset_ns;
    if (moved_ns > CLOCK_STEP_NS || moved_ns < -CLOCK_STEP_NS)
        resource.wall_offset_ns = offset_ns;
}

/* True: go on. */
static bool pause_for(uint32_t ms)
{
    uint64_t until_ms = clock_steady_ns() / 1000000 + ms;
    while (!atomic_load(&closing) && clock_steady_ns() / 1000000 < until_ms) {
        struct timespec slice = {.tv_nsec = PAUSE_SLICE_MS * 1000000};
        nanosleep(&slice, NULL);
    }
    return !atomic_load(&closing);
}

/* What a collector says that may take it later (OTLP, "Retryable Response Codes"); 0: nobody was there. Everything else
 * is for good. */
static bool may_try_again(unsigned status)
{
    return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

/* As long as the collector says; else by the try, from half of it to one and a half, for other bridges have failed at
 * the same time. */
static uint32_t pause_after(unsigned try, const struct post_answer *answer)
{
    uint32_t ms = FIRST_PAUSE_MS << (try - 1);
    if (answer->retry_after_s == 0)
        return ms / 2 + (uint32_t)(random_u64() % (ms + 1));
    return answer->retry_after_s < RETRY_AFTER_SECONDS ? answer->retry_after_s * 1000 : RETRY_AFTER_SECONDS * 1000;
}

static void say_refusal(unsigned status, const struct post_answer *answer, char *error, size_t size)
{
    char message[MESSAGE_BYTES];
    otlp_read_message(answer->body, message, sizeof message);
    snprintf(error, size, "the answer was %u%s%s", status, message[0] ? ": " : "", message);
}

/* True: the collector has it, or what it wants of it. */
static bool deliver(struct slice body, struct tls_client *tls, struct post_answer *answer, char *error, size_t size)
{
    struct post post = {.target = &target,
                        .headers = slice_from(headers.data, headers.length),
                        .body = body,
                        .timeout_ms = config->tracing.timeout_ms,
                        .stop = &stop,
                        .answer = answer,
                        .tls = tls};
    for (unsigned try = 1;; try++) {
        answer->retry_after_s = 0;
        unsigned status = post_send(&post, error, size);
        if (status / 100 == 2)
            return true;
        if (status != 0)
            say_refusal(status, answer, error, size);
        if (!may_try_again(status) || try == EXPORT_TRIES || !pause_for(pause_after(try, answer)))
            return false;
    }
}

/* Of a batch that was taken: how much of it the collector threw away for all that (OTLP, "Partial Success"), which is
 * not to be sent again. */
static uint32_t count_rejected(const struct post_answer *answer, uint32_t count)
{
    char message[MESSAGE_BYTES];
    uint64_t spans = otlp_read_rejected(answer->body, message, sizeof message);
    uint32_t gone = spans < count ? (uint32_t)spans : count;
    if ((gone > 0 || message[0]) && may_complain(&collector.rejected_ns))
        log_warn(TRACING, "export_rejected", "tracing.endpoint: the collector threw %u of %u spans away: %s", gone,
                 count, message[0] ? message : "it does not say why");
    return gone;
}

static void export_batch(uint32_t count, struct tls_client *tls)
{
    struct buffer body = {0};
    struct post_answer answer;
    char error[512] = "not enough memory";
    settle_wall_clock();
    otlp_write(&body, &resource, count);
    spans_take(count);
    if (!body.failed && deliver(slice_from(body.data, body.length), tls, &answer, error, sizeof error)) {
        uint32_t gone = count_rejected(&answer, count);
        atomic_fetch_add_explicit(&exported, count - gone, memory_order_relaxed);
        atomic_fetch_add_explicit(&rejected, gone, memory_order_relaxed);
        if (collector.failing)
            log_info(TRACING, "export_works", "tracing.endpoint: spans are taken again");
        collector.failing = false;
    } else {
        atomic_fetch_add_explicit(&lost, count, memory_order_relaxed);
        complain(error, count);
    }
    buffer_free(&body);
}

static void *work(void *tls)
{
    log_name_thread("tracing");
    uint32_t count;
    while (!atomic_load(&stop) && (count = spans_wait(config->tracing.batch_spans, config->tracing.interval_ms)) > 0)
        export_batch(count, tls);
    tls_client_free(tls);
    pool_leave_thread();
    return NULL;
}

/* --- Life --- */

/* Where collectors take spans when nothing is said. */
static void complete_path(void)
{
    if (strcmp(target.path, "/") == 0)
        snprintf(target.path, sizeof target.path, "/v1/traces");
}

static bool read_headers(void)
{
    for (size_t i = 0; i < config->tracing.headers.count; i++) {
        buffer_append_slice(&headers, slice_from_string(config->tracing.headers.items[i]));
        buffer_append_slice(&headers, SLICE("\r\n"));
    }
    return !headers.failed;
}

bool export_start(const struct config *from, char *error, size_t size)
{
    config = from;
    if (!config->tracing.endpoint)
        return true;
    atomic_store(&closing, false);
    atomic_store(&stop, false);
    uuid_format(instance);
    resource = (struct otlp_resource){.service = config->tracing.service,
                                      .instance = instance,
                                      .version = LUADUCT_VERSION,
                                      .environment = config->environment};
    struct tls_client *tls;
    if (!post_target_open(config->tracing.endpoint, "tracing.endpoint", &target, &tls, error, size))
        return false;
    complete_path();
    if (!read_headers() || !spans_start(config->tracing.queue_spans)) {
        snprintf(error, size, "not enough memory for tracing.queueSpans");
        tls_client_free(tls);
        return false;
    }
    int failure = pthread_create(&thread, NULL, work, tls);
    if (failure != 0) {
        snprintf(error, size, "cannot start a thread: %s", strerror(failure));
        tls_client_free(tls);
    }
    return running = failure == 0;
}

void export_stop(void)
{
    spans_close();
    atomic_store(&closing, true);
    bool ended = !running || thread_join_within(thread, EXPORT_LAST_MS);
    atomic_store(&stop, true);
    ended = ended || thread_join_within(thread, EXPORT_LAST_MS / 4);
    if (ended) {
        spans_stop();
        buffer_free(&headers);
    } else {
        thread_leave(thread); /* one that looks a name up cannot be told: what it uses is left to it */
    }
    running = false;
}

void export_read_figures(struct export_figures *out)
{
    out->exported = atomic_load_explicit(&exported, memory_order_relaxed);
    out->lost = atomic_load_explicit(&lost, memory_order_relaxed);
    out->rejected = atomic_load_explicit(&rejected, memory_order_relaxed);
}
