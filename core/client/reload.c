/* `luaduct reload` and `luaduct canary`: what operators do with the versions of a bridge's scripts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/agent/view.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/connection/ask.h"
#include "protocol/json/json.h"
#include "protocol/json/json_write.h"

static const char reload_help[] =
    "usage: luaduct reload [OPTION]…\n"
    "\n"
    "Has a running bridge take up its config and scripts again. All is checked first, with a trial call of every "
    "hook;\n"
    "what is wrong is said, and then the scripts stay as they are. What revokes credentials is taken up in any case.\n"
    "\n"
    "  --to N          return to version N, one of the last five (`luaduct reload --list` shows them)\n"
    "  --canary WHO    only for some at first: a share of all senders such as 10%, label=L, or id=PATTERN with * in "
    "it;\n"
    "                  it is taken back by itself when it does worse (keys `canary` of the config)\n"
    "  --shadow        let it decide beside the version in use, and only compare; with --canary for these senders\n"
    "  --list          show the versions, what they have done and why some were taken back\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n";

static const char canary_help[] =
    "usage: luaduct canary [OPTION]… status|promote|abort|diff\n"
    "\n"
    "  status   how the version on trial does beside the one in use, or how the last trial ended\n"
    "  promote  bring it into use for all\n"
    "  abort    end the trial\n"
    "  diff     what a version in the shadow would have decided otherwise\n"
    "\n"
    "  --json          print the bridge's answer as it is\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0; 1 when the bridge refused or could not be reached; 2 wrong usage.\n";

#define TIMEOUT_MS 60000 /* a script may take five seconds to load, and others may be before it */

struct arguments {
    uint64_t to; /* 0: not given */
    const char *canary;
    struct target_options target;
    bool shadow, list, json;
};

static int ask(const char *command, const struct arguments *arguments, const char *method, const char *path,
               struct slice body, struct buffer *answer)
{
    struct target target;
    int code = target_find(command, &arguments->target, TARGET_HTTP, &target);
    return code == 0 ? ask_bridge(command, &target, method, path, body, TIMEOUT_MS, answer) : code;
}

static struct slice member_of(struct slice object, const char *name)
{
    return view_member(object, slice_from_string(name));
}

static struct slice text_of(struct slice object, const char *name)
{
    struct slice value = member_of(object, name);
    return value.length > 0 && json_kind(value) == JSON_STRING ? json_string_inside(value) : value;
}

static void print_member(const char *before, struct slice object, const char *name, const char *after)
{
    fputs(before, stdout);
    view_value(stdout, member_of(object, name));
    fputs(after, stdout);
}

static bool is_null(struct slice value)
{
    return value.length == 0 || json_kind(value) == JSON_NULL;
}

/* --- reload --- */

/* `10%`, `label=beta` or `id=worker-*` as the bridge wants it. */
static bool write_canary(struct buffer *body, const char *who)
{
    char *end;
    double percent = strtod(who, &end);
    if (end > who && strcmp(end, "%") == 0 && percent > 0 && percent <= 100) {
        buffer_append_format(body, "\"canary\":{\"percent\":%g}", percent);
        return true;
    }
    bool label = strncmp(who, "label=", 6) == 0 && who[6], id = strncmp(who, "id=", 3) == 0 && who[3];
    if (!label && !id)
        return false;
    buffer_append_format(body, "\"canary\":{\"%s\":", label ? "label" : "id");
    buffer_append_json_string(body, slice_from_string(strchr(who, '=') + 1));
    buffer_append_slice(body, SLICE("}"));
    return true;
}

static int write_reload(const char *command, const struct arguments *arguments, struct buffer *body)
{
    buffer_append_slice(body, SLICE("{"));
    if (arguments->to > 0)
        buffer_append_format(body, "\"to\":%llu", (unsigned long long)arguments->to);
    if (arguments->canary) {
        buffer_append_slice(body, body->length > 1 ? SLICE(",") : SLICE(""));
        if (!write_canary(body, arguments->canary))
            return usage_error(command, "--canary: expected a share such as 10%%, label=L or id=PATTERN, got %s",
                               arguments->canary);
    }
    if (arguments->shadow)
        buffer_append_slice(body, body->length > 1 ? SLICE(",\"shadow\":true") : SLICE("\"shadow\":true"));
    buffer_append_slice(body, SLICE("}"));
    return 0;
}

static void print_restart_needed(struct slice answer)
{
    struct slice list = member_of(answer, "restartNeeded"), key;
    bool any = false;
    for (struct slice rest = list; list.length > 0 && json_next_element(&rest, &key); any = true)
        printf("%s %.*s", any ? "," : "a restart is needed for", (int)json_string_inside(key).length,
               json_string_inside(key).data);
    if (any)
        printf("\n");
}

static void print_versions(struct slice answer)
{
    struct slice list = member_of(answer, "versions"), version;
    printf("%-8s %-8s %-13s %-25s %10s %8s %8s\n", "version", "use", "hash", "loaded", "calls", "errors", "overruns");
    for (struct slice rest = list; list.length > 0 && json_next_element(&rest, &version);) {
        struct slice route = member_of(member_of(version, "hooks"), "route");
        print_member("", version, "number", "");
        struct slice use = text_of(version, "use"), hash = text_of(version, "hash"),
                     loaded = text_of(version, "loaded");
        struct slice calls = text_of(route, "calls"), errors = text_of(route, "errors"),
                     overruns = text_of(route, "overruns");
        printf("%*s%-8.*s %.12s  %-25.*s %10.*s %8.*s %8.*s\n", (int)(9 - text_of(version, "number").length), "",
               (int)use.length, use.data, hash.length >= 12 ? hash.data : "", (int)loaded.length, loaded.data,
               (int)calls.length, calls.data, (int)errors.length, errors.data, (int)overruns.length, overruns.data);
        if (!is_null(member_of(version, "problem")))
            print_member("         taken back: ", version, "problem", "\n");
    }
}

