/* The command line: finds the command, reads its words, and calls the room that does it. Exit codes: 0 done, 1 it did
 * not work, 2 wrong usage. What a command was asked for goes to standard output, everything else to standard error. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "author/commands.h"
#include "author/inspect.h"
#include "author/manual.h"
#include "base/hash.h"
#include "base/system/system.h"
#include "base/version.h"
#include "client/commands.h"
#include "runtime/config/bundle.h"
#include "runtime/config/config.h"
#include "runtime/process/server.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char run_help[] =
    "usage: luaduct run [OPTION]… [CONFIG]\n"
    "\n"
    "Starts a bridge. Without CONFIG: config/luaduct.lua of the installation, or the built-in copy of it.\n"
    "\n"
    "  --mode MODE        enhanced or original\n"
    "  --host HOST        where to listen; localhost means both loopbacks\n"
    "  --ws-port PORT     for WebSocket; 0 picks a free one\n"
    "  --http-port PORT   for HTTP; 0 picks a free one\n"
    "  --workers NUMBER   reactors, or auto: one for each processor\n"
    "  --log-level LEVEL  debug, info, warn or error\n"
    "  --import FILE      begin with the mailboxes and the history that `luaduct export` wrote\n"
    "\n"
    "Options win over the environment, the environment wins over CONFIG.\n"
    "\n"
    "  SIGTERM, SIGINT  drain it and end it; a second one ends it at once, with status 1\n"
    "  SIGHUP           have it take up config and scripts again, as `luaduct reload`\n"
    "  SIGUSR1          have it open its log file again, once that was renamed\n"
    "  SIGUSR2          start the program anew, as it is on disk by now, and hand over to it without a gap\n"
    "\n"
    "Exit status: 0 when it was told to end, and did; 1 when it could not start, or was told to end a second time;\n"
    "2 wrong usage.\n";

static const char check_help[] =
    "usage: luaduct check [CONFIG] [SCRIPT]…\n"
    "\n"
    "Says what is wrong with a config, with the scripts that it names, and with further scripts: one problem a line, "
    "on\n"
    "standard error. Each hook is called once with a sample, as a reload does. Where nobody may administer the bridge "
    "it\n"
    "warns. Exits 0 when all is well, 1 when not. Without CONFIG: what `luaduct run` would take.\n";

static const char version_help[] = "usage: luaduct version\n"
                                   "\n"
                                   "Prints the version.\n";

static const char help_help[] =
    "usage: luaduct help [COMMAND [WORD]]\n"
    "       luaduct help --man PAGE\n"
    "\n"
    "Says how a command is used, or prints a manual page. What stands behind a command, as in `luaduct help config "
    "migrate`,\n"
    "may be one of the words that it takes.\n"
    "\n"
    "  luaduct help --man luaduct.1 | man -l -\n"
    "\n"
    "  --man PAGE  luaduct.1, luaduct.lua.5 (the keys of a config), or command-line.md (luaduct.1 in Markdown)\n";

static const char completion_help[] =
    "usage: luaduct completion bash|zsh\n"
    "\n"
    "Prints what has the shell complete this program's commands, options and values. In .bashrc or .zshrc:\n"
    "\n"
    "  source <(luaduct completion bash)\n";

static const char *program; /* argv[0] */

