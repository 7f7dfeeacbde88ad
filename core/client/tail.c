/* `luaduct tail`: the envelopes themselves, as they pass; what became of each is `luaduct trace`'s to say. Both read
 * the bridge's trace (GET /admin/trace). */
#include <stdio.h>

#include "client/agent/view.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/connection/stream.h"
#include "client/screen/table.h"
#include "client/screen/units.h"
#include "protocol/json/json.h"

static const char help[] =
    "usage: luaduct tail [OPTION]…\n"
    "\n"
    "Shows each envelope that passes a running bridge, with its payload, until it is interrupted. What was not "
    "accepted\n"
    "is shown too, and why not. What scripts decide, and how long they take, shows `luaduct trace`.\n"
    "\n"
    "  --agent A       only what A sends, or what is sent to A\n"
    "  --intent I      only envelopes with that intent\n"
    "  --count N       end after N envelopes\n"
    "  --json          the envelope as it was sent, a line of JSON each\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n";

struct tail {
    const char *agent, *intent;
    struct target_options target;
    uint64_t count, seen; /* count 0: no end */
    bool json;
    struct output output;
};

static int read_options(int argc, char **argv, struct tail *tail)
{
    const struct option_rule rules[] = {{"agent", .text = &tail->agent},
                                        {"intent", .text = &tail->intent},
                                        {"count", .large = &tail->count, .minimum = 1, .maximum = 1e12},
                                        {"json", .flag = &tail->json},
                                        TARGET_RULES(&tail->target),
                                        {0}};
    return options_read_all(argc, argv, rules, help);
}

static bool has_text(struct slice value)
{
    return value.length > 0 && json_kind(value) == JSON_STRING;
}

/* "refused: no_recipient", on the line before the envelope's own. */
static void print_outcome(const struct tail *tail, struct slice record)
{
    struct slice outcome = view_member(record, SLICE("outcome")), code = view_member(record, SLICE("code")),
                 reason = view_member(record, SLICE("reason"));
    if (!has_text(outcome) || json_inside_equals(json_string_inside(outcome), SLICE("accepted")))
        return;
    fputs(output_paint(&tail->output, PAINT_WARN), stdout);
    view_value(stdout, outcome);
    if (has_text(code) || has_text(reason)) {
        fputs(": ", stdout);
        view_value(stdout, has_text(code) ? code : reason);
    }
    fputs(output_paint(&tail->output, PAINT_PLAIN), stdout);
    fputs("  ", stdout);
}

static void print_for_people(const struct tail *tail, struct slice record, struct slice envelope)
{
    char when[UNITS_SIZE];
    struct buffer shown = {0};
    print_outcome(tail, record);
    /* Who sends and who gets it, with the bridge's defaults, are the record's; the payload is the envelope's. */
    static const char *const names[] = {"from", "to", "intent"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct slice text = view_member(record, slice_from_string(names[i]));
        buffer_append_format(&shown, "%s\"%s\":", i == 0 ? "{" : ",", names[i]);
        buffer_append_slice(&shown, text.length > 0 ? text : SLICE("null"));
    }
    struct slice value =
        json_kind(envelope) == JSON_OBJECT ? view_member(envelope, SLICE("payload")) : slice_from(NULL, 0);
    buffer_append_slice(&shown, SLICE(",\"payload\":"));
    buffer_append_slice(&shown, json_kind(envelope) != JSON_OBJECT ? SLICE("\"(too large to be shown)\"")
                                : value.length > 0                 ? value
                                                                   : SLICE("{}"));
    buffer_append_slice(&shown, SLICE("}"));
    if (!shown.failed)
        view_message(stdout, units_time(view_member(record, SLICE("time")), when), slice_from(shown.data, shown.length),
                     slice_from(NULL, 0));
    buffer_free(&shown);
}

static bool take(void *context, struct slice record)
{
    struct tail *tail = context;
    struct slice envelope = view_member(record, SLICE("envelope"));
    if (!tail->json)
        print_for_people(tail, record, envelope);
    else if (json_kind(envelope) == JSON_OBJECT)
        view_envelope_json(stdout, envelope);
    else
        fprintf(stderr, "luaduct tail: an envelope was too large to be shown\n");
    tail->seen++;
    return fflush(stdout) == 0 && (tail->count == 0 || tail->seen < tail->count);
}

int command_tail(int argc, char **argv)
{
    struct tail tail = {0};
    struct target target;
    struct buffer path = {0};
    int code = read_options(argc, argv, &tail);
    if (code != OPTIONS_READ)
        return code;
    code = target_find(argv[0], &tail.target, TARGET_HTTP, &target);
    if (code != 0)
        return code;
    tail.output = output_look();
    buffer_append_slice(&path, SLICE("/admin/trace"));
    path_add_parameter(&path, "agent", tail.agent);
    path_add_parameter(&path, "intent", tail.intent);
    buffer_append(&path, "", 1);
    code = path.failed ? 1 : stream_follow(argv[0], &target, path.data, take, &tail);
    buffer_free(&path);
    return code;
}
