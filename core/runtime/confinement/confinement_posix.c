/* POSIX has nothing that confines a process: "required" ends the start, "auto" goes on without. */
#include <stdio.h>

#include "base/log.h"
#include "runtime/config/config.h"
#include "runtime/confinement/file_access.h"
#include "runtime/confinement/system_calls.h"

static bool confine(enum config_confine wanted, const char *key, char *error, size_t size)
{
    if (wanted == CONFIG_CONFINE_AUTO)
        log_warn(SERVER, "not_confined", "%s: Linux alone can, with a build for it: nothing is confined", key);
    else if (wanted == CONFIG_CONFINE_REQUIRED)
        snprintf(error, size, "%s: Linux alone can, with a build for it; \"off\" or \"auto\" go on without", key);
    return wanted != CONFIG_CONFINE_REQUIRED;
}

bool file_access_confine(const struct config *config, char *error, size_t size)
{
    return confine(config->confinement.files, "confinement.files", error, size);
}

bool system_calls_confine(const struct config *config, char *error, size_t size)
{
    return confine(config->confinement.system_calls, "confinement.systemCalls", error, size);
}
