/* A version is read and checked in a state that no agent ever meets, then brought to all reactors, or to none; what
 * revokes does not wait for its scripts. */
#include "runtime/reload/orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "runtime/guest.h"
#include "runtime/handover/handover.h"
#include "runtime/policies/policies.h"
#include "runtime/process/supervision.h"
#include "runtime/reload/in_use.h"
#include "runtime/reload/trial/trial_run.h"
#include "runtime/tls/certificates.h"
#include "script/bounds/watchdog.h"
#include "script/user_operation.h"
#include "script/version/dry_run.h"

/* --- Checking ----------------------------------------------------------------------------------------------------- */

bool order_refuse(struct order *order, enum code code, const char *text)
{
    order->code = code;
    snprintf(order->text, sizeof order->text, "%s", text);
    for (char *at = order->text; *at; at++) /* one line */
        if (*at == '\n') {
            *at = '\0';
            break;
        }
    return false;
}

/* Loads the version for the first time, which fills in its sources, and tries its hooks. */
static bool check(struct order *order, struct version *version, const struct buffer *kept, unsigned previous)
{
    struct script_options options = slot_options(version);
    struct dry_run_failure failure = {order->text, sizeof order->text};
    options.inert = true;
    options.switched = NULL;
    options.log = dry_run_log;
    options.log_context = &failure;
    char error[1024] = "";
    struct script_state *scratch = script_state_new(&options, error, sizeof error);
    sources_seal(version->sources);
    if (!scratch)
        return order_refuse(order, CODE_RELOAD_FAILED, error);
    supervision_watch(script_watchdog(scratch));
    bool good = true;
    if (kept && kept->length > 0)
        good = script_restore_kept(scratch, (const struct value *)(const void *)kept->data, previous);
    guest_enter(&in_use.reactors[0]); /* hooks look at agents */
    good = good && script_dry_run(scratch);
    guest_leave(&in_use.reactors[0]);
    supervision_unwatch(script_watchdog(scratch));
    script_state_free(scratch);
    if (!good)
        order->code = CODE_RELOAD_FAILED;
    if (!good && order->text[0] == '\0')
        order_refuse(order, CODE_RELOAD_FAILED, "a hook failed in a trial call");
    return good;
}

void order_try_current(void)
{
    struct order order = {0};
    if (in_use.current->config->script.paths.count > 0 && !check(&order, in_use.current, NULL, 0))
        log_warn(RELOAD, "trial_failed", "%s: the bridge serves, but a reload of these scripts will be refused",
                 order.text);
}

/* Reads the configuration again, and makes a version of what it names. NULL: refused. */
static struct version *read_version(struct order *order, const struct version *current)
{
    struct config *config = calloc(1, sizeof *config);
    struct script_sources *sources = sources_new();
    char *problems = NULL, *restart_needed = NULL;
    struct version *version = NULL;
    if (config && sources && config_reload(config, &in_use.source, current->config, &restart_needed, &problems)) {
        snprintf(order->restart_needed, sizeof order->restart_needed, "%s", restart_needed);
        version = version_new(config, config, sources);
        if (!version)
            config_free(config);
    }
    if (!version) {
        order_refuse(order, CODE_RELOAD_FAILED, problems ? problems : "not enough memory");
        free(config);
    }
    free(problems);
    free(restart_needed);
    sources_release(sources);
    return version;
}

static bool read_standing(struct order *order, struct version *version)
{
    char problem[1024];
    return standing_load_for(version, supervision_log_script, &order->standing, problem, sizeof problem) ||
           order_refuse(order, CODE_RELOAD_FAILED, problem);
}

/* --- Bringing into use -------------------------------------------------------------------------------------------- */

static void act_save(struct reactor *reactor, struct part *part)
{
    part->good = script_save_kept(reactor->script, part->most, &part->kept, part->error, sizeof part->error);
}

static void act_switch(struct reactor *reactor, struct part *part)
{
    part->good = scripts_switch(reactor, part->slot, part->error, sizeof part->error);
    if (part->good)
        part->slot = NULL;
}

static void act_undo(struct reactor *reactor, struct part *part)
{
    (void)part;
    scripts_undo(reactor);
}

static void act_settle(struct reactor *reactor, struct part *part)
{
    (void)part;
    scripts_settle(reactor);
}

/* A state for each reactor. */
static bool make_slots(struct order *order, struct version *version, struct part *parts)
{
    char error[1024] = "";
    for (unsigned i = 0; i < in_use.reactor_count; i++) {
        parts[i].slot = slot_new(version, order->standing.config, error, sizeof error);
        if (!parts[i].slot)
            return order_refuse(order, CODE_RELOAD_FAILED, error);
    }
    return true;
}

static bool use_for_all(struct order *order, struct version *version, struct part *parts)
{
    struct standing before = standing_use(order->standing);
    order->standing = (struct standing){0};
    user_operation_use(version->sources, in_use.current->sources); /* the first reactor may call them at once */
    versions_number(version);
    parts_act(parts, act_switch);
    const struct part *failed = parts_first_failure(parts);
    if (failed) {
        order_refuse(order, CODE_RELOAD_FAILED, failed->error);
        order->standing = standing_use(before);
        parts_act(parts, act_undo);
        user_operation_use(in_use.current->sources, NULL);
        versions_take_number(version);
        return false;
    }
    standing_release(&before);
    versions_add(version);
    versions_set_problem(version, "");
    in_use_change(version, NULL, VERSION_KEPT);
    parts_act(parts, act_settle);
    return true;
}

