/* `luaduct repl`: a prompt in a scratch state of a running bridge. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/agent/view.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/connection/ask.h"
#include "client/prompt.h"
#include "protocol/json/json.h"
#include "protocol/json/json_write.h"

static const char help[] =
    "usage: luaduct repl [OPTION]…\n"
    "Runs lines of Lua in a running bridge, in a state of its scripts as they are now, and shows what they give:\n"
    "agents, and what the scripts would decide about an envelope. It only reads: what would act on the bridge raises.\n"
    "\n"
    "  luaduct repl\n"
    "  echo 'route(envelope{from = \"ann\", to = \"ben\"})' | luaduct repl\n"
    "\n"
    "help() says what there is. In a terminal: a line that is not complete goes on in the next one, Ctrl-C drops it,\n"
    "Ctrl-D ends. A session keeps its globals; it ends with the command, or when it was idle for ten minutes.\n"
    "\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when the bridge refused or could not be reached or, not in a terminal, a line failed; 2 wrong "
    "usage.\n";

/* A line may take five seconds, loading the scripts before it five more, and others may be before it. */
#define TIMEOUT_MS 60000

struct session {
    const char *command;
    struct target target;
    char id[64];        /* as JSON wants it, without quotes; empty: there is none yet */
    struct buffer text; /* the lines that are not complete yet */
    unsigned told;      /* the version that is in use, as the reader knows it */
    bool lost;          /* the last line found no bridge, or was refused */
};

enum outcome { LINE_DONE, LINE_INCOMPLETE, LINE_FAILED, LINE_LOST };

static struct slice member_of(struct slice object, const char *name)
{
    return view_member(object, slice_from_string(name));
}

static bool is_text(struct slice value, const char *text)
{
    return value.length > 0 && json_kind(value) == JSON_STRING &&
           json_inside_equals(json_string_inside(value), slice_from_string(text));
}

static unsigned number_of(struct slice object, const char *name)
{
    struct slice value = member_of(object, name);
    char text[16] = "";
    if (value.length > 0 && value.length < sizeof text)
        memcpy(text, value.data, value.length);
    return (unsigned)strtoul(text, NULL, 10);
}

/* Line by line, so that no other control character passes. */
static void print_output(struct slice value)
{
    struct slice inside = value.length > 0 && json_kind(value) == JSON_STRING ? json_string_inside(value) : value;
    char *text = malloc(inside.length + 1);
    size_t length = text ? json_unescape(inside, text, NULL) : 0;
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t line = end ? (size_t)(end - text) - at : length - at;
        view_text(stdout, slice_from(text + at, line));
        fputs("\n", stdout);
        at += line + 1;
    }
    free(text);
    fflush(stdout);
}

static void take_session(struct session *session, struct slice answer)
{
    struct slice id = member_of(answer, "session");
    unsigned version = number_of(answer, "version"), current = number_of(answer, "current");
    if (json_kind(member_of(answer, "renewed")) == JSON_TRUE)
        fprintf(stderr, "luaduct %s: the session had ended: this is a new one, without its globals\n",
                session->command);
    if (current != version && current != session->told)
        fprintf(stderr, "luaduct %s: version %u of the scripts is in use now; this session looks at version %u\n",
                session->command, current, version);
    session->told = current;
    if (id.length > 2 && id.length - 2 < sizeof session->id && json_kind(id) == JSON_STRING) {
        memcpy(session->id, id.data + 1, id.length - 2);
        session->id[id.length - 2] = '\0';
    }
}

static enum outcome run_text(struct session *session)
{
    struct buffer body = {0}, answer = {0};
    buffer_append_slice(&body, SLICE("{\"line\":"));
    buffer_append_json_string(&body, slice_from(session->text.data, session->text.length));
    if (session->id[0])
        buffer_append_format(&body, ",\"session\":\"%s\"", session->id);
    buffer_append_slice(&body, SLICE("}"));
    int code = body.failed ? 1
                           : ask_bridge(session->command, &session->target, "POST", "/admin/repl",
                                        slice_from(body.data, body.length), TIMEOUT_MS, &answer);
    buffer_free(&body);
    session->lost = code != 0;
    if (session->lost)
        return LINE_LOST;
    struct slice all = slice_from(answer.data, answer.length), result = member_of(all, "result");
    take_session(session, all);
    print_output(member_of(all, "output"));
    enum outcome outcome = is_text(result, "incomplete") ? LINE_INCOMPLETE
                           : is_text(result, "failed")   ? LINE_FAILED
                                                         : LINE_DONE;
    buffer_free(&answer);
    return outcome;
}

