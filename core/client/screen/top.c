/* `luaduct top`: how a bridge does, live, and who sends most. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/screen/charset.h"
#include "client/screen/sampler.h"
#include "client/screen/table.h"
#include "client/screen/top_screen.h"
#include "client/screen/units.h"
#include "protocol/json/json.h"

static const char help[] = "usage: luaduct top [OPTION]…\n"
                           "\n"
                           "Shows live how a running bridge does, and which agents send most.\n"
                           "\n"
                           "In a terminal these keys work: s m e c n sort by rate, messages, errors, time connected, "
                           "id; r reverses; / filters\n"
                           "by a text in id or role; the arrows, Page Up and Page Down move; space pauses; q ends. The "
                           "list of agents is read\n"
                           "every two seconds, of very many less often.\n"
                           "\n"
                           "  --once          look twice, an interval apart, print what was seen, and end\n"
                           "  --interval S    seconds between two looks, 0.1 to 60; standard 1\n"
                           "  --sort BY       rate, messages, errors, connected or id; standard rate\n"
                           "  --filter TEXT   only agents with that text in their id or role\n"
                           "  --limit N       with --once: at most N agents\n" TARGET_HTTP_HELP "\n"
                           "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n";

struct arguments {
    struct target_options target;
    double interval_s;
    unsigned limit;
    struct top_choice choice;
    bool once;
};

static int take_order(void *context, const char *command, const char *text)
{
    struct top_choice *choice = context;
    choice->order = sender_order_find(text);
    return choice->order != ORDER_COUNT
               ? 0
               : usage_error(command, "--sort: expected rate, messages, errors, connected or id, got \"%s\"", text);
}

static int take_filter(void *context, const char *command, const char *text)
{
    struct top_choice *choice = context;
    if (strlen(text) >= sizeof choice->filter)
        return usage_error(command, "--filter: expected at most %zu bytes", sizeof choice->filter - 1);
    strcpy(choice->filter, text);
    return 0;
}

static int read_options(int argc, char **argv, struct arguments *arguments)
{
    const struct option_rule rules[] = {
        {"once", .flag = &arguments->once},
        {"interval", .number = &arguments->interval_s, .minimum = 0.1, .maximum = 60},
        {"sort", .take = take_order, .context = &arguments->choice},
        {"filter", .take = take_filter, .context = &arguments->choice},
        {"limit", .whole = &arguments->limit, .minimum = 1, .maximum = 1e9},
        TARGET_RULES(&arguments->target),
        {0},
    };
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    if (arguments->limit > 0 && !arguments->once)
        return usage_error(argv[0], "--limit is for --once");
    return optind < argc ? usage_error(argv[0], "there is no place for %s", argv[optind]) : OPTIONS_READ;
}

/* --- Once, as text --- */

static bool print_senders(const struct senders *senders, const struct arguments *arguments)
{
    static const struct table_column columns[] = {{"MSG/S", true, false},  {"MESSAGES", true, false},
                                                  {"ERRORS", true, false}, {"CONNECTED", true, false},
                                                  {"AGENT", false, true},  {"ROLE", false, true}};
    struct table table = {.columns = columns, .count = sizeof columns / sizeof *columns};
    struct output output = output_look();
    char text[UNITS_SIZE];
    size_t *indices = calloc(senders->count + 1, sizeof *indices);
    if (!indices)
        return false;
    size_t count = senders_select(senders, arguments->choice.filter, arguments->choice.order, false, indices);
    for (size_t i = 0; i < count && (arguments->limit == 0 || i < arguments->limit); i++) {
        const struct sender *sender = &senders->entries[indices[i]];
        table_add_text(&table, units_count(sender->rate, text));
        table_add_text(&table, units_count(sender->messages, text));
        table_add_text(&table, units_count(sender->errors, text));
        table_add_text(&table, units_duration(sender->connected_s, text));
        table_add_text(&table, sender->id);
        table_add_text(&table, sender->role);
    }
    free(indices);
    bool good = table_print(&table, &output);
    table_free(&table);
    return good;
}

static bool read_senders(const struct target *target, const struct senders *before, struct senders *senders,
                         char problem[ASK_PROBLEM_SIZE])
{
    struct buffer answer = {0};
    if (!ask_quietly(target, "/agents", 30000, &answer, NULL, problem))
        return false;
    struct slice text = slice_from(answer.data, answer.length);
    bool good = json_validate(text, JSON_DEPTH_MAXIMUM, NULL) == CODE_OK &&
                senders_read(text, before, clock_steady_ns(), senders);
    buffer_free(&answer);
    if (!good)
        snprintf(problem, ASK_PROBLEM_SIZE, "what answered is no bridge, or there was not enough memory for it");
    return good;
}

