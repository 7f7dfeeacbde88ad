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

struct arguments {
    const char *to, *intent, *from;
    struct target_options target;
    bool broadcast;
};

static int read_options(int argc, char **argv, struct arguments *arguments)
{
    const struct option_rule rules[] = {
        {"to", .text = &arguments->to},         {"broadcast", .flag = &arguments->broadcast},
        {"intent", .text = &arguments->intent}, {"from", .text = &arguments->from},
        TARGET_RULES(&arguments->target),       {0}};
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    if (arguments->to && arguments->broadcast)
        return usage_error(argv[0], "--to and --broadcast exclude each other");
    if (!arguments->broadcast && (!arguments->to || !*arguments->to))
        return usage_error(argv[0], "expected --to ID or --broadcast");
    return OPTIONS_READ;
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
    int code = read_options(argc, argv, &arguments);
    if (code != OPTIONS_READ)
        return code;
    code = target_find(command, &arguments.target, TARGET_HTTP, &target);
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
