/* `luaduct export` and `luaduct import`: mailboxes and history of a running bridge, as lines of JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/agent/view.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/connection/ask.h"
#include "client/connection/http_client.h"
#include "protocol/json/json.h"

static const char export_help[] =
    "usage: luaduct export [OPTION]… [FILE]\n"
    "\n"
    "Writes the mailboxes and the history of a running bridge into FILE, or to standard output: a line of JSON each.\n"
    "The bridge serves meanwhile. `luaduct import`, or `luaduct run --import FILE`, reads it.\n"
    "\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n";

static const char import_help[] =
    "usage: luaduct import [OPTION]… [FILE]\n"
    "\n"
    "Gives a running bridge what `luaduct export` wrote, from FILE or standard input: behind what is there already, "
    "and\n"
    "to agents that are connected at once. What a limit did not let in is said.\n"
    "\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when a line is wrong (those before it are in), or the bridge refused or could not be reached;\n"
    "2 wrong usage.\n";

#define TIMEOUT_MS 60000
/* Lines that go in one request: the bridge takes them in one go, and has other things to do. */
#define REQUEST_BYTES (256u << 10)
/* How long a bridge that has no time now (429, 503) is asked again, once a second. */
#define PATIENCE_SECONDS 120u

/* OPTIONS_READ, and *file is what to read or write (NULL: the standard stream); or the exit code. */
static int read_arguments(int argc, char **argv, const char *help, struct target *target, const char **file)
{
    struct target_options options = {0};
    const struct option_rule rules[] = {TARGET_RULES(&options), {0}};
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    if (optind + 1 < argc)
        return usage_error(argv[0], "there is no place for %s", argv[optind + 1]);
    *file = optind < argc && strcmp(argv[optind], "-") != 0 ? argv[optind] : NULL;
    code = target_find(argv[0], &options, TARGET_HTTP, target);
    return code == 0 ? OPTIONS_READ : code;
}

static int fail(const char *command, const char *file, const char *problem)
{
    fprintf(stderr, "luaduct %s: %s: %s\n", command, file ? file : "standard stream", problem);
    return 1;
}

static bool write_piece(void *context, struct slice piece)
{
    return fwrite(piece.data, 1, piece.length, context) == piece.length;
}

int command_export(int argc, char **argv)
{
    struct target target;
    const char *file = NULL;
    int code = read_arguments(argc, argv, export_help, &target, &file);
    if (code != OPTIONS_READ)
        return code;
    FILE *out = file ? fopen(file, "we") : stdout;
    if (!out)
        return fail(argv[0], file, strerror(errno));
    code = follow_bridge(argv[0], &target, "/admin/export", write_piece, out);
    bool good = fflush(out) == 0 && !ferror(out);
    if (file && fclose(out) != 0)
        good = false;
    return code != 0 || good ? code : fail(argv[0], file, strerror(errno));
}

/* --- import --- */

struct import {
    const char *command, *file;
    const struct target *target;
    FILE *in;
    uint64_t line; /* the first of `lines` */
    struct buffer lines;
    uint64_t history, envelopes, refused;
    bool ended;
};

static uint64_t number_of(struct slice object, struct slice name)
{
    uint64_t number = 0;
    struct slice text = view_member(object, name);
    for (size_t i = 0; i < text.length && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    return number;
}

static void add_up(struct import *import, struct slice answer)
{
    if (json_validate(answer, JSON_DEPTH_MAXIMUM, NULL) != CODE_OK)
        return;
    struct slice refused = view_member(answer, SLICE("refused")), key, value;
    import->history += number_of(answer, SLICE("history"));
    import->envelopes += number_of(answer, SLICE("envelopes"));
    import->ended = import->ended || json_kind(view_member(answer, SLICE("ended"))) == JSON_TRUE;
    for (struct slice rest = refused; refused.length > 0 && json_next_member(&rest, &key, &value);) {
        uint64_t count = number_of(refused, key);
        import->refused += count;
        if (count > 0)
            fprintf(stderr, "luaduct %s: not taken: %" PRIu64 " (%.*s)\n", import->command, count, (int)key.length,
                    key.data);
    }
}

static int send_lines(struct import *import, uint64_t count)
{
    char problem[ASK_PROBLEM_SIZE], path[64], error[HTTP_CLIENT_ERROR_SIZE], unreachable[BRIDGE_URL_UNREACHABLE_SIZE];
    snprintf(path, sizeof path, "/admin/import?line=%" PRIu64, import->line);
    struct http_call call = {.url = &import->target->url,
                             .method = "POST",
                             .path = path,
                             .token = import->target->token,
                             .body = slice_from(import->lines.data, import->lines.length),
                             .timeout_ms = TIMEOUT_MS};
    struct http_answer answer;
    for (unsigned tries = 0;; tries++) {
        if (!http_client_call(&call, &answer, error)) {
            bridge_url_unreachable(call.url, false, error, unreachable);
            fprintf(stderr, "luaduct %s: %s\n", import->command, unreachable);
            return 1;
        }
        if ((answer.status != 429 && answer.status != 503) || tries >= PATIENCE_SECONDS)
            break;
        buffer_free(&answer.body);
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    if (answer.status == 200)
        add_up(import, slice_from(answer.body.data, answer.body.length));
    else
        ask_describe_refusal(&answer, problem);
    if (answer.status != 200)
        fprintf(stderr, "luaduct %s: %s\n", import->command, problem);
    buffer_free(&answer.body);
    import->lines.length = 0;
    import->line += count;
    return answer.status == 200 ? 0 : 1;
}

static int send_all(struct import *import)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    uint64_t count = 0;
    int code = 0;
    while (code == 0 && (length = getline(&line, &capacity, import->in)) >= 0) {
        if (count > 0 && import->lines.length + (size_t)length > REQUEST_BYTES) {
            code = send_lines(import, count);
            count = 0;
        }
        buffer_append(&import->lines, line, (size_t)length);
        count++;
        if (import->lines.failed)
            code = fail(import->command, import->file, "out of memory");
    }
    if (code == 0 && ferror(import->in))
        code = fail(import->command, import->file, strerror(errno));
    if (code == 0 && count > 0)
        code = send_lines(import, count);
    free(line);
    return code;
}

int command_import(int argc, char **argv)
{
    struct target target;
    struct import import = {.command = argv[0], .target = &target, .line = 1};
    int code = read_arguments(argc, argv, import_help, &target, &import.file);
    if (code != OPTIONS_READ)
        return code;
    import.in = import.file ? fopen(import.file, "re") : stdin;
    if (!import.in)
        return fail(argv[0], import.file, strerror(errno));
    code = send_all(&import);
    buffer_free(&import.lines);
    if (import.file)
        fclose(import.in);
    if (code == 0 && !import.ended)
        code = fail(argv[0], import.file, "is not whole: its last line is missing; what it has is in");
    if (code == 0)
        printf("%" PRIu64 " of the history, %" PRIu64 " in mailboxes\n", import.history, import.envelopes);
    return code;
}
