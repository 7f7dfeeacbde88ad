/* `luaduct bench`: reads what to run, runs it, says what it found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/arguments/target.h"
#include "client/bench/bench_http.h"
#include "client/bench/bench_load.h"
#include "client/bench/bench_report.h"
#include "client/commands.h"

static const char help[] =
    "usage: luaduct bench SCENARIO [OPTION]…\n"
    "Loads a bridge (or a server that does the same job) and reports what it delivered and what it cost.\n"
    "\n"
    "Scenarios\n"
    "  direct       agents in pairs, each keeps --window messages on the way to the other\n"
    "  open         --rate messages a second in all; latency counts from when each should have been sent\n"
    "  broadcast    one agent keeps --window broadcasts on the way to --agents others\n"
    "  idle         --agents register and do nothing: the server's memory for each\n"
    "  churn        --agents over and over connect, register, send themselves one message and close\n"
    "  flood        agents in pairs send what the server takes, up to --rate and --bytes, and count what it refuses\n"
    "  http         requests over --agents keep-alive connections, as fast as they are answered or --rate a second\n"
    "\n"
    "Options\n"
    "  --agents N        agents; standard 1000, of broadcast 200, of idle 10000, of churn 16, of flood\n"
    "                    and http 8\n"
    "  --window N        messages on the way from each sender; standard 16\n"
    "  --size BYTES      of a message's JSON; standard 256\n"
    "  --rate N          messages or requests a second; standard of open 40000, of flood and http no bound\n"
    "  --ring            each agent sends to the next one, not in pairs\n"
    "  --one-way         of each pair only the first sends\n"
    "  --intent I        of the messages; standard bench.message\n"
    "  --depth N         fills the messages with arrays nested so deep that the JSON has N levels\n"
    "  --numbers         fills the messages with an array of numbers of 16 digits\n"
    "  --absent N        flood only: sends to N agents that never connect\n"
    "  --pause S         flood only: receivers read for S seconds, then do not for S seconds, and so on\n"
    "  --bytes N         flood only: of messages in all, then it ends\n"
    "  --path P          http only: what is asked for; standard /\n"
    "  --bodies FILE     http only: posts these, in turn: lines of a name, the JSON that `result` in the answer must\n"
    "                    be (or nothing) and the body, with tabs between\n"
    "  --requests N      http only: in all, then it ends\n"
    "  --timeout S       http only: for an answer; standard 10\n"
    "  --seconds S       measured time; standard 5\n"
    "  --warmup S        before it; standard 1\n"
    "  --url URL         where; standard AI_BRIDGE_URL, else ws://127.0.0.1:4567\n"
    "  --protocol P      websocket (the bridge's JSON), msgpack (the same as MessagePack) or nats (nats-server's text\n"
    "                    protocol, same payload bytes)\n"
    "  --binary          the same as --protocol msgpack\n"
    "  --token-file F    the credential is the file's first line; standard AI_BRIDGE_AUTH_TOKEN\n" TARGET_TLS_HELP
    "  --server-pid PID  report this process's CPU time per delivered message and its memory; given several times,\n"
    "                    as for a proxy in front, they are added\n"
    "  --progress S      every S seconds a line of JSON on standard error: totals, and percentiles since the last "
    "line\n"
    "  --json            one JSON object instead of a table\n"
    "\n"
    "The generator is one thread; give it and the server a core each (taskset), and look at \"generator CPU\": near 1\n"
    "it is the generator that limits. In a message, a mask key is used that is drawn once a run.\n"
    "SIGINT ends the measuring early, and what was found is reported.\n"
    "Exit status: 0; 1 when the run failed or anything was lost, repeated, reordered, refused, cut off or answered\n"
    "wrong (a flood may be refused); 2 wrong usage.\n";

#define PID_MAX_LIMIT (1 << 22) /* the kernel's */

static const unsigned standard_agents[] = {1000, 1000, 200, 10000, 16, 8, 8};

static bool find_scenario(const char *name, enum bench_scenario *scenario)
{
    for (unsigned i = BENCH_DIRECT; i <= BENCH_HTTP; i++) {
        if (strcmp(name, bench_scenario_name((enum bench_scenario)i)) == 0) {
            *scenario = (enum bench_scenario)i;
            return true;
        }
    }
    return false;
}

static bool find_protocol(const char *name, enum wire_protocol *protocol)
{
    for (unsigned i = WIRE_WEBSOCKET; i <= WIRE_NATS; i++) {
        if (strcmp(name, wire_protocol_name((enum wire_protocol)i)) == 0) {
            *protocol = (enum wire_protocol)i;
            return true;
        }
    }
    return false;
}

struct arguments {
    struct bench_plan plan;
    struct target_options target;
    bool json;
    unsigned servers; /* of plan.server */
};

static int take_intent(void *context, const char *command, const char *text)
{
    struct arguments *arguments = context;
    if (text[0] == '\0' || strlen(text) > 128 || strpbrk(text, "\"\\")) /* it goes into JSON as it is */
        return usage_error(command, "--intent: expected 1 to 128 bytes without quotes, got \"%s\"", text);
    arguments->plan.intent = text;
    return 0;
}

static int take_protocol(void *context, const char *command, const char *text)
{
    struct arguments *arguments = context;
    if (find_protocol(text, &arguments->plan.protocol))
        return 0;
    return usage_error(command, "--protocol: expected websocket, msgpack or nats, got \"%s\"", text);
}

