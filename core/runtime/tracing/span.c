/* A ring of spans of fixed size. The exporter reads the oldest without the lock: they are not overwritten until it says
 * that it has them, because a full ring takes nothing. */
#include "runtime/tracing/span.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* all below */
static pthread_cond_t changed;
static struct span *ring;
static uint32_t room, first, used, wanted;
static bool closed;
static struct span_figures figures;

/* --- One --- */

void span_begin_trace(struct trace_context *out)
{
    do
        random_bytes(out->trace_id, sizeof out->trace_id);
    while (out->trace_id[0] == 0); /* far from all zero */
    memset(out->span_id, 0, sizeof out->span_id);
    out->sampled = true;
}

void span_begin(struct span *span, enum span_kind kind, const struct trace_context *parent)
{
    span->context = *parent;
    memcpy(span->parent, parent->span_id, sizeof span->parent);
    do
        random_bytes(span->context.span_id, sizeof span->context.span_id);
    while (span->context.span_id[0] == 0);
    span->kind = (uint8_t)kind;
    span->failed = false;
    span->length = 0;
}

/* An attribute is: which, its type, the length, and so many bytes. */
#define HEAD_BYTES 4

static void add(struct span *span, enum span_attribute attribute, unsigned type, const void *data, size_t length)
{
    if (span->length + HEAD_BYTES + length > SPAN_ROOM)
        return;
    char *at = span->attributes + span->length;
    at[0] = (char)attribute;
    at[1] = (char)type;
    at[2] = (char)(length >> 8);
    at[3] = (char)length;
    memcpy(at + HEAD_BYTES, data, length);
    span->length = (uint16_t)(span->length + HEAD_BYTES + length);
}

void span_add_text(struct span *span, enum span_attribute attribute, struct slice text)
{
    size_t length = text.length;
    if (length > SPAN_TEXT_BYTES) {
        length = SPAN_TEXT_BYTES;
        while (length > 0 && ((unsigned char)text.data[length] & 0xc0) == 0x80) /* not in the middle of a character */
            length--;
    }
    if (length > 0)
        add(span, attribute, SPAN_TEXT, text.data, length);
}

void span_add_number(struct span *span, enum span_attribute attribute, int64_t number)
{
    add(span, attribute, SPAN_NUMBER, &number, sizeof number);
}

void span_add_flag(struct span *span, enum span_attribute attribute, bool flag)
{
    int64_t number = flag;
    add(span, attribute, SPAN_FLAG, &number, sizeof number);
}

bool span_next_attribute(const struct span *span, uint16_t *at, struct span_value *out)
{
    if (*at >= span->length)
        return false;
    const unsigned char *head = (const unsigned char *)span->attributes + *at;
    size_t length = (size_t)head[2] << 8 | head[3];
    *out = (struct span_value){.attribute = head[0]};
    out->type = head[1];
    out->text = slice_from((const char *)head + HEAD_BYTES, length);
    if (out->type != SPAN_TEXT)
        memcpy(&out->number, head + HEAD_BYTES, sizeof out->number);
    *at = (uint16_t)(*at + HEAD_BYTES + length);
    return true;
}

const char *span_attribute_name(enum span_attribute attribute)
{
#define X(name, text) [SPAN_##name] = text,
    static const char *const names[] = {SPAN_ATTRIBUTES(X)};
#undef X
    return names[attribute];
}

/* --- The queue --- */

bool spans_start(uint32_t places)
{
    static bool made;
    if (!made) {
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        made = pthread_cond_init(&changed, &attributes) == 0;
        pthread_condattr_destroy(&attributes);
    }
    ring = made ? malloc(places * sizeof *ring) : NULL;
    room = ring ? places : 0;
    first = used = 0;
    closed = false;
    figures = (struct span_figures){0};
    return ring != NULL;
}

void spans_stop(void)
{
    free(ring);
    ring = NULL;
    room = used = 0;
}

void span_record(const struct span *span)
{
    pthread_mutex_lock(&mutex);
    if (used == room || closed) {
        figures.dropped++;
    } else {
        ring[(first + used) % room] = *span;
        used++;
        figures.recorded++;
        if (used == 1 || used == wanted) /* its time begins, or it is enough */
            pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&mutex);
}

uint32_t spans_wait(uint32_t batch, uint32_t interval_ms)
{
    struct timespec until;
    pthread_mutex_lock(&mutex);
    wanted = batch < room ? batch : room;
    while (used == 0 && !closed)
        pthread_cond_wait(&changed, &mutex);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += interval_ms / 1000;
    until.tv_nsec += (long)(interval_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (used < wanted && !closed)
        if (pthread_cond_timedwait(&changed, &mutex, &until) == ETIMEDOUT)
            break;
    uint32_t count = used < batch ? used : batch;
    pthread_mutex_unlock(&mutex);
    return count;
}

const struct span *spans_at(uint32_t index)
{
    return &ring[(first + index) % room]; /* `first` is the exporter's own */
}

void spans_take(uint32_t count)
{
    pthread_mutex_lock(&mutex);
    first = (first + count) % room;
    used -= count;
    pthread_mutex_unlock(&mutex);
}

void spans_close(void)
{
    pthread_mutex_lock(&mutex);
    closed = true;
    if (ring)
        pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

void spans_read_figures(struct span_figures *out)
{
    pthread_mutex_lock(&mutex);
    *out = figures;
    pthread_mutex_unlock(&mutex);
}