static enum outcome add_line(struct session *session, const char *line, size_t length)
{
    if (session->text.length > 0)
        buffer_append_slice(&session->text, SLICE("\n"));
    buffer_append(&session->text, line, length);
    enum outcome outcome = slice_trim_space(slice_from(session->text.data, session->text.length)).length > 0
                               ? run_text(session)
                               : LINE_DONE;
    if (outcome != LINE_INCOMPLETE)
        session->text.length = 0;
    return outcome;
}

static void end_session(struct session *session)
{
    struct buffer body = {0}, answer = {0};
    if (session->id[0] && !session->lost) {
        buffer_append_format(&body, "{\"end\":true,\"session\":\"%s\"}", session->id);
        ask_bridge(session->command, &session->target, "POST", "/admin/repl", slice_from(body.data, body.length),
                   TIMEOUT_MS, &answer);
    }
    buffer_free(&body);
    buffer_free(&answer);
    buffer_free(&session->text);
}

/* --- A pipe --- */

static int run_pipe(struct session *session)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    int code = 0;
    enum outcome outcome = LINE_DONE;
    while (outcome != LINE_LOST && (length = getline(&line, &room, stdin)) >= 0) {
        while (length > 0 && strchr("\r\n", line[length - 1]))
            length--;
        outcome = add_line(session, line, (size_t)length);
        code = outcome == LINE_FAILED || outcome == LINE_LOST ? 1 : code;
    }
    free(line);
    if (outcome == LINE_INCOMPLETE) {
        fprintf(stderr, "luaduct %s: the input ends in the middle of a statement\n", session->command);
        code = 1;
    }
    return code;
}

/* --- A terminal --- */

enum typed { TYPED_LINE, TYPED_INTERRUPT, TYPED_END };

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

static const int handled_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
#define HANDLED_COUNT (sizeof handled_signals / sizeof *handled_signals)

/* While `unblocked` holds signals arrive inside ppoll only, so none is missed. */
static enum typed wait_for_line(const char *prompt, const sigset_t *unblocked, char **line)
{
    struct pollfd watched = {STDIN_FILENO, POLLIN, 0};
    enum prompt_outcome outcome = PROMPT_MORE;
    signalled = 0;
    prompt_start(prompt);
    while (outcome == PROMPT_MORE) {
        watched.revents = 0;
        ppoll(&watched, 1, NULL, unblocked); /* whatever it gives, the state below says what to do */
        if (signalled == SIGWINCH) {
            signalled = 0;
            prompt_resize();
        } else if (signalled) {
            prompt_stop();
            return signalled == SIGINT ? TYPED_INTERRUPT : TYPED_END;
        }
        if (watched.revents)
            outcome = prompt_read(watched.revents, line);
    }
    if (outcome == PROMPT_END)
        prompt_stop();
    return outcome == PROMPT_LINE ? TYPED_LINE : TYPED_END;
}

/* Ctrl-C drops what is typed; while the bridge works it ends the command, as anywhere. */
static enum typed read_line(const char *prompt, char **line)
{
    sigset_t handled, before;
    struct sigaction action = {.sa_handler = on_signal}, earlier[HANDLED_COUNT];
    sigemptyset(&handled);
    for (size_t i = 0; i < HANDLED_COUNT; i++)
        sigaddset(&handled, handled_signals[i]);
    sigprocmask(SIG_BLOCK, &handled, &before);
    for (size_t i = 0; i < HANDLED_COUNT; i++)
        sigaction(handled_signals[i], &action, &earlier[i]);
    enum typed got = wait_for_line(prompt, &before, line);
    for (size_t i = 0; i < HANDLED_COUNT; i++)
        sigaction(handled_signals[i], &earlier[i], NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return got;
}

static int run_terminal(struct session *session)
{
    enum outcome outcome = run_text(session); /* nothing yet: whether there is a bridge that lets us */
    enum typed got;
    char *line;
    if (outcome == LINE_LOST)
        return 1;
    fprintf(stderr, "version %u of the scripts; help() says what there is, Ctrl-D ends\n", session->told);
    while ((got = read_line(outcome == LINE_INCOMPLETE ? ">> " : "> ", &line)) != TYPED_END) {
        if (got == TYPED_INTERRUPT) {
            session->text.length = 0;
            outcome = LINE_DONE;
            continue;
        }
        outcome = add_line(session, line, strlen(line));
        free(line);
    }
    return 0;
}

int command_repl(int argc, char **argv)
{
    static struct session session;
    struct target_options options = {0};
    const struct option_rule rules[] = {TARGET_RULES(&options), {0}};
    int code = options_read_all(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    session.command = argv[0];
    code = target_find(argv[0], &options, TARGET_HTTP, &session.target);
    if (code != 0)
        return code;
    code = prompt_possible() ? run_terminal(&session) : run_pipe(&session);
    end_session(&session);
    return code;
}
