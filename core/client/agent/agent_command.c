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

enum option_code { OPTION_ROLE = 256, OPTION_LABEL, OPTION_TOOL, OPTION_TO, OPTION_INTENT, OPTION_HELP };

static const struct option known[] = {
    {"role", required_argument, NULL, OPTION_ROLE},     {"label", required_argument, NULL, OPTION_LABEL},
    {"tool", required_argument, NULL, OPTION_TOOL},     {"to", required_argument, NULL, OPTION_TO},
    {"intent", required_argument, NULL, OPTION_INTENT}, TARGET_OPTIONS,
    {"help", no_argument, NULL, OPTION_HELP},           {0},
};

struct arguments {
    struct target_options target;
    bool help;
};

static bool add(const char *command, const char *option, const char **entries, unsigned *count, const char *entry)
{
    if (*count == AGENT_LISTS) {
        usage_error(command, "--%s: no more than %d", option, AGENT_LISTS);
        return false;
    }
    entries[(*count)++] = entry;
    return true;
}

static int read_options(int argc, char **argv, struct client_agent *agent, struct arguments *arguments)
{
    const char *role = getenv("AGENT_ROLE"), *id = getenv("AGENT_ID");
    int option;
    bool good = true;
    if (role)
        agent->role = slice_from_string(role);
    while (good && (option = options_next(argc, argv, known)) != OPTIONS_END) {
        switch (option) {
        case OPTION_ROLE:
            agent->role = slice_from_string(optarg);
            break;
        case OPTION_LABEL:
            good = add(argv[0], "label", agent->labels, &agent->label_count, optarg);
            break;
        case OPTION_TOOL:
            good = add(argv[0], "tool", agent->tools, &agent->tool_count, optarg);
            break;
        case OPTION_TO:
            agent->to = slice_from_string(optarg);
            break;
        case OPTION_INTENT:
            agent->intent = slice_from_string(optarg);
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
    if (argc - optind > 1)
        return usage_error(argv[0], "one ID is enough, \"%s\" is too much", argv[optind + 1]);
    if (optind < argc)
        id = argv[optind];
    if (!id || !*id)
        return usage_error(argv[0], "expected an ID, or one in AGENT_ID");
    agent->id = slice_from_string(id);
    return 0;
}

int command_agent(int argc, char **argv)
{
    static struct client_agent agent;
    struct arguments arguments = {0};
    static struct target target;
    int wrong = read_options(argc, argv, &agent, &arguments);
    if (wrong)
        return wrong;
    if (arguments.help) {
        fputs(help, stdout);
        return 0;
    }
    wrong = target_find(argv[0], &arguments.target, "ws://127.0.0.1:4567", &target);
    if (wrong)
        return wrong;
    agent.url = target.url;
    agent.token = target.token;
    agent.human = isatty(STDOUT_FILENO);
    return prompt_possible() ? agent_run_terminal(&agent) : agent_run_pipe(&agent);
}
