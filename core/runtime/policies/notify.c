#include "runtime/policies/notify.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <mbedtls/md.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/threads/thread.h"
#include "bridge/delivery/answer.h"
#include "bridge/delivery/delivery.h"
#include "memory/pool.h"
#include "net/post.h"
#include "net/tls/tls_client.h"
#include "runtime/process/server.h"
#include "runtime/reactor.h"

/* The pause after a failed try, doubled each time. */
#define FIRST_PAUSE_MS 500u

#define SIGNATURE_BYTES 32

struct waiting_alerts {
    struct buffer texts[NOTIFY_WAITING]; /* a ring */
    unsigned first, count;
};

static const struct config *config;
static struct post_target target;
static pthread_t thread;
static bool running;
static atomic_bool stop, envelopes_wait;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static pthread_cond_t changed;
static struct waiting_alerts for_webhook, for_agent;
static struct notify_figures figures;

/* --- Queues; under the mutex --- */

static bool put(struct waiting_alerts *waiting, struct slice json)
{
    struct buffer *place = &waiting->texts[(waiting->first + waiting->count) % NOTIFY_WAITING];
    if (waiting->count == NOTIFY_WAITING)
        return false;
    *place = (struct buffer){0};
    buffer_append_slice(place, json);
    if (place->failed) {
        buffer_free(place);
        return false;
    }
    waiting->count++;
    return true;
}

static bool take(struct waiting_alerts *waiting, struct buffer *out)
{
    if (waiting->count == 0)
        return false;
    *out = waiting->texts[waiting->first];
    waiting->first = (waiting->first + 1) % NOTIFY_WAITING;
    waiting->count--;
    return true;
}

void notify_alert(struct slice json)
{
    bool lost = false;
    if (!config || (!config->alerts.webhook_url && !config->alerts.notify))
        return;
    pthread_mutex_lock(&mutex);
    if (config->alerts.webhook_url && !put(&for_webhook, json)) {
        figures.lost++;
        lost = true;
    }
    bool told = config->alerts.notify && put(&for_agent, json);
    lost = lost || (config->alerts.notify && !told);
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
    if (lost)
        log_warn(ALERT, "not_told", "alerts: too many wait to be told, one is lost: %.*s", (int)json.length, json.data);
    if (told && !atomic_exchange_explicit(&envelopes_wait, true, memory_order_release)) {
        struct reactor *reactor = server_reactor(0);
        ev_async_send(reactor->loop, &reactor->wake_watcher);
    }
}

/* --- The webhook --- */

/* Hexadecimal HMAC-SHA256 of "<seconds>.<body>"; false: memory is out. */
static bool sign(const char *seconds, struct slice body, char out[2 * SIGNATURE_BYTES + 1])
{
    unsigned char digest[SIGNATURE_BYTES];
    const char *secret = config->alerts.webhook_secret;
    mbedtls_md_context_t context;
    mbedtls_md_init(&context);
    bool good = mbedtls_md_setup(&context, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 1) == 0 &&
                mbedtls_md_hmac_starts(&context, (const unsigned char *)secret, strlen(secret)) == 0 &&
                mbedtls_md_hmac_update(&context, (const unsigned char *)seconds, strlen(seconds)) == 0 &&
                mbedtls_md_hmac_update(&context, (const unsigned char *)".", 1) == 0 &&
                mbedtls_md_hmac_update(&context, (const unsigned char *)body.data, body.length) == 0 &&
                mbedtls_md_hmac_finish(&context, digest) == 0;
    mbedtls_md_free(&context);
    for (size_t i = 0; good && i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return good;
}

/* True: the receiver has it. */
static bool try_once(struct slice body, struct tls_client *tls, char *error, size_t size)
{
    char seconds[24], signature[2 * SIGNATURE_BYTES + 1], headers[256];
    snprintf(seconds, sizeof seconds, "%lld", (long long)(clock_wall_ms() / 1000));
    int length = snprintf(headers, sizeof headers, "Luaduct-Timestamp: %s\r\n", seconds);
    if (config->alerts.webhook_secret) {
        if (!sign(seconds, body, signature)) {
            snprintf(error, size, "not enough memory to sign");
            return false;
        }
        length +=
            snprintf(headers + length, sizeof headers - (size_t)length, "Luaduct-Signature: sha256=%s\r\n", signature);
    }
    struct post post = {.target = &target,
                        .headers = slice_from(headers, (size_t)length),
                        .body = body,
                        .timeout_ms = config->alerts.webhook_timeout_ms,
                        .stop = &stop,
                        .tls = tls};
    unsigned status = post_send(&post, error, size);
    if (status != 0 && status / 100 != 2)
        snprintf(error, size, "the answer was %u", status);
    return status / 100 == 2;
}

/* True: stop. Under the mutex. */
static bool pause_for(uint32_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += (time_t)(ms / 1000) + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!atomic_load(&stop) && pthread_cond_timedwait(&changed, &mutex, &until) != ETIMEDOUT)
        ;
    return atomic_load(&stop);
}

