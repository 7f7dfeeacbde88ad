/* `luaduct send`: one envelope over HTTP, for shells and scripts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/agent/view.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/connection/ask.h"
#include "client/outgoing.h"
#include "protocol/json/json.h"

static const char help[] =
    "usage: luaduct send --to ID [OPTION]… [PAYLOAD|-]\n"
    "       luaduct send --broadcast [OPTION]… [PAYLOAD|-]\n"
    "Sends one envelope over HTTP and prints the bridge's answer.\n"
    "\n"
    "PAYLOAD: a JSON object or array goes as it is, any other text as {\"text\": \"…\"}; several words are joined by\n"
    "spaces; - reads it from standard input; without one the payload is {}.\n"
    "\n"
    "  --to ID         the recipient; an absent one finds the envelope in its mailbox\n"
    "  --broadcast     to every connected agent\n"
    "  --intent I      what it is about; standard agent.message\n"
    "  --from F        who sends it; standard api\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n";

#define TIMEOUT_MS 30000 /* a script on the bridge may take its time, by default 30 s */

enum option_code { OPTION_TO = 256, OPTION_BROADCAST, OPTION_INTENT, OPTION_FROM, OPTION_HELP };

static const struct option known[] = {
    {"to", required_argument, NULL, OPTION_TO},
    {"broadcast", no_argument, NULL, OPTION_BROADCAST},
    {"intent", required_argument, NULL, OPTION_INTENT},
    {"from", required_argument, NULL, OPTION_FROM},
    TARGET_OPTIONS,
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

struct arguments {
    const char *to, *intent, *from;
    struct target_options target;
    bool broadcast, help;
};

static int read_options(int argc, char **argv, struct arguments *arguments)
{
    int option;
    while ((option = options_next(argc, argv, known)) != OPTIONS_END) {
        switch (option) {
        case OPTION_TO:
            arguments->to = optarg;
            break;
        case OPTION_BROADCAST:
            arguments->broadcast = true;
            break;
        case OPTION_INTENT:
            arguments->intent = optarg;
            break;
        case OPTION_FROM:
            arguments->from = optarg;
            break;
        case OPTION_HELP:
            arguments->help = true;
            return 0;
        default:
            if (!target_option(&arguments->target, option))
                return EXIT_USAGE;
        }
    }
    if (arguments->to && arguments->broadcast)
        return usage_error(argv[0], "--to and --broadcast exclude each other");
    if (!arguments->broadcast && (!arguments->to || !*arguments->to))
        return usage_error(argv[0], "expected --to ID or --broadcast");
    return 0;
}

static bool read_standard_input(struct buffer *words)
{
    char *room;
    size_t got;
    do {
        room = buffer_reserve(words, 65536);
        got = room ? fread(room, 1, 65536, stdin) : 0;
        words->length += got;
    } while (got > 0);
    while (words->length > 0 && strchr("\r\n", words->data[words->length - 1]))
        words->length--;
    return !words->failed && !ferror(stdin);
}

static bool read_words(int count, char **operands, struct buffer *words)
{
    if (count == 1 && strcmp(operands[0], "-") == 0)
        return read_standard_input(words);
    for (int i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_slice(words, SLICE(" "));
        buffer_append_slice(words, slice_from_string(operands[i]));
    }
    return !words->failed;
}

static struct slice optional(const char *text)
{
    return text ? slice_from_string(text) : slice_from(NULL, 0);
}

int command_send(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct target target;
    struct buffer words = {0}, body = {0};
    struct buffer answer;
    const char *command = argv[0];
    int wrong = read_options(argc, argv, &arguments);
    if (wrong)
        return wrong;
    if (arguments.help) {
        fputs(help, stdout);
        return 0;
    }
    int code = target_find(command, &arguments.target, TARGET_HTTP, &target);
    if (code != 0)
        return code;
    bool read = read_words(argc - optind, argv + optind, &words);
    outgoing_envelope(&body,
                      &(struct outgoing_envelope){optional(arguments.to), optional(arguments.intent),
                                                  optional(arguments.from), slice_from(words.data, words.length)});
    buffer_free(&words);
    if (!read || body.failed) {
        buffer_free(&body);
        fprintf(stderr, "luaduct %s: cannot read the payload\n", command);
        return 1;
    }
    code = ask_bridge(command, &target, "POST", arguments.broadcast ? "/broadcast" : "/send",
                      slice_from(body.data, body.length), TIMEOUT_MS, &answer);
    buffer_free(&body);
    if (code != 0)
        return code;
    printf("%.*s\n", (int)answer.length, answer.length > 0 ? answer.data : "");
    buffer_free(&answer);
    return 0;
}
