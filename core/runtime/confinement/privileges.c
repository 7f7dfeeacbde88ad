#include "runtime/confinement/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/system/system.h"
#include "runtime/config/config.h"

/* Digits only, and not the number that says "leave it" to the kernel. */
static bool read_number(const char *text, uint32_t *out)
{
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
        return false;
    unsigned long long number = strtoull(text, NULL, 10);
    *out = (uint32_t)number;
    return number < UINT32_MAX;
}

/* A name or a number; containers have users without a name. False: there is none. */
static bool find_user(const char *name, uid_t *user, gid_t *group)
{
    struct passwd *entry = getpwnam(name);
    uint32_t number = 0;
    if (!entry && !read_number(name, &number))
        return false;
    if (!entry)
        entry = getpwuid(number);
    *user = entry ? entry->pw_uid : number;
    *group = entry ? entry->pw_gid : number;
    return true;
}

static bool find_group(const char *name, gid_t *group)
{
    struct group *entry = getgrnam(name);
    uint32_t number;
    if (!entry && !read_number(name, &number))
        return false;
    *group = entry ? entry->gr_gid : number;
    return true;
}

static bool give(const char *what, const char *path, uid_t user, gid_t group, char *error, size_t size)
{
    if (!path || chown(path, user, group) == 0)
        return true;
    snprintf(error, size, "%s: cannot give %s to the configured user: %s", what, path, strerror(errno));
    return false;
}

bool privileges_drop(const struct config *config, char *error, size_t size)
{
    if (!config->user) {
        if (config->group) {
            snprintf(error, size, "group: is set without user");
            return false;
        }
        if (geteuid() == 0)
            log_info(SERVER, "running_as_root", "running as root: the key user names somebody with fewer rights");
        return true;
    }
    uid_t user;
    gid_t group;
    if (!find_user(config->user, &user, &group)) {
        snprintf(error, size, "user: there is no user %s on this machine", config->user);
        return false;
    }
    if (config->group && !find_group(config->group, &group)) {
        snprintf(error, size, "group: there is no group %s on this machine", config->group);
        return false;
    }
    if (geteuid() != 0) {
        if (geteuid() == user && getegid() == group)
            return true;
        snprintf(error, size, "user: becoming %s needs a start as root", config->user);
        return false;
    }
    if (!give("log.file", config->log.file, user, group, error, size) ||
        !give("listen.admin", config->listen.admin, user, group, error, size))
        return false;
    if (!system_become(user, group)) {
        snprintf(error, size, "user: cannot become %s: %s", config->user, strerror(errno));
        return false;
    }
    if (user != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
        snprintf(error, size, "user: root could be taken back, so nothing is safe");
        return false;
    }
    log_info(SERVER, "user_changed", "running as user %s", config->user);
    return true;
}

void privileges_freeze(void)
{
    system_refuse_privileges();
}

void privileges_hide_memory(const struct config *config)
{
    if (!config->auth.required && config->tls.pair_count == 0)
        return;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    system_hide_memory();
}
