-- A real Prometheus (Debian's) on a free port, with its data in a folder that goes with the test.
local http = require "tests.support.http"
local json = require "tests.support.json"
local ports = require "tests.support.ports"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

local prometheus = {}
local methods = setmetatable({}, {__index = process.methods})
methods.__index = methods

local TRIES = 3

local function is_ready(port)
    local ok, answer = pcall(http.request, {http_port = port}, {path = "/-/ready"})
    return ok and answer.status == 200
end

-- `config`: the text of its configuration; files: name to text, beside it. Returns when it is ready.
function prometheus.start(config, files)
    local folder = process.folder()
    for name, text in pairs(files or {}) do
        process.write_file(folder .. "/" .. name, text)
    end
    process.write_file(folder .. "/prometheus.yaml", config)
    for try = 1, TRIES do -- somebody may take the port between looking and listening
        local port = ports.free()
        local self = process.start({
            "prometheus", "--config.file=" .. folder .. "/prometheus.yaml",
            "--storage.tsdb.path=" .. folder .. "/data", "--web.listen-address=127.0.0.1:" .. port,
            "--log.level=warn",
        })
        setmetatable(self, methods)
        self.port = port
        wait.eventually(function()
            return is_ready(port) or not self:is_running()
        end, 60, "Prometheus to be ready")
        if self:is_running() then
            return self
        elseif try == TRIES then
            error("Prometheus did not start:\n" .. self:log(), 2)
        end
    end
end

local function escape(text)
    return (text:gsub("[^%w%-._~]", function(byte)
        return ("%%%02X"):format(byte:byte())
    end))
end

-- The `data` of an answer of its API.
function methods:api(path)
    local answer = http.request({http_port = self.port}, {path = "/api/v1/" .. path})
    local body = json.decode(answer.body)
    if body.status ~= "success" then
        error(path .. ": " .. answer.body, 2)
    end
    return body.data
end

-- What an expression gives now: a list of {metric = labels, value = number}.
function methods:query(expression)
    local list = {}
    for i, sample in ipairs(self:api("query?query=" .. escape(expression)).result) do
        list[i] = {metric = sample.metric, value = tonumber(sample.value[2])}
    end
    return list
end

return prometheus
