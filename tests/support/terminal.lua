-- A command in a terminal of its own, by tmux: what is on its screen, keys, another size.
-- bridge.clean() ends it.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

local terminal = {}
local methods = {}
methods.__index = methods

local function quote(word)
    return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- One tmux server for each terminal, on a socket in a folder of its own.
local function tmux(self, ...)
    local status, output, errors = process.run({"tmux", "-S", self.folder .. "/socket", "-f", "/dev/null", ...},
        {env = {TMUX = "", LC_ALL = "C.UTF-8", SHELL = "/bin/sh"}})
    return status == 0 and output, errors
end

-- options: columns (80), rows (24), env. When the command has ended, the screen stays, and its exit status is known.
function terminal.start(command, options)
    options = options or {}
    local words = {"env", "-u", "NO_COLOR"}
    for name, value in pairs(options.env or {}) do
        words[#words + 1] = quote(name .. "=" .. value)
    end
    for _, word in ipairs(command) do
        words[#words + 1] = quote(word)
    end
    local self = setmetatable({folder = process.folder()}, methods)
    -- The terminal's own settings before and after are compared by specs, so a shell stays around the command.
    local script = "trap : INT QUIT; stty -a >%s/before; %s; echo $? >%s/status; stty -a >%s/after; exec sleep 3600"
    script = script:format(self.folder, table.concat(words, " "), self.folder, self.folder)
    local done, problem = tmux(self, "new-session", "-d", "-x", tostring(options.columns or 80),
        "-y", tostring(options.rows or 24), "sh", "-c", script)
    assert(done, problem)
    return bridge.track(self)
end

-- The lines of the screen; `with_colours`: with escape sequences.
function methods:screen(with_colours)
    return assert(tmux(self, "capture-pane", "-p", with_colours and "-e" or nil))
end

-- Waits until the screen holds a text (a Lua pattern where `pattern`), and gives the screen.
function methods:shows(text, pattern)
    local screen = ""
    return wait.eventually(function()
        screen = self:screen()
        return screen:find(text, 1, not pattern) and screen
    end, nil, function()
        return ("%q on the screen; it holds:\n%s"):format(text, screen)
    end)
end

-- tmux's names of keys ("Enter", "C-d", "q"), each a word.
function methods:keys(...)
    assert(tmux(self, "send-keys", ...))
end

function methods:types(text)
    assert(tmux(self, "send-keys", "-l", text))
end

function methods:resize(columns, rows)
    assert(tmux(self, "resize-window", "-x", tostring(columns), "-y", tostring(rows)))
end

-- The process id of the command: the youngest child of the terminal's shell.
function methods:pid()
    local shell = assert(tmux(self, "display-message", "-p", "#{pane_pid}")):match("%d+")
    return wait.eventually(function()
        local child = process.read_file(("/proc/%s/task/%s/children"):format(shell, shell)):match("(%d+)%s*$")
        return tonumber(child)
    end, nil, "the command to run")
end

-- Exit status of the command, and the terminal's settings before and after it (of `stty -a`).
function methods:ended()
    wait.eventually(function()
        return process.read_file(self.folder .. "/after") ~= "" and process.read_file(self.folder .. "/status") ~= ""
    end, nil, function()
        return "the command to end; the screen:\n" .. self:screen()
    end)
    return tonumber(process.read_file(self.folder .. "/status")), process.read_file(self.folder .. "/before"),
        process.read_file(self.folder .. "/after")
end

-- bridge.clean() calls it.
function methods:close()
    tmux(self, "kill-server")
end

return terminal