/* What the version in use keeps, for the states of one on trial. They are the loader's until they are handed over. */
static bool restore_for_trial(struct order *order, struct part *parts)
{
    bool good = true;
    for (unsigned i = 0; good && i < in_use.reactor_count; i++) {
        struct script_state *state = parts[i].slot->state;
        supervision_watch(script_watchdog(state));
        guest_enter(&in_use.reactors[0]); /* on_reload may look at agents */
        good =
            script_restore_kept(state, (const struct value *)(const void *)parts[i].kept.data, in_use.current->number);
        guest_leave(&in_use.reactors[0]);
        supervision_unwatch(script_watchdog(state));
    }
    return good || order_refuse(order, CODE_RELOAD_FAILED, "on_reload failed: see the log");
}

static bool bring(struct order *order, struct version *version, bool fresh)
{
    struct part *parts = parts_new();
    if (!parts)
        return order_refuse(order, CODE_RELOAD_FAILED, "not enough memory");
    for (unsigned i = 0; i < in_use.reactor_count; i++)
        parts[i].most = version->config->script.state_bytes;
    bool good = true;
    parts_act(parts, act_save);
    const struct part *failed = parts_first_failure(parts);
    if (failed)
        good = order_refuse(order, CODE_RELOAD_FAILED, failed->error);
    good = good && (!fresh || check(order, version, &parts[0].kept, in_use.current->number));
    if (good && fresh)
        version_rehash(version); /* its files are known now */
    good = good && make_slots(order, version, parts);
    good = good && (!order->on_trial || restore_for_trial(order, parts));
    if (good && order->on_trial)
        trial_begin(&order->trial, version, parts);
    else if (good)
        good = use_for_all(order, version, parts);
    parts_free(parts);
    return good;
}

/* --- Orders ------------------------------------------------------------------------------------------------------- */

/* Takes the reference: into use with the version, at once or when its trial ends; NULL: not at all. */
static void take_certificates(const struct order *order, const struct version *version,
                              struct tls_context *certificates)
{
    if (!version)
        tls_context_release(certificates);
    else if (order->on_trial)
        in_use.trial_certificates = certificates;
    else
        in_use_certificates(version->config, certificates);
}

/* Whether the configuration's credentials may come into use without its scripts: what opens the bridge, or asks the
 * scripts in use for a hook that they do not have, is not among what cannot wait. */
static bool credentials_stand_alone(const struct config *config, const struct config *now)
{
    return config->auth.hook == now->auth.hook && config->auth.required >= now->auth.required &&
           (config->tls.pair_count > 0) >= (now->tls.pair_count > 0) &&
           (config->tls.client_ca != NULL) >= (now->tls.client_ca != NULL) &&
           config->tls.require_client_cert >= now->tls.require_client_cert &&
           (config->policies.access != NULL) >= (now->policies.access != NULL) &&
           config->http.cors_any <= now->http.cors_any;
}

/* What is in use of credentials and access rules, by files that are good by themselves: of the configuration that was
 * read, when its own are; else of the one that counts now. Takes the reference to the certificates. */
static bool take_credentials(struct order *order, const struct version *version, struct tls_context *certificates,
                             char *problem, size_t size)
{
    struct standing now = standing_current(), fresh;
    bool good = true,
         whole = version && order->standing.version == version && credentials_stand_alone(version->config, now.config);
    struct part *parts = parts_new();
    if (!parts) {
        snprintf(problem, size, "not enough memory");
        standing_release(&now);
        tls_context_release(certificates);
        return false;
    }
    if (whole) {
        fresh = order->standing;
        order->standing = (struct standing){0};
    } else {
        good = standing_read_again(supervision_log_script, &fresh, problem, size);
        tls_context_release(certificates);
        if (!certificates_load(fresh.config, &certificates, problem, size)) {
            good = false;
            certificates = certificates_current();
        }
    }
    const struct config *config = fresh.config;
    struct standing before = standing_use(fresh);
    parts_act(parts, act_undo); /* no version was switched: the reactors take up what counts */
    in_use_certificates(config, certificates);
    parts_free(parts);
    standing_release(&before);
    standing_release(&now);
    return good;
}

/* A credential that was revoked must not stay valid because of a script: a reload that is refused takes up what it can
 * of credentials and access rules, and its answer says so. */
static void revoke_nevertheless(struct order *order, const struct version *version, struct tls_context *certificates)
{
    char problem[1024] = "", added[512] = "";
    if (!take_credentials(order, version, certificates, problem, sizeof problem))
        snprintf(added, sizeof added, "; not all that revokes was taken up: %.400s",
                 strstr(order->text, problem) ? "see there" : problem);
    else if (in_use.current->config->auth.required || in_use.current->config->policies.access)
        snprintf(added, sizeof added, "; credentials and access rules were taken up%s",
                 version ? "" : " from the files that the configuration in use names");
    size_t length = strlen(order->text), most = sizeof order->text - sizeof added;
    memcpy(order->text + (length < most ? length : most), added, sizeof added);
}

