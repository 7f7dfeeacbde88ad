/* `luaduct agents`, `history`, `tasks` and `alerts`: an answer of the HTTP API, for people or as lines of JSON. */
#include <stdio.h>
#include <string.h>

#include "client/agent/view.h"
#include "client/commands.h"
#include "client/connection/ask.h"
#include "client/connection/stream.h"
#include "client/screen/table.h"
#include "client/screen/units.h"
#include "protocol/json/json.h"

#define JSON_HELP "  --json          a line of JSON each, as the bridge has it\n"
#define EXIT_HELP "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n"

static const char agents_help[] = "usage: luaduct agents [OPTION]…\n"
                                  "\n"
                                  "Shows who is connected.\n"
                                  "\n" JSON_HELP TARGET_HTTP_HELP "\n" EXIT_HELP;

static const char history_help[] =
    "usage: luaduct history [OPTION]…\n"
    "\n"
    "Shows the newest envelopes that the bridge has accepted, oldest first.\n"
    "\n"
    "  --agent A       only what A sent, or what was sent to A\n"
    "  --intent I      only envelopes with that intent\n"
    "  --task T        only envelopes of that task\n"
    "  --limit N       at most N envelopes; standard 50\n" JSON_HELP TARGET_HTTP_HELP "\n" EXIT_HELP;

static const char tasks_help[] = "usage: luaduct tasks [OPTION]…\n"
                                 "\n"
                                 "Shows what the history says of each task, in the order in which they began.\n"
                                 "\n" JSON_HELP TARGET_HTTP_HELP "\n" EXIT_HELP;

static const char alerts_help[] = "usage: luaduct alerts [OPTION]…\n"
                                  "\n"
                                  "Shows what an operator should look at, and what is over.\n"
                                  "\n" JSON_HELP TARGET_HTTP_HELP "\n" EXIT_HELP;

#define TIMEOUT_MS 30000
#define STANDARD_LIMIT "50"

struct arguments {
    struct target_options target;
    const char *agent, *intent, *task, *limit;
    bool json;
};

struct list {
    const char *help;
    bool filters;              /* it takes --agent and the like */
    const char *path, *member; /* of the answer */
    bool (*show)(struct slice entries, const struct output *output);
};

static int read_options(int argc, char **argv, const struct list *list, struct arguments *arguments)
{
    unsigned limit;
    const struct option_rule rules[] = {
        {"agent", .text = &arguments->agent},
        {"intent", .text = &arguments->intent},
        {"task", .text = &arguments->task},
        {"limit", .text = &arguments->limit, .whole = &limit, .minimum = 1, .maximum = 1e9},
        {"json", .flag = &arguments->json},
        TARGET_RULES(&arguments->target),
        {0}};
    enum { FILTERS = 4 }; /* so many come first */
    return options_read_all(argc, argv, list->filters ? rules : rules + FILTERS, list->help);
}

/* --- agents --- */

static bool show_agents(struct slice entries, const struct output *output)
{
    static const struct table_column columns[] = {
        {"ID", false, true},     {"ROLE", false, true},      {"LABELS", false, true},     {"MESSAGES", true, false},
        {"ERRORS", true, false}, {"CONNECTED", true, false}, {"LAST SEEN", false, false}, {"TOOLS", false, true},
    };
    struct table table = {.columns = columns, .count = sizeof columns / sizeof *columns};
    struct slice agent;
    char text[UNITS_SIZE];
    while (json_next_element(&entries, &agent)) {
        table_add_value(&table, view_member(agent, SLICE("id")));
        table_add_value(&table, view_member(agent, SLICE("role")));
        table_add_list(&table, view_member(agent, SLICE("labels")));
        /* In original mode agents are not counted. */
        double messages = view_number(agent, "messageCount", -1), uptime = view_number(agent, "uptime", -1);
        table_add_text(&table, messages < 0 ? "-" : units_count(messages, text));
        table_add_text(&table, messages < 0 ? "-" : units_count(view_number(agent, "errorCount", 0), text));
        table_add_text(&table, uptime < 0 ? "-" : units_duration(uptime / 1000, text));
        table_add_text(&table, units_time(view_member(agent, SLICE("lastSeen")), text));
        table_add_list(&table, view_member(agent, SLICE("tools")));
    }
    bool good = table_print(&table, output);
    table_free(&table);
    return good;
}

/* --- history --- */

static bool show_history(struct slice entries, const struct output *output)
{
    struct slice envelope;
    char text[UNITS_SIZE];
    (void)output;
    while (json_next_element(&entries, &envelope))
        view_message(stdout, units_time(view_member(envelope, SLICE("timestamp")), text), envelope,
                     slice_from(NULL, 0));
    return true;
}