static void deliver(struct slice body, struct tls_client *tls)
{
    char error[256] = "";
    uint32_t pause_ms = FIRST_PAUSE_MS;
    bool stopped = false;
    for (unsigned try = 1; !stopped; try++, pause_ms *= 2) {
        bool good = try_once(body, tls, error, sizeof error), last = try == NOTIFY_TRIES;
        pthread_mutex_lock(&mutex);
        figures.delivered += good;
        figures.lost += !good && last;
        figures.retried += !good && !last;
        if (!good && !last)
            stopped = pause_for(pause_ms);
        pthread_mutex_unlock(&mutex);
        if (!good && last)
            log_warn(ALERT, "webhook_failed", "alerts.webhook: an alert was not delivered in %u tries: %s", try, error);
        if (good || last)
            return;
    }
}

/* The client of TLS is the thread's own, which may be left behind with it; NULL: the target is plain. */
static void *work(void *client)
{
    struct tls_client *tls = client;
    log_name_thread("webhook");
    struct buffer body;
    while (!atomic_load(&stop)) {
        pthread_mutex_lock(&mutex);
        bool some = take(&for_webhook, &body);
        if (!some && !atomic_load(&stop))
            pthread_cond_wait(&changed, &mutex);
        pthread_mutex_unlock(&mutex);
        if (!some)
            continue;
        deliver(slice_from(body.data, body.length), tls);
        buffer_free(&body);
    }
    tls_client_free(tls);
    pool_leave_thread();
    return NULL;
}

/* --- The agent --- */

static void deliver_alert(struct reactor *reactor, struct slice json)
{
    struct buffer text = {0};
    struct text_store store = {0};
    struct envelope envelope;
    char error[ERROR_TEXT_BYTES] = "out of memory";
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM};
    struct envelope_defaults defaults = {.timestamp = reactor->lane->timestamp};
    struct slice id = slice_from_string(config->alerts.notify);
    buffer_append_slice(&text, SLICE("{\"from\":\"bridge\",\"role\":\"bridge\",\"intent\":\"bridge.alert\",\"to\":"));
    buffer_append_json_string(&text, id);
    buffer_append_slice(&text, SLICE(",\"payload\":"));
    buffer_append_slice(&text, json);
    buffer_append_slice(&text, SLICE("}"));
    enum code code = CODE_OVERLOADED;
    if (!text.failed)
        code = envelope_scan(slice_from(text.data, text.length), &rules, &store, &envelope, error);
    if (code == CODE_OK) {
        struct decision to = {.count = 1, .items = {{.kind = DECISION_TO, .ids = &id, .id_count = 1}}};
        struct delivery delivery = {.lane = reactor->lane, .envelope = &envelope, .defaults = &defaults};
        struct delivery_result delivered;
        delivery_carry_out(&delivery, &to, &delivered);
        code = delivered.accepted ? CODE_OK : delivered.refusal;
        snprintf(error, sizeof error, "%s", code_name(code));
        frame_release(delivered.frame);
    }
    if (code != CODE_OK)
        log_warn(ALERT, "agent_not_told", "alerts.notify: agent %s was not told: %s", config->alerts.notify, error);
    text_store_free(&store);
    buffer_free(&text);
}

void notify_serve(struct reactor *reactor)
{
    struct buffer json;
    if (reactor->index != 0 || !atomic_load_explicit(&envelopes_wait, memory_order_relaxed))
        return;
    atomic_store(&envelopes_wait, false);
    for (bool some = true; some;) {
        pthread_mutex_lock(&mutex);
        some = take(&for_agent, &json);
        pthread_mutex_unlock(&mutex);
        if (!some)
            break;
        deliver_alert(reactor, slice_from(json.data, json.length));
        buffer_free(&json);
    }
}

/* --- Life --- */

bool notify_start(const struct config *from, char *error, size_t size)
{
    pthread_condattr_t attributes;
    config = from;
    atomic_store(&stop, false);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (!config->alerts.webhook_url)
        return true;
    struct tls_client *tls;
    if (!post_target_open(config->alerts.webhook_url, "alerts.webhook.url", &target, &tls, error, size))
        return false;
    int failure = pthread_create(&thread, NULL, work, tls);
    if (failure != 0) {
        snprintf(error, size, "cannot start a thread: %s", strerror(failure));
        tls_client_free(tls);
    }
    return running = failure == 0;
}

void notify_stop(void)
{
    struct buffer left;
    atomic_store(&stop, true);
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    /* One that looks a name up cannot be told: it is left behind. */
    if (running && !thread_join_within(thread, 2000))
        thread_leave(thread);
    running = false;
    pthread_mutex_lock(&mutex);
    while (take(&for_webhook, &left) || take(&for_agent, &left))
        buffer_free(&left);
    pthread_mutex_unlock(&mutex);
}

void notify_read_figures(struct notify_figures *out)
{
    pthread_mutex_lock(&mutex);
    *out = figures;
    pthread_mutex_unlock(&mutex);
}
