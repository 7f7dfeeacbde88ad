--- Checks values against the schema. `value` judges one; `tree` walks a config file's table and judges all of it.
--- A problem is { path = "listen.wsPort", text = "expected …, got …" }; the caller puts the file's name before it.

local schema = require("luaduct.config.schema")
local suggest = require("luaduct.config.suggest")

local format, match, lower = string.format, string.match, string.lower
local concat, sort = table.concat, table.sort

local validate = {}

local LONGEST_SHOWN = 60 -- bytes of a wrong value that a message repeats: enough to recognise it on one line
local LONGEST_ID = 256 -- bytes: what the wire allows
local DEEPEST_CLAIM = 8 -- names: no token has nearly as many objects in one another
local LONGEST_HEADERS = 1024 -- bytes of all: what a request has room for (core/net/post.c)
local LONGEST_TOKEN = 4096 -- bytes: has to fit a request header

local UNITS = { B = 1, KB = 1e3, MB = 1e6, GB = 1e9, TB = 1e12, KiB = 2 ^ 10, MiB = 2 ^ 20, GiB = 2 ^ 30, TiB = 2 ^ 40 }

--- Text as a quoted literal on one line, whatever bytes it holds.
function validate.quote(text)
    if #text > LONGEST_SHOWN then
        -- Not half a UTF-8 character before the dots.
        text = text:sub(1, LONGEST_SHOWN):gsub("[\192-\255][\128-\191]*$", "") .. "…"
    end
    return '"' .. text:gsub('[%c"\\]', function(character)
        if character == '"' or character == "\\" then
            return "\\" .. character
        end
        return character == "\n" and "\\n" or format("\\%03d", character:byte())
    end) .. '"'
end

local function describe(value)
    local kind = type(value)
    if kind == "string" then
        return validate.quote(value)
    elseif kind == "number" then
        return format("%.14g", value)
    elseif kind == "boolean" then
        return tostring(value)
    end
    return "a " .. kind
end

--- Bytes of a number or of text such as "64MiB" (2^20) or "500MB" (10^6); nil for anything else.
function validate.size(value)
    local bytes
    if type(value) == "string" then
        local digits, unit = match(value, "^(%d+%.?%d*)(%a*)$")
        local factor = unit == "" and 1 or UNITS[unit]
        bytes = digits and factor and tonumber(digits) * factor
    elseif type(value) == "number" then
        bytes = value
    end
    -- NaN and fractions of a byte fail this comparison.
    return bytes and bytes == math.floor(bytes) and bytes or nil
end

local function is_text(value)
    return type(value) == "string" and value ~= "" and not value:find("%c")
end

-- The items of a table that is a list and nothing else; nil otherwise.
local function list_items(value)
    if type(value) ~= "table" then
        return nil
    end
    local items, count = {}, 0
    for _ in next, value do
        count = count + 1
    end
    for index = 1, count do
        items[index] = rawget(value, index)
        if items[index] == nil then
            return nil
        end
    end
    return items
end

-- Every item through `convert`, which gives nil for a wrong one.
local function list_of(value, convert)
    local items = list_items(value)
    if not items then
        return nil
    end
    for index, item in ipairs(items) do
        items[index] = convert(item)
        if items[index] == nil then
            return nil, item
        end
    end
    return items
end

local DEFAULT_PORTS = { http = ":80", https = ":443" }

