/* `luaduct health`: one look at a bridge, for health checks of containers and service managers. */
#include <stdio.h>

#include "client/arguments/target.h"
#include "client/commands.h"
#include "client/connection/ask.h"

static const char help[] =
    "usage: luaduct health [OPTION]…\n"
    "\n"
    "Asks a bridge whether it lives, and prints its answer: \"ok\".\n"
    "\n"
    "  --ready         ask whether it takes work: not while it stops, nor while memory is critical\n" TARGET_HTTP_HELP
    "\n"
    "Exit status: 0; 1 when it says no or could not be reached within three seconds; 2 wrong usage.\n";

#define TIMEOUT_MS 3000 /* less than the ten seconds and more that who calls this leaves it */

int command_health(int argc, char **argv)
{
    struct target_options options = {0};
    bool ready = false;
    const struct option_rule rules[] = {{"ready", .flag = &ready}, TARGET_RULES(&options), {0}};
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    if (optind < argc)
        return usage_error(argv[0], "it takes no operands, got %s", argv[optind]);
    struct target target;
    code = target_find(argv[0], &options, TARGET_HTTP, &target);
    if (code != 0)
        return code;
    struct buffer answer;
    code = ask_bridge(argv[0], &target, "GET", ready ? "/ready" : "/health", (struct slice){0}, TIMEOUT_MS, &answer);
    if (code != 0)
        return code;
    buffer_free(&answer);
    puts(ready ? "ready" : "ok");
    return 0;
}
