/* The command line: finds the command, reads its words, and calls the room that does it. Exit codes: 0 done, 1 it did
 * not work, 2 wrong usage. What a command was asked for goes to standard output, everything else to standard error. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "author/commands.h"
#include "base/hash.h"
#include "base/system.h"
#include "base/version.h"
#include "client/commands.h"
#include "runtime/bundle.h"
#include "runtime/config.h"
#include "runtime/identity/standing.h"
#include "runtime/policies/policies.h"
#include "runtime/server.h"
#include "runtime/tls/certificates.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"
#include "script/shared.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char run_help[] =
    "usage: luaduct run [OPTION]… [CONFIG]\n"
    "\n"
    "Starts a bridge. Without CONFIG: config/luaduct.lua of the installation, or the built-in copy of it.\n"
    "SIGTERM and SIGINT stop it, SIGHUP reloads config and scripts, SIGUSR1 opens the log file again.\n"
    "\n"
    "  --mode MODE        enhanced or original\n"
    "  --host HOST        where to listen; localhost means both loopbacks\n"
    "  --ws-port PORT     for WebSocket; 0 picks a free one\n"
    "  --http-port PORT   for HTTP; 0 picks a free one\n"
    "  --workers NUMBER   reactors, or auto: one for each processor\n"
    "  --log-level LEVEL  debug, info, warn or error\n"
    "  --import FILE      begin with the mailboxes and the history that `luaduct export` wrote\n"
    "\n"
    "Options win over the environment, the environment wins over CONFIG.\n";

static const char check_help[] =
    "usage: luaduct check [CONFIG] [SCRIPT]…\n"
    "\n"
    "Says what is wrong with a config, with the scripts that it names, and with further scripts: one problem a line, "
    "on\n"
    "standard error. Exits 0 when all is well, 1 when not. Without CONFIG: what `luaduct run` would take.\n";

static const char version_help[] = "usage: luaduct version\n"
                                   "\n"
                                   "Prints the version.\n";

static const char help_help[] = "usage: luaduct help [COMMAND]\n"
                                "\n"
                                "Says how a command is used.\n";

static int command_run(int argc, char **argv);
static bool check_certificates(const struct config *config)
{
    char problem[1024];
    struct tls_context *context;
    bool good = certificates_load(config, &context, problem, sizeof problem);
    if (!good)
        fprintf(stderr, "%s\n", problem);
    tls_context_release(context);
    return good;
}

static int command_check(int argc, char **argv);
static int command_version(int argc, char **argv);
static int command_help(int argc, char **argv);

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the name */
    const char *summary;
    const char *help; /* NULL: the command answers --help itself */
} commands[] = {
    {"run", command_run, "start a bridge", run_help},
    {"check", command_check, "say what is wrong with a config and its scripts", check_help},
    {"reload", command_reload, "have a bridge take up its config and scripts again", NULL},
    {"canary", command_canary, "see, promote or abort a version of the scripts on trial", NULL},
    {"trace", command_trace, "see what becomes of each envelope", NULL},
    {"replay", command_replay, "send a recorded trace through a script, and compare", NULL},
    {"repl", command_repl, "look at a running bridge, and ask its scripts, at a prompt", NULL},
    {"agent", command_agent, "be an agent in this terminal, or in a pipe", NULL},
    {"send", command_send, "send one envelope", NULL},
    {"export", command_export, "write mailboxes and history to a file", NULL},
    {"import", command_import, "read them into a bridge", NULL},
    {"bench", command_bench, "put load on a bridge and measure it", NULL},
    {"cert", command_cert, "make certificates for developing", NULL},
    {"token", command_token, "make, list and revoke named tokens", NULL},
    {"new", command_new, "write a script and its spec to start from", NULL},
    {"test", command_test, "run the specs of scripts, without a server", NULL},
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
        printf("  %-8s  %s\n", commands[i].name, commands[i].summary);
    printf("\n`luaduct help COMMAND` says more.\n");
    return EXIT_DONE;
}

static int unknown_command(const char *name)
{
    fprintf(stderr, "luaduct: there is no command \"%s\"; `luaduct help` lists them\n", name);
    return EXIT_USAGE;
}

/* ---- the config ---- */

/* The config that comes with this binary, in `path`: the installation's, or the checkout's for a binary in its build
 * folder. NULL when there is neither. */
