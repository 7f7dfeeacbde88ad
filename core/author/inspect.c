#include "author/inspect.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "author/room.h"
#include "base/clock.h"
#include "base/system/system.h"
#include "net/address.h"
#include "runtime/config/bundle.h"
#include "runtime/identity/access.h"
#include "runtime/identity/standing.h"
#include "runtime/identity/tokens/token_store.h"
#include "runtime/policies/policies.h"
#include "runtime/tls/certificates.h"
#include "script/hook.h"
#include "script/shared.h"
#include "script/version/dry_run.h"

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

/* Loads the chain of scripts and, when `tries`, has each hook called once, as a reload does. *authenticates becomes
 * true when it has that hook. */
static bool inspect_chain(const struct config *config, const char *const *paths, size_t count, bool tries,
                          bool *authenticates, char *problem, size_t size)
{
    struct dry_run_failure failure = {problem, size};
    struct script_options options = {
        .paths = paths,
        .path_count = count,
        .folder = config->script.folder,
        .mode = config->mode_name,
        .budget_ms = config->script.budget_ms,
        .memory_limit = config->script.memory_limit,
        .jit = config->script.jit,
        .log = show_script_log,
        .wake_fd = -1,
        .open_bundle = bundle_install,
    };
    if (tries) {
        options.inert = true;
        options.log = dry_run_log;
        options.log_context = &failure;
    }
    problem[0] = '\0';
    struct script_state *state = script_state_new(&options, problem, size);
    bool good = state != NULL;
    if (good) {
        *authenticates = *authenticates || script_has_hook(state, HOOK_AUTHENTICATE);
        room_watch(tries ? state : NULL);
        good = !tries || script_dry_run(state);
        room_watch(NULL);
    }
    if (!good && problem[0] == '\0')
        snprintf(problem, size, "%s: a hook failed in a trial call", paths[0]);
    script_state_free(state);
    return good;
}

static bool inspect_script(const struct config *config, const char *path, bool tries, bool *authenticates,
                           inspect_report *report, void *context)
{
    char problem[4096];
    bool good = inspect_chain(config, &path, 1, false, authenticates, problem, sizeof problem) &&
                (!tries || inspect_chain(config, &path, 1, true, authenticates, problem, sizeof problem));
    report(context, path, good ? NULL : problem);
    return good;
}

/* Several are a chain, which only together is what the bridge tries. */
static bool inspect_own_scripts(const struct config *config, bool *authenticates, inspect_report *report, void *context)
{
    const char *const *paths = (const char *const *)config->script.paths.items;
    size_t count = config->script.paths.count;
    char problem[4096];
    bool good = true;
    for (size_t i = 0; i < count; i++)
        good = inspect_script(config, paths[i], count == 1, authenticates, report, context) && good;
    if (!good || count < 2 || inspect_chain(config, paths, count, true, authenticates, problem, sizeof problem))
        return good;
    report(context, "script.path", problem);
    return false;
}

/* Callers that come from an address are on this machine, and no proxy's. */
static bool is_trusted_loopback(const struct config *config, const char *text)
{
    struct address address;
    return address_parse(slice_from_string(text), false, &address) &&
           !address_in_any(&address, &config->limits.trusted_proxies);
}

/* Where no credential is configured callers on the same machine do, unless all of them may be a proxy. An address of
 * another network is never called from a loopback. */
static bool is_administered_from_here(const struct config *config)
{
    struct address address;
    struct address_range loopbacks[3];
    const struct address_ranges local = {loopbacks, 3};
    bool known = address_range_parse(SLICE("127.0.0.0/8"), &loopbacks[0]) &&
                 address_range_parse(SLICE("::1"), &loopbacks[1]) && address_range_parse(SLICE("::"), &loopbacks[2]) &&
                 address_parse(slice_from_string(config->listen.host), false, &address);
    if (known && strcmp(config->listen.host, "0.0.0.0") != 0 && !address_in_any(&address, &local))
        return false;
    return is_trusted_loopback(config, "127.0.0.1") || is_trusted_loopback(config, "::1");
}

/* As far as can be known here: a hook, a JSON Web Token or a certificate may say that somebody is an administrator. */
static bool has_administrator(const struct config *config, const struct standing *standing)
{
    if (config->listen.admin || access_names_administrators(standing->access))
        return true;
    if (!config->auth.required)
        return access_may_administer(standing->access, &(struct access_subject){0}) &&
               is_administered_from_here(config);
    if (config->auth.hook || config->auth.jwt.roles_claim.count > 0 || config->tls.client_ca ||
        (config->auth.token && config->auth.token_is_admin))
        return true;
    for (uint32_t i = 0; i < token_store_count(standing->tokens); i++) {
        const struct identity *identity = token_store_at(standing->tokens, i);
        if (!identity_expired(identity, clock_wall_ms()) &&
            access_may_administer(standing->access, &(struct access_subject){.identity = identity}))
            return true;
    }
    return false;
}

/* Named tokens, keys of JSON Web Tokens, the access policy. */
static bool inspect_standing(const struct config *config, inspect_report *report, void *context, bool *administrable)
{
    const char *asked[] = {config->auth.tokens, config->auth.jwt.keys, config->auth.jwt.key, config->policies.access};
    char problem[4096];
    struct standing standing;
    if (!standing_load(config, show_script_log, &standing, problem, sizeof problem)) {
        report(context, "auth", problem);
        return false;
    }
    *administrable = has_administrator(config, &standing);
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
                     void *context, bool *administrable)
{
    bool good = true, authenticates = false;
    char problem[256];
    *administrable = true;
    if (!room_supervise()) {
        snprintf(problem, sizeof problem, "cannot watch over scripts: %s", strerror(errno));
        report(context, "script", problem);
        return false;
    }
    if (!shared_start(config->script.shared_bytes)) /* scripts may use it while they are loaded */
        report(context, "script.sharedBytes", "not enough memory for script.sharedBytes");
    good = inspect_own_scripts(config, &authenticates, report, context);
    if (good && authenticates != config->auth.hook) {
        snprintf(problem, sizeof problem, "auth.hook: expected %s",
                 authenticates ? "true, for a script has the hook authenticate"
                               : "a script with the hook authenticate");
        report(context, "auth.hook", problem);
        good = false;
    }
    good = inspect_standing(config, report, context, administrable) && good;
    good = inspect_alert_rules(config, report, context) && good;
    for (size_t i = 0; i < more_count; i++)
        good = inspect_script(config, more[i], true, &authenticates, report, context) && good;
    room_stop();
    shared_stop();
    return good;
}
