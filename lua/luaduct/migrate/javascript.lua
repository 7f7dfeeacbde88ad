--- Reads the literal that a JavaScript config module exports. Nothing is executed: what is no literal is an error with
--- its line and column where it is exported, and left out with a note elsewhere. What is understood:
---
---   module.exports = VALUE, exports.NAME = VALUE, export default VALUE, export const NAME = VALUE;
---   const NAME = VALUE before it, and NAME or ...NAME in a value;
---   new NAME({…}) and createAIBridgeServer({…}) of the Node bridge's constructors, for their options, also inside of
---   code; of several bridges the enhanced one;
---   one object that is declared, where nothing is exported or constructed;
---   objects, lists, texts (templates without ${}), numbers and + - * / between them, true, false, null, undefined;
---   process.env.NAME, also in Number(), parseInt(), parseFloat(), with || or ?? and a default, === or !== a text.
---
--- values.lua says what a value becomes; statements are read here.

local Reader = require("luaduct.migrate.values")
local utf8 = require("luaduct.migrate.utf8")

local format = string.format
local describe, set_field, CONSTRUCTORS = Reader.describe, Reader.set_field, Reader.CONSTRUCTORS

-- Line and column (in characters) of a place.
local function position(text, at)
    local line, start = 1, 1
    for stop in text:sub(1, at - 1):gmatch("()\n") do
        line, start = line + 1, stop + 1
    end
    return line, utf8.length(text:sub(start, at - 1)) + 1
end

-- Behind these, and before them, a statement goes on in the next line.
local GOES_ON = {}
for symbol in (". , ? : + - * / = && || ?? => == === != !=="):gmatch("%S+") do
    GOES_ON[symbol] = true
end

-- To the end of a statement that is none of ours: its `;`, or a line's end outside of all brackets.
function Reader:skip_statement()
    local first, last = self.token, nil
    self:skip(function(token)
        local symbol = token.kind == "symbol" and token.value
        local ends = symbol == ";" or (token.after_line and token ~= first and not GOES_ON[symbol or ""]
            and not (last and last.kind == "symbol" and GOES_ON[last.value]))
        last = token
        return ends
    end)
    if not self:take(";") and self.token.kind == "symbol" and self.token.value:find("^[%)%]}]$") then
        self:advance() -- one too many: what is around it is code
    end
end

-- The names between here and `stop`, which is taken, become names from other modules.
function Reader:take_foreign_names(stop)
    while not self:take(stop) do
        if self.token.kind == "end" then
            self:fail(self.token.at, format("expected `%s`, got the end of the file", stop))
        elseif self.token.kind == "name" then
            self.known[self.token.value] = false
        end
        self:advance()
    end
end