static int command_run(int argc, char **argv);
static int command_check(int argc, char **argv);
static int command_version(int argc, char **argv);
static int command_help(int argc, char **argv);
static int command_completion(int argc, char **argv);

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the name */
    const char *summary;
    const char *help; /* NULL: the command answers --help itself */
} commands[] = {
    {"run", command_run, "start a bridge", run_help},
    {"check", command_check, "say what is wrong with a config and its scripts", check_help},
    {"doctor", command_doctor, "look whether this machine and a config are fit for each other", NULL},
    {"health", command_health, "ask a bridge whether it lives, or takes work", NULL},
    {"reload", command_reload, "have a bridge take up its config and scripts again", NULL},
    {"drain", command_drain, "have a bridge send its agents elsewhere, and end", NULL},
    {"canary", command_canary, "see, promote or abort a version of the scripts on trial", NULL},
    {"status", command_status, "see on one screen how a bridge does", NULL},
    {"top", command_top, "the same live, with who sends most", NULL},
    {"agents", command_agents, "see who is connected", NULL},
    {"history", command_history, "see the newest envelopes", NULL},
    {"tasks", command_tasks, "see what the history says of tasks", NULL},
    {"alerts", command_alerts, "see what an operator should look at", NULL},
    {"tail", command_tail, "see envelopes as they pass", NULL},
    {"trace", command_trace, "see what becomes of each envelope", NULL},
    {"replay", command_replay, "send a recorded trace through a script, and compare", NULL},
    {"repl", command_repl, "look at a running bridge, and ask its scripts, at a prompt", NULL},
    {"agent", command_agent, "be an agent in this terminal, or in a pipe", NULL},
    {"send", command_send, "send one envelope", NULL},
    {"export", command_export, "write mailboxes and history to a file", NULL},
    {"import", command_import, "read them into a bridge", NULL},
    {"bench", command_bench, "put load on a bridge and measure it", NULL},
    {"config", command_config, "bring the Node bridge's config here", NULL},
    {"cert", command_cert, "make certificates for developing", NULL},
    {"token", command_token, "make, list and revoke named tokens", NULL},
    {"new", command_new, "write a script and its spec to start from", NULL},
    {"test", command_test, "run the specs of scripts, without a server", NULL},
    {"completion", command_completion, "have a shell complete this program's words", completion_help},
    {"version", command_version, "print the version", version_help},
    {"help", command_help, "say how a command is used", help_help},
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static int print_overview(void)
{
    printf("usage: luaduct COMMAND [ARGUMENT]…\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s  %s\n", commands[i].name, commands[i].summary);
    printf("\n`luaduct help COMMAND` says more, and so do --help and -h behind a command.\n");
    return EXIT_DONE;
}

static int unknown_command(const char *name)
{
    fprintf(stderr, "luaduct: there is no command \"%s\"; `luaduct help` lists them\n", name);
    return EXIT_USAGE;
}

/* ---- the config ---- */

/* Takes the problems, and forgets them. */
static void print_problems(char **problems)
{
    fputs(*problems ? *problems : "out of memory\n", stderr);
    free(*problems);
    *problems = NULL;
}

/* ---- run ---- */

/* Where `option` ("--mode") of `run` stores its value; NULL when there is no such option. */
static const char **find_flag(struct config_flags *flags, const char **import, const char *option, size_t length)
{
    const struct {
        const char *option;
        const char **flag;
    } known[] = {
        {"--mode", &flags->mode},       {"--host", &flags->host},
        {"--ws-port", &flags->ws_port}, {"--http-port", &flags->http_port},
        {"--workers", &flags->workers}, {"--log-level", &flags->log_level},
        {"--import", import},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].option) == length && memcmp(known[i].option, option, length) == 0)
            return known[i].flag;
    }
    return NULL;
}

static int run_usage(const char *problem, const char *word)
{
    fprintf(stderr, "luaduct run: %s %s; see `luaduct help run`\n", problem, word);
    return EXIT_USAGE;
}

/* Reads "--option VALUE", "--option=VALUE" and one CONFIG in any order. 0, or the exit code of a mistake. */
static int read_run_arguments(int argc, char **argv, struct config_source *source)
{
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && argv[i][0] == '-') {
            size_t length = strcspn(argv[i], "=");
            const char **flag = find_flag(&source->flags, &source->import, argv[i], length);
            if (!flag)
                return run_usage("there is no option", argv[i]);
            if (argv[i][length] == '=')
                *flag = argv[i] + length + 1;
            else if (i + 1 < argc)
                *flag = argv[++i];
            else
                return run_usage("a value is missing after", argv[i]);
        } else if (source->path) {
            return run_usage("one config is enough, there is no place for", argv[i]);
        } else {
            source->path = argv[i];
        }
    }
    return 0;
}

/* Whether each line is about a flag ("--mode (mode): …"), which makes it wrong usage. Others name a file or a variable.
 */
static bool are_about_flags(const char *problems)
{
    for (const char *line = problems; line && *line;) {
        if (strncmp(line, "--", 2) != 0)
            return false;
        line = strchrnul(line, '\n');
        line += *line == '\n';
    }
    return problems != NULL;
}

static int command_run(int argc, char **argv)
{
    struct config_source source = {.program = program, .install_bundle = bundle_install};
    int wrong = read_run_arguments(argc, argv, &source);
    if (wrong)
        return wrong;
    char found[PATH_MAX];
    if (!source.path)
        source.path = inspect_find_config(found);

    system_raise_file_limit(); /* "auto" for connections counts from it */
    struct config config;
    char *problems;
    if (!config_load(&config, &source, &problems)) {
        int code = are_about_flags(problems) ? EXIT_USAGE : EXIT_FAILED;
        print_problems(&problems);
        return code;
    }
    int code = server_run(&config, &source);
    config_free(&config);
    return code;
}

/* ---- check ---- */

static void print_finding(void *context, const char *what, const char *problem)
{
    (void)context;
    if (problem)
        fprintf(stderr, "%s\n", problem);
    else
        printf("%s: ok\n", what);
}

static int command_check(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            fprintf(stderr, "luaduct check: there is no option %s; see `luaduct help check`\n", argv[i]);
            return EXIT_USAGE;
        }
    }
    char found[PATH_MAX];
    struct config_source source = {.install_bundle = bundle_install};
    source.path = argc > 1 ? argv[1] : inspect_find_config(found);

    system_raise_file_limit();
    struct config config;
    char *problems;
    bool good = config_load(&config, &source, &problems), own = good, administrable;
    if (good) {
        good = inspect_certificates(&config, print_finding, NULL);
    } else {
        print_problems(&problems);
        /* The scripts are still worth a look, by the limits of the built-in configuration. */
        source.path = NULL;
        if (argc <= 2 || !config_load(&config, &source, &problems)) {
            free(problems);
            return EXIT_FAILED;
        }
    }
    size_t count = argc > 2 ? (size_t)argc - 2 : 0;
    good = inspect_scripts(&config, (const char *const *)argv + 2, count, print_finding, NULL, &administrable) && good;
    if (own && good) /* a config whose files are wrong is not */
        printf("%s: ok\n", source.path ? source.path : "the built-in configuration");
    if (own && !administrable)
        fprintf(stderr, "%s: warning: " INSPECT_NOBODY_ADMINISTERS "; " INSPECT_NOBODY_ADVICE "\n",
                source.path ? source.path : "the built-in configuration");
    config_free(&config);
    return good ? EXIT_DONE : EXIT_FAILED;
}

