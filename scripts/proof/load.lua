-- Runs of `luaduct bench` beside a proof: started, watched by their progress lines, and read when they are over.
local bridge = require "scripts.proof.bridge"
local cjson = require "cjson"
local process = require "bench.support.process"

local load = {}
local methods = {}
methods.__index = methods

-- words: the command's, as a text. where: a bridge, or {ws_url, http_url, pid}. yields: true for a load beside which
-- something is measured: processors are given to the others first, for this is about the bridge and not about them.
function load.start(folder, where, words, yields)
    load.count = (load.count or 0) + 1
    local self = setmetatable({
        words = words, out = ("%s/load-%d"):format(folder, load.count), seen = 0, lines = {},
    }, methods)
    local url = words:match("^http ") and where.http_url or where.ws_url
    local command = ("%s%s bench %s --json --url %s%s"):format(yields and "nice -n 10 " or "",
        process.quote(bridge.BINARY), words, process.quote(url),
        where.pid and (" --server-pid %d"):format(where.pid) or "")
    self.pid = process.start(nil, command, self.out, {errors = self.out .. ".errors"})
    return self
end

function methods:alive()
    return process.alive(self.pid)
end

-- The newest progress line, decoded, or nil; all of them are in self.lines.
function methods:progress()
    local file = io.open(self.out .. ".errors")
    if not file then
        return nil
    end
    file:seek("set", self.seen)
    local text = file:read("*a")
    file:close()
    for line in text:gmatch("([^\n]*)\n") do
        self.seen = self.seen + #line + 1
        local good, value = pcall(cjson.decode, line)
        if good and type(value) == "table" then
            self.lines[#self.lines + 1] = value
        else
            self.said = line
        end
    end
    return self.lines[#self.lines]
end

-- After its end: the figures, or nil and why there are none.
function methods:result()
    self:progress()
    local good, value = pcall(cjson.decode, (process.read_all(self.out)))
    if good and type(value) == "table" then
        for key, inner in pairs(value) do
            if inner == cjson.null then
                value[key] = nil
            end
        end
        return value
    end
    return nil, self.said or "the load generator said nothing"
end

-- Ends the measuring, and waits for the result.
function methods:finish(seconds)
    process.interrupt(self.pid) -- once: the second would end it without a word
    for _ = 1, (seconds or 20) / 0.05 do
        if not self:alive() then
            return self:result()
        end
        process.sleep(0.05)
    end
    process.stop(self.pid)
    return self:result()
end

-- The greatest of a figure over all progress lines; 0 without any.
function methods:worst(name)
    local worst = 0
    self:progress()
    for _, line in ipairs(self.lines) do
        worst = math.max(worst, line.count > 0 and line[name] or 0)
    end
    return worst
end

-- What went wrong for whoever sent, of whatever kind. A message that was refused was not delivered either, so it is
-- among those lost; an HTTP request that was refused was answered, so it is not.
function load.faults(figures)
    local lost, refused = figures.lost or 0, figures.refused
    local count = figures.protocol == "http" and lost + refused or math.max(lost, refused)
    for _, name in ipairs({"repeated", "reordered", "disconnected", "wrong"}) do
        count = count + (figures[name] or 0)
    end
    return count
end

return load
