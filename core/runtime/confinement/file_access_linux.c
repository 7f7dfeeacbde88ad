/* A set of folders and files, each with what may be done below it. What does not exist is left out. Execution, devices
 * and everything else that Landlock knows of are granted nowhere. */
#include "runtime/confinement/file_access.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/config/config.h"

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE                                                                                                          \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                      \
     LANDLOCK_ACCESS_FS_REMOVE_FILE)
/* All of the first version of Landlock (Linux 5.13). */
#define HANDLED ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
/* What means something for a file that is no folder. */
#define OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE)

/* Memory and pressure figures, the C library's name lookup, time zones, certificates of the webhook's peers. Libraries
 * for name lookup are loaded by it on demand. */
static const char *const readable[] = {"/proc",
                                       "/sys/fs/cgroup",
                                       "/sys/devices/system/cpu",
                                       "/lib",
                                       "/lib64",
                                       "/usr/lib",
                                       "/usr/share/zoneinfo",
                                       "/dev/urandom",
                                       "/etc/ld.so.cache",
                                       "/etc/localtime",
                                       "/etc/hosts",
                                       "/etc/host.conf",
                                       "/etc/nsswitch.conf",
                                       "/etc/gai.conf",
                                       "/etc/services",
                                       "/etc/ssl/certs",
                                       "/usr/share/ca-certificates",
                                       "/usr/local/share/ca-certificates",
                                       "/etc/passwd",
                                       "/etc/group",
                                       "/run/systemd/resolve"};

static int grant(int ruleset, const char *path, uint64_t access)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return 0;
    struct stat about;
    if (fstat(fd, &about) == 0 && !S_ISDIR(about.st_mode))
        access &= OF_FILES;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    int failure = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0 ? 0 : errno;
    close(fd);
    return failure;
}

/* The folder that a file stands in: files are replaced by new ones, and new ones are beside them. */
static int grant_folder_of(int ruleset, const char *file, uint64_t access)
{
    char folder[PATH_MAX];
    if (!file)
        return 0;
    const char *slash = strrchr(file, '/');
    if (!slash)
        return grant(ruleset, ".", access);
    snprintf(folder, sizeof folder, "%.*s", slash == file ? 1 : (int)(slash - file), file);
    return grant(ruleset, folder, access);
}

/* What renews an address writes a new resolv.conf beside the old one and renames it, and a rule is for a file, not for
 * its name. So the folder is granted where it is one for such files (/run/systemd/resolve, /run/resolvconf …); and
 * /etc, to read its files, where webhooks need names: whom the bridge runs as may read them by their modes anyway. */
static int grant_resolver(int ruleset, const struct config *config)
{
    char target[PATH_MAX];
    if (!realpath("/etc/resolv.conf", target))
        return 0;
    if (strncmp(target, "/etc/", 5) != 0)
        return grant_folder_of(ruleset, target, READ);
    return config->alerts.webhook_url ? grant(ruleset, "/etc", LANDLOCK_ACCESS_FS_READ_FILE)
                                      : grant(ruleset, target, READ);
}

static int grant_what_the_config_names(int ruleset, const struct config *config)
{
    int failure = grant_folder_of(ruleset, config->file, READ);
    for (size_t i = 0; failure == 0 && i < config->script.paths.count; i++)
        failure = grant_folder_of(ruleset, config->script.paths.items[i], READ);
    if (failure == 0 && config->script.folder)
        failure = grant(ruleset, config->script.folder, READ);
    const char *lua = getenv("LUADUCT_LUA_PATH"); /* the bridge's own Lua, in the place of what is built in */
    if (failure == 0 && lua)
        failure = grant(ruleset, lua, READ);
    const char *const files[] = {config->policies.alerts, config->policies.access, config->auth.tokens,
                                 config->auth.jwt.keys,   config->auth.jwt.key,    config->tls.client_ca,
                                 config->tls.crl,         getenv("SSL_CERT_FILE")}; /* whom webhooks trust */
    for (size_t i = 0; failure == 0 && i < sizeof files / sizeof files[0]; i++)
        failure = grant_folder_of(ruleset, files[i], READ);
    for (size_t i = 0; failure == 0 && i < config->tls.pair_count; i++) {
        failure = grant_folder_of(ruleset, config->tls.pairs[i].cert, READ);
        if (failure == 0)
            failure = grant_folder_of(ruleset, config->tls.pairs[i].key, READ);
    }
    for (size_t i = 0; failure == 0 && i < config->secret_files.count; i++)
        failure = grant_folder_of(ruleset, config->secret_files.items[i], READ);
    if (failure == 0)
        failure = grant_folder_of(ruleset, config->log.file, READ | WRITE);
    if (failure == 0)
        failure = grant_folder_of(ruleset, config->listen.admin, READ | WRITE);
    return failure;
}

static int confine(const struct config *config)
{
    struct landlock_ruleset_attr attributes = {.handled_access_fs = HANDLED};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0)
        return errno;
    int failure = 0;
    for (size_t i = 0; failure == 0 && i < sizeof readable / sizeof readable[0]; i++)
        failure = grant(ruleset, readable[i], READ);
    if (failure == 0)
        failure = grant_resolver(ruleset, config);
    if (failure == 0)
        failure = grant(ruleset, "/dev/null", READ | WRITE);
    if (failure == 0)
        failure = grant_what_the_config_names(ruleset, config);
    if (failure == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        failure = errno;
    close(ruleset);
    return failure;
}

bool file_access_confine(const struct config *config, char *error, size_t size)
{
    if (config->confinement.files == CONFIG_CONFINE_OFF)
        return true;
    int failure = confine(config);
    if (failure == 0)
        return true;
    if (config->confinement.files == CONFIG_CONFINE_AUTO) {
        log_warn(SERVER, "not_confined", "confinement.files: this kernel cannot (%s): nothing is confined",
                 strerror(failure));
        return true;
    }
    snprintf(error, size, "confinement.files: this kernel cannot: %s", strerror(failure));
    return false;
}
