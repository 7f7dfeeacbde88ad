-- What the small benchmarks share: their options, files and medians.
local process = require("bench.support.process")

local harness = {}

-- Reads `--name value` for each of `defaults`, and `--name` alone where the default is false. `--help` prints the help
-- and ends the program; what is no option prints it too, with exit status 2.
function harness.options(help, defaults, words)
    local options = {}
    for name, value in pairs(defaults) do
        options[name] = value
    end
    local at = 1
    while at <= #words do
        local name = words[at]:match("^%-%-(.+)$")
        if name == "help" then
            io.write(help)
            os.exit(0)
        elseif name and options[name] == false then
            options[name] = true
            at = at + 1
        elseif name and options[name] ~= nil and options[name] ~= true and words[at + 1] then
            options[name] = tonumber(words[at + 1]) or words[at + 1]
            at = at + 2
        else
            io.stderr:write(help)
            os.exit(2)
        end
    end
    return options
end

function harness.median(list)
    table.sort(list)
    return list[math.ceil(#list / 2)]
end

function harness.write(path, text)
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
end

-- Ends the benchmark of that name, and all that it started.
function harness.fail(name, text)
    io.stderr:write("bench/", name, ": ", text, "\n")
    process.stop_all()
    os.exit(1)
end

-- The numbers of a JSON text, by their names.
function harness.figures(text)
    local figures = {}
    for key, value in text:gmatch('"(%w+)":(-?[%d.]+)') do
        figures[key] = tonumber(value)
    end
    return figures
end

-- A bridge of the build that is measured, on `--server-core` where the benchmark has that option, with a file for each
-- of `texts` in a folder of its own. `config` is a format of the two ports; `prefix` stands before the command. Gives
-- {pid, port, http, folder}.
function harness.start_bridge(name, options, config, texts, prefix)
    local folder = options.build .. "/" .. name
    process.capture("mkdir -p " .. folder)
    local port, http = process.free_port(), process.free_port()
    harness.write(folder .. "/config.lua", config:format(port, http))
    for file, text in pairs(texts or {}) do
        harness.write(folder .. "/" .. file, text)
    end
    local core = options["server-core"]
    local command = ("%s%s/luaduct run %s/config.lua"):format(prefix or "", options.build, folder)
    local pid = process.start(core and tostring(core), command, folder .. "/log")
    if not process.await_port(pid, http, 10) then
        harness.fail(name, "the bridge did not start: " .. tostring(process.read_all(folder .. "/log")))
    end
    return {pid = pid, port = port, http = http, folder = folder}
end

-- What such a bridge answers, head and body.
function harness.ask(server, method, path)
    local line = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; "
        .. [[printf "%s %s HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n" >&3; cat <&3']]
    return (process.capture(line:format(server.http, method, path)))
end

return harness
