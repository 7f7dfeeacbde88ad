/* The envelope is read a second time from what was sent, so that neither version sees what the other makes of it. Two
 * decisions are the same when they read the same. */
#include "runtime/reload/trial/shadow.h"

#include <pthread.h>

#include "protocol/json/json_write.h"
#include "protocol/message.h"
#include "runtime/reactor.h"

/* One difference. Texts are JSON, or as Lua would write a decision. */
struct shadow_sample {
    unsigned version;
    int64_t at_ms;
    struct buffer envelope, decided, would_decide;
};

static atomic_ullong compared, different;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static struct shadow_sample samples[SHADOW_SAMPLES];
static unsigned next_sample, sample_count;

/* What the route has made of an envelope: the fields that it assigned. */
static void write_changes(struct buffer *out, const struct envelope *envelope)
{
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        if (!(envelope->borrowed >> field & 1))
            continue;
        buffer_append_slice(out, SLICE("; "));
        buffer_append_slice(out, field_name((enum field)field));
        buffer_append_slice(out, SLICE(" = "));
        buffer_append_slice(out, envelope->json[field].length > 0 ? envelope->json[field] : SLICE("nil"));
    }
}

static void cut(struct buffer *text)
{
    if (text->length > SHADOW_TEXT_BYTES)
        text->length = SHADOW_TEXT_BYTES;
}

static void keep(const struct reactor *reactor, const struct dispatch *dispatch, struct buffer *ours,
                 struct buffer *theirs)
{
    struct buffer envelope = {0};
    buffer_append_slice(&envelope, dispatch->text);
    cut(&envelope);
    cut(ours);
    cut(theirs);
    pthread_mutex_lock(&mutex);
    struct shadow_sample *sample = &samples[next_sample];
    next_sample = (next_sample + 1) % SHADOW_SAMPLES;
    sample_count = sample_count < SHADOW_SAMPLES ? sample_count + 1 : SHADOW_SAMPLES;
    struct shadow_sample before = *sample;
    *sample = (struct shadow_sample){.version = reactor->scripts.trial->version->number,
                                     .at_ms = reactor->lane->wall_ms,
                                     .envelope = envelope,
                                     .decided = *ours,
                                     .would_decide = *theirs};
    pthread_mutex_unlock(&mutex);
    *ours = before.decided;
    *theirs = before.would_decide;
    buffer_free(&before.envelope);
}

void shadow_compare(struct reactor *reactor, const struct dispatch *dispatch, const struct script_sender *sender,
                    const struct decision *decided)
{
    struct script_state *script = reactor->scripts.trial->state;
    struct text_store store = {0};
    struct message message;
    struct buffer ours = {0}, theirs = {0};
    struct decision *would_decide = NULL;
    if (!dispatch_scan(dispatch, reactor->config, &store, &message)) {
        text_store_free(&store);
        return;
    }
    atomic_fetch_add_explicit(&compared, 1, memory_order_relaxed);
    decision_write(&ours, decided);
    write_changes(&ours, dispatch->envelope);
    struct decision_counts *counts = &reactor->scripts.counts[1];
    counter_add(&counts->routed, 1);
    script_shadows(script, true);
    enum script_result routed = script_route(script, &message.envelope, sender, dispatch->defaults, &would_decide);
    script_shadows(script, false);
    switch (routed) {
    case SCRIPT_DECIDED:
        for (unsigned i = 0; i < would_decide->count; i++)
            counter_add(&counts->kinds[would_decide->items[i].kind], 1);
        decision_write(&theirs, would_decide);
        write_changes(&theirs, &message.envelope);
        break;
    case SCRIPT_WAITS:
        script_abandon(script, script_take_wait(script), NULL);
        buffer_append_slice(&theirs, SLICE("(it waits)"));
        break;
    default:
        counter_add(&counts->failed, 1);
        buffer_append_slice(&theirs, SLICE("(it failed)"));
        break;
    }
    if (!slice_equal(slice_from(ours.data, ours.length), slice_from(theirs.data, theirs.length))) {
        atomic_fetch_add_explicit(&different, 1, memory_order_relaxed);
        keep(reactor, dispatch, &ours, &theirs);
    }
    buffer_free(&ours);
    buffer_free(&theirs);
    text_store_free(&store);
}

void shadow_read(uint64_t *of_compared, uint64_t *of_different)
{
    *of_compared = atomic_load_explicit(&compared, memory_order_relaxed);
    *of_different = atomic_load_explicit(&different, memory_order_relaxed);
}

static void write_sample(struct buffer *out, const struct shadow_sample *sample)
{
    char iso[CLOCK_ISO_LENGTH];
    clock_format_iso(sample->at_ms, iso);
    buffer_append_format(out, "{\"version\":%u,\"timestamp\":\"%.*s\",\"envelope\":", sample->version, (int)sizeof iso,
                         iso);
    buffer_append_json_string(out, slice_from(sample->envelope.data, sample->envelope.length));
    buffer_append_slice(out, SLICE(",\"decided\":"));
    buffer_append_json_string(out, slice_from(sample->decided.data, sample->decided.length));
    buffer_append_slice(out, SLICE(",\"wouldDecide\":"));
    buffer_append_json_string(out, slice_from(sample->would_decide.data, sample->would_decide.length));
    buffer_append_slice(out, SLICE("}"));
}

void shadow_write_samples(struct buffer *out)
{
    buffer_append_slice(out, SLICE("["));
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < sample_count; i++) {
        buffer_append_slice(out, slice_from_string(i > 0 ? "," : ""));
        write_sample(out, &samples[(next_sample + SHADOW_SAMPLES - 1 - i) % SHADOW_SAMPLES]);
    }
    pthread_mutex_unlock(&mutex);
    buffer_append_slice(out, SLICE("]"));
}

void shadow_forget(void)
{
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < SHADOW_SAMPLES; i++) {
        buffer_free(&samples[i].envelope);
        buffer_free(&samples[i].decided);
        buffer_free(&samples[i].would_decide);
        samples[i] = (struct shadow_sample){0};
    }
    next_sample = sample_count = 0;
    pthread_mutex_unlock(&mutex);
    atomic_store_explicit(&compared, 0, memory_order_relaxed);
    atomic_store_explicit(&different, 0, memory_order_relaxed);
}
