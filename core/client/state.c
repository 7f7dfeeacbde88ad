/* `luaduct export` and `luaduct import`: mailboxes and history of a running bridge, as lines of JSON. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bridge/state/state.h"
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
    "The bridge serves meanwhile. FILE, which only you may read, is replaced once all of it is there; what stood in "
    "it\n"
    "before stays when it fails. `luaduct import`, or `luaduct run --import FILE`, reads it.\n"
    "\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n";

static const char import_help[] =
    "usage: luaduct import [OPTION]… [FILE]\n"
    "\n"
    "Gives a running bridge what `luaduct export` wrote, from FILE or standard input: behind what is there already, "
    "and\n"
    "to agents that are connected at once. What a limit did not let in is said. Of a file in which lines are missing "
    "or\n"
    "doubled nothing is sent.\n"
    "\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when a line is wrong (those before it are in, and the number of the line is said), or the "
    "bridge\n"
    "refused or could not be reached; 2 wrong usage.\n";

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

/* --- export --- */

struct outlet {
    FILE *out;
    bool terminal;      /* where a control character of C1 in an envelope would act */
    struct buffer line; /* the beginning of one, for a terminal */
};

static bool write_piece(void *context, struct slice piece)
{
    struct outlet *outlet = context;
    if (!outlet->terminal)
        return fwrite(piece.data, 1, piece.length, outlet->out) == piece.length;
    buffer_append_slice(&outlet->line, piece);
    const char *end;
    while (!outlet->line.failed && outlet->line.length > 0 &&
           (end = memchr(outlet->line.data, '\n', outlet->line.length))) {
        size_t length = (size_t)(end - outlet->line.data);
        view_envelope_json(outlet->out, slice_from(outlet->line.data, length));
        buffer_consume(&outlet->line, length + 1);
    }
    return !outlet->line.failed && !ferror(outlet->out);
}

static int write_export(const char *command, const struct target *target, const char *name, FILE *out)
{
    struct outlet outlet = {.out = out, .terminal = isatty(fileno(out)) == 1};
    errno = 0;
    int code = follow_bridge(command, target, "/admin/export", write_piece, &outlet);
    if (code == 0 && (outlet.line.failed || fflush(out) != 0 || ferror(out)))
        code = fail(command, name, outlet.line.failed ? "out of memory" : strerror(errno));
    buffer_free(&outlet.line);
    return code;
}

/* What a signal that ends the command leaves behind is a file that nobody asked for. */
static char fresh[PATH_MAX];

static void forget_fresh(int signal_number)
{
    unlink(fresh);
    _exit(128 + signal_number);
}

/* Beside the file, renamed when it is whole: a backup is never lost to one that fails. */
static int replace_file(const char *command, const struct target *target, const char *file)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    char path[PATH_MAX];
    /* The file a link names is meant, not the link. */
    if (!realpath(file, path) && (errno != ENOENT || (size_t)snprintf(path, sizeof path, "%s", file) >= sizeof path))
        return fail(command, file, strerror(errno == ENOENT ? ENAMETOOLONG : errno));
    if ((size_t)snprintf(fresh, sizeof fresh, "%s.XXXXXX", path) >= sizeof fresh)
        return fail(command, file, strerror(ENAMETOOLONG));
    int fd = mkostemp(fresh, O_CLOEXEC); /* mode 0600 */
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out) {
        int failure = errno;
        if (fd >= 0) {
            close(fd);
            unlink(fresh);
        }
        return fail(command, file, strerror(failure));
    }
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], forget_fresh);
    int code = write_export(command, target, file, out);
    if (code == 0 && fsync(fd) != 0)
        code = fail(command, file, strerror(errno));
    if (fclose(out) != 0 && code == 0)
        code = fail(command, file, strerror(errno));
    if (code == 0 && rename(fresh, path) != 0)
        code = fail(command, file, strerror(errno));
    if (code != 0)
        unlink(fresh);
    return code;
}

int command_export(int argc, char **argv)
{
    struct target target;
    struct stat status;
    const char *file = NULL;
    int code = read_arguments(argc, argv, export_help, &target, &file);
    if (code != OPTIONS_READ)
        return code;
    if (!file)
        return write_export(argv[0], &target, NULL, stdout);
    if (stat(file, &status) != 0 || S_ISREG(status.st_mode))
        return replace_file(argv[0], &target, file);
    FILE *out = fopen(file, "we"); /* a pipe, or a device */
    if (!out)
        return fail(argv[0], file, strerror(errno));
    code = write_export(argv[0], &target, file, out);
    if (fclose(out) != 0 && code == 0)
        code = fail(argv[0], file, strerror(errno));
    return code;
}

/* --- import --- */

struct import {
    const char *command, *file;
    const struct target *target;
    FILE *in;
    uint64_t line; /* the first of `lines` */
    struct buffer lines;
    uint64_t history, envelopes, refused;
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

/* --- The look before anything is sent --- */

/* Standard input and pipes are read once: what came is kept in a file without a name. */
static int keep_input(struct import *import)
{
    char piece[16384];
    size_t count;
    struct stat status;
    if (fstat(fileno(import->in), &status) == 0 && S_ISREG(status.st_mode))
        return 0;
    FILE *kept = tmpfile();
    if (!kept)
        return fail(import->command, import->file, strerror(errno));
    while ((count = fread(piece, 1, sizeof piece, import->in)) > 0 && fwrite(piece, 1, count, kept) == count)
        continue;
    bool good = !ferror(import->in) && !ferror(kept) && fflush(kept) == 0;
    int code = good ? 0 : fail(import->command, import->file, strerror(errno));
    rewind(kept);
    if (import->in != stdin)
        fclose(import->in);
    import->in = kept;
    return code;
}

/* Whether as many lines are there as the last one says. */
static int check_whole(struct import *import)
{
    char *line = NULL, error[ERROR_TEXT_BYTES], problem[ERROR_TEXT_BYTES + 64];
    size_t capacity = 0;
    ssize_t length;
    uint64_t number = 0, end = 0;
    struct state_counts counts = {0};
    off_t start = ftello(import->in);
    while ((length = getline(&line, &capacity, import->in)) >= 0) {
        struct slice text = slice_trim_space(slice_from(line, (size_t)length));
        struct state_counts found = {0};
        number++;
        if (text.length > 0 && state_end_read(text, &found)) {
            counts = found;
            end = number;
        } else if (text.length > 0) {
            end = 0;
        }
    }
    free(line);
    if (ferror(import->in) || start < 0 || fseeko(import->in, start, SEEK_SET) != 0)
        return fail(import->command, import->file, strerror(errno));
    if (end == 0)
        return fail(import->command, import->file, "is not whole: its last line is missing; nothing was sent");
    if (state_end_fits(&counts, end, error))
        return 0;
    snprintf(problem, sizeof problem, "line %" PRIu64 ": %s; nothing was sent", end, error);
    return fail(import->command, import->file, problem);
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
    code = keep_input(&import);
    if (code == 0)
        code = check_whole(&import);
    if (code == 0)
        code = send_all(&import);
    buffer_free(&import.lines);
    if (import.in != stdin)
        fclose(import.in);
    if (code == 0)
        printf("%" PRIu64 " of the history, %" PRIu64 " in mailboxes\n", import.history, import.envelopes);
    return code;
}