-- An origin as browsers write it: lower case, the scheme's own port left out (RFC 6454 6.2).
local function origin(value)
    if value == "*" or value == "null" then
        return value
    end
    local scheme, authority = match(type(value) == "string" and lower(value) or "", "^(%a[%w+.-]*)://([^/%s%c?#@]+)$")
    if not scheme then
        return nil
    end
    local port = DEFAULT_PORTS[scheme]
    if port and authority:sub(-#port) == port and #authority > #port then
        authority = authority:sub(1, -#port - 1)
    end
    return scheme .. "://" .. authority
end

local function host_name(value)
    return type(value) == "string" and #value <= 253 and match(value, "^[%w_][%w_.-]*$") and lower(value) or nil
end

-- A host's name, or all below one: "*.example.com".
local function server_name(value)
    local star, rest = match(type(value) == "string" and value or "", "^(%*?%.?)(.+)$")
    local name = (star == "" or star == "*.") and host_name(rest)
    return name and star .. name or nil
end

local function in_range(key, number, min, max)
    return number >= min and number <= max or (key.zero and number == 0)
end

-- One function a type: gives the normalised value, or nil and (where one item of a list is wrong) the culprit.
local kinds = {}

function kinds.boolean(_, value)
    if type(value) == "boolean" then
        return value
    end
end

function kinds.number(key, value)
    if type(value) == "number" and in_range(key, value, key.min, key.max) then
        return value
    end
end

function kinds.integer(key, value)
    if kinds.number(key, value) and value == math.floor(value) then
        return value
    end
end

function kinds.size(key, value)
    local bytes = validate.size(value)
    if bytes and in_range(key, bytes, validate.size(key.min), validate.size(key.max)) then
        return bytes
    end
end

function kinds.choice(key, value)
    for _, choice in ipairs(key.choices) do
        if value == choice then
            return value
        end
    end
end

-- The one choice is what the library can do; what else people ask for deserves the reason.
function kinds.version(key, value)
    return kinds.choice(key, value)
end

function kinds.choices(key, value)
    return list_of(value, function(item)
        return kinds.choice(key, item)
    end)
end

function kinds.text(_, value)
    return is_text(value) and value or nil
end

local RESERVED_IDS = { api = true, bridge = true, unknown = true }

function kinds.agent(_, value)
    return is_text(value) and #value <= LONGEST_ID and not RESERVED_IDS[value] and value or nil
end

kinds.folder, kinds["new file"] = kinds.text, kinds.text

function kinds.files(_, value)
    if is_text(value) then
        return { value }
    end
    local files, culprit = list_of(value, function(item)
        return is_text(item) and item or nil
    end)
    if files and #files > 0 then
        return files
    end
    return nil, culprit
end

function kinds.texts(_, value)
    return list_of(value, function(item)
        return is_text(item) and item or nil
    end)
end

-- Names on the way to a claim: one, or a list of them.
function kinds.claim(_, value)
    local names, culprit = kinds.files(_, value)
    return names and #names <= DEEPEST_CLAIM and names or nil, culprit
end

function kinds.algorithms(key, value)
    local names, culprit = list_of(value, function(item)
        return kinds.choice(key, item)
    end)
    if names and #names > 0 then
        return names
    end
    return nil, culprit
end

function kinds.host(_, value)
    if type(value) ~= "string" then
        return nil
    end
    local address = match(value, "^%[(.*)%]$") or value
    -- Two colons make an IPv6 address; with one it would be a port, which has a key of its own.
    if host_name(address) or match(address, "^[%x.]*:[%x.]*:[%x:.]*%%?[%w.-]*$") then
        return lower(address)
    end
end

function kinds.origins(_, value)
    if value == "*" then
        return { "*" }
    end
    return list_of(value, origin)
end

function kinds.hosts(_, value)
    return list_of(value, host_name)
end

-- Which of them are addresses the program itself finds out: core/runtime/config/config.c.
function kinds.addresses(_, value)
    return list_of(value, function(item)
        return is_text(item) and match(item, "^[%x.:]+/?%d*$") and lower(item) or nil
    end)
end

local function pair(value)
    if type(value) ~= "table" then
        return nil
    end
    local names = value.names == nil and {} or list_of(value.names, server_name)
    for name in next, value do
        if name ~= "cert" and name ~= "key" and name ~= "names" then
            return nil
        end
    end
    return is_text(value.cert) and is_text(value.key) and names
        and { cert = value.cert, key = value.key, names = names } or nil
end

-- Certificates with their keys.
function kinds.pairs(_, value)
    return list_of(value, pair)
end

-- What the bridge says itself, or what would make one request two.
local RESERVED_HEADERS = {
    host = true, connection = true, ["content-length"] = true, ["content-type"] = true, ["transfer-encoding"] = true,
    ["user-agent"] = true,
}

-- A table of names and values as lines "name: value", in order.
function kinds.headers(_, value)
    local lines, length = {}, 0
    if type(value) ~= "table" then
        return nil
    end
    for name, text in next, value do
        if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") or RESERVED_HEADERS[lower(name)]
            or not is_text(text) then
            return nil
        end
        lines[#lines + 1] = name .. ": " .. text
        length = length + #lines[#lines] + 2
    end
    sort(lines)
    return length <= LONGEST_HEADERS and lines or nil
end

function kinds.token(_, value)
    if is_text(value) then
        return #value <= LONGEST_TOKEN and value or nil
    elseif type(value) == "table" then
        local name, file = next(value)
        if name == "file" and is_text(file) and next(value, name) == nil then
            return { file = file }
        end
    end
end

function kinds.any(_, value)
    return value
end

local function quoted_list(choices)
    local shown = {}
    for index, choice in ipairs(choices) do
        shown[index] = validate.quote(choice)
    end
    local last = table.remove(shown)
    return #shown > 0 and concat(shown, ", ") .. " or " .. last or last
end

local EXPECTED = {
    boolean = "true or false",
    text = "text",
    agent = format("the id of an agent, 1 to %d bytes without control characters, not api, bridge or unknown",
        LONGEST_ID),
    texts = "a list of texts",
    folder = "the path of a folder",
    files = "the path of a script or a list of them",
    ["new file"] = "the path of a file",
    claim = format("the name of a claim, or a list of at most %d names", DEEPEST_CLAIM),
    host = '"localhost", an IP address or a host name',
    origins = '"*" or a list of origins such as "https://app.example", without a path',
    hosts = 'a list of host names such as "bridge.example", without a port',
    addresses = 'a list of IP addresses, or ranges of them such as "10.0.0.0/8"',
    headers = format('a table of header names and texts such as { ["x-api-key"] = "…" }, of %d bytes at most, none of '
        .. "which the bridge sends itself", LONGEST_HEADERS),
    pairs = 'a list of { cert = "…", key = "…", names = { "…" } }, names of servers being optional',
    token = format('1 to %d bytes without control characters, or { file = "…" }', LONGEST_TOKEN),
}

--- What the key takes, in words: "a whole number from 0 to 65535".
function validate.expectation(key)
    local words = EXPECTED[key.type]
    if key.type == "choice" then
        words = quoted_list(key.choices)
    elseif key.type == "algorithms" then
        words = "a list of " .. quoted_list(key.choices) .. " (the crypto library has no EdDSA)"
    elseif key.type == "version" then
        words = quoted_list(key.choices) .. ", which is all that the TLS library (mbedtls 2.28) has"
    elseif key.type == "choices" then
        words = "a list out of " .. quoted_list(key.choices)
    elseif key.type == "size" then
        words = format('a size such as 1048576 or "1MiB", from %s to %s', key.min, key.max)
    elseif key.type == "integer" or key.type == "number" then
        words = format("%s from %.14g to %.14g", key.type == "integer" and "a whole number" or "a number", key.min,
            key.max)
    end
    if key.zero then
        words = format("%s, or 0 (%s)", words, key.zero)
    end
    if key.auto then
        words = words .. ', or "auto"'
    end
    return words
end

--- True and the normalised value, or false and what was expected and got.
function validate.value(key, value)
    if key.auto and value == "auto" then
        return true, value
    end
    local normal, culprit = kinds[key.type](key, value)
    if normal ~= nil then
        return true, normal
    end
    local problem = "expected " .. validate.expectation(key)
    if key.secret then
        return false, problem
    end
    if culprit == nil then
        culprit = value
    end
    return false, problem .. ", got " .. describe(culprit)
end

--- The default in the form that `value` gives; nil where there is none.
function validate.default(key)
    if key.default == nil then
        return nil
    end
    local _, normal = validate.value(key, key.default)
    return normal
end

local function equal(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then
        return a == b
    end
    for name, value in next, a do
        if not equal(value, b[name]) then
            return false
        end
    end
    for name in next, b do
        if a[name] == nil then
            return false
        end
    end
    return true
end

-- The schema as a tree: sections are tables of children, keys are leaves { key = … }.
local function new_section()
    return { order = {}, children = {} }
end

local root = new_section()
for _, key in ipairs(schema.keys) do
    local section = root
    for name, dot in key.path:gmatch("([^.]+)(%.?)") do
        if not section.children[name] then
            section.order[#section.order + 1] = name
            section.children[name] = dot == "." and new_section() or { key = key }
        end
        section = section.children[name]
    end
end

-- "listen.wsPort", "listen[1]", 'listen["a b"]': how Lua itself would write the way there.
local function path_of(parent, name)
    if type(name) == "string" and match(name, "^[%a_][%w_]*$") then
        return parent == "" and name or parent .. "." .. name
    end
    return format("%s[%s]", parent, describe(name))
end

local function unknown_keys(section, value, parent)
    local unknown = {}
    for name in next, value do
        if type(name) ~= "string" or not section.children[name] then
            unknown[#unknown + 1] = path_of(parent, name)
        end
    end
    sort(unknown)
    return unknown
end

local function walk(section, value, parent, values, problems)
    local function report(path, text)
        problems[#problems + 1] = { path = path, text = text }
    end

    for _, path in ipairs(unknown_keys(section, value, parent)) do
        local meant = suggest.path(path)
        report(path, meant and format("unknown key, did you mean %s?", meant) or "unknown key")
    end
    for _, name in ipairs(section.order) do
        local child, given = section.children[name], rawget(value, name)
        local path = path_of(parent, name)
        if given == nil then -- luacheck: ignore 542 (left out is always fine)
        elseif not child.key then
            if type(given) == "table" then
                walk(child, given, path, values, problems)
            else
                report(path, "expected a table, got " .. describe(given))
            end
        else
            local key = child.key
            local good, normal = validate.value(key, given)
            if not good then
                report(path, normal)
            elseif not key.available and not equal(normal, validate.default(key)) then
                report(path, key.feature .. " is not available yet in this version; remove the key")
            else
                values[path] = normal
            end
        end
    end
end

--- Judges a whole table. Gives the normalised values by path (only those that the table has and that are right) and the
--- list of problems.
function validate.tree(value)
    local values, problems = {}, {}
    walk(root, value, "", values, problems)
    return values, problems
end

return validate
