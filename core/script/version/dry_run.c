#include "script/version/dry_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/registry/profile.h"
#include "bridge/registry/registry.h"
#include "protocol/envelope.h"
#include "script/hook.h"
#include "script/identify.h"

#define SAMPLE_LABELS "[\"sample\"]"

static const char sample_text[] = "{\"id\":\"00000000-0000-4000-8000-000000000000\",\"intent\":\"agent.message\","
                                  "\"from\":\"sample\",\"role\":\"agent\","
                                  "\"to\":\"recipient\",\"payload\":{\"text\":\"sample\"}}";

static void leave_waiting(struct script_state *state, enum script_result result)
{
    if (result == SCRIPT_WAITS)
        script_abandon(state, script_take_wait(state), NULL);
}

static void try_with_envelope(struct script_state *state, bool undeliverable)
{
    char error[ERROR_TEXT_BYTES];
    struct text_store store = {0};
    struct envelope envelope;
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM};
    struct envelope_defaults defaults = {.timestamp = "1970-01-01T00:00:00.000Z"};
    struct script_sender sender = {.id = SLICE("sample"), .role = SLICE("agent"), .labels = SLICE(SAMPLE_LABELS)};
    struct decision *decision;
    if (envelope_scan(slice_from(sample_text, sizeof sample_text - 1), &rules, &store, &envelope, error) == CODE_OK)
        leave_waiting(state, undeliverable
                                 ? script_on_undeliverable(state, &envelope, &sender, &defaults, SLICE("no_recipient"),
                                                           SLICE("recipient"), &decision)
                                 : script_route(state, &envelope, &sender, &defaults, &decision));
    text_store_free(&store);
}

static void try_register(struct script_state *state)
{
    struct slice reason;
    struct script_registration registration = {.id = SLICE("sample"),
                                               .role = SLICE("agent"),
                                               .labels = SLICE(SAMPLE_LABELS),
                                               .tools = SLICE("[]"),
                                               .intents = SLICE("[]"),
                                               .max_concurrent_tasks = 1};
    leave_waiting(state, script_on_register(state, &registration, &reason));
}

static void try_disconnect(struct script_state *state)
{
    struct agent_view view = {
        .profile = profile_new(&(struct profile_source){
            .id = SLICE("sample"), .role = SLICE("agent"), .labels = SLICE(SAMPLE_LABELS), .max_concurrent_tasks = 1})};
    if (view.profile)
        leave_waiting(state, script_on_disconnect(state, &view, SLICE("the connection ended")));
}

static const struct slice sample_uri[] = {{"luaduct:agent:sample", 20}};
static const struct script_certificate sample_certificate = {
    .common_name = {"sample", 6},
    .uris = {sample_uri, 1},
    .fingerprint = {"0000000000000000000000000000000000000000000000000000000000000000", 64}};

/* Unknown or refused is as good as identified: only a failure counts. */
static void try_identify(struct script_state *state, bool authenticates)
{
    struct script_identity *identity = malloc(sizeof *identity);
    struct slice reason;
    struct script_credentials credentials = {
        .token = SLICE("sample"), .address = SLICE("127.0.0.1"), .path = SLICE("/")};
    if (identity && authenticates)
        script_authenticate(state, &credentials, 0, identity, &reason);
    else if (identity)
        script_identify(state, &sample_certificate, 0, identity, &reason);
    free(identity);
}

/* `route failed: routes/main.lua:3: …` and a traceback. */
void dry_run_log(void *context, enum script_log_level level, struct slice text)
{
    const struct dry_run_failure *out = context;
    if (level != SCRIPT_LOG_ERROR)
        return;
    static const char between[] = " failed: ";
    const char *line = memchr(text.data, '\n', text.length);
    size_t length = line ? (size_t)(line - text.data) : text.length;
    const char *message = memmem(text.data, length, between, sizeof between - 1);
    if (message) { /* file:line first, and the hook's name behind */
        int name = (int)(message - text.data);
        message += sizeof between - 1;
        snprintf(out->text, out->size, "%.*s (in a trial call of %.*s)", (int)(length - (size_t)(message - text.data)),
                 message, name, text.data);
    } else {
        snprintf(out->text, out->size, "%.*s", (int)length, text.data);
    }
}

static uint64_t count_errors(const struct script_state *state)
{
    struct script_statistics statistics;
    uint64_t errors = 0;
    script_read_statistics(state, &statistics);
    for (unsigned hook = 0; hook < HOOK_COUNT; hook++)
        errors += statistics.hooks[hook].errors;
    return errors;
}

bool script_dry_run(struct script_state *state)
{
    if (script_has_hook(state, HOOK_ON_REGISTER))
        try_register(state);
    if (count_errors(state) == 0 && script_has_hook(state, HOOK_ROUTE))
        try_with_envelope(state, false);
    if (count_errors(state) == 0 && script_has_hook(state, HOOK_ON_UNDELIVERABLE))
        try_with_envelope(state, true);
    if (count_errors(state) == 0 && script_has_hook(state, HOOK_ON_DISCONNECT))
        try_disconnect(state);
    if (count_errors(state) == 0 && script_has_hook(state, HOOK_AUTHENTICATE))
        try_identify(state, true);
    if (count_errors(state) == 0 && script_has_hook(state, HOOK_ON_IDENTIFY))
        try_identify(state, false);
    return count_errors(state) == 0;
}
