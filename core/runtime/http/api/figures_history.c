#include "runtime/http/api/figures_history.h"

#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;      /* both below; held for the copy of a sample */
static struct figures_sample samples[FIGURES_HISTORY_SECONDS]; /* by number, again and again */
static uint64_t taken;                                         /* the next one's number */

const struct slice figures_history_columns = SLICE(
    "[\"time\",\"accepted\",\"delivered\",\"refused\",\"bytesIn\",\"bytesOut\",\"tasksCompleted\",\"collections\","
    "\"memory\",\"luaHeaps\",\"agents\",\"connections\",\"queued\",\"currentWorkers\",\"busyWorkers\","
    "\"forecastWorkers\",\"queuedTasks\",\"p50\",\"p90\",\"p99\"]");

static uint64_t oldest(void)
{
    return taken > FIGURES_HISTORY_SECONDS ? taken - FIGURES_HISTORY_SECONDS : 0;
}

void figures_history_add(const struct figures_sample *sample)
{
    pthread_mutex_lock(&mutex);
    samples[taken++ % FIGURES_HISTORY_SECONDS] = *sample;
    pthread_mutex_unlock(&mutex);
}

bool figures_history_last(struct figures_sample *sample)
{
    pthread_mutex_lock(&mutex);
    bool any = taken > 0;
    if (any)
        *sample = samples[(taken - 1) % FIGURES_HISTORY_SECONDS];
    pthread_mutex_unlock(&mutex);
    return any;
}

void figures_history_range(uint64_t *first, uint64_t *end)
{
    pthread_mutex_lock(&mutex);
    *first = oldest();
    *end = taken;
    pthread_mutex_unlock(&mutex);
}

static bool read_sample(uint64_t number, struct figures_sample *sample)
{
    pthread_mutex_lock(&mutex);
    bool there = number >= oldest() && number < taken;
    if (there)
        *sample = samples[number % FIGURES_HISTORY_SECONDS];
    pthread_mutex_unlock(&mutex);
    return there;
}

static void append_sample(struct buffer *out, const struct figures_sample *sample)
{
    const unsigned long long whole[] = {
        sample->accepted,  sample->delivered,       sample->refused,          sample->bytes_in,
        sample->bytes_out, sample->tasks_completed, sample->collections,      sample->memory,
        sample->heaps,     sample->agents,          sample->connections,      sample->queued,
        sample->workers,   sample->busy_workers,    sample->forecast_workers, sample->queued_tasks};
    buffer_append_format(out, "[%lld", (long long)sample->wall_ms);
    for (unsigned i = 0; i < sizeof whole / sizeof *whole; i++)
        buffer_append_format(out, ",%llu", whole[i]);
    if (sample->latency_count > 0)
        buffer_append_format(out, ",%.6g,%.6g,%.6g]", sample->p50, sample->p90, sample->p99);
    else
        buffer_append_slice(out, SLICE(",null,null,null]"));
}

uint64_t figures_history_append(struct buffer *out, uint64_t number, unsigned most, bool first)
{
    struct figures_sample sample;
    for (uint64_t end = number + most; number < end; number++) {
        if (!read_sample(number, &sample))
            continue;
        if (!first)
            buffer_append_slice(out, SLICE(","));
        first = false;
        append_sample(out, &sample);
    }
    return number;
}