int command_reload(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct buffer body = {0}, answer = {0};
    const struct option_rule rules[] = {{"to", .large = &arguments.to, .minimum = 1, .maximum = 1e9},
                                        {"canary", .text = &arguments.canary},
                                        {"shadow", .flag = &arguments.shadow},
                                        {"list", .flag = &arguments.list},
                                        TARGET_RULES(&arguments.target),
                                        {0}};
    int code = options_read_all(argc, argv, rules, reload_help);
    if (code != OPTIONS_READ)
        return code;
    if (arguments.list) {
        code = ask(argv[0], &arguments, "GET", "/admin/scripts", slice_from("", 0), &answer);
        if (code == 0)
            print_versions(slice_from(answer.data, answer.length));
        buffer_free(&answer);
        return code;
    }
    code = write_reload(argv[0], &arguments, &body);
    if (code == 0)
        code = ask(argv[0], &arguments, "POST", "/admin/reload", slice_from(body.data, body.length), &answer);
    buffer_free(&body);
    if (code != 0)
        return code;
    struct slice all = slice_from(answer.data, answer.length);
    print_member("version ", all, "version", "");
    print_member(" of the scripts (", all, "hash", ")");
    if (arguments.canary || arguments.shadow)
        print_member(" is on trial beside version ", all, "previous", "; see `luaduct canary status`\n");
    else
        print_member(" is in use, after version ", all, "previous", "\n");
    print_restart_needed(all);
    buffer_free(&answer);
    return 0;
}

/* --- canary --- */

static void print_side(const char *name, struct slice answer, const char *side)
{
    static const char *const columns[] = {"calls", "errors", "overruns", "refused", "p50Ms", "p99Ms"};
    struct slice figures = member_of(answer, side);
    printf("  %-8s", name);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        struct slice text = text_of(figures, columns[i]);
        printf(" %10.*s", (int)(text.length < 10 ? text.length : 10), text.data);
    }
    printf("\n");
}

static void print_status(struct slice answer)
{
    struct slice state = text_of(answer, "state");
    if (slice_equal(state, SLICE("none"))) {
        printf("no version was on trial since the bridge started\n");
        return;
    }
    print_member("version ", answer, "version", "");
    print_member(" beside version ", answer, "against", ": ");
    printf("%.*s%s", (int)state.length, state.data,
           json_kind(member_of(answer, "shadow")) == JSON_TRUE ? ", in the shadow" : "");
    if (!is_null(member_of(answer, "why")))
        print_member(": ", answer, "why", "");
    printf("\n  %-8s %10s %10s %10s %10s %10s %10s\n", "", "calls", "errors", "overruns", "refused", "p50 ms",
           "p99 ms");
    print_side("in use", answer, "current");
    print_side("on trial", answer, "trial");
    if (!is_null(member_of(answer, "compared"))) {
        print_member("  ", answer, "different", " of ");
        print_member("", answer, "compared", " decisions differ; see `luaduct canary diff`\n");
    }
}

static void print_differences(struct slice answer)
{
    struct slice list = member_of(answer, "differences"), difference;
    bool any = false;
    for (struct slice rest = list; list.length > 0 && json_next_element(&rest, &difference); any = true) {
        print_member(any ? "\n" : "", difference, "timestamp", "\n");
        print_member("  envelope      ", difference, "envelope", "\n");
        print_member("  decided       ", difference, "decided", "\n");
        print_member("  would decide  ", difference, "wouldDecide", "\n");
    }
    if (!any)
        printf("no differences\n");
}

int command_canary(int argc, char **argv)
{
    static const struct {
        const char *name, *method, *path;
        void (*print)(struct slice answer);
    } actions[] = {{"status", "GET", "/admin/canary", print_status},
                   {"diff", "GET", "/admin/canary/diff", print_differences},
                   {"promote", "POST", "/admin/canary/promote", NULL},
                   {"abort", "POST", "/admin/canary/abort", NULL}};
    struct arguments arguments = {0};
    struct buffer answer = {0};
    const struct option_rule rules[] = {{"json", .flag = &arguments.json}, TARGET_RULES(&arguments.target), {0}};
    int code = options_read(argc, argv, rules, canary_help);
    if (code != OPTIONS_READ)
        return code;
    size_t action = 0, count = sizeof actions / sizeof *actions;
    while (action < count && (optind >= argc || strcmp(actions[action].name, argv[optind]) != 0))
        action++;
    if (action == count || optind + 1 < argc)
        return usage_error(argv[0], "expected status, promote, abort or diff");
    code = ask(argv[0], &arguments, actions[action].method, actions[action].path, slice_from("", 0), &answer);
    if (code != 0)
        return code;
    struct slice all = slice_from(answer.data, answer.length);
    if (arguments.json)
        printf("%.*s\n", (int)all.length, all.data);
    else if (actions[action].print)
        actions[action].print(all);
    else
        print_member("version ", all, "version",
                     strcmp(actions[action].name, "promote") == 0 ? " is in use now\n" : " is not on trial any more\n");
    buffer_free(&answer);
    return 0;
}
