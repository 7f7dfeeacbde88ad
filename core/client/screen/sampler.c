#include "client/screen/sampler.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/threads/thread.h"
#include "base/threads/wake.h"
#include "client/agent/view.h"
#include "client/screen/units.h"
#include "protocol/json/json.h"

#define TIMEOUT_MS 10000
#define LEAVE_MS 200 /* a look at a bridge nearby is over by then */

/* /agents and /alerts count to the bridge's http.rateMax, by default 120 a minute: these leave two thirds of it. The
 * list of agents may be long: the bridge is not kept at it for more than a tenth of the time. */
#define AGENTS_NS 2000000000ull
#define AGENTS_SHARE 10
#define ALERTS_NS 10000000000ull

struct sampler {
    const struct target *target;
    uint64_t interval_ns, agents_due, alerts_due;
    struct wake done; /* a look */
    pthread_t thread;
    pthread_mutex_t mutex; /* of sight, and of stop */
    pthread_cond_t wake;
    bool stop;
    struct sight sight;
};

/* The newest of those that are active; how many those are. */
static unsigned read_alerts(struct slice list, char newest[256])
{
    struct slice alert;
    unsigned count = 0;
    double since = 0;
    newest[0] = '\0';
    if (json_kind(list) != JSON_ARRAY)
        return 0;
    while (json_next_element(&list, &alert)) {
        if (json_kind(view_at(alert, "active")) != JSON_TRUE)
            continue;
        int64_t when = 0;
        units_read_time(view_at(alert, "since"), &when);
        if (count++ > 0 && (double)when < since)
            continue;
        struct buffer text = {0};
        since = (double)when;
        view_append_value(&text, view_at(alert, "name"));
        buffer_append_slice(&text, SLICE(": "));
        view_append_value(&text, view_at(alert, "text"));
        snprintf(newest, 256, "%.*s", text.length < 255 ? (int)text.length : 255, text.data ? text.data : "");
        buffer_free(&text);
    }
    return count;
}

static void add_sample(struct sight *sight, const struct figures *now)
{
    const struct figures *before = &sight->figures;
    double seconds = sight->seen ? (double)(now->read_ns - before->read_ns) / 1e9 : 0;
    bool same = seconds > 0 && now->accepted >= before->accepted && now->uptime >= before->uptime; /* not restarted */
    struct sample sample = {same ? (now->accepted - before->accepted) / seconds : now->per_second, now->p99,
                            now->memory_used};
    sight->delivered_per_second = same ? (now->delivered - before->delivered) / seconds : 0;
    sight->received_per_second = same ? (now->bytes_in - before->bytes_in) / seconds : 0;
    sight->sent_per_second = same ? (now->bytes_out - before->bytes_out) / seconds : 0;
    if (sight->sample_count == SAMPLE_COUNT) {
        memmove(sight->samples, sight->samples + 1, sizeof sight->samples - sizeof *sight->samples);
        sight->sample_count--;
    }
    sight->samples[sight->sample_count++] = sample;
}

static void look_at_agents(struct sampler *sampler)
{
    struct sight *sight = &sampler->sight;
    struct buffer answer = {0};
    struct senders senders = {0};
    char problem[ASK_PROBLEM_SIZE];
    uint64_t began = clock_steady_ns();
    bool good = ask_quietly(sampler->target, "/agents", TIMEOUT_MS, &answer, NULL, problem);
    uint64_t now = clock_steady_ns();
    if (good) {
        struct slice text = slice_from(answer.data, answer.length);
        good = json_validate(text, JSON_DEPTH_MAXIMUM, NULL) == CODE_OK &&
               senders_read(text, sight->senders.entries ? &sight->senders : NULL, now, &senders);
        snprintf(problem, sizeof problem, "the list of agents could not be read");
    }
    buffer_free(&answer);
    uint64_t pause = good ? AGENTS_SHARE * (now - began) : ALERTS_NS;
    sampler->agents_due = began + (pause > AGENTS_NS ? pause : AGENTS_NS);
    pthread_mutex_lock(&sampler->mutex);
    snprintf(sight->agents_problem, sizeof sight->agents_problem, "%s", good ? "" : problem);
    if (good) {
        senders_free(&sight->senders);
        sight->senders = senders;
    }
    pthread_mutex_unlock(&sampler->mutex);
}

