--- What stands on the pages beside what --help says.

local words = {}

words.INTRODUCTION = {
    "luaduct is a message bridge for AI agents. Agents connect by WebSocket and send envelopes to each other; scripts "
        .. "in Lua decide who gets what. `luaduct run` is the bridge; all other commands are for those who run it, "
        .. "write its scripts or are agents themselves.",
    "Commands that talk to a bridge find it by --url or AI_BRIDGE_URL, else on this machine at the standard ports. "
        .. "What a command was asked for goes to standard output, everything else to standard error. What agents have "
        .. "said is made harmless for the terminal before it is shown.",
}

--- Name and meaning; those of the configuration stand with its keys.
words.VARIABLES = {
    {"AI_BRIDGE_URL", "where the bridge is, for commands that talk to one"},
    {"AI_BRIDGE_AUTH_TOKEN", "the credential that they show, and that a bridge without auth.token asks for"},
    {"SSL_CERT_FILE", "the authorities that they trust, in PEM, in place of the system's"},
    {"AGENT_ID, AGENT_ROLE", "who `luaduct agent` is"},
    {"NO_COLOR", "when it is set and not empty, nothing is shown in colour"},
    {"LUADUCT_LUA_PATH", "a folder from which the program's own Lua is loaded, in place of what is compiled in"},
}

words.EXIT_STATUS = "0: done. 1: it did not work, and a line on standard error says why. 2: wrong usage."

return words