function Reader:read_declaration(exported)
    if self:is("{") or self:is("[") then -- const { cpus } = require("os")
        self:take_foreign_names("=")
        self:skip_statement()
        return
    end
    local name = self:expect_name()
    self:expect("=")
    if self:is("require") then
        self.known[name] = false
        self:advance()
        self:skip_statement()
        return
    end
    local value = self:read_value()
    if not self:is(";") and not self.token.after_line and self.token.kind ~= "end" then
        if exported then
            self:fail(self.token.at, format("expected `;`, got %s", describe(self.token)))
        end
        self:note(self.token.at, "ignored: what is done with %s would have to be executed", name)
        self:skip_statement() -- new NAME({…}).start()
    end
    self.known[name] = value
    self.declared[#self.declared + 1] = value.kind == "object" and not value.constructor and value or nil
    if exported then
        set_field(self.exports, name, value)
        self.exported = true
    end
    self:take(";")
end

function Reader:read_import()
    if self.token.kind == "text" then
        self:advance()
    else
        self:take_foreign_names("from")
        self:advance()
    end
    self:take(";")
end

function Reader:read_statement()
    local token = self.token
    if token.kind == "text" or self:is(";") then -- 'use strict'
        self:advance()
        return
    end
    if token.kind ~= "name" then
        self:fail(token.at, format("expected a statement, got %s", describe(token)))
    end
    local name = token.value
    if name == "new" or name == "await" or CONSTRUCTORS[name] then
        self:read_value()
        if not self:is(";") and not self.token.after_line then
            self:skip_statement() -- .start()
        end
        self:take(";")
        return
    end
    self:advance()
    if name == "const" or name == "let" or name == "var" then
        self:read_declaration(false)
    elseif name == "import" then
        self:read_import()
    elseif name == "require" or self.known[name] == false then -- require("dotenv").config()
        self:skip_statement()
    elseif name == "export" then
        self.strict = true
        if self:take("default") then
            self.result = self:read_value()
            self:take(";")
        elseif self:take("const") or self:take("let") or self:take("var") then
            self:read_declaration(true)
        else
            self:fail(self.token.at, "of exports `export default VALUE` and `export const NAME = VALUE` are understood")
        end
    elseif (name == "module" and self:take(".") and self:take("exports")) or name == "exports" then
        self.strict = true
        local member = self:take(".") and self:expect_name()
        self:expect("=")
        local value = self:read_value()
        if member then
            set_field(self.exports, member, value)
            self.exported = true
        else
            self.result = value
        end
        self:take(";")
    else
        self:fail(token.at, format("`%s` would have to be executed: only literals are read", name))
    end
end

-- One statement. What is no literal is passed over, with a note; what is exported has to be one.
function Reader:read_or_pass()
    local at = self.token.at
    self.strict, self.unclosed = false, false
    local _, problem = self:try(function()
        self:read_statement()
        return true
    end)
    if not problem then
        return
    elseif self.strict then
        error(problem, 0)
    end
    self.first_passed = self.first_passed or problem
    local name = self.text:match("^const%s+([%w_$]+)", at) or self.text:match("^let%s+([%w_$]+)", at)
        or self.text:match("^var%s+([%w_$]+)", at)
    if name then
        self.failed[name] = problem
    end
    self:note(at, "ignored: %s", problem.message)
    self:skip_statement()
end

-- The options of all constructors together, for a file that exports nothing but makes a bridge; of several bridges
-- those of the enhanced one.
function Reader:join()
    local all = {kind = "object", names = {}, fields = {}, at = 1}
    local bridge
    for _, options in ipairs(self.constructed) do
        if options.constructor:find("Bridge") and (not bridge or
            (options.constructor:find("Enhanced") and not bridge.constructor:find("Enhanced"))) then
            bridge = options
        end
    end
    all.constructor = bridge and bridge.constructor
    for _, options in ipairs(self.constructed) do
        if options.constructor:find("Bridge") and options ~= bridge then
            self:note(options.at, "%s is left out: one bridge is taken, the %s", options.constructor,
                bridge.constructor:find("Enhanced") and "enhanced one" or "first one")
        else
            for _, name in ipairs(options.names) do
                set_field(all, name, options.fields[name])
            end
        end
    end
    return all
end

--- The object that the text exports, and notes {at, text} on what was passed over; or nil and {line, column, message}.
return function(text)
    local reader = setmetatable({
        text = text, at = text:match("^#![^\n]*()") or 1, depth = 0, known = {}, constructed = {},
        notes = {}, declared = {}, failed = {}, token = {},
        exports = {kind = "object", names = {}, fields = {}, at = 1},
    }, Reader)
    local good, problem = pcall(function()
        reader:advance()
        while reader.token.kind ~= "end" do
            reader:read_or_pass()
        end
        local result = reader.result or reader.exported and reader.exports
            or #reader.constructed > 0 and reader:join()
            or #reader.declared == 1 and reader.declared[1]
        if not result then
            local first = reader.first_passed
            reader:fail(#text + 1, "nothing is exported: expected module.exports = {…} or export default {…}"
                .. (first and format("; line %d: %s", (position(text, first.at)), first.message) or ""))
        elseif result.kind ~= "object" then
            reader:fail(result.at, "expected an object to be exported")
        end
        reader.value = result
    end)
    if good then
        return reader.value, reader.notes
    elseif type(problem) ~= "table" then
        error(problem, 0)
    end
    problem.line, problem.column = position(text, problem.at)
    return nil, problem
end
