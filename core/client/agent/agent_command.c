/* `luaduct agent`: reads who to be, then hands over to the terminal or the pipe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/agent/agent.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/prompt.h"

static const char help[] =
    "usage: luaduct agent ID [OPTION]…\n"
    "Is an agent: lines in are sent, envelopes out are shown. ID: standard AGENT_ID.\n"
    "\n"
    "A line that is a JSON object or array is sent as the payload, any other line as {\"text\": \"…\"}.\n"
    "\"@bob hello\" goes to bob; other lines go to --to, or to everyone.\n"
    "In a terminal: lost connections are opened again, Ctrl-D ends. With standard input from a pipe or a file: exits "
    "at\n"
    "its end, when the bridge has taken everything. Envelopes are shown for people on a terminal, and as one line of "
    "JSON\n"
    "each where standard output is a pipe or a file.\n"
    "\n"
    "  --role R        standard AGENT_ROLE, else agent\n"
    "  --label L       may be given several times\n"
    "  --tool T        may be given several times\n"
    "  --to ID         who gets lines without @\n"
    "  --intent I      of what is sent; standard agent.message\n"
    "  --url URL       where; standard AI_BRIDGE_URL, else ws://127.0.0.1:4567\n"
    "  --token-file F  the credential is the file's first line; standard AI_BRIDGE_AUTH_TOKEN\n" TARGET_TLS_HELP "\n"
    "Exit status: 0; 1 when the bridge could not be reached or, not in a terminal, refused something; 2 wrong usage.\n";

static int add(const char *command, const char *option, const char **entries, unsigned *count, const char *entry)
{
    if (*count == AGENT_LISTS)
        return usage_error(command, "--%s: no more than %d", option, AGENT_LISTS);
    entries[(*count)++] = entry;
    return 0;
}

static int take_label(void *context, const char *command, const char *text)
{
    struct client_agent *agent = context;
    return add(command, "label", agent->labels, &agent->label_count, text);
}

static int take_tool(void *context, const char *command, const char *text)
{
    struct client_agent *agent = context;
    return add(command, "tool", agent->tools, &agent->tool_count, text);
}

static struct slice optional(const char *text)
{
    return text ? slice_from_string(text) : slice_from(NULL, 0);
}

static int read_options(int argc, char **argv, struct client_agent *agent, struct target_options *target)
{
    const char *role = getenv("AGENT_ROLE"), *id = getenv("AGENT_ID"), *to = NULL, *intent = NULL;
    const struct option_rule rules[] = {{"role", .text = &role},
                                        {"label", .take = take_label, .context = agent},
                                        {"tool", .take = take_tool, .context = agent},
                                        {"to", .text = &to},
                                        {"intent", .text = &intent},
                                        TARGET_RULES(target),
                                        {0}};
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    agent->role = optional(role);
    agent->to = optional(to);
    agent->intent = optional(intent);
    if (argc - optind > 1)
        return usage_error(argv[0], "one ID is enough, \"%s\" is too much", argv[optind + 1]);
    if (optind < argc)
        id = argv[optind];
    if (!id || !*id)
        return usage_error(argv[0], "expected an ID, or one in AGENT_ID");
    agent->id = slice_from_string(id);
    return OPTIONS_READ;
}

int command_agent(int argc, char **argv)
{
    static struct client_agent agent;
    struct target_options options = {0};
    static struct target target;
    int code = read_options(argc, argv, &agent, &options);
    if (code != OPTIONS_READ)
        return code;
    code = target_find(argv[0], &options, "ws://127.0.0.1:4567", &target);
    if (code != 0)
        return code;
    agent.url = target.url;
    agent.token = target.token;
    agent.human = isatty(STDOUT_FILENO);
    return prompt_possible() ? agent_run_terminal(&agent) : agent_run_pipe(&agent);
}
