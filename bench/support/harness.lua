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

-- A bridge on `--server-core` of the build that is measured, with a file for each of `texts` in a folder of its own.
-- `config` is a format of the two ports. Gives {pid, port, http, folder}.
function harness.start_bridge(name, options, config, texts)
    local folder = options.build .. "/" .. name
    process.capture("mkdir -p " .. folder)
    local port, http = process.free_port(), process.free_port()
    harness.write(folder .. "/config.lua", config:format(port, http))
    for file, text in pairs(texts or {}) do
        harness.write(folder .. "/" .. file, text)
    end
    local pid = process.start(tostring(options["server-core"]), options.build .. "/luaduct run " .. folder
        .. "/config.lua", folder .. "/log")
    if not process.await_port(pid, http, 10) then
        harness.fail(name, "the bridge did not start: " .. tostring(process.read_all(folder .. "/log")))
    end
    return {pid = pid, port = port, http = http, folder = folder}
end

return harness