/* ---- the small ones ---- */

static int no_arguments(int argc, char **argv)
{
    if (argc == 1)
        return 0;
    fprintf(stderr, "luaduct %s: it takes no arguments, got %s\n", argv[0], argv[1]);
    return EXIT_USAGE;
}

static int command_version(int argc, char **argv)
{
    int wrong = no_arguments(argc, argv);
    if (!wrong)
        puts("luaduct " LUADUCT_VERSION);
    return wrong;
}

/* What --help of the command prints, to be freed; NULL: no memory. */
static char *take_help(const struct command *command)
{
    char *text = NULL;
    size_t length;
    FILE *before = stdout, *into = open_memstream(&text, &length);
    if (!into)
        return NULL;
    if (command->help) {
        fputs(command->help, into);
    } else {
        stdout = into; /* of glibc, and of the BSDs: a variable like any other */
        optind = 0;    /* getopt begins anew */
        command->run(2, (char *[]){(char *)command->name, "--help", NULL});
        stdout = before;
    }
    bool good = !ferror(into);
    return fclose(into) == 0 && good ? text : (free(text), NULL);
}

static int print_page(const char *page)
{
    struct manual_command all[COMMAND_COUNT];
    int code = EXIT_DONE;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        all[i] = (struct manual_command){commands[i].name, commands[i].summary, take_help(&commands[i])};
        code = all[i].help ? code : EXIT_FAILED;
    }
    if (code == EXIT_DONE)
        code = manual_print(page, all, COMMAND_COUNT);
    else
        fprintf(stderr, "luaduct: not enough memory\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        free(all[i].help);
    return code;
}

static int command_completion(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "bash") == 0 || strcmp(argv[1], "zsh") == 0))
        return print_page(argv[1]);
    fprintf(stderr, "luaduct completion: expected bash or zsh; see `luaduct help completion`\n");
    return EXIT_USAGE;
}

static int print_manual(int argc, char **argv)
{
    static const char *const pages[] = {"luaduct.1", "luaduct.lua.5", "command-line.md"};
    for (size_t i = 0; argc == 3 && i < sizeof pages / sizeof *pages; i++)
        if (strcmp(argv[2], pages[i]) == 0)
            return print_page(pages[i]);
    fprintf(stderr, "luaduct help: --man: expected luaduct.1, luaduct.lua.5 or command-line.md\n");
    return EXIT_USAGE;
}

/* Whether the word stands for itself behind the command: "migrate" in "usage: luaduct config migrate FILE". */
static bool takes_word(const struct command *command, const char *word)
{
    static const char separators[] = " |\n";
    size_t length = strlen(word);
    char *text = take_help(command), *end = text ? strstr(text, "\n\n") : NULL;
    if (end)
        *end = '\0'; /* the lines of usage come first */
    bool found = false;
    for (char *at = text; at && !found && length > 0 && (at = strstr(at, word)) != NULL; at++)
        found = at > text && strchr(separators, at[-1]) && strchr(separators, at[length]) && islower(*word);
    free(text);
    return found;
}

static int command_help(int argc, char **argv)
{
    if (argc == 1)
        return print_overview();
    if (strcmp(argv[1], "--man") == 0)
        return print_manual(argc, argv);
    const struct command *command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    if (argc > 3 || (argc == 3 && !takes_word(command, argv[2]))) {
        fprintf(stderr, "luaduct help: one command at a time, there is no place for %s\n", argv[argc > 3 ? 3 : 2]);
        return EXIT_USAGE;
    }
    if (!command->help) {
        optind = 0;
        return command->run(2, (char *[]){argv[1], "--help", NULL});
    }
    fputs(command->help, stdout);
    return EXIT_DONE;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "luaduct: which command? `luaduct help` lists them\n");
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_overview();
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-v") == 0)
        return command_version(1, argv + 1);
    const struct command *command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    if (command->help && asks_for_help(argc - 1, argv + 1)) {
        fputs(command->help, stdout);
        return EXIT_DONE;
    }
    return command->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    hash_start();
    program = argc > 0 ? argv[0] : "luaduct";
    system_start(program);
    int code = dispatch(argc, argv);
    /* A full disk behind standard output must not look like success. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_DONE) {
        fprintf(stderr, "luaduct: cannot write to standard output: %s\n", strerror(errno));
        code = EXIT_FAILED;
    }
    return code;
}
