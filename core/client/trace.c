/* `luaduct trace`: what becomes of each envelope, as it happens. */
#include <stdio.h>

#include "client/agent/view.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/connection/stream.h"
#include "protocol/json/json.h"

static const char help[] =
    "usage: luaduct trace [OPTION]…\n"
    "\n"
    "Shows each envelope that passes a running bridge: by which version of the scripts it was routed, what they "
    "decided,\n"
    "how long that took, and who took it or why nobody did. Until it is interrupted.\n"
    "\n"
    "  --agent A       only what A sends, or what is sent to A\n"
    "  --intent I      only envelopes with that intent\n"
    "  --id ID         only the envelope with that id\n"
    "  --count N       end after N envelopes\n"
    "  --json          a line of JSON each, with the envelope as it was sent: what `luaduct replay` "
    "reads\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n";

struct arguments {
    const char *agent, *intent, *id;
    struct target_options target;
    uint64_t count; /* 0: no end */
    bool json;
};

static int read_options(int argc, char **argv, struct arguments *arguments)
{
    const struct option_rule rules[] = {{"agent", .text = &arguments->agent},
                                        {"intent", .text = &arguments->intent},
                                        {"id", .text = &arguments->id},
                                        {"count", .large = &arguments->count, .minimum = 1, .maximum = 1e12},
                                        {"json", .flag = &arguments->json},
                                        TARGET_RULES(&arguments->target),
                                        {0}};
    return options_read_all(argc, argv, rules, help);
}

/* --- What comes --- */

struct follow {
    const struct arguments *arguments;
    uint64_t seen;
};

static void print_text(const char *before, struct slice record, const char *name, const char *after)
{
    fputs(before, stdout);
    view_value(stdout, view_member(record, slice_from_string(name)));
    fputs(after, stdout);
}

static bool is_null(struct slice record, const char *name)
{
    struct slice value = view_member(record, slice_from_string(name));
    return value.length == 0 || json_kind(value) == JSON_NULL;
}

static void print_record(struct slice record)
{
    print_text("", record, "time", " ");
    print_text("", record, "from", " ");
    print_text("> ", record, "to", "");
    print_text("  ", record, "intent", "");
    print_text("  id ", record, "id", "\n");
    print_text("    ", record, "hook", "");
    print_text(" v", record, "version", ": ");
    if (is_null(record, "decision"))
        fputs("failed, and script.onError drops it", stdout);
    else
        print_text("", record, "decision",
                   json_kind(view_member(record, SLICE("failed"))) == JSON_TRUE
                       ? " (the script failed: the default rule)"
                       : "");
    print_text("  ", record, "us", " us");
    fputs(json_kind(view_member(record, SLICE("waited"))) == JSON_TRUE ? ", waiting included" : "", stdout);
    fputs(json_kind(view_member(record, SLICE("cached"))) == JSON_TRUE ? ", known from before" : "", stdout);
    print_text("  ", record, "outcome", "");
    if (!is_null(record, "code"))
        print_text(": ", record, "code", "");
    else if (!is_null(record, "reason"))
        print_text(": ", record, "reason", "");
    else
        print_text(", recipients: ", record, "recipients", "");
    fputs("\n", stdout);
}

static bool take(void *context, struct slice record)
{
    struct follow *follow = context;
    if (follow->arguments->json)
        view_envelope_json(stdout, record);
    else
        print_record(record);
    follow->seen++;
    return fflush(stdout) == 0 && (follow->arguments->count == 0 || follow->seen < follow->arguments->count);
}

int command_trace(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct target target;
    struct buffer path = {0};
    int code = read_options(argc, argv, &arguments);
    if (code != OPTIONS_READ)
        return code;
    code = target_find(argv[0], &arguments.target, TARGET_HTTP, &target);
    if (code != 0)
        return code;
    buffer_append_slice(&path, SLICE("/admin/trace"));
    path_add_parameter(&path, "agent", arguments.agent);
    path_add_parameter(&path, "intent", arguments.intent);
    path_add_parameter(&path, "id", arguments.id);
    buffer_append(&path, "", 1);
    struct follow follow = {.arguments = &arguments};
    code = path.failed ? 1 : stream_follow(argv[0], &target, path.data, take, &follow);
    buffer_free(&path);
    return code;
}
