-- `luaduct replay`: the envelopes of a trace, through scripts as they are now.
local room = require "luaduct.test.room"

local USAGE = [[
usage: luaduct replay [OPTION]… TRACE SCRIPT…
Sends the envelopes of a trace (`luaduct trace --json > TRACE`) through a script, or a chain of them, without a server,
and shows where it decides something else than was decided then.

  --mode MODE     the behaviour behind the scripts: enhanced (standard) or original
  --folder DIR    where `require` looks; standard: each script's own folder
  --all           show every envelope, not only the differences

Envelopes whose hook waited (for time, workers or agents), or that are missing in the trace because they were too large,
are counted and not compared. Each script begins with an empty luaduct.state and luaduct.shared.
Exit status: 0; 1 when a decision differs, a script fails or a file cannot be read; 2 wrong usage.
]]

local function usage_error(text)
    io.stderr:write("luaduct replay: ", text, "; see `luaduct help replay`\n")
    return 2
end

local function failed(text)
    io.stderr:write("luaduct replay: ", text, "\n")
    return 1
end

local function read_arguments(words)
    local options, files = {mode = "enhanced"}, {}
    local at = 1
    while at <= #words do
        local word = words[at]
        if word == "--help" or word == "-h" then
            options.help = true
        elseif word == "--all" then
            options.all = true
        elseif word == "--mode" or word == "--folder" then
            at = at + 1
            if not words[at] then
                return nil, "a value is missing after " .. word
            end
            options[word:sub(3)] = words[at]
        elseif word:sub(1, 1) == "-" and #word > 1 then
            return nil, "there is no option " .. word
        else
            files[#files + 1] = word
        end
        at = at + 1
    end
    if options.mode ~= "enhanced" and options.mode ~= "original" then
        return nil, ('--mode: expected enhanced or original, got "%s"'):format(options.mode)
    elseif not options.help and #files < 2 then
        return nil, "expected a trace and at least one script"
    end
    options.trace = table.remove(files, 1)
    options.scripts = files
    return options
end

-- What the hook decides now, as text; nil and why there is nothing to compare.
local function decide(opened, envelope, sender)
    local outcome = opened:route(envelope, sender)
    if outcome.result == "waits" then
        opened:abandon(outcome.call)
        return nil, "it waits"
    elseif outcome.broke then
        local log = opened:take_log()
        local text = #log > 0 and log[#log].text or "the script failed"
        return "(it failed) " .. text:match("^[^\n]*")
    end
    opened:take_log()
    return outcome.text
end

local function sender_of(record)
    if type(record.sender) ~= "table" then
        return nil
    end
    local function text(name)
        return type(record.sender[name]) == "string" and record.sender[name] or nil
    end
    return {
        id = text("id"), role = text("role"), identity = text("identity"),
        labels = room.encode(room.array(type(record.sender.labels) == "table" and record.sender.labels or {})),
    }
end

local function compare(opened, line, number, options, counts)
    local good, record = pcall(room.decode, line)
    if not good or type(record) ~= "table" or record.hook ~= "route" then
        error(("%s:%d: this is no line of a trace"):format(options.trace, number), 0)
    end
    -- The record ends with it; inside of texts the quotes before it would be escaped.
    local envelope = line:match(',"envelope":(.*)}%s*$')
    if record.waited or not envelope or envelope == "null" then
        counts.left = counts.left + 1
        return
    end
    local now = decide(opened, envelope, sender_of(record))
    if not now then
        counts.left = counts.left + 1
        return
    end
    local before = type(record.decision) == "string" and not record.failed and record.decision or "(it failed)"
    local same = now == before
    counts[same and "same" or "different"] = counts[same and "same" or "different"] + 1
    if not same or options.all then
        print(("%s  %s%s"):format(record.id, same and "" or before .. "  ->  ", now))
    end
end

return function(words)
    local options, problem = read_arguments(words)
    if not options then
        return usage_error(problem)
    elseif options.help then
        io.write(USAGE)
        return 0
    end
    local opened, wrong = room.open({paths = options.scripts, folder = options.folder, mode = options.mode})
    if not opened then
        return failed(wrong)
    end
    local file, unreadable = io.open(options.trace)
    if not file then
        return failed(unreadable)
    end
    local counts, number = {same = 0, different = 0, left = 0}, 0
    local _, no_file = file:read(0) -- a folder opens, and cannot be read
    if no_file then
        file:close()
        return failed(options.trace .. ": " .. no_file)
    end
    for line in file:lines() do
        number = number + 1
        if line:find("%S") then
            local good, why = pcall(compare, opened, line, number, options, counts)
            if not good then
                file:close()
                return failed(why)
            end
        end
    end
    file:close()
    opened:close()
    if counts.same + counts.different + counts.left == 0 then
        return failed(options.trace .. " has no envelope: record some with `luaduct trace --json`")
    end
    print(("%d envelopes: %d decided alike, %d otherwise, %d not compared"):format(
        counts.same + counts.different + counts.left, counts.same, counts.different, counts.left))
    return counts.different == 0 and 0 or 1
end
