#include "runtime/tracing/hop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/rate.h"
#include "bridge/registry/profile.h"
#include "memory/pool.h"
#include "protocol/http/http_request.h"
#include "runtime/dispatch/trace.h"
#include "runtime/tracing/export.h"

bool tracing_on;

static uint64_t threshold; /* a random number below it begins a trace */

/* tracing.forcedPerSecond, of everybody whose share of the mailboxes falls into one. */
#define FORCED_BUCKETS 4096u
static rate_bucket forced[FORCED_BUCKETS];
static struct rate forced_rate;
static atomic_ullong unforced;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* both below */
static struct exemplar newest;
static bool any;

/* --- What a request says --- */

struct trace_context *tracing_keep_header(const struct http_request *request)
{
    struct trace_context context, *kept;
    const struct http_header *header = http_request_header(request, SLICE("traceparent"), NULL);
    bool one = header && !http_request_header(request, SLICE("traceparent"), header);
    if (!one || !traceparent_parse(header->value, &context) || !(kept = pool_acquire(POOL_ARRAYS, sizeof *kept)))
        return NULL;
    *kept = context;
    return kept;
}

void tracing_forget_header(struct trace_context *context)
{
    pool_release(POOL_ARRAYS, context, sizeof *context);
}

/* --- The way of an envelope --- */

/* Whether what a sender asks for is within its bound; counted where it is not. */
static bool may_force(uint16_t share)
{
    if (share == 0 || rate_take(&forced[share % FORCED_BUCKETS], &forced_rate, 1, clock_coarse_ns()) == 0)
        return true;
    atomic_fetch_add_explicit(&unforced, 1, memory_order_relaxed);
    return false;
}

static bool ratio_has_it(void)
{
    return threshold != 0 && random_u64() <= threshold;
}

bool hop_samples(const struct trace_context *said, uint16_t share)
{
    return said && said->sampled && (may_force(share) || ratio_has_it());
}

/* What it hangs on. False: it is not traced. */
static bool find_parent(const struct hop_origin *origin, struct trace_context *out)
{
    enum traceparent_found found = TRACEPARENT_NONE;
    if (origin->envelope && envelope_has(origin->envelope, FIELD_TRACE))
        found = traceparent_find(origin->envelope->json[FIELD_TRACE], out);
    if (found == TRACEPARENT_NONE && origin->inherited) {
        *out = *origin->inherited;
        found = TRACEPARENT_READ;
    }
    if (found != TRACEPARENT_NONE)
        return found == TRACEPARENT_READ && hop_samples(out, origin->share);
    if (!ratio_has_it())
        return false;
    span_begin_trace(out);
    return true;
}

static void begin_below(struct hop *hop, const struct trace_context *parent, uint64_t began_ns)
{
    struct span own;
    span_begin(&own, SPAN_RECEIVE, parent); /* of any kind, for its ids */
    hop->context = own.context;
    memcpy(hop->parent, own.parent, sizeof hop->parent);
    hop->began_ns = began_ns;
}

static bool begin(struct hop *hop, const struct hop_origin *origin, uint64_t began_ns)
{
    struct trace_context parent;
    if (!find_parent(origin, &parent))
        return false;
    begin_below(hop, &parent, began_ns);
    return true;
}

void hop_begin_below(struct hop *hop, const struct trace_context *parent)
{
    begin_below(hop, parent, clock_steady_ns());
}

bool hop_begin(struct hop *hop, struct reactor *reactor, const struct hop_origin *origin)
{
    return begin(hop, origin, reactor->pass_start_ns);
}

bool hop_begin_send(struct hop *hop, const struct envelope *envelope, const struct trace_context *cause)
{
    return begin(hop, &(struct hop_origin){.envelope = envelope, .inherited = cause}, clock_steady_ns());
}

bool hop_begin_register(struct hop *hop, struct reactor *reactor, const struct trace_context *said, uint16_t share)
{
    return said && begin(hop, &(struct hop_origin){.inherited = said, .share = share}, reactor->pass_start_ns);
}

/* The first span itself, which ends now. */
static struct span end_of(const struct hop *hop, enum span_kind kind)
{
    struct span span = {.context = hop->context, .kind = (uint8_t)kind};
    memcpy(span.parent, hop->parent, sizeof span.parent);
    span.began_ns = hop->began_ns;
    span.ended_ns = clock_steady_ns();
    return span;
}

