/* `luaduct status`: how a bridge does, on one screen. */
#include <stdio.h>

#include "client/agent/view.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/screen/figures.h"
#include "client/screen/table.h"
#include "client/screen/units.h"
#include "protocol/json/json.h"

static const char help[] =
    "usage: luaduct status [OPTION]…\n"
    "\n"
    "Shows on one screen how a running bridge does, and whether it is ready for work.\n"
    "\n"
    "  --json          one object: ready, and the bridge's answers health, metrics and alerts\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0 when it is ready; 1 when it is not (it drains, or is short of memory), refused or could not be\n"
    "reached; 2 wrong usage.\n";

static bool print_json(const struct figures *figures)
{
    struct buffer out = {0};
    buffer_append_format(&out, "{\"ready\":%s,\"health\":", figures->ready ? "true" : "false");
    buffer_append(&out, figures->health.data, figures->health.length);
    buffer_append_slice(&out, SLICE(",\"metrics\":"));
    buffer_append(&out, figures->metrics.data, figures->metrics.length);
    buffer_append_slice(&out, SLICE(",\"alerts\":"));
    buffer_append_slice(&out, figures->alerts_seen ? figures->alert_list : SLICE("null"));
    buffer_append_slice(&out, SLICE("}"));
    bool good = !out.failed;
    if (good)
        view_envelope_json(stdout, slice_from(out.data, out.length));
    else
        fprintf(stderr, "luaduct status: not enough memory\n");
    buffer_free(&out);
    return good;
}

static void print_name(const struct output *output, const char *name)
{
    printf("  %s%-9s%s ", output_paint(output, PAINT_DIM), name, output_paint(output, PAINT_PLAIN));
}

static void print_head(const struct figures *figures, const struct output *output, const struct target *target)
{
    char authority[BRIDGE_URL_AUTHORITY_SIZE];
    bridge_url_authority(&target->url, authority);
    printf("%sluaduct ", output_paint(output, PAINT_BOLD));
    view_value(stdout, figures->version);
    if (target->url.socket[0])
        printf("%s at unix:%s: ", output_paint(output, PAINT_PLAIN), target->url.socket);
    else
        printf("%s at %s://%s: ", output_paint(output, PAINT_PLAIN), target->url.secure ? "https" : "http", authority);
    printf("%s%s", output_paint(output, figures->ready ? PAINT_GOOD : PAINT_BAD),
           figures->ready ? "ready" : "not ready: ");
    view_value(stdout, figures->not_ready);
    printf("%s\n", output_paint(output, PAINT_PLAIN));
}

static void print_memory(const struct figures *figures, const struct output *output)
{
    char text[UNITS_SIZE];
    print_name(output, "memory");
    fputs(units_bytes(figures->memory_used, text), stdout);
    if (figures->memory_budget > 0)
        printf(" of %s (%.1f %%)", units_bytes(figures->memory_budget, text),
               100 * figures->memory_used / figures->memory_budget);
    fputs(", level ", stdout);
    view_value(stdout, figures->memory_level);
    if (figures->seconds_to_threshold >= 0)
        printf(", its threshold is %s away", units_duration(figures->seconds_to_threshold, text));
    fputs("\n", stdout);
}

static void print_names(struct slice array)
{
    struct slice each, name;
    bool first = true;
    if (json_kind(array) != JSON_ARRAY)
        array = SLICE("[]");
    while (json_next_element(&array, &each)) {
        fputs(first ? "" : ", ", stdout);
        name = json_kind(each) == JSON_OBJECT ? view_member(each, SLICE("name")) : each;
        view_value(stdout, name.length > 0 ? name : each);
        first = false;
    }
    fputs(first ? "nothing\n" : "\n", stdout);
}

static void print_alerts(const struct figures *figures, const struct output *output)
{
    struct slice alerts = figures->alert_list, alert;
    bool none = true;
    print_name(output, "alerts");
    if (!figures->alerts_seen) {
        fputs("not shown, the bridge refused: ", stdout);
        view_value(stdout, figures->alerts_refused);
        fputs("\n", stdout);
        return;
    }
    if (json_kind(alerts) != JSON_ARRAY)
        alerts = SLICE("[]");
    while (json_next_element(&alerts, &alert)) {
        if (json_kind(view_member(alert, SLICE("active"))) != JSON_TRUE)
            continue;
        printf("%s%s", none ? "" : "            ", output_paint(output, PAINT_WARN));
        view_value(stdout, view_member(alert, SLICE("name")));
        printf("%s ", output_paint(output, PAINT_PLAIN));
        view_value(stdout, view_member(alert, SLICE("text")));
        fputs("\n", stdout);
        none = false;
    }
    fputs(none ? "none\n" : "", stdout);
}

static void print_for_people(const struct figures *figures, const struct target *target)
{
    char text[UNITS_SIZE], more[UNITS_SIZE], third[UNITS_SIZE], fourth[UNITS_SIZE];
    struct output output = output_look();
    print_head(figures, &output, target);
    print_name(&output, "mode");
    fputs(figures->enhanced ? "enhanced, environment " : "original, environment ", stdout);
    view_value(stdout, figures->environment);
    printf(", up for %s\n", units_duration(figures->uptime, text));
    print_name(&output, "agents");
    printf("%s connected; envelopes: %s in mailboxes, %s in the history\n", units_count(figures->agents, text),
           units_count(figures->queued, more), units_count(figures->history, third));
    print_name(&output, "messages");
    printf("%s/s; %s accepted, %s delivered, %s errors\n", units_count(figures->per_second, text),
           units_count(figures->accepted, more), units_count(figures->delivered, third),
           units_count(figures->errors, fourth));
    print_name(&output, "latency");
    if (figures->latency_count > 0)
        printf("p50 %s, p90 %s, p99 %s, p99.9 %s\n", units_latency(figures->p50, text),
               units_latency(figures->p90, more), units_latency(figures->p99, third),
               units_latency(figures->p999, fourth));
    else
        fputs("not measured yet\n", stdout);
    print_memory(figures, &output);
    if (figures->enhanced) {
        print_name(&output, "scripts");
        printf("version %s, hash ", units_count(figures->script_version, text));
        view_value(stdout, figures->script_hash);
        fputs("\n", stdout);
    }
    print_name(&output, "workers");
    printf("%s of %s busy; tasks: %s wait, %s done\n", units_count(figures->workers_busy, text),
           units_count(figures->workers, more), units_count(figures->tasks_waiting, third),
           units_count(figures->tasks_done, fourth));
    print_name(&output, "degraded");
    print_names(figures->degraded);
    print_alerts(figures, &output);
}

int command_status(int argc, char **argv)
{
    struct target_options options = {0};
    struct target target;
    struct figures figures;
    bool json = false;
    const struct option_rule rules[] = {{"json", .flag = &json}, TARGET_RULES(&options), {0}};
    int code = options_read_all(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    code = target_find(argv[0], &options, TARGET_HTTP, &target);
    if (code != 0)
        return code;
    char problem[ASK_PROBLEM_SIZE];
    if (!figures_read(&target, true, &figures, problem)) {
        fprintf(stderr, "luaduct %s: %s\n", argv[0], problem);
        return 1;
    }
    code = figures.ready ? 0 : 1;
    if (!json)
        print_for_people(&figures, &target);
    else if (!print_json(&figures))
        code = 1;
    figures_free(&figures);
    return code;
}