static int take_server(void *context, const char *command, const char *text)
{
    struct arguments *arguments = context;
    long pid = strtol(text, NULL, 10);
    if (arguments->servers == SERVER_PROCESSES)
        return usage_error(command, "--server-pid: no more than %d", SERVER_PROCESSES);
    if (text[strspn(text, "0123456789")] != '\0' || pid < 1 || pid > PID_MAX_LIMIT)
        return usage_error(command, "--server-pid: expected a whole number from 1 to %d, got \"%s\"", PID_MAX_LIMIT,
                           text);
    arguments->plan.server.pids[arguments->servers++] = (pid_t)pid;
    return 0;
}

static int read_options(int argc, char **argv, struct arguments *arguments)
{
    struct bench_plan *plan = &arguments->plan;
    const char *command = argv[0];
    bool binary = false;
    const struct option_rule rules[] = {
        {"agents", .whole = &plan->agents, .minimum = 1, .maximum = 99999}, /* an id has room for a few more */
        {"window", .whole = &plan->window, .minimum = 1, .maximum = 65536},
        {"size", .whole = &plan->size, .minimum = 128, .maximum = 64 << 20},
        {"rate", .number = &plan->rate, .minimum = 0.001, .maximum = 1e8},
        {"ring", .flag = &plan->ring},
        {"one-way", .flag = &plan->one_way},
        {"intent", .take = take_intent, .context = arguments},
        {"depth", .whole = &plan->depth, .minimum = 4, .maximum = 1000},
        {"numbers", .flag = &plan->numbers},
        {"binary", .flag = &binary},
        {"absent", .whole = &plan->absent, .minimum = 1, .maximum = 99999},
        {"pause", .number = &plan->pause, .minimum = 0.1, .maximum = 1e6},
        {"bytes", .large = &plan->bytes, .minimum = 1, .maximum = 1e18},
        {"path", .text = &plan->path},
        {"bodies", .text = &plan->bodies},
        {"requests", .large = &plan->requests, .minimum = 1, .maximum = 1e15},
        {"timeout", .number = &plan->timeout, .minimum = 0.01, .maximum = 1e6},
        {"progress", .number = &plan->progress, .minimum = 0.01, .maximum = 1e6},
        {"seconds", .number = &plan->seconds, .minimum = 0.01, .maximum = 1e6},
        {"warmup", .number = &plan->warmup, .minimum = 0, .maximum = 1e6},
        {"protocol", .take = take_protocol, .context = arguments},
        {"server-pid", .take = take_server, .context = arguments},
        {"json", .flag = &arguments->json},
        TARGET_RULES(&arguments->target),
        {0},
    };
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    if (binary)
        plan->protocol = WIRE_MSGPACK;
    if (optind + 1 != argc)
        return usage_error(command, "expected one scenario: direct, open, broadcast, idle, churn, flood or http");
    if (!find_scenario(argv[optind], &plan->scenario))
        return usage_error(command,
                           "unknown scenario \"%s\", there are direct, open, broadcast, idle, churn, flood and http",
                           argv[optind]);
    if (plan->path && (plan->path[0] != '/' || strpbrk(plan->path, " \r\n")))
        return usage_error(command, "--path: expected /…, got \"%s\"", plan->path);
    if (plan->scenario == BENCH_FLOOD && plan->protocol == WIRE_NATS)
        return usage_error(command, "flood needs the websocket or the msgpack protocol");
    if (plan->scenario == BENCH_OPEN && plan->rate == 0)
        plan->rate = 40000;
    if (plan->scenario == BENCH_FLOOD) /* all of it counts */
        plan->warmup = 0;
    if (plan->agents == 0)
        plan->agents = standard_agents[plan->scenario];
    return OPTIONS_READ;
}

static int judge(const struct bench_plan *plan, const struct bench_result *result, const struct bench_http_result *http)
{
    bool flood = plan->scenario == BENCH_FLOOD;
    uint64_t faults = result->lost + result->repeated + result->reordered + http->wrong + result->unanswered;
    if (!flood)
        faults += result->refused + result->disconnected;
    if (faults == 0)
        return 0;
    fprintf(
        stderr,
        "luaduct bench: %llu lost, %llu repeated, %llu reordered, %llu refused, %llu disconnected, %llu wrong, %llu "
        "connections without an answer%s%s\n",
        (unsigned long long)result->lost, (unsigned long long)result->repeated, (unsigned long long)result->reordered,
        (unsigned long long)result->refused, (unsigned long long)result->disconnected, (unsigned long long)http->wrong,
        (unsigned long long)result->unanswered, result->refused ? "; first refusal: " : "", result->first_refusal);
    return 1;
}

int command_bench(int argc, char **argv)
{
    struct arguments arguments = {
        .plan = {.window = 16, .size = 256, .seconds = 5, .warmup = 1, .intent = "bench.message", .timeout = 10}};
    static struct bench_result result; /* large: the histograms */
    static struct bench_http_result http;
    static struct target target;
    char error[BENCH_ERROR_SIZE];
    int code = read_options(argc, argv, &arguments);
    if (code != OPTIONS_READ)
        return code;
    bool over_http = arguments.plan.scenario == BENCH_HTTP;
    code = target_find(argv[0], &arguments.target, over_http ? TARGET_HTTP : "ws://127.0.0.1:4567", &target);
    if (code != 0)
        return code;
    arguments.plan.url = target.url;
    arguments.plan.token = target.token;
    bench_catch_interrupt();
    if (!(over_http ? bench_http_run(&arguments.plan, &result, &http, error)
                    : bench_run(&arguments.plan, &result, error))) {
        fprintf(stderr, "luaduct bench: %s\n", error);
        return 1;
    }
    if (arguments.json)
        bench_report_json(stdout, &arguments.plan, &result, over_http ? &http : NULL);
    else
        bench_report_text(stdout, &arguments.plan, &result, over_http ? &http : NULL);
    return judge(&arguments.plan, &result, &http);
}
