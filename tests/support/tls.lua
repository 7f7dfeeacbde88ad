-- A bridge that speaks TLS, and those who talk to it: openssl, curl, Node.
local bridge = require "tests.support.bridge"
local certificates = require "tests.support.certificates"
local json = require "tests.support.json"
local process = require "tests.support.process"
local unistd = require "posix.unistd"

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/build/interop/node_modules")

local tls = {}

-- options: as of bridge.start; its config.tls is added to a certificate of a fresh authority, in server.authority.
function tls.start(options)
    options = options or {}
    local authority = options.authority or certificates.authority()
    local config = options.config or {}
    config.tls = config.tls or {}
    if not config.tls.cert and not config.tls.certs then
        config.tls.cert, config.tls.key = authority:issue("server")
    end
    options.config = config
    local server = bridge.start(options)
    server.authority = authority
    return server
end

-- `openssl s_client` with these arguments and `input` (default: nothing, so it ends after the handshake): exit status
-- and all that it says.
function tls.s_client(server, arguments, input)
    local command = {"timeout", "20", "openssl", "s_client", "-connect", "localhost:" .. server.http_port, "-CAfile",
        server.authority.ca, "-verify_return_error"}
    for _, argument in ipairs(arguments or {}) do
        command[#command + 1] = argument
    end
    local status, output, errors = process.run(command, {input = input or "", seconds = 30})
    return status, output .. errors
end

-- `curl` on a path of the bridge: exit status, body, what it complains of.
function tls.curl(server, path, arguments)
    local command = {"curl", "-sS", "--max-time", "20", "--cacert", server.authority.ca}
    for _, argument in ipairs(arguments or {}) do
        command[#command + 1] = argument
    end
    command[#command + 1] = ("https://localhost:%d%s"):format(server.http_port, path)
    return process.run(command, {seconds = 30})
end

-- The `tls` of /metrics.
function tls.figures(server, arguments)
    local status, body, errors = tls.curl(server, "/metrics", arguments)
    assert(status == 0, errors)
    return json.decode(body).tls
end

local function node_command(server, scenario, arguments)
    local command = {"node", "tests/interop/tls.js", scenario, tostring(server.ws_port), server.authority.ca}
    for _, argument in ipairs(arguments or {}) do
        command[#command + 1] = argument
    end
    return command
end

-- A scenario of tests/interop/tls.js to its end: what it printed. Raises when it failed.
function tls.node(server, scenario, arguments)
    local status, output, errors = process.run(node_command(server, scenario, arguments),
        {env = {NODE_PATH = MODULES}, seconds = 70})
    if status ~= 0 then
        error(output .. errors .. "\nthe bridge said:\n" .. server:log(), 2)
    end
    return output
end

-- The same, running on; standard input is a pipe.
function tls.node_start(server, scenario, arguments)
    return process.start(node_command(server, scenario, arguments), {env = {NODE_PATH = MODULES}, input = "pipe"})
end

return tls