/* --- tasks --- */

static bool show_tasks(struct slice entries, const struct output *output)
{
    static const struct table_column columns[] = {
        {"TASK", false, true}, {"LAST UPDATE", false, false}, {"INTENTS", false, true}, {"PARTICIPANTS", false, true}};
    struct table table = {.columns = columns, .count = sizeof columns / sizeof *columns};
    struct slice task;
    char text[UNITS_SIZE];
    while (json_next_element(&entries, &task)) {
        table_add_value(&table, view_member(task, SLICE("taskId")));
        table_add_text(&table, units_time(view_member(task, SLICE("lastUpdate")), text));
        table_add_list(&table, view_member(task, SLICE("intents")));
        table_add_list(&table, view_member(task, SLICE("participants")));
    }
    bool good = table_print(&table, output);
    table_free(&table);
    return good;
}

/* --- alerts --- */

static bool show_alerts(struct slice entries, const struct output *output)
{
    static const struct table_column columns[] = {
        {"STATE", false, false}, {"SEVERITY", false, false}, {"NAME", false, true}, {"TIMES", true, false},
        {"SINCE", false, false}, {"UNTIL", false, false},    {"TEXT", false, true}};
    struct table table = {.columns = columns, .count = sizeof columns / sizeof *columns};
    struct slice alert;
    char text[UNITS_SIZE];
    while (json_next_element(&entries, &alert)) {
        bool active = json_kind(view_member(alert, SLICE("active"))) == JSON_TRUE;
        table_add_text(&table, active ? "active" : "over");
        table_add_value(&table, view_member(alert, SLICE("severity")));
        table_add_value(&table, view_member(alert, SLICE("name")));
        table_add_text(&table, units_count(view_number(alert, "count", 1), text));
        table_add_text(&table, units_time(view_member(alert, SLICE("since")), text));
        table_add_text(&table, active ? "-" : units_time(view_member(alert, SLICE("until")), text));
        table_add_value(&table, view_member(alert, SLICE("text")));
    }
    bool good = table_print(&table, output);
    table_free(&table);
    return good;
}

/* --- all of them --- */

static bool show(const struct list *list, const struct arguments *arguments, struct slice answer)
{
    struct slice entries = {0}, entry;
    if (json_validate(answer, JSON_DEPTH_MAXIMUM, NULL) == CODE_OK)
        entries = view_member(answer, slice_from_string(list->member));
    if (json_kind(entries) != JSON_ARRAY)
        return false;
    if (!arguments->json) {
        struct output output = output_look();
        return list->show(entries, &output);
    }
    while (json_next_element(&entries, &entry))
        view_envelope_json(stdout, entry);
    return true;
}

static int run(int argc, char **argv, const struct list *list)
{
    struct arguments arguments = {0};
    struct target target;
    struct buffer path = {0}, answer = {0};
    int code = read_options(argc, argv, list, &arguments);
    if (code != OPTIONS_READ)
        return code;
    code = target_find(argv[0], &arguments.target, TARGET_HTTP, &target);
    if (code != 0)
        return code;
    buffer_append_slice(&path, slice_from_string(list->path));
    if (list->filters)
        path_add_parameter(&path, "limit", arguments.limit ? arguments.limit : STANDARD_LIMIT);
    path_add_parameter(&path, "agentId", arguments.agent);
    path_add_parameter(&path, "intent", arguments.intent);
    path_add_parameter(&path, "taskId", arguments.task);
    buffer_append(&path, "", 1);
    code = path.failed ? 1 : ask_bridge(argv[0], &target, "GET", path.data, slice_from(NULL, 0), TIMEOUT_MS, &answer);
    if (code == 0 && !show(list, &arguments, slice_from(answer.data, answer.length))) {
        fprintf(stderr, "luaduct %s: what answered is no bridge, or there was not enough memory for it\n", argv[0]);
        code = 1;
    }
    buffer_free(&answer);
    buffer_free(&path);
    return code;
}

int command_agents(int argc, char **argv)
{
    static const struct list list = {agents_help, false, "/agents", "agents", show_agents};
    return run(argc, argv, &list);
}

int command_history(int argc, char **argv)
{
    static const struct list list = {history_help, true, "/history", "history", show_history};
    return run(argc, argv, &list);
}

int command_tasks(int argc, char **argv)
{
    static const struct list list = {tasks_help, false, "/tasks", "tasks", show_tasks};
    return run(argc, argv, &list);
}

int command_alerts(int argc, char **argv)
{
    static const struct list list = {alerts_help, false, "/alerts", "alerts", show_alerts};
    return run(argc, argv, &list);
}
