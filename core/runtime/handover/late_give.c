#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/log.h"
#include "bridge/registry/attachment.h"
#include "runtime/handover/handover.h"
#include "runtime/handover/late.h"

struct answer {
    struct answer *next;
    uint64_t number;
    enum code code;
    struct buffer text;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct answer *first, **last;
    bool ended;
} late = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .last = &late.first};

void late_put_task(struct frame_writer *writer, uint64_t number, const struct profile *asker, struct frame *asked)
{
    channel_begin(writer->channel, HANDOVER_TASK);
    channel_put(writer->channel, number);
    channel_put_bytes(writer->channel, asker->id);
    channel_put(writer->channel, attachment_owner(asker));
    frame_put(writer, asked);
    channel_end(writer->channel);
}

/* Where there is no memory for it, the new process says `overloaded` in the end. */
void late_answer(uint64_t number, enum code code, struct slice text)
{
    struct answer *answer = malloc(sizeof *answer);
    if (!answer)
        return;
    *answer = (struct answer){.number = number, .code = code};
    buffer_append_slice(&answer->text, text);
    if (answer->text.failed) {
        buffer_free(&answer->text);
        free(answer);
        return;
    }
    pthread_mutex_lock(&late.mutex);
    *late.last = answer;
    late.last = &answer->next;
    pthread_cond_signal(&late.changed);
    pthread_mutex_unlock(&late.mutex);
}

/* NULL: that was all. */
static struct answer *next_answer(void)
{
    pthread_mutex_lock(&late.mutex);
    while (!late.first && !late.ended)
        pthread_cond_wait(&late.changed, &late.mutex);
    struct answer *answer = late.first;
    if (answer)
        late.first = answer->next;
    if (!late.first)
        late.last = &late.first;
    pthread_mutex_unlock(&late.mutex);
    return answer;
}

/* Without memory for it nothing of it is sent. */
static bool send_answer(struct channel_writer *channel, const struct answer *answer)
{
    channel_begin(channel, HANDOVER_LATE);
    channel_put(channel, answer->number);
    channel_put(channel, answer->code);
    channel_put_bytes(channel, slice_from(answer->text.data, answer->text.length));
    channel_end(channel);
    bool sent = channel_flush(channel);
    if (channel->out.failed) {
        channel_writer_free(channel);
        *channel = (struct channel_writer){.fd = channel->fd};
    }
    return sent;
}

void late_pass_on(int control)
{
    struct channel_writer channel = {.fd = control};
    struct answer *answer;
    unsigned lost = 0;
    setsockopt(control, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0}, sizeof(struct timeval));
    while ((answer = next_answer())) {
        lost += !send_answer(&channel, answer);
        buffer_free(&answer->text);
        free(answer);
    }
    if (lost > 0)
        log_warn(SERVER, "late_answer_lost", "handover: what %u tasks of agents came to cannot be passed on: %s", lost,
                 channel.failed ? "the new process is gone" : "out of memory");
    channel_writer_free(&channel);
}

void late_end(void)
{
    pthread_mutex_lock(&late.mutex);
    late.ended = true;
    pthread_cond_signal(&late.changed);
    pthread_mutex_unlock(&late.mutex);
}
