-- What all proofs have in common: options, a temporary folder, the end by whatever cause, criteria, the report.
local bridge = require "scripts.proof.bridge"
local cjson = require "cjson"
local options = require "scripts.proof.options"
local process = require "bench.support.process"
local screen = require "scripts.proof.screen"

local proof = {}
local methods = {}
methods.__index = methods

local function fail(command, text)
    screen.end_progress()
    io.stderr:write(command, ": ", text, "\n")
end

-- A path as the caller meant it, who may have stood in another folder.
local function from_caller(path)
    return path:sub(1, 1) == "/" and path or (os.getenv("LUADUCT_CALLED_FROM") or ".") .. "/" .. path
end

local function build(command)
    local file = io.open(bridge.BINARY)
    if file then
        file:close()
        return true
    end
    io.stderr:write(command, ": building ", bridge.BINARY, " first\n")
    return not os.getenv("LUADUCT_BIN") and os.execute("scripts/setup run && make build >&2") == 0
end

-- --- criteria ---

-- old: the older system's target as a text, or nil. ours: the target as a text. met: nil when it could not be measured,
-- which is a miss unless `optional`.
function methods:criterion(criterion)
    criterion.verdict = criterion.optional and criterion.met == nil and "–" or criterion.met and "ok" or "MISSED"
    self.criteria[#self.criteria + 1] = criterion
    self.missed = self.missed or criterion.verdict == "MISSED"
end

function methods:note(format, ...)
    self.notes[#self.notes + 1] = format:format(...)
end

-- For a bridge that somebody configured: what it met of that.
function methods:note_limits(refused_by)
    local codes = {}
    for code, count in pairs(refused_by or {}) do
        codes[#codes + 1] = ("%s %s times"):format(code, screen.count(count))
    end
    table.sort(codes)
    if #codes > 0 then
        self:note("Refused: %s.%s", table.concat(codes, ", "), self.options.url and " These are limits of that "
            .. "bridge's configuration or of this load, so the verdict is not the bridge's fault alone." or "")
    end
end

function methods:note_generator(figures)
    if figures.generatorCpu and figures.generatorCpu > 0.9 then
        self:note("The load generator used %.2f of a processor: it may be what limited.", figures.generatorCpu)
    end
end

-- Stops its own bridge, which counts as a criterion.
function methods:close_bridge()
    if not self.bridge.own then
        return
    end
    local wrong = self.bridge:stop()
    self:criterion({
        key = "ending", name = "the bridge's end", ours = "status 0", measured = wrong and "failed" or "status 0",
        met = wrong == nil,
    })
    if wrong then
        self:note("%s", wrong)
    end
end

-- --- the report ---

function methods:percentiles(name, figures)
    self.times[#self.times + 1] = {
        name, screen.time(figures.p50us), screen.time(figures.p95us), screen.time(figures.p99us),
        screen.time(figures.p999us), screen.time(figures.maximumUs),
    }
end

local function print_report(self)
    screen.end_progress()
    if #self.times > 0 then
        screen.table({{"", "P50", "P95", "P99", "P99.9", "maximum"}, unpack(self.times)})
        io.write("\n")
    end
    for _, row in ipairs(self.facts) do
        io.write(("  %s: %s\n"):format(row[1], row[2]))
    end
    io.write(#self.facts > 0 and "\n" or "")
    local rows = {{"criterion", "old target", "target", "measured", ""}}
    for i, criterion in ipairs(self.criteria) do
        rows[i + 1] = {
            criterion.name, criterion.old or "–", criterion.ours or "–", criterion.measured or "not measured",
            criterion.verdict,
        }
    end
    screen.table(rows)
    for _, note in ipairs(self.notes) do
        io.write("\n", note, "\n")
    end
end

local function write_json(self)
    local criteria = {}
    for i, criterion in ipairs(self.criteria) do
        criteria[i] = {
            name = criterion.name, key = criterion.key, old = criterion.old or cjson.null,
            target = criterion.ours or cjson.null, measured = criterion.measured or cjson.null,
            value = criterion.value or cjson.null, verdict = criterion.verdict,
        }
    end
    local document = {
        command = self.command, options = self.options, ownBridge = not self.options.url, criteria = criteria,
        figures = self.figures, notes = table.concat(self.notes, "\n"), passed = not self.missed,
        machine = proof.machine(), finished = os.date("!%Y-%m-%dT%H:%M:%SZ"),
    }
    local path = from_caller(self.options.json)
    local file, problem = io.open(path, "w")
    if not file then
        error("cannot write the JSON: " .. problem, 0)
    end
    file:write(cjson.encode(document), "\n")
    file:close()
end

function proof.machine()
    local model = (process.read_all("/proc/cpuinfo") or ""):match("model name%s*:%s*([^\n]+)") or "unknown"
    local kernel = process.capture("uname -r")
    return {processor = model, processors = tonumber((process.capture("nproc"))), kernel = kernel}
end

-- --- a run ---

-- Its own bridge, or the one of --url.
function methods:open_bridge(config, more)
    if self.options.url then
        self.bridge = bridge.attach(self.folder, self.options.url, self.options.http_url)
    else
        self.bridge = bridge.start(self.folder, config, more)
    end
    return self.bridge
end

-- Calls look(elapsed) once a second until `over` gives true or the seconds are over.
function proof.watch(seconds, over, look)
    local started = process.now()
    while true do
        local elapsed = process.now() - started
        if elapsed >= seconds or over() then
            return
        end
        look(elapsed)
        for _ = 1, 5 do
            if over() then
                return
            end
            process.sleep(0.2)
        end
    end
end

-- describe: command, summary, notes, options. work(self): adds criteria, figures, percentiles. prepare(self): before
-- signals are caught, for what takes long and is nobody's child.
function proof.main(describe, work)
    local self = setmetatable({
        command = describe.command, criteria = {}, notes = {}, times = {}, facts = {}, figures = {}, missed = false,
    }, methods)
    self.options = options.read(describe, arg)
    if not build(self.command) then
        fail(self.command, ("there is no %s, and building it failed"):format(bridge.BINARY))
        os.exit(1)
    end
    if describe.prepare then
        describe.prepare(self)
    end
    local made, good = process.capture("mktemp -d -t luaduct-proof-XXXXXX")
    if not good then
        fail(self.command, "cannot make a temporary folder")
        os.exit(1)
    end
    self.folder = made
    math.randomseed(os.time())
    process.catch_signals()
    local done, problem = pcall(work, self)
    process.stop_all()
    local status = 0
    if done then
        done, problem = pcall(function()
            print_report(self)
            if self.options.json then
                write_json(self)
            end
        end)
        status = self.missed and 1 or 0
    end
    process.capture("rm -rf " .. process.quote(self.folder))
    if not done then
        status = type(problem) == "table" and problem.signal and 128 + problem.signal or 1
        fail(self.command, status > 128 and "interrupted" or tostring(problem))
    end
    os.exit(status)
end

return proof
