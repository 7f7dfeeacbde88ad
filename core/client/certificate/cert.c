/* `luaduct cert dev`: an authority, a server and agents for a machine on which one develops. Nothing is written before
 * all of it can be: what is in the way is looked for first, and keys never stand in a file that others may read. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "client/arguments/options.h"
#include "client/certificate/certificate.h"
#include "client/commands.h"

static const char help[] =
    "usage: luaduct cert dev DIR [OPTION]…\n"
    "Makes certificates for developing, in the folder DIR: an authority of your own (ca.pem, ca.key), a server's that "
    "it\n"
    "signs (server.pem, server.key) for localhost, 127.0.0.1 and ::1, agents' (agent-ID.pem, agent-ID.key), and a "
    "config\n"
    "that uses them (bridge.lua: luaduct run DIR/bridge.lua).\n"
    "Keys can be read by you only. Whoever has ca.key can pretend to be any server to those who trust ca.pem.\n"
    "\n"
    "In a folder that has an authority already, it signs further agents, and what is there stays.\n"
    "\n"
    "  --name NAME   a further DNS name or IP address of the server; may be given several times\n"
    "  --agent ID    a certificate for this agent: luaduct:agent:ID, luaduct:role:agent; may be given several times\n"
    "  --force       make all anew, in place of what is there\n"
    "\n"
    "Exit status: 0; 1 when something could not be made; 2 wrong usage.\n";

#define AGENTS_MAXIMUM 256

struct arguments {
    const char *folder;
    const char *names[CERTIFICATE_NAMES_MAXIMUM];
    size_t name_count;
    const char *agents[AGENTS_MAXIMUM];
    size_t agent_count;
    bool force;
};

static int take_name(void *context, const char *command, const char *name)
{
    struct arguments *arguments = context;
    if (!certificate_is_host(name))
        return usage_error(command, "--name: expected a DNS name or an IP address, got \"%s\"", name);
    if (arguments->name_count == CERTIFICATE_NAMES_MAXIMUM)
        return usage_error(command, "--name: a server has no more than %d names here", CERTIFICATE_NAMES_MAXIMUM);
    arguments->names[arguments->name_count++] = name;
    return 0;
}

static int take_agent(void *context, const char *command, const char *id)
{
    struct arguments *arguments = context;
    if (!certificate_is_name(id))
        return usage_error(command, "--agent: expected 1 to 64 letters, digits, and . _ -, got \"%s\"", id);
    for (size_t i = 0; i < arguments->agent_count; i++)
        if (strcmp(arguments->agents[i], id) == 0)
            return usage_error(command, "--agent: \"%s\" is there twice", id);
    if (arguments->agent_count == AGENTS_MAXIMUM)
        return usage_error(command, "--agent: no more than %d at a time", AGENTS_MAXIMUM);
    arguments->agents[arguments->agent_count++] = id;
    return 0;
}

static int read_options(int argc, char **argv, struct arguments *arguments)
{
    const struct option_rule rules[] = {{"name", .take = take_name, .context = arguments},
                                        {"agent", .take = take_agent, .context = arguments},
                                        {"force", .flag = &arguments->force},
                                        {0}};
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    if (optind >= argc || strcmp(argv[optind], "dev") != 0)
        return usage_error(argv[0], "expected dev and a folder");
    if (argc - optind != 2 || !*argv[optind + 1])
        return usage_error(argv[0], "expected one folder after dev");
    arguments->folder = argv[optind + 1];
    return OPTIONS_READ;
}

/* ---- files ---- */

static int complain(const char *path, const char *why)
{
    fprintf(stderr, "luaduct cert: %s: %s\n", path, why);
    return 1;
}

/* The path of DIR/STEM.SUFFIX. False, with a line: it is too long. */
static bool name_file(char path[PATH_MAX], const char *folder, const char *stem, const char *suffix)
{
    int length = snprintf(path, PATH_MAX, "%s/%s.%s", folder, stem, suffix);
    return (length > 0 && length < PATH_MAX) || complain(folder, strerror(ENAMETOOLONG)) == 0;
}

static bool is_there(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

/* A new file with these rights from its first moment on. */
static int write_file(const char *path, const char *text, mode_t mode)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return complain(path, strerror(errno));
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (descriptor < 0)
        return complain(path, strerror(errno));
    size_t length = strlen(text);
    ssize_t written = write(descriptor, text, length);
    int failure = written < 0 ? errno : (size_t)written < length ? ENOSPC : 0;
    if (close(descriptor) != 0 && failure == 0)
        failure = errno;
    return failure == 0 ? 0 : complain(path, strerror(failure));
}

static int read_file(const char *path, char *text, size_t size)
{
    FILE *stream = fopen(path, "re");
    if (!stream)
        return complain(path, strerror(errno));
    size_t length = fread(text, 1, size - 1, stream);
    int failure = ferror(stream) ? errno : length == size - 1 ? EFBIG : 0;
    fclose(stream);
    text[length] = '\0';
    return failure == 0 ? 0 : complain(path, strerror(failure));
}

/* ---- making ---- */

static int store(const char *folder, const char *stem, const struct certificate *certificate, const char *what)
{
    char path[PATH_MAX], day[16];
    struct tm parts;
    strftime(day, sizeof day, "%Y-%m-%d", gmtime_r(&certificate->until, &parts));
    if (!name_file(path, folder, stem, "key"))
        return 1;
    int code = write_file(path, certificate->key, 0600);
    if (code != 0 || !name_file(path, folder, stem, "pem"))
        return 1;
    code = write_file(path, certificate->pem, 0644);
    if (code == 0)
        printf("%s, %s.key: %s, until %s\n", path, stem, what, day);
    return code;
}