static void add_texts(struct span *span, struct envelope *envelope, const struct envelope_defaults *defaults)
{
    static const struct {
        enum span_attribute attribute;
        enum field field;
    } texts[] = {
        {SPAN_MESSAGE_ID, FIELD_ID}, {SPAN_FROM, FIELD_FROM}, {SPAN_TO, FIELD_TO}, {SPAN_INTENT, FIELD_INTENT}};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct slice text = envelope_text(envelope, texts[i].field, defaults);
        if (text.data)
            span_add_text(span, texts[i].attribute, text);
    }
}

void hop_sent(const struct hop *hop, struct reactor *reactor, struct envelope *envelope,
              const struct envelope_defaults *defaults, uint32_t taken)
{
    struct span span = end_of(hop, SPAN_SEND);
    add_texts(&span, envelope, defaults);
    span_add_number(&span, SPAN_RECIPIENTS, taken);
    span_add_number(&span, SPAN_REACTOR, reactor->index);
    span_record(&span);
}

void hop_asked(const struct hop *hop, struct slice agent, enum code code)
{
    struct span span = end_of(hop, SPAN_REQUEST);
    span.failed = code != CODE_OK;
    span_add_text(&span, SPAN_AGENT, agent);
    if (span.failed)
        span_add_text(&span, SPAN_CODE, slice_from_string(code_name(code)));
    span_record(&span);
}

void hop_registered(const struct hop *hop, struct reactor *reactor, struct slice agent, bool accepted)
{
    struct span span = end_of(hop, SPAN_REGISTER);
    span.failed = !accepted;
    span_add_text(&span, SPAN_AGENT, agent);
    span_add_text(&span, SPAN_OUTCOME, accepted ? SLICE("accepted") : SLICE("refused"));
    span_add_number(&span, SPAN_REACTOR, reactor->index);
    span_record(&span);
}

void hop_routed(const struct hop *hop, const struct trace_record *record)
{
    struct span span;
    struct buffer decision = {0};
    span_begin(&span, SPAN_ROUTE, &hop->context);
    span.ended_ns = clock_steady_ns();
    span.began_ns = span.ended_ns - record->took_ns;
    span.failed = record->failed;
    if (record->decision)
        decision_write_outline(&decision, record->decision);
    span_add_number(&span, SPAN_VERSION, record->version);
    span_add_flag(&span, SPAN_WAITED, record->waited);
    span_add_flag(&span, SPAN_CACHED, record->cached);
    span_add_text(&span, SPAN_DECISION, slice_from(decision.data, decision.length));
    buffer_free(&decision);
    span_record(&span);
}

void hop_worked(const struct trace_context *parent, const struct work *work, enum code code)
{
    struct span span;
    span_begin(&span, SPAN_WORK, parent);
    span.began_ns = work->began_ns;
    span.ended_ns = clock_steady_ns();
    span.failed = code != CODE_OK;
    span_add_text(&span, SPAN_OPERATION, slice_from_string(work->operation));
    if (span.failed)
        span_add_text(&span, SPAN_CODE, slice_from_string(code_name(code)));
    span_record(&span);
}

struct frame_trace *hop_frame_trace(const struct hop *hop, bool is_own)
{
    struct frame_trace *trace = pool_acquire(POOL_ARRAYS, sizeof *trace);
    if (trace)
        *trace = (struct frame_trace){
            .context = hop->context, .received_ns = is_own ? 0 : hop->began_ns, .accepted_ns = clock_steady_ns()};
    return trace;
}

void hop_tell_recipients(const struct hop *hop, struct envelope *envelope, char text[TRACE_MEMBER_BYTES])
{
    char error[ERROR_TEXT_BYTES], parent[TRACEPARENT_LENGTH];
    if (envelope_has(envelope, FIELD_TRACE))
        return;
    traceparent_write(parent, &hop->context);
    int length = snprintf(text, TRACE_MEMBER_BYTES, "{\"traceparent\":\"%.*s\"}", TRACEPARENT_LENGTH, parent);
    /* One that cannot take it goes without. */
    (void)envelope_set_json(envelope, FIELD_TRACE, slice_from(text, (size_t)length), error);
}

