/* A version is read and checked in a state that no agent ever meets, then brought to all reactors, or to none. */
#include "runtime/reload/orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What a scratch state says of a hook that failed: `route failed: routes/main.lua:3: …` and a traceback. */
static void hear_failure(void *context, enum script_log_level level, struct slice text)
{
    struct order *order = context;
    if (level != SCRIPT_LOG_ERROR)
        return;
    static const char between[] = " failed: ";
    const char *line = memchr(text.data, '\n', text.length);
    size_t length = line ? (size_t)(line - text.data) : text.length;
    const char *message = memmem(text.data, length, between, sizeof between - 1);
    if (message) { /* file:line first, and the hook's name behind */
        int name = (int)(message - text.data);
        message += sizeof between - 1;
        snprintf(order->text, sizeof order->text, "%.*s (in a trial call of %.*s)",
                 (int)(length - (size_t)(message - text.data)), message, name, text.data);
    } else {
        snprintf(order->text, sizeof order->text, "%.*s", (int)length, text.data);
    }
}

/* Loads the version for the first time, which fills in its sources, and tries its hooks. */
static bool check(struct order *order, struct version *version, const struct buffer *kept, unsigned previous)
{
    struct script_options options = slot_options(version);
    options.inert = true;
    options.switched = NULL;
    options.log = hear_failure;
    options.log_context = order;
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

static bool reload(struct order *order)
{
    struct version *version = read_version(order, in_use.current);
    char problem[1024];
    if (version && !read_standing(order, version)) {
        version_release(version);
        return false;
    }
    if (version && !policies_check(version->config, supervision_log_script, problem, sizeof problem)) {
        version_release(version);
        return order_refuse(order, CODE_RELOAD_FAILED, problem);
    }
    struct tls_context *certificates = NULL;
    bool good = version && (certificates_load(version->config, &certificates, problem, sizeof problem) ||
                            order_refuse(order, CODE_RELOAD_FAILED, problem));
    good = good && bring(order, version, true);
    take_certificates(order, good ? version : NULL, certificates);
    if (good) {
        order->version = version->number;
        memcpy(order->hash, version->hash, sizeof order->hash);
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
    order->previous = in_use.current->number;
    if (stopping)
        return order_refuse(order, CODE_DRAINING, "the bridge is going away");
    if (handover_under_way())
        return order_refuse(order, CODE_BUSY, "an upgrade is under way: ask again when it is over");
    if (in_use.trial && !settles) {
        char text[128];
        snprintf(text, sizeof text, "version %u is on trial: promote or abort it first", in_use.trial->number);
        return order_refuse(order, CODE_BUSY, text);
    }
    switch (order->kind) {
    case ORDER_RELOAD:
        return reload(order);
    case ORDER_RETURN:
        return return_to(order);
    default:
        return settle_trial(order, order->kind == ORDER_PROMOTE);
    }
}
