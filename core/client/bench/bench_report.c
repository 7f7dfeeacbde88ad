#include "client/bench/bench_report.h"

#include <stdlib.h>

#include "protocol/json/json_write.h"

const char *bench_scenario_name(enum bench_scenario scenario)
{
    static const char *const names[] = {"direct", "open", "broadcast", "idle", "churn"};
    return names[scenario];
}

struct figure {
    const char *name; /* the JSON key */
    const char *text; /* for people */
    double value;
    int decimals;
    bool known;
};

#define FIGURES 16

static unsigned collect_figures(const struct bench_plan *plan, const struct bench_result *result,
                                struct figure figures[FIGURES])
{
    const struct histogram *latency = &result->latency;
    bool messages = plan->scenario != BENCH_IDLE, server = plan->server != 0, some = result->delivered > 0;
    double delivered = (double)result->delivered, cpu_us = (double)result->server_cpu_ns / 1000;
    double grown = (double)result->rss_after - (double)result->server_rss_before;
    unsigned connections = plan->agents + (plan->scenario == BENCH_BROADCAST ? 1 : 0), count = 0;
    const struct figure all[] = {
        {"seconds", "measured, s", result->seconds, 2, true},
        {"delivered", "delivered", delivered, 0, messages},
        {"messagesPerSecond", "messages/s", delivered / result->seconds, 0, messages},
        {"p50us", "latency p50, µs", (double)histogram_percentile(latency, 0.5) / 1000, 1, messages && some},
        {"p90us", "latency p90, µs", (double)histogram_percentile(latency, 0.9) / 1000, 1, messages && some},
        {"p99us", "latency p99, µs", (double)histogram_percentile(latency, 0.99) / 1000, 1, messages && some},
        {"p999us", "latency p99.9, µs", (double)histogram_percentile(latency, 0.999) / 1000, 1, messages && some},
        {"maximumUs", "latency maximum, µs", (double)latency->maximum / 1000, 1, messages && some},
        {"lost", "lost", (double)result->lost, 0, messages},
        {"repeated", "repeated", (double)result->repeated, 0, messages},
        {"reordered", "reordered", (double)result->reordered, 0, messages},
        {"serverCpuUsPerMessage", "server CPU, µs/message", some ? cpu_us / delivered : 0, 3,
         messages && server && some},
        {"serverCpu", "server CPU, cores", cpu_us / 1e6 / result->seconds, 3, server},
        {"serverRss", "server RSS, bytes", (double)result->rss_after, 0, server},
        {"rssPerAgent", "server RSS grown, bytes/agent", grown / connections, 0, server},
        {"generatorCpu", "generator CPU, cores", result->generator_cpu, 3, true},
    };
    for (; count < sizeof all / sizeof *all; count++)
        figures[count] = all[count];
    return count;
}

void bench_report_text(FILE *out, const struct bench_plan *plan, const struct bench_result *result)
{
    struct figure figures[FIGURES];
    unsigned count = collect_figures(plan, result, figures);
    fprintf(out, "%s, %s, %u agents", bench_scenario_name(plan->scenario),
            plan->protocol == WIRE_NATS ? "NATS" : "WebSocket", plan->agents);
    if (plan->scenario != BENCH_IDLE)
        fprintf(out, ", %u bytes", plan->size);
    if (plan->scenario == BENCH_DIRECT || plan->scenario == BENCH_BROADCAST)
        fprintf(out, ", window %u", plan->window);
    if (plan->scenario == BENCH_OPEN)
        fprintf(out, ", %.0f messages/s", plan->rate);
    fprintf(out, "\n");
    for (unsigned i = 0; i < count; i++)
        if (figures[i].known)
            fprintf(out, "  %14.*f  %s\n", figures[i].decimals, figures[i].value, figures[i].text);
}

static void write_refusal(FILE *out, const char *text)
{
    struct slice refusal = slice_from_string(text);
    char *written = malloc(json_string_length(refusal));
    if (!written) {
        fprintf(out, "null");
        return;
    }
    size_t length = (size_t)(json_write_string(written, refusal) - written);
    fwrite(written, 1, length, out);
    free(written);
}

void bench_report_json(FILE *out, const struct bench_plan *plan, const struct bench_result *result)
{
    struct figure figures[FIGURES];
    unsigned count = collect_figures(plan, result, figures);
    fprintf(out, "{\"scenario\":\"%s\",\"protocol\":\"%s\",\"agents\":%u,\"size\":%u,\"window\":%u,\"rate\":%.12g",
            bench_scenario_name(plan->scenario), plan->protocol == WIRE_NATS ? "nats" : "websocket", plan->agents,
            plan->size, plan->window, plan->rate);
    for (unsigned i = 0; i < count; i++) {
        if (figures[i].known)
            fprintf(out, ",\"%s\":%.*f", figures[i].name, figures[i].decimals, figures[i].value);
        else
            fprintf(out, ",\"%s\":null", figures[i].name);
    }
    fprintf(out, ",\"refused\":%llu,\"disconnected\":%llu,\"firstRefusal\":", (unsigned long long)result->refused,
            (unsigned long long)result->disconnected);
    if (result->refused > 0)
        write_refusal(out, result->first_refusal);
    else
        fprintf(out, "null");
    fprintf(out, "}\n");
}
