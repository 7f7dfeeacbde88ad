/* `luaduct drain`: has a bridge send its agents elsewhere, and end. */
#include <stdio.h>

#include "client/agent/view.h"
#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/connection/ask.h"
#include "protocol/json/json.h"

static const char help[] =
    "usage: luaduct drain [OPTION]…\n"
    "\n"
    "Has a bridge end as SIGTERM does: /ready says so at once, nobody registers any more, and after drain.delayMs "
    "each\n"
    "agent gets what waits for it, and is sent elsewhere. What is in mailboxes then is lost; `luaduct export` keeps "
    "it.\n"
    "It does not wait for the end; a bridge that goes already goes on with that.\n"
    "\n" TARGET_HTTP_HELP "\n"
    "Exit status: 0 when it goes; 1 when it refused or could not be reached; 2 wrong usage.\n";

#define TIMEOUT_MS 10000

int command_drain(int argc, char **argv)
{
    struct target_options options = {0};
    struct target target;
    struct buffer answer = {0};
    const struct option_rule rules[] = {TARGET_RULES(&options), {0}};
    int code = options_read_all(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    code = target_find(argv[0], &options, TARGET_HTTP, &target);
    if (code == 0)
        code = ask_bridge(argv[0], &target, "POST", "/admin/drain", slice_from("", 0), TIMEOUT_MS, &answer);
    if (code != 0)
        return code;
    struct slice status = view_member(slice_from(answer.data, answer.length), SLICE("status"));
    printf("%s\n", json_inside_equals(json_string_inside(status), SLICE("draining"))
                       ? "the bridge was going away already"
                       : "the bridge goes away: its agents are sent elsewhere, then it ends");
    buffer_free(&answer);
    return 0;
}
