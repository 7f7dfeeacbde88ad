/* `luaduct bench`: reads what to run, runs it, says what it found. */
#include <stdio.h>
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

enum option_code {
    OPTION_AGENTS = 256,
    OPTION_WINDOW,
    OPTION_SIZE,
    OPTION_RATE,
    OPTION_RING,
    OPTION_ONE_WAY,
    OPTION_INTENT,
    OPTION_DEPTH,
    OPTION_NUMBERS,
    OPTION_BINARY,
    OPTION_ABSENT,
    OPTION_PAUSE,
    OPTION_BYTES,
    OPTION_PATH,
    OPTION_BODIES,
    OPTION_REQUESTS,
    OPTION_TIMEOUT,
    OPTION_PROGRESS,
    OPTION_SECONDS,
    OPTION_WARMUP,
    OPTION_PROTOCOL,
    OPTION_SERVER_PID,
    OPTION_JSON,
    OPTION_HELP,
};

static const struct option known[] = {
    {"agents", required_argument, NULL, OPTION_AGENTS},
    {"window", required_argument, NULL, OPTION_WINDOW},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"ring", no_argument, NULL, OPTION_RING},
    {"one-way", no_argument, NULL, OPTION_ONE_WAY},
    {"intent", required_argument, NULL, OPTION_INTENT},
    {"depth", required_argument, NULL, OPTION_DEPTH},
    {"numbers", no_argument, NULL, OPTION_NUMBERS},
    {"binary", no_argument, NULL, OPTION_BINARY},
    {"absent", required_argument, NULL, OPTION_ABSENT},
    {"pause", required_argument, NULL, OPTION_PAUSE},
    {"bytes", required_argument, NULL, OPTION_BYTES},
    {"path", required_argument, NULL, OPTION_PATH},
    {"bodies", required_argument, NULL, OPTION_BODIES},
    {"requests", required_argument, NULL, OPTION_REQUESTS},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"progress", required_argument, NULL, OPTION_PROGRESS},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"warmup", required_argument, NULL, OPTION_WARMUP},
    TARGET_OPTIONS,
    {"protocol", required_argument, NULL, OPTION_PROTOCOL},
    {"server-pid", required_argument, NULL, OPTION_SERVER_PID},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

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
    bool json, help;
};

/* 0, or EXIT_USAGE with the line written. */
static int read_options(int argc, char **argv, struct arguments *arguments)
{
    struct bench_plan *plan = &arguments->plan;
    const char *command = argv[0];
    double number = 0;
    int option;
    unsigned servers = 0;
    bool good = true;
    while (good && (option = options_next(argc, argv, known)) != OPTIONS_END) {
        switch (option) {
        case OPTION_AGENTS: /* an id has room for a few more */
            good = option_integer(command, "agents", optarg, 1, 99999, &number);
            plan->agents = (unsigned)number;
            break;
        case OPTION_WINDOW:
            good = option_integer(command, "window", optarg, 1, 65536, &number);
            plan->window = (unsigned)number;
            break;
        case OPTION_SIZE:
            good = option_integer(command, "size", optarg, 128, 64 << 20, &number);
            plan->size = (unsigned)number;
            break;
        case OPTION_RATE:
            good = option_number(command, "rate", optarg, 0.001, 1e8, &plan->rate);
            break;
        case OPTION_RING:
            plan->ring = true;
            break;
        case OPTION_ONE_WAY:
            plan->one_way = true;
            break;
        case OPTION_INTENT: /* goes into JSON as it is */
            if (optarg[0] == '\0' || strlen(optarg) > 128 || strpbrk(optarg, "\"\\"))
                return usage_error(command, "--intent: expected 1 to 128 bytes without quotes, got \"%s\"", optarg);
            plan->intent = optarg;
            break;
        case OPTION_DEPTH:
            good = option_integer(command, "depth", optarg, 4, 1000, &number);
            plan->depth = (unsigned)number;
            break;
        case OPTION_NUMBERS:
            plan->numbers = true;
            break;
        case OPTION_BINARY:
            plan->protocol = WIRE_MSGPACK;
            break;
        case OPTION_ABSENT:
            good = option_integer(command, "absent", optarg, 1, 99999, &number);
            plan->absent = (unsigned)number;
            break;
        case OPTION_PAUSE:
            good = option_number(command, "pause", optarg, 0.1, 1e6, &plan->pause);
            break;
        case OPTION_BYTES:
            good = option_integer(command, "bytes", optarg, 1, 1e18, &number);
            plan->bytes = (uint64_t)number;
            break;
        case OPTION_PATH:
            plan->path = optarg;
            break;
        case OPTION_BODIES:
            plan->bodies = optarg;
            break;
        case OPTION_REQUESTS:
            good = option_integer(command, "requests", optarg, 1, 1e15, &number);
            plan->requests = (uint64_t)number;
            break;
        case OPTION_TIMEOUT:
            good = option_number(command, "timeout", optarg, 0.01, 1e6, &plan->timeout);
            break;
        case OPTION_PROGRESS:
            good = option_number(command, "progress", optarg, 0.01, 1e6, &plan->progress);
            break;
        case OPTION_SECONDS:
            good = option_number(command, "seconds", optarg, 0.01, 1e6, &plan->seconds);
            break;
        case OPTION_WARMUP:
            good = option_number(command, "warmup", optarg, 0, 1e6, &plan->warmup);
            break;
        case OPTION_PROTOCOL:
            if (!find_protocol(optarg, &plan->protocol))
                return usage_error(command, "--protocol: expected websocket, msgpack or nats, got \"%s\"", optarg);
            break;
        case OPTION_SERVER_PID:
            if (servers == SERVER_PROCESSES)
                return usage_error(command, "--server-pid: no more than %d", SERVER_PROCESSES);
            good = option_integer(command, "server-pid", optarg, 1, 1 << 22, &number); /* the kernel's PID_MAX_LIMIT */
            plan->server.pids[servers++] = (pid_t)number;
            break;
        case OPTION_JSON:
            arguments->json = true;
            break;
        case OPTION_HELP:
            arguments->help = true;
            return 0;
        default:
            if (!target_option(&arguments->target, option))
                return EXIT_USAGE;
        }
    }
    if (!good)
        return EXIT_USAGE;
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
    return 0;
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
    int wrong = read_options(argc, argv, &arguments);
    if (wrong)
        return wrong;
    if (arguments.help) {
        fputs(help, stdout);
        return 0;
    }
    bool over_http = arguments.plan.scenario == BENCH_HTTP;
    wrong = target_find(argv[0], &arguments.target, over_http ? TARGET_HTTP : "ws://127.0.0.1:4567", &target);
    if (wrong)
        return wrong;
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