static bool look_twice(const struct target *target, const struct arguments *arguments, char problem[ASK_PROBLEM_SIZE])
{
    struct figures first, second;
    struct senders before, now;
    char text[UNITS_SIZE], more[UNITS_SIZE], third[UNITS_SIZE];
    struct timespec pause = {(time_t)arguments->interval_s,
                             (long)((arguments->interval_s - (double)(time_t)arguments->interval_s) * 1e9)};
    if (!figures_read(target, false, &first, problem))
        return false;
    double accepted = first.accepted;
    uint64_t read_ns = first.read_ns;
    figures_free(&first);
    if (!read_senders(target, NULL, &before, problem))
        return false;
    while (nanosleep(&pause, &pause) != 0)
        ;
    bool good = read_senders(target, &before, &now, problem);
    senders_free(&before);
    if (!good)
        return false;
    good = figures_read(target, false, &second, problem);
    if (good) {
        double seconds = (double)(second.read_ns - read_ns) / 1e9;
        printf("messages %s/s  p99 %s  memory %s  ", units_count((second.accepted - accepted) / seconds, text),
               second.latency_count > 0 ? units_latency(second.p99, more) : "-",
               units_bytes(second.memory_used, third));
        printf("agents %s  in mailboxes %s  errors %s\n", units_count(second.agents, text),
               units_count(second.queued, more), units_count(second.errors, third));
        figures_free(&second);
        good = print_senders(&now, arguments);
        if (!good)
            snprintf(problem, ASK_PROBLEM_SIZE, "not enough memory");
    }
    senders_free(&now);
    return good;
}

/* --- Live --- */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static void handle_signals(sigset_t *unblocked)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t handled;
    sigemptyset(&handled);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        sigaction(ending[i], &action, NULL);
        sigaddset(&handled, ending[i]);
    }
    sigaddset(&handled, SIGWINCH);               /* ncurses has its handler */
    sigprocmask(SIG_BLOCK, &handled, unblocked); /* they arrive inside ppoll only, so none is missed */
}

static void redraw(const struct target *target, struct sampler *sampler, struct top_choice *choice)
{
    top_screen_draw(target, sampler_lock(sampler), choice);
    sampler_unlock(sampler);
}

/* Paused, what is seen is not drawn until a key is pressed. */
static void show(const struct target *target, struct sampler *sampler, struct top_choice *choice,
                 const sigset_t *unblocked)
{
    struct pollfd watched[2] = {{STDIN_FILENO, POLLIN, 0}, {sampler_descriptor(sampler), POLLIN, 0}};
    for (bool more = true; more && !interrupted;) {
        if (!choice->paused || watched[0].revents || !watched[1].revents)
            redraw(target, sampler, choice);
        else
            sampler_lock(sampler), sampler_unlock(sampler);
        watched[0].revents = watched[1].revents = 0;
        ppoll(watched, 2, NULL, unblocked); /* whatever it gives, getch and the descriptor say what to do */
        more = !(watched[0].revents & (POLLHUP | POLLERR | POLLNVAL)) && top_screen_keys(choice);
    }
}

static int run_live(const char *command, const struct target *target, struct arguments *arguments)
{
    sigset_t unblocked;
    struct figures figures;
    char problem[ASK_PROBLEM_SIZE];
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return usage_error(command, "there is no terminal; --once prints text");
    if (!figures_read(target, false, &figures, problem)) { /* better said before the screen is taken */
        fprintf(stderr, "luaduct %s: %s\n", command, problem);
        return 1;
    }
    figures_free(&figures);
    charset_start();
    if (!top_screen_start()) {
        fprintf(stderr, "luaduct %s: the terminal \"%s\" cannot be used; see TERM, or --once\n", command,
                getenv("TERM") ? getenv("TERM") : "");
        return 1;
    }
    handle_signals(&unblocked);
    struct sampler *sampler = sampler_start(target, arguments->interval_s);
    if (sampler)
        show(target, sampler, &arguments->choice, &unblocked);
    top_screen_stop();
    if (sampler)
        sampler_leave(sampler);
    else
        fprintf(stderr, "luaduct %s: not enough memory for a thread\n", command);
    return sampler ? 0 : 1;
}

int command_top(int argc, char **argv)
{
    static struct target target;
    struct arguments arguments = {.interval_s = 1};
    char problem[ASK_PROBLEM_SIZE];
    int code = read_options(argc, argv, &arguments);
    if (code != OPTIONS_READ)
        return code;
    code = target_find(argv[0], &arguments.target, TARGET_HTTP, &target);
    if (code != 0)
        return code;
    if (!arguments.once)
        return run_live(argv[0], &target, &arguments);
    if (look_twice(&target, &arguments, problem))
        return 0;
    fprintf(stderr, "luaduct %s: %s\n", argv[0], problem);
    return 1;
}