static bool read_credentials(struct order *order, struct version *version, struct tls_context **certificates)
{
    char problem[1024];
    return read_standing(order, version) &&
           (certificates_load(version->config, certificates, problem, sizeof problem) ||
            order_refuse(order, CODE_RELOAD_FAILED, problem));
}

static bool check_rules(struct order *order, const struct version *version)
{
    char problem[1024];
    return policies_check(version->config, supervision_log_script, problem, sizeof problem) ||
           order_refuse(order, CODE_RELOAD_FAILED, problem);
}

/* Only the start makes it: afterwards the bridge may not be allowed to. */
static void look_at_admin_socket(const struct config *config)
{
    struct stat status;
    if (config->listen.admin && lstat(config->listen.admin, &status) != 0 && errno == ENOENT)
        log_warn(RELOAD, "admin_socket_gone", "listen.admin: %s is gone: only a restart makes it again",
                 config->listen.admin);
}

static bool reload(struct order *order)
{
    struct tls_context *certificates = NULL;
    look_at_admin_socket(in_use.current->config);
    struct version *version = read_version(order, in_use.current);
    bool has_credentials = version && read_credentials(order, version, &certificates);
    bool good = has_credentials && check_rules(order, version) && bring(order, version, true);
    if (good) {
        take_certificates(order, version, certificates);
        order->version = version->number;
        memcpy(order->hash, version->hash, sizeof order->hash);
    } else {
        revoke_nevertheless(order, has_credentials ? version : NULL, certificates);
    }
    version_release(version);
    return good;
}

/* A version that was never in use but on trial may be newer than what counts: then its certificates count, too. */
static bool return_from(struct order *order, struct version *version)
{
    char problem[1024];
    struct tls_context *certificates = NULL;
    if (!read_standing(order, version))
        return false;
    bool newest = order->standing.version == version;
    if (!newest)
        certificates = certificates_current();
    else if (!certificates_load(version->config, &certificates, problem, sizeof problem))
        return order_refuse(order, CODE_RELOAD_FAILED, problem);
    bool good = bring(order, version, false);
    take_certificates(order, good && (newest || order->on_trial) ? version : NULL, certificates);
    return good;
}

/* What was revoked meanwhile stays so: credentials and access rules are those of the newest configuration, and of the
 * files as they are now. */
static bool return_to(struct order *order)
{
    struct version *version = versions_find(order->number);
    char text[128];
    if (!version) {
        snprintf(text, sizeof text, "there is no version %u to return to: the last %d are kept", order->number,
                 VERSIONS_KEPT);
        return order_refuse(order, CODE_NOT_FOUND, text);
    }
    if (version == in_use.current && order->on_trial) {
        snprintf(text, sizeof text, "version %u is in use already", order->number);
        version_release(version);
        return order_refuse(order, CODE_BAD_REQUEST, text);
    }
    bool good = version == in_use.current || return_from(order, version);
    if (good) {
        order->version = version->number;
        memcpy(order->hash, version->hash, sizeof order->hash);
    }
    version_release(version);
    return good;
}

static bool settle_trial(struct order *order, bool promote)
{
    if (!in_use.trial)
        return order_refuse(order, CODE_NOT_FOUND, "no version is on trial");
    char problem[1024];
    order->version = in_use.trial->number;
    memcpy(order->hash, in_use.trial->hash, sizeof order->hash);
    return trial_end(promote ? CANARY_PROMOTED : CANARY_ABORTED, promote ? "by command" : "aborted by command",
                     order->cause, problem, sizeof problem) ||
           order_refuse(order, CODE_RELOAD_FAILED, problem);
}

bool order_carry_out(struct order *order, bool stopping)
{
    bool settles = order->kind == ORDER_PROMOTE || order->kind == ORDER_ABORT;
    char problem[1024] = "";
    order->previous = in_use.current->number;
    if (stopping)
        return order_refuse(order, CODE_DRAINING, "the bridge is going away");
    if (handover_under_way())
        return order_refuse(order, CODE_BUSY, "an upgrade is under way: ask again when it is over");
    if (in_use.trial && !settles) {
        char text[128];
        snprintf(text, sizeof text, "version %u is on trial: promote or abort it first", in_use.trial->number);
        order_refuse(order, CODE_BUSY, text);
        if (order->kind == ORDER_RELOAD)
            revoke_nevertheless(order, NULL, NULL);
        return false;
    }
    switch (order->kind) {
    case ORDER_RELOAD:
        return reload(order);
    case ORDER_REVIEW:
        return take_credentials(order, NULL, NULL, problem, sizeof problem) ||
               order_refuse(order, CODE_RELOAD_FAILED, problem);
    case ORDER_RETURN:
        return return_to(order);
    default:
        return settle_trial(order, order->kind == ORDER_PROMOTE);
    }
}
