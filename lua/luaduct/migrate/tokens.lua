--- Words and symbols of a JavaScript text, for the reader that values.lua and javascript.lua go on with; the latter
--- fills in `text` and `at`. `token` is the one that is read; `skips` while it passes over code, in which templates and
--- regular expressions stand too.

local utf8 = require("luaduct.migrate.utf8")

local format = string.format

local Reader = {}
Reader.__index = Reader

function Reader.fail(_, at, message)
    error({at = at, message = message}, 0)
end

-- ---- tokens: {kind = name, text, number, template, symbol, end; value; at} ----

function Reader:skip_blank()
    local text, at = self.text, self.at
    while true do
        -- A no-break space and a byte order mark are blanks too.
        local next_at = text:match("^%s+()", at) or text:match("^\194\160()", at) or text:match("^\239\187\191()", at)
            or text:match("^//[^\n]*()", at)
        if not next_at and text:find("^/%*", at) then
            next_at = text:match("^/%*.-%*/()", at)
            if not next_at then
                self:fail(at, "this comment does not end")
            end
        end
        if not next_at then
            break
        end
        self.broken = self.broken or text:sub(at, next_at - 1):find("\n", 1, true) ~= nil
        at = next_at
    end
    self.at = at
end

local ESCAPES = {n = "\n", t = "\t", r = "\r", b = "\b", f = "\f", v = "\v", ["0"] = "\0"}

function Reader:read_escape(at)
    local text = self.text
    local hex = text:match("^x(%x%x)", at)
    if hex then
        return utf8.encode(tonumber(hex, 16)), at + 3
    end
    local digits, after = text:match("^u(%x%x%x%x)()", at)
    if not digits then
        digits, after = text:match("^u{(%x+)}()", at)
    end
    if digits then
        local code = #digits <= 6 and tonumber(digits, 16) or 0x110000
        local low, after_low = text:match("^\\u([dD][c-fC-F]%x%x)()", after)
        if code >= 0xD800 and code < 0xDC00 and low then
            code, after = 0x10000 + (code - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00, after_low
        end
        local bytes = utf8.encode(code)
        if not bytes then
            self:fail(at - 1, "this escape is no character")
        end
        return bytes, after
    end
    local letter = text:sub(at, at)
    if letter == "x" or letter == "u" or letter:find("%d") and (letter ~= "0" or text:find("^%d", at + 1)) then
        self:fail(at - 1, "this escape is none that is understood")
    end
    local line_end = text:match("^\r?\n()", at)
    if line_end then
        return "", line_end
    end
    return ESCAPES[letter] or letter, at + 1
end

function Reader:read_text(quote)
    local text, start, at = self.text, self.at, self.at + 1
    local parts = {}
    while true do
        local stop = text:find('[\n"\'`\\$]', at)
        local found = stop and text:sub(stop, stop)
        if not stop or found == "\n" and quote ~= "`" then
            self:fail(start, "this text does not end")
        end
        parts[#parts + 1] = text:sub(at, stop - 1)
        if found == quote then
            self.at = stop + 1
            return table.concat(parts)
        elseif found == "\\" then
            parts[#parts + 1], at = self:read_escape(stop + 1)
        elseif found == "$" and quote == "`" and self.skips and text:find("^{", stop + 1) then
            at = text:match("^%b{}()", stop + 1) or #text + 1
        elseif found == "$" and quote == "`" and text:sub(stop + 1, stop + 1) == "{" then
            self:fail(stop, "a template with an expression would have to be executed")
        else
            parts[#parts + 1], at = found, stop + 1
        end
    end
end

function Reader:read_number()
    local text, start = self.text, self.at
    local word = text:match("^0[xXoObB][%w_]*", start) or text:match("^[%d_]*%.?[%d_]*[eE][+-]?[%d_]+", start)
        or text:match("^[%d_]*%.?[%d_]*", start)
    self.at = start + #word
    local digits = word:gsub("_", "")
    local base = ({x = 16, o = 8, b = 2})[digits:sub(2, 2):lower()]
    local value
    if base and digits:sub(1, 1) == "0" then
        value = #digits <= 15 and tonumber(digits:sub(3), base)
    elseif not digits:find("^0%d") then
        value = tonumber(digits)
    end
    if not value or text:find("^[%a_$\128-\255]", self.at) then
        self:fail(start, "this number is none that is understood")
    end
    return value
end

-- After these a `/` begins a regular expression, and is no division.
local BEFORE_PATTERN = {}
for symbol in ("( , = : [ ! && || ?? ? { } ; => return"):gmatch("%S+") do
    BEFORE_PATTERN[symbol] = true
end

local SYMBOLS = {"...", "===", "!==", "??", "||", "&&", "=>", "==", "!="}

function Reader:advance()
    self.broken = false
    self:skip_blank()
    local text, at = self.text, self.at
    local token = {at = at, after_line = self.broken}
    local letter = text:sub(at, at)
    local pattern = self.skips and letter == "/" and text:match("^/[^/*\n][^/\n]*/[a-z]*()", at)
    if letter == "" then
        token.kind = "end"
    elseif pattern and BEFORE_PATTERN[self.token.value] then
        token.kind, token.value, self.at = "text", "", pattern
    elseif letter == '"' or letter == "'" or letter == "`" then
        token.kind, token.value = "text", self:read_text(letter)
    elseif text:find("^%.?%d", at) then
        token.kind, token.value = "number", self:read_number()
    elseif text:find("^[%a_$\128-\255]", at) then
        token.kind, token.value = "name", text:match("^[%w_$\128-\255]+", at)
        self.at = at + #token.value
    else
        token.kind, token.value = "symbol", letter
        for _, symbol in ipairs(SYMBOLS) do
            if text:sub(at, at + #symbol - 1) == symbol then
                token.value = symbol
                break
            end
        end
        self.at = at + #token.value
    end
    self.token = token
end

function Reader:is(value)
    return self.token.value == value and (self.token.kind == "symbol" or self.token.kind == "name")
end

function Reader:take(value)
    if self:is(value) then
        self:advance()
        return true
    end
    return false
end

function Reader.describe(token)
    if token.kind == "end" then
        return "the end of the file"
    elseif token.kind == "text" then
        return "a text"
    end
    return format("`%s`", tostring(token.value))
end

function Reader:expect(value)
    if not self:take(value) then
        self:fail(self.token.at, format("expected `%s`, got %s", value, Reader.describe(self.token)))
    end
end

function Reader:expect_name()
    local token = self.token
    if token.kind ~= "name" then
        self:fail(token.at, format("expected a name, got %s", Reader.describe(token)))
    end
    self:advance()
    return token.value
end

return Reader