static int make_one(const char *folder, const char *stem, const struct certificate_subject *subject,
                    const struct certificate *authority, const char *what)
{
    static struct certificate made;
    char error[CERTIFICATE_ERROR_SIZE];
    int code = 1;
    if (certificate_make(&made, subject, authority, error))
        code = store(folder, stem, &made, what);
    else
        complain(folder, error);
    certificate_forget(&made);
    return code;
}

static int make_authority(const char *folder, struct certificate *authority)
{
    char name[64], error[CERTIFICATE_ERROR_SIZE];
    /* Two authorities of one name would be taken for each other where both are trusted. */
    snprintf(name, sizeof name, "Luaduct development CA %08x", (unsigned)random_u64());
    const struct certificate_subject subject = {.kind = CERTIFICATE_AUTHORITY, .name = name};
    if (!certificate_make(authority, &subject, NULL, error))
        return complain(folder, error);
    return store(folder, "ca", authority, "the authority");
}

static int read_authority(const char *folder, struct certificate *authority)
{
    char path[PATH_MAX];
    if (!name_file(path, folder, "ca", "pem") || read_file(path, authority->pem, sizeof authority->pem) != 0)
        return 1;
    if (!name_file(path, folder, "ca", "key") || read_file(path, authority->key, sizeof authority->key) != 0)
        return 1;
    return 0;
}

static int make_server(const struct arguments *arguments, const struct certificate *authority)
{
    const char *names[3 + CERTIFICATE_NAMES_MAXIMUM] = {"localhost", "127.0.0.1", "::1"};
    memcpy(names + 3, arguments->names, arguments->name_count * sizeof names[0]);
    const struct certificate_subject subject = {
        .kind = CERTIFICATE_SERVER, .name = "localhost", .names = names, .name_count = 3 + arguments->name_count};
    return make_one(arguments->folder, "server", &subject, authority, "the server");
}

static int make_agents(const struct arguments *arguments, const struct certificate *authority)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < arguments->agent_count; i++) {
        const char *id = arguments->agents[i];
        char stem[80], what[96];
        snprintf(stem, sizeof stem, "agent-%s", id);
        snprintf(what, sizeof what, "the agent %s", id);
        const struct certificate_subject subject = {.kind = CERTIFICATE_AGENT, .name = id};
        code = make_one(arguments->folder, stem, &subject, authority, what);
    }
    return code;
}

/* Whether DIR/STEM.SUFFIX is there; says so. */
static bool has_file(const char *folder, const char *stem, const char *suffix)
{
    char path[PATH_MAX];
    if (!name_file(path, folder, stem, suffix))
        return true;
    if (is_there(path))
        complain(path, "it is there already; --force makes all anew");
    return is_there(path);
}

static bool has_pair(const char *folder, const char *stem)
{
    return has_file(folder, stem, "pem") || has_file(folder, stem, "key");
}

/* Whether all that will be made has its place. `extends`: only agents will. */
static bool is_free(const struct arguments *arguments, bool extends)
{
    const char *folder = arguments->folder;
    if (!extends && (has_pair(folder, "ca") || has_pair(folder, "server") || has_file(folder, "bridge", "lua")))
        return false;
    for (size_t i = 0; i < arguments->agent_count; i++) {
        char stem[80];
        snprintf(stem, sizeof stem, "agent-%s", arguments->agents[i]);
        if (has_pair(folder, stem))
            return false;
    }
    return true;
}

static const char config[] = "-- A bridge that speaks TLS, with the certificates of this folder.\n"
                             "return {\n"
                             "    tls = {\n"
                             "        cert = \"server.pem\",\n"
                             "        key = \"server.key\",\n"
                             "        -- clientCa = \"ca.pem\", -- agents may show a certificate of this authority\n"
                             "    },\n"
                             "}\n";

static int write_config(const char *folder)
{
    char path[PATH_MAX];
    if (!name_file(path, folder, "bridge", "lua") || write_file(path, config, 0644) != 0)
        return 1;
    printf("%s: a config that uses them\n", path);
    return 0;
}

static void print_use(const struct arguments *arguments)
{
    const char *folder = arguments->folder;
    printf("Try, each in a terminal of its own:\n  luaduct run %s/bridge.lua\n", folder);
    printf("  luaduct agent alice --url wss://localhost:4567 --ca %s/ca.pem\n", folder);
    printf("  luaduct send --to alice --url https://localhost:4568 --ca %s/ca.pem '{\"text\":\"hello\"}'\n", folder);
}

static int make_all(const struct arguments *arguments)
{
    static struct certificate authority;
    char path[PATH_MAX];
    if (mkdir(arguments->folder, 0700) != 0 && errno != EEXIST)
        return complain(arguments->folder, strerror(errno));
    if (!name_file(path, arguments->folder, "ca", "key"))
        return 1;
    bool extends = !arguments->force && arguments->agent_count > 0 && arguments->name_count == 0 && is_there(path);
    if (!arguments->force && !is_free(arguments, extends))
        return 1;
    int code = extends ? read_authority(arguments->folder, &authority) : make_authority(arguments->folder, &authority);
    if (code == 0 && !extends)
        code = make_server(arguments, &authority);
    if (code == 0)
        code = make_agents(arguments, &authority);
    certificate_forget(&authority);
    if (code == 0 && !extends)
        code = write_config(arguments->folder);
    if (code == 0 && !extends)
        print_use(arguments);
    return code;
}

int command_cert(int argc, char **argv)
{
    static struct arguments arguments;
    int code = read_options(argc, argv, &arguments);
    if (code != OPTIONS_READ)
        return code;
    return make_all(&arguments);
}
