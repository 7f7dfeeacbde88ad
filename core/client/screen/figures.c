#include "client/screen/figures.h"

#include <stdio.h>

#include "base/clock.h"
#include "client/agent/view.h"
#include "protocol/json/json.h"

#define TIMEOUT_MS 10000

static bool is_object(struct slice answer)
{
    return json_validate(answer, JSON_DEPTH_MAXIMUM, NULL) == CODE_OK && json_kind(answer) == JSON_OBJECT;
}

static struct slice whole(const struct buffer *answer)
{
    return slice_from(answer->data, answer->length);
}

static double sum_of(struct slice object)
{
    struct slice key, value;
    double sum = 0;
    if (json_kind(object) != JSON_OBJECT)
        return 0;
    while (json_next_member(&object, &key, &value))
        sum += view_number(value, "", 0);
    return sum;
}

static void take_metrics(struct figures *figures, struct slice metrics)
{
    figures->accepted = view_number(metrics, "messages.accepted", 0);
    figures->delivered = view_number(metrics, "messages.delivered", 0);
    figures->per_second = view_number(metrics, "messages.perSecond", 0);
    figures->errors = view_number(metrics, "messages.errors", 0);
    figures->refused = sum_of(view_at(metrics, "messages.refused"));
    figures->bytes_in = view_number(metrics, "messages.bytesIn", 0);
    figures->bytes_out = view_number(metrics, "messages.bytesOut", 0);
    figures->queued = view_number(metrics, "messages.queued", 0);
    figures->latency_count = view_number(metrics, "latency.count", 0);
    figures->p50 = view_number(metrics, "latency.p50", 0);
    figures->p90 = view_number(metrics, "latency.p90", 0);
    figures->p99 = view_number(metrics, "latency.p99", 0);
    figures->p999 = view_number(metrics, "latency.p999", 0);
    struct slice memory = view_at(metrics, "memoryOptimization.memoryPressure");
    figures->memory_level = view_at(memory, "level");
    figures->memory_used = view_number(memory, "used", 0);
    figures->memory_budget = view_number(memory, "budget", 0);
    figures->seconds_to_threshold = view_number(memory, "predictedSecondsToThreshold", -1);
    struct slice workers = view_at(metrics, "cpuOptimization.workerPool");
    figures->workers = view_number(workers, "currentWorkers", 0);
    figures->workers_busy = view_number(workers, "busyWorkers", 0);
    figures->tasks_waiting = view_number(workers, "queuedTasks", 0);
    figures->tasks_done = view_number(workers, "tasksCompleted", 0);
    figures->degraded = view_at(metrics, "degraded");
}

static void take_health(struct figures *figures, struct slice health)
{
    figures->version = view_at(health, "version");
    figures->environment = view_at(health, "environment");
    figures->enhanced = view_at(health, "metrics").length > 0;
    figures->uptime = view_number(health, "uptime", 0);
    figures->agents = view_number(health, "connectedClients", 0);
    figures->history = view_number(health, "historySize", 0);
    figures->script_version = view_number(health, "scriptVersion.number", 0);
    figures->script_hash = view_at(health, "scriptVersion.hash");
}

static bool ask_all(const struct target *target, bool with_alerts, struct figures *figures,
                    char problem[ASK_PROBLEM_SIZE])
{
    unsigned ready, alerts = 200;
    if (!ask_quietly(target, "/health", TIMEOUT_MS, &figures->health, NULL, problem) ||
        !ask_quietly(target, "/metrics", TIMEOUT_MS, &figures->metrics, NULL, problem) ||
        !ask_quietly(target, "/ready", TIMEOUT_MS, &figures->ready_answer, &ready, problem) ||
        (with_alerts && !ask_quietly(target, "/alerts", TIMEOUT_MS, &figures->alerts, &alerts, problem)))
        return false;
    snprintf(problem, ASK_PROBLEM_SIZE, "what answered is no bridge, or there was not enough memory for it");
    figures->ready = ready == 200;
    figures->alerts_seen = with_alerts && alerts == 200;
    return is_object(whole(&figures->health)) && is_object(whole(&figures->metrics)) &&
           is_object(whole(&figures->ready_answer)) && (!with_alerts || is_object(whole(&figures->alerts)));
}

bool figures_read(const struct target *target, bool with_alerts, struct figures *figures,
                  char problem[ASK_PROBLEM_SIZE])
{
    *figures = (struct figures){0};
    if (!ask_all(target, with_alerts, figures, problem)) {
        figures_free(figures);
        return false;
    }
    figures->read_ns = clock_steady_ns();
    take_health(figures, whole(&figures->health));
    take_metrics(figures, whole(&figures->metrics));
    if (!figures->ready)
        figures->not_ready = view_at(whole(&figures->ready_answer), "error");
    if (figures->alerts_seen)
        figures->alert_list = view_at(whole(&figures->alerts), "alerts");
    else if (with_alerts)
        figures->alerts_refused = view_at(whole(&figures->alerts), "error");
    return true;
}

void figures_free(struct figures *figures)
{
    buffer_free(&figures->health);
    buffer_free(&figures->ready_answer);
    buffer_free(&figures->metrics);
    buffer_free(&figures->alerts);
}