static const char *find_config(char path[PATH_MAX])
{
    static const char *const places[] = {"../share/luaduct/config/luaduct.lua", "../config/luaduct.lua"};
    char binary[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", binary, sizeof binary - 1);
    if (length <= 0)
        return NULL;
    binary[length] = '\0';
    const char *folder = dirname(binary);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char place[PATH_MAX];
        int needed = snprintf(place, sizeof place, "%s/%s", folder, places[i]);
        if (needed > 0 && needed < (int)sizeof place && realpath(place, path) && access(path, R_OK) == 0)
            return path;
    }
    return NULL;
}

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
    struct config_source source = {.install_bundle = bundle_install};
    int wrong = read_run_arguments(argc, argv, &source);
    if (wrong)
        return wrong;
    char found[PATH_MAX];
    if (!source.path)
        source.path = find_config(found);

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

/* What a script prints while it is loaded is no answer to "is it good". */
static void show_script_log(void *context, enum script_log_level level, struct slice text)
{
    (void)context;
    (void)level;
    fprintf(stderr, "%.*s\n", (int)text.length, text.data);
}

/* *authenticates becomes true when it has that hook. */
static bool check_script(const struct config *config, const char *path, bool *authenticates)
{
    const struct script_options options = {
        .paths = &path,
        .path_count = 1,
        .folder = config->script.folder,
        .mode = config->mode_name,
        .budget_ms = config->script.budget_ms,
        .memory_limit = config->script.memory_limit,
        .jit = config->script.jit,
        .log = show_script_log,
        .wake_fd = -1,
        .open_bundle = bundle_install,
    };
    char problem[4096];
    struct script_state *state = script_state_new(&options, problem, sizeof problem);
    *authenticates = *authenticates || (state && script_has_hook(state, HOOK_AUTHENTICATE));
    if (state)
        printf("%s: ok\n", path);
    else
        fprintf(stderr, "%s\n", problem);
    script_state_free(state);
    return state != NULL;
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
    source.path = argc > 1 ? argv[1] : find_config(found);

    system_raise_file_limit();
    struct config config;
    char *problems;
    bool good = config_load(&config, &source, &problems);
    if (good) {
        good = check_certificates(&config);
        if (good)
            printf("%s: ok\n", source.path ? source.path : "the built-in configuration");
    } else {
        print_problems(&problems);
        /* The scripts are still worth a look, by the limits of the built-in configuration. */
        source.path = NULL;
        if (argc <= 2 || !config_load(&config, &source, &problems)) {
            free(problems);
            return EXIT_FAILED;
        }
    }
    bool authenticates = false, watched = watchdog_install();
    if (!watched)
        fprintf(stderr, "luaduct check: cannot watch over scripts: %s\n", strerror(errno));
    if (!shared_start(config.script.shared_bytes)) /* scripts may use it while they are loaded */
        fprintf(stderr, "luaduct check: not enough memory for script.sharedBytes\n");
    for (size_t i = 0; watched && i < config.script.paths.count; i++)
        good = check_script(&config, config.script.paths.items[i], &authenticates) && good;
    if (good && authenticates != config.auth.hook) {
        fprintf(stderr, "auth.hook: expected %s\n",
                authenticates ? "true, for a script has the hook authenticate" : "a script with the hook authenticate");
        good = false;
    }
    char problem[4096];
    struct standing standing;
    const char *asked[] = {config.auth.tokens, config.auth.jwt.keys, config.auth.jwt.key, config.policies.access};
    bool standing_good = watched && standing_load(&config, show_script_log, &standing, problem, sizeof problem);
    for (size_t i = 0; standing_good && i < sizeof asked / sizeof *asked; i++)
        if (asked[i])
            printf("%s: ok\n", asked[i]);
    if (standing_good)
        standing_release(&standing);
    else if (watched)
        fprintf(stderr, "%s\n", problem);
    good = good && standing_good;
    if (watched && config.policies.alerts && policies_check(&config, show_script_log, problem, sizeof problem)) {
        printf("%s: ok\n", config.policies.alerts);
    } else if (watched && config.policies.alerts) {
        fprintf(stderr, "%s\n", problem);
        good = false;
    }
    for (int i = 2; watched && i < argc; i++)
        good = check_script(&config, argv[i], &authenticates) && good;
    shared_stop();
    config_free(&config);
    return good && watched ? EXIT_DONE : EXIT_FAILED;
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

static int command_help(int argc, char **argv)
{
    if (argc == 1)
        return print_overview();
    if (argc > 2) {
        fprintf(stderr, "luaduct help: one command at a time, there is no place for %s\n", argv[2]);
        return EXIT_USAGE;
    }
    const struct command *command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    if (!command->help)
        return command->run(2, (char *[]){argv[1], "--help", NULL});
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
    if (strcmp(argv[1], "--version") == 0)
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
    int code = dispatch(argc, argv);
    /* A full disk behind standard output must not look like success. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_DONE) {
        fprintf(stderr, "luaduct: cannot write to standard output: %s\n", strerror(errno));
        code = EXIT_FAILED;
    }
    return code;
}
