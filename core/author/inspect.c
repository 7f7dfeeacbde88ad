#include "author/inspect.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"
#include "runtime/config/bundle.h"
#include "runtime/identity/standing.h"
#include "runtime/policies/policies.h"
#include "runtime/tls/certificates.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"
#include "script/shared.h"

const char *inspect_find_config(char path[PATH_MAX])
{
    static const char *const places[] = {"../share/luaduct/config/luaduct.lua", "../config/luaduct.lua"};
    char binary[PATH_MAX];
    if (!system_program_path(binary))
        return NULL;
    const char *folder = dirname(binary);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char place[PATH_MAX];
        int needed = snprintf(place, sizeof place, "%s/%s", folder, places[i]);
        if (needed > 0 && needed < (int)sizeof place && realpath(place, path) && access(path, R_OK) == 0)
            return path;
    }
    return NULL;
}

bool inspect_certificates(const struct config *config, inspect_report *report, void *context)
{
    char problem[1024];
    struct tls_context *tls;
    bool good = certificates_load(config, &tls, problem, sizeof problem);
    if (!good)
        report(context, "tls", problem);
    tls_context_release(tls);
    return good;
}

/* What a script prints while it is loaded is no answer to "is it good". */
static void show_script_log(void *context, enum script_log_level level, struct slice text)
{
    (void)context;
    (void)level;
    fprintf(stderr, "%.*s\n", (int)text.length, text.data);
}

/* *authenticates becomes true when it has that hook. */
static bool inspect_script(const struct config *config, const char *path, bool *authenticates, inspect_report *report,
                           void *context)
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
    report(context, path, state ? NULL : problem);
    script_state_free(state);
    return state != NULL;
}

/* Named tokens, keys of JSON Web Tokens, the access policy. */
static bool inspect_standing(const struct config *config, inspect_report *report, void *context)
{
    const char *asked[] = {config->auth.tokens, config->auth.jwt.keys, config->auth.jwt.key, config->policies.access};
    char problem[4096];
    struct standing standing;
    if (!standing_load(config, show_script_log, &standing, problem, sizeof problem)) {
        report(context, "auth", problem);
        return false;
    }
    standing_release(&standing);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        if (asked[i])
            report(context, asked[i], NULL);
    return true;
}

static bool inspect_alert_rules(const struct config *config, inspect_report *report, void *context)
{
    char problem[4096];
    if (!config->policies.alerts)
        return true;
    bool good = policies_check(config, show_script_log, problem, sizeof problem);
    report(context, config->policies.alerts, good ? NULL : problem);
    return good;
}

bool inspect_scripts(const struct config *config, const char *const *more, size_t more_count, inspect_report *report,
                     void *context)
{
    bool good = true, authenticates = false;
    char problem[256];
    if (!watchdog_install()) {
        snprintf(problem, sizeof problem, "cannot watch over scripts: %s", strerror(errno));
        report(context, "script", problem);
        return false;
    }
    if (!shared_start(config->script.shared_bytes)) /* scripts may use it while they are loaded */
        report(context, "script.sharedBytes", "not enough memory for script.sharedBytes");
    for (size_t i = 0; i < config->script.paths.count; i++)
        good = inspect_script(config, config->script.paths.items[i], &authenticates, report, context) && good;
    if (good && authenticates != config->auth.hook) {
        snprintf(problem, sizeof problem, "auth.hook: expected %s",
                 authenticates ? "true, for a script has the hook authenticate"
                               : "a script with the hook authenticate");
        report(context, "auth.hook", problem);
        good = false;
    }
    good = inspect_standing(config, report, context) && good;
    good = inspect_alert_rules(config, report, context) && good;
    for (size_t i = 0; i < more_count; i++)
        good = inspect_script(config, more[i], &authenticates, report, context) && good;
    shared_stop();
    return good;
}