void hop_drop_empty(struct envelope *envelope)
{
    char error[ERROR_TEXT_BYTES];
    if (slice_equal(envelope->json[FIELD_TRACE], SLICE("{}")))
        (void)envelope_set_json(envelope, FIELD_TRACE, slice_from(NULL, 0), error);
}

void hop_take_back(struct envelope *envelope, const char text[TRACE_MEMBER_BYTES])
{
    char error[ERROR_TEXT_BYTES];
    if (envelope->json[FIELD_TRACE].length > 0 && envelope->json[FIELD_TRACE].data == text)
        (void)envelope_set_json(envelope, FIELD_TRACE, slice_from(NULL, 0), error);
}

void hop_end(const struct hop *hop, struct reactor *reactor, const struct dispatch *dispatch,
             const struct dispatch_result *result)
{
    struct span span = end_of(hop, SPAN_RECEIVE);
    add_texts(&span, dispatch->envelope, dispatch->defaults);
    span.failed = !result->dropped && result->code != CODE_OK;
    span_add_text(&span, SPAN_TRANSPORT, dispatch->is_message ? SLICE("websocket") : SLICE("http"));
    span_add_text(&span, SPAN_OUTCOME,
                  result->dropped ? SLICE("dropped")
                  : span.failed   ? SLICE("refused")
                                  : SLICE("accepted"));
    if (span.failed)
        span_add_text(&span, SPAN_CODE, slice_from_string(code_name(result->code)));
    span_add_number(&span, SPAN_RECIPIENTS, result->taken);
    span_add_number(&span, SPAN_REACTOR, reactor->index);
    span_record(&span);
}

unsigned long long tracing_unforced(void)
{
    return atomic_load_explicit(&unforced, memory_order_relaxed);
}

/* --- The end of it --- */

static void note_exemplar(const struct frame_trace *trace, uint64_t now_ns)
{
    pthread_mutex_lock(&mutex);
    hex_write(newest.trace_id, trace->context.trace_id, TRACE_ID_BYTES);
    newest.seconds = (double)(now_ns - trace->received_ns) / 1e9;
    newest.wall_ms = clock_wall_ms();
    any = true;
    pthread_mutex_unlock(&mutex);
}

bool tracing_read_exemplar(struct exemplar *out)
{
    pthread_mutex_lock(&mutex);
    bool some = any;
    *out = newest;
    pthread_mutex_unlock(&mutex);
    return some;
}

/* The kernel has a frame of this outbox. */
static void frame_written(struct outbox *outbox, const struct frame_trace *trace)
{
    struct endpoint *endpoint = (struct endpoint *)(void *)outbox; /* its first member */
    struct slice agent = endpoint->profile ? endpoint->profile->id : SLICE("");
    struct span span, lay;
    span_begin(&span, SPAN_DELIVER, &trace->context);
    span.began_ns = trace->accepted_ns;
    span.ended_ns = clock_steady_ns();
    span_add_text(&span, SPAN_AGENT, agent);
    if (endpoint->mailbox_ns > trace->accepted_ns) {
        span_begin(&lay, SPAN_MAILBOX, &span.context);
        lay.began_ns = trace->accepted_ns;
        lay.ended_ns = endpoint->mailbox_ns;
        span_add_text(&lay, SPAN_AGENT, agent);
        span_record(&lay);
    } else if (trace->received_ns != 0) {
        note_exemplar(trace, span.ended_ns); /* of the bridge's own latency: how long an agent was away is none */
    }
    span_record(&span);
}

/* --- Life --- */

_Static_assert(offsetof(struct endpoint, outbox) == 0, "frame_written takes the one for the other");

bool tracing_start(const struct config *config, char *error, size_t size)
{
    double ratio = config->tracing.sample_ratio;
    if (!export_start(config, error, size))
        return false;
    if (!config->tracing.endpoint)
        return true;
    threshold = ratio >= 1 ? UINT64_MAX : (uint64_t)(ratio * 0x1p64);
    forced_rate = (struct rate){config->tracing.forced_per_second, config->tracing.forced_per_second};
    any = false;
    outbox_written = frame_written;
    tracing_on = true;
    return true;
}

void tracing_stop(void)
{
    tracing_on = false;
    export_stop();
}
