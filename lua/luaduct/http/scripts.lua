-- POST /admin/reload, GET /admin/scripts, GET /admin/scripts/sources, GET and POST /admin/canary,
-- GET /admin/canary/diff: versions of the scripts.
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"

local scripts = {}

local function list(text)
    local items = {}
    for item in text:gmatch("[^, ]+") do
        items[#items + 1] = item
    end
    return json.array(items)
end

function scripts.reload()
    local outcome, status = native.reload()
    if not outcome then
        return status
    end
    return 200, {
        version = outcome.version,
        previous = outcome.previous,
        hash = outcome.hash,
        restartNeeded = list(outcome.restart_needed),
        ms = outcome.ms,
    }
end

function scripts.list()
    local versions = {}
    for index, version in ipairs(native.versions()) do
        versions[index] = {
            number = version.number,
            hash = version.hash,
            use = version.use,
            loaded = version.loaded,
            problem = version.problem or json.null,
            files = json.array(version.files),
            hooks = version.hooks,
            heapBytes = version.heap_bytes,
            p50Ms = version.p50_ms or json.null,
            p99Ms = version.p99_ms or json.null,
        }
    end
    return 200, {versions = json.array(versions)}
end

function scripts.sources(request)
    local parameters, problem = native.parameters(request.query)
    local number = parameters and tonumber((parameters.version or ""):match("^%d+$"))
    if not number or number < 1 or number > 1e9 then
        return native.refuse("bad_request", problem or "expected the number of a version, as version=3")
    end
    return native.write_sources(number) or 200
end

local function figures(of)
    return {
        calls = of.calls, errors = of.errors, overruns = of.overruns, refused = of.refused,
        p50Ms = of.p50_ms, p99Ms = of.p99_ms, decisions = of.decisions,
    }
end

function scripts.canary()
    local trial = native.trial()
    if not trial then
        return 200, {state = "none"}
    end
    return 200, {
        state = trial.state,
        shadow = trial.shadow,
        version = trial.version,
        against = trial.against,
        began = trial.began,
        ended = trial.ended or json.null,
        why = trial.why or json.null,
        percent = trial.percent,
        label = trial.label or json.null,
        id = trial.id or json.null,
        current = figures(trial.current),
        trial = figures(trial.trial),
        compared = trial.shadow and trial.compared or json.null,
        different = trial.shadow and trial.different or json.null,
    }
end

local function settle(action)
    return function()
        local outcome, status = native.settle(action)
        if not outcome then
            return status
        end
        return 200, {version = outcome.version, hash = outcome.hash}
    end
end

scripts.promote, scripts.abort = settle("promote"), settle("abort")

function scripts.differences()
    native.write('{"differences":')
    native.write_differences()
    native.write("}")
    return 200
end

return scripts