static void look(struct sampler *sampler)
{
    struct sight *sight = &sampler->sight;
    struct figures figures;
    char problem[ASK_PROBLEM_SIZE], alert[sizeof sight->alert] = "";
    uint64_t now = clock_steady_ns();
    bool with_alerts = now >= sampler->alerts_due;
    bool good = figures_read(sampler->target, with_alerts, &figures, problem);
    unsigned alerts = good && figures.alerts_seen ? read_alerts(figures.alert_list, alert) : 0;
    if (good && with_alerts)
        sampler->alerts_due = now + ALERTS_NS;
    pthread_mutex_lock(&sampler->mutex);
    snprintf(sight->problem, sizeof sight->problem, "%s", good ? "" : problem);
    if (good) {
        add_sample(sight, &figures);
        if (with_alerts) {
            sight->alerts_known = figures.alerts_seen;
            sight->alert_count = alerts;
            memcpy(sight->alert, alert, sizeof alert);
        }
        figures_free(&sight->figures);
        sight->figures = figures;
        sight->seen = true;
    }
    pthread_mutex_unlock(&sampler->mutex);
    if (good && clock_steady_ns() >= sampler->agents_due)
        look_at_agents(sampler);
    wake_call(sampler->done.caller);
}

static bool pause_until(struct sampler *sampler, uint64_t due)
{
    struct timespec when = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
    pthread_mutex_lock(&sampler->mutex);
    while (!sampler->stop && clock_steady_ns() < due)
        pthread_cond_timedwait(&sampler->wake, &sampler->mutex, &when);
    bool more = !sampler->stop;
    pthread_mutex_unlock(&sampler->mutex);
    return more;
}

static void *run(void *context)
{
    struct sampler *sampler = context;
    uint64_t due = clock_steady_ns();
    do {
        look(sampler);
        due += sampler->interval_ns;
        if (due < clock_steady_ns()) /* the bridge takes longer than that: no looks are made up for */
            due = clock_steady_ns();
    } while (pause_until(sampler, due));
    return NULL;
}

struct sampler *sampler_start(const struct target *target, double interval_s)
{
    struct sampler *sampler = calloc(1, sizeof *sampler);
    pthread_condattr_t attributes;
    sigset_t all, before;
    if (!sampler)
        return NULL;
    sampler->target = target;
    sampler->interval_ns = (uint64_t)(interval_s * 1e9);
    pthread_mutex_init(&sampler->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&sampler->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&all); /* signals are for the thread that draws */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool good = wake_open(&sampler->done) && pthread_create(&sampler->thread, NULL, run, sampler) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (good)
        return sampler;
    wake_close(&sampler->done);
    free(sampler);
    return NULL;
}

int sampler_descriptor(const struct sampler *sampler)
{
    return sampler->done.fd;
}

const struct sight *sampler_lock(struct sampler *sampler)
{
    wake_take(&sampler->done); /* nothing, mostly */
    pthread_mutex_lock(&sampler->mutex);
    return &sampler->sight;
}

void sampler_unlock(struct sampler *sampler)
{
    pthread_mutex_unlock(&sampler->mutex);
}

void sampler_leave(struct sampler *sampler)
{
    pthread_mutex_lock(&sampler->mutex);
    sampler->stop = true;
    pthread_cond_signal(&sampler->wake);
    pthread_mutex_unlock(&sampler->mutex);
    if (!thread_join_within(sampler->thread, LEAVE_MS))
        return;
    figures_free(&sampler->sight.figures);
    senders_free(&sampler->sight.senders);
    wake_close(&sampler->done);
    pthread_mutex_destroy(&sampler->mutex);
    pthread_cond_destroy(&sampler->wake);
    free(sampler);
}
