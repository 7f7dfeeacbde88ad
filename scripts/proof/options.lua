-- The options of a proof: --name VALUE or --name=VALUE, with durations (30m, 90s) and sizes (10GB, 64MiB).
local options = {}

local SECONDS = {ms = 0.001, s = 1, m = 60, h = 3600}
local BYTES = {
    B = 1, KB = 1e3, MB = 1e6, GB = 1e9, TB = 1e12,
    KiB = 2 ^ 10, MiB = 2 ^ 20, GiB = 2 ^ 30, TiB = 2 ^ 40,
}

-- Each reader gives the value, or nil; `expected` says what it takes.
local kinds = {}

kinds.duration = {expected = "a duration such as 30m, 90s or 1h", read = function(text)
    local seconds, rest = 0, text
    while rest ~= "" do
        local number, unit, after = rest:match("^(%d+%.?%d*)(%a+)(.*)$")
        if not number or not SECONDS[unit] then
            return nil
        end
        seconds, rest = seconds + tonumber(number) * SECONDS[unit], after
    end
    return seconds > 0 and seconds <= 1e6 and seconds or nil
end}

kinds.size = {expected = "a size such as 10GB or 64MiB", read = function(text)
    local number, unit = text:match("^(%d+%.?%d*)(%a*)$")
    local scale = unit == "" and 1 or BYTES[unit]
    local bytes = number and scale and math.floor(tonumber(number) * scale)
    return bytes and bytes >= 1 and bytes <= 1e15 and bytes or nil
end}

kinds.count = {expected = "a whole number from 1", read = function(text)
    local number = text:match("^%d+$") and tonumber(text)
    return number and number >= 1 and number <= 1e9 and number or nil
end}

kinds.agents = {expected = "a whole number from 2 to 99999", read = function(text)
    local number = text:match("^%d+$") and tonumber(text)
    return number and number >= 2 and number <= 99999 and number or nil
end}

kinds.text = {expected = "a text", read = function(text)
    return text ~= "" and text or nil
end}

-- A size, or how much it is of what a first run needed.
kinds.limit = {expected = 'a size such as 300MiB, or "quarter"', read = function(text)
    return text == "quarter" and text or kinds.size.read(text)
end}

local COMMON = {
    {"url", "text", nil, "URL", "a bridge that runs, as ws://HOST:PORT; without it one of its own is started"},
    {"http-url", "text", nil, "URL", "its HTTP API; standard: the port that GET /health on --url names"},
    {"json", "text", nil, "FILE", "writes all figures there, as one JSON object"},
}

local function print_help(proof)
    io.write("usage: ", proof.command, " [OPTION]…\n", proof.summary, "\n\n")
    for _, option in ipairs(proof.options) do
        local name, kind, standard, value, text = unpack(option, 1, 5)
        local left = "--" .. name .. (kind == "flag" and "" or " " .. value)
        local standard_text = standard and ("; standard %s"):format(standard) or ""
        io.write(("  %-20s  %s%s\n"):format(left, text, standard_text))
    end
    io.write("  --help\n\n", proof.notes or "",
        "Exit status: 0; 1 when a criterion was missed or it could not be run; 2 wrong usage.\n",
        "NO_COLOR in the environment keeps colours away; AI_BRIDGE_AUTH_TOKEN is the bridge's token.\n")
end

local function usage_error(proof, format, ...)
    io.stderr:write(proof.command, ": ", format:format(...), ", see ", proof.command, " --help\n")
    os.exit(2)
end

-- proof: command, summary, notes, options (a list of {name, kind, standard text or nil, placeholder, help}), own_only
-- (there is no --url). Gives values by name ("-" as "_"). Ends the process after --help (0) and wrong usage (2).
function options.read(proof, words)
    local known, values = {}, {}
    if not proof.own_only then
        for _, option in ipairs(COMMON) do
            proof.options[#proof.options + 1] = option
        end
    else
        proof.options[#proof.options + 1] = COMMON[3]
    end
    for _, option in ipairs(proof.options) do
        local name, kind, standard = unpack(option, 1, 3)
        known[name] = option
        if standard then
            values[name:gsub("-", "_")] = kinds[kind].read(standard)
        end
    end
    local at = 1
    while at <= #words do
        local name, value = words[at]:match("^%-%-([%w-]+)=(.*)$")
        name = name or words[at]:match("^%-%-([%w-]+)$")
        local option = known[name]
        if name == "help" and not value then
            print_help(proof)
            os.exit(0)
        elseif not option then
            local what = words[at]:sub(1, 1) == "-" and "unknown option" or "unexpected word"
            usage_error(proof, "%s %s", what, words[at])
        elseif option[2] == "flag" then
            if value then
                usage_error(proof, "--%s takes no value", name)
            end
            value = true
        else
            if not value then
                at = at + 1
                value = words[at] or usage_error(proof, "--%s needs a value", name)
            end
            local kind = kinds[option[2]]
            local read = kind.read(value)
            if read == nil then
                usage_error(proof, '--%s: expected %s, got "%s"', name, kind.expected, value)
            end
            value = read
        end
        values[name:gsub("-", "_")] = value
        at = at + 1
    end
    if values.http_url and not values.url then
        usage_error(proof, "--http-url needs --url")
    end
    for _, name in ipairs({"url", "http_url"}) do
        if values[name] and not values[name]:match("^%a+://[^/]+") then
            usage_error(proof, '--%s: expected ws://HOST:PORT, got "%s"', name:gsub("_", "-"), values[name])
        end
    end
    return values
end

return options
