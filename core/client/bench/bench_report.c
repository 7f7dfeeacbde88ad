#include "client/bench/bench_report.h"

#include <stdlib.h>

#include "protocol/json/json_write.h"

const char *bench_scenario_name(enum bench_scenario scenario)
{
    static const char *const names[] = {"direct", "open", "broadcast", "idle", "churn", "flood", "http"};
    return names[scenario];
}

struct figure {
    const char *name; /* the JSON key */
    const char *text; /* for people */
    double value;
    int decimals;
    bool known;
};

#define FIGURES 24

static unsigned collect_figures(const struct bench_plan *plan, const struct bench_result *result,
                                struct figure figures[FIGURES])
{
    const struct hdr_histogram *latency = &result->latency;
    bool messages = plan->scenario != BENCH_IDLE, server = result->server_cpu_ns > 0, some = result->delivered > 0;
    bool flood = plan->scenario == BENCH_FLOOD;
    double delivered = (double)result->delivered, cpu_us = (double)result->server_cpu_ns / 1000;
    double grown = (double)result->rss_after - (double)result->server_rss_before;
    unsigned connections = plan->agents + (plan->scenario == BENCH_BROADCAST ? 1 : 0), count = 0;
    const struct figure all[] = {
        {"seconds", "measured, s", result->seconds, 2, true},
        {"delivered", "delivered", delivered, 0, messages},
        {"messagesPerSecond", "messages/s", delivered / result->seconds, 0, messages},
        {"p50us", "latency p50, µs", (double)hdr_histogram_percentile(latency, 0.5) / 1000, 1, messages && some},
        {"p90us", "latency p90, µs", (double)hdr_histogram_percentile(latency, 0.9) / 1000, 1, messages && some},
        {"p95us", "latency p95, µs", (double)hdr_histogram_percentile(latency, 0.95) / 1000, 1, messages && some},
        {"p99us", "latency p99, µs", (double)hdr_histogram_percentile(latency, 0.99) / 1000, 1, messages && some},
        {"p999us", "latency p99.9, µs", (double)hdr_histogram_percentile(latency, 0.999) / 1000, 1, messages && some},
        {"maximumUs", "latency maximum, µs", (double)latency->maximum / 1000, 1, messages && some},
        {"sent", "sent", (double)result->sent, 0, messages},
        {"received", "of those delivered", (double)result->received, 0, messages},
        {"lost", plan->scenario == BENCH_HTTP ? "without an answer" : "lost", (double)result->lost, 0,
         messages && plan->scenario != BENCH_FLOOD},
        {"repeated", "repeated", (double)result->repeated, 0, messages},
        {"reordered", "reordered", (double)result->reordered, 0, messages},
        {"unanswered", "connections that did not answer", (double)result->unanswered, 0, flood},
        {"cutOff", "sent on connections that were closed", (double)result->cut_off, 0, flood},
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

static void write_text_of_http(FILE *out, const struct bench_http_result *http)
{
    const struct hdr_histogram *running = &http->running, *waiting = &http->waiting;
    fprintf(out, "  %14llu  wrong answers\n", (unsigned long long)http->wrong);
    if (running->count > 0)
        fprintf(out, "  %14.1f  work p99, µs\n  %14.1f  waiting p99, µs\n",
                (double)hdr_histogram_percentile(running, 0.99) / 1000,
                (double)hdr_histogram_percentile(waiting, 0.99) / 1000);
    for (unsigned i = 0; i < http->kind_count; i++) {
        const struct bench_kind *kind = &http->kinds[i];
        fprintf(out, "  %14.1f  µs, mean of %llu \"%s\"\n",
                kind->good > 0 ? (double)kind->latency_ns / (double)kind->good / 1000 : 0,
                (unsigned long long)kind->good, kind->name);
    }
}

static void write_text_of_codes(FILE *out, const struct tally *codes)
{
    for (unsigned i = 0; i < codes->count; i++)
        fprintf(out, "  %14llu  refused: %s\n", (unsigned long long)codes->codes[i].count, codes->codes[i].name);
}

static const char *const protocol_titles[] = {"WebSocket", "MessagePack", "NATS"};

void bench_report_text(FILE *out, const struct bench_plan *plan, const struct bench_result *result,
                       const struct bench_http_result *http)
{
    struct figure figures[FIGURES];
    unsigned count = collect_figures(plan, result, figures);
    fprintf(out, "%s, %s, %u %s", bench_scenario_name(plan->scenario), http ? "HTTP" : protocol_titles[plan->protocol],
            plan->agents, http ? "connections" : "agents");
    if (plan->scenario != BENCH_IDLE && !http)
        fprintf(out, ", %u bytes", plan->size);
    if (plan->scenario == BENCH_DIRECT || plan->scenario == BENCH_BROADCAST)
        fprintf(out, ", window %u", plan->window);
    if (plan->rate > 0)
        fprintf(out, ", %.12g a second", plan->rate);
    fprintf(out, "\n");
    for (unsigned i = 0; i < count; i++)
        if (figures[i].known)
            fprintf(out, "  %14.*f  %s\n", figures[i].decimals, figures[i].value, figures[i].text);
    write_text_of_codes(out, &result->codes);
    if (http)
        write_text_of_http(out, http);
}

static void write_string(FILE *out, const char *text)
{
    struct slice string = slice_from_string(text);
    char *written = malloc(json_string_length(string));
    if (!written) {
        fprintf(out, "null");
        return;
    }
    size_t length = (size_t)(json_write_string(written, string) - written);
    fwrite(written, 1, length, out);
    free(written);
}

static void write_string_or_null(FILE *out, const char *text)
{
    if (*text)
        write_string(out, text);
    else
        fprintf(out, "null");
}

static void write_histogram(FILE *out, const char *name, const struct hdr_histogram *histogram)
{
    static const struct {
        const char *name;
        double share;
    } percentiles[] = {{"p50us", 0.5}, {"p95us", 0.95}, {"p99us", 0.99}, {"p999us", 0.999}};
    fprintf(out, ",\"%s\":{\"count\":%llu,\"maximumUs\":%.1f", name, (unsigned long long)histogram->count,
            (double)histogram->maximum / 1000);
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        fprintf(out, ",\"%s\":%.1f", percentiles[i].name,
                (double)hdr_histogram_percentile(histogram, percentiles[i].share) / 1000);
    fprintf(out, "}");
}

static void write_json_of_http(FILE *out, const struct bench_http_result *http)
{
    fprintf(out, ",\"good\":%llu,\"wrong\":%llu,\"firstWrong\":", (unsigned long long)http->good,
            (unsigned long long)http->wrong);
    write_string_or_null(out, http->first_wrong);
    write_histogram(out, "running", &http->running);
    write_histogram(out, "waiting", &http->waiting);
    fprintf(out, ",\"kinds\":{");
    for (unsigned i = 0; i < http->kind_count; i++) {
        const struct bench_kind *kind = &http->kinds[i];
        fprintf(out, "%s", i > 0 ? "," : "");
        write_string(out, kind->name);
        fprintf(out, ":{\"good\":%llu,\"wrong\":%llu,\"refused\":%llu,\"meanUs\":%.1f}", (unsigned long long)kind->good,
                (unsigned long long)kind->wrong, (unsigned long long)kind->refused,
                kind->good > 0 ? (double)kind->latency_ns / (double)kind->good / 1000 : 0);
    }
    fprintf(out, "}");
}

void bench_report_json(FILE *out, const struct bench_plan *plan, const struct bench_result *result,
                       const struct bench_http_result *http)
{
    struct figure figures[FIGURES];
    unsigned count = collect_figures(plan, result, figures);
    fprintf(out, "{\"scenario\":\"%s\",\"protocol\":\"%s\",\"agents\":%u,\"size\":%u,\"window\":%u,\"rate\":%.12g",
            bench_scenario_name(plan->scenario), http ? "http" : wire_protocol_name(plan->protocol), plan->agents,
            plan->size, plan->window, plan->rate);
    for (unsigned i = 0; i < count; i++) {
        if (figures[i].known)
            fprintf(out, ",\"%s\":%.*f", figures[i].name, figures[i].decimals, figures[i].value);
        else
            fprintf(out, ",\"%s\":null", figures[i].name);
    }
    fprintf(out, ",\"refused\":%llu,\"disconnected\":%llu,\"refusedBy\":{", (unsigned long long)result->refused,
            (unsigned long long)result->disconnected);
    for (unsigned i = 0; i < result->codes.count; i++)
        fprintf(out, "%s\"%s\":%llu", i > 0 ? "," : "", result->codes.codes[i].name,
                (unsigned long long)result->codes.codes[i].count);
    fprintf(out, "},\"firstRefusal\":");
    write_string_or_null(out, result->first_refusal);
    if (http)
        write_json_of_http(out, http);
    fprintf(out, "}\n");
}
