-- GET /console: the page, its files below /console/assets/TAG/, and /console/session: who asks. The files lie in
-- lua/luaduct/console/. They name each other by relative addresses and the page by one with the tag, which changes with
-- the files: so browsers may keep them.
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"

local TYPES = {
    css = "text/css; charset=utf-8",
    html = "text/html; charset=utf-8",
    js = "text/javascript; charset=utf-8",
    svg = "image/svg+xml",
}

-- For who changes the console: its files are read from that folder each time, and not kept.
local FOLDER = os.getenv("LUADUCT_LUA_PATH")
if FOLDER == "" then
    FOLDER = nil
end

local function read(name)
    if not FOLDER then
        return native.console_file(name)
    end
    local file = io.open(FOLDER .. "/luaduct/console/" .. name, "rb")
    local text = file and file:read("*a")
    if file then
        file:close()
    end
    return text
end

local function absent()
    return native.refuse("not_found", "there is nothing at this path")
end

local function answer(name, text)
    native.protect_page(name ~= "index.html" and not FOLDER)
    native.content_type(TYPES[name:match("%a+$")])
    native.write(text)
    return 200
end

local console = {}

local function tag()
    return FOLDER and "dev" or native.console_file("tag")
end

function console.page(request)
    if not native.console() then
        return absent()
    end
    local base = (request.path == "/console" and "console/" or "") .. "assets/" .. tag()
    return answer("index.html", (read("index.html"):gsub("ASSETS", base)))
end

local function asset(request)
    local named, name = request.path:match("^/console/assets/(%w+)/([%w_-]+%.%a+)$")
    if not native.console() or named ~= tag() or not TYPES[name:match("%a+$")] then
        return absent()
    end
    local text = read(name)
    return text and answer(name, text) or absent()
end

local ASSET = {GET = asset}

-- The route of a path that is not among the fixed ones.
function console.route(path)
    return path:find("/console/assets/", 1, true) == 1 and ASSET or nil
end

-- What the page shows of its user, and what bounds every agent.
function console.session()
    if not native.console() then
        return absent()
    end
    local caller, summary = native.caller(), native.summary()
    if caller.unknown then
        return 200, {needed = "a credential"}
    end
    return 200, {
        admin = caller.admin,
        name = caller.name or json.null,
        mode = caller.mode,
        limits = caller.limits,
        version = summary.version,
        environment = summary.environment,
        reactors = summary.reactors,
        wsPort = summary.ws_port,
        httpPort = summary.http_port,
    }
end

return console
