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
--- A value is a node {kind, at (its place in the text), …}:
---   literal  value (a text, number or boolean; nil: null or undefined)
---   object   names (a list, in order), fields (name to node); constructor (of which these are the options) or nil
---   list     items
---   variable name, as ("text", "number"), default (a node) or nil, nullish (by ??)
---   compare  name, text, equal (false: !==)

local utf8 = require("luaduct.migrate.utf8")

local format = string.format

local DEEPEST = 100
local CONSTRUCTORS = {
    AIBridge = true, EnhancedAIBridge = true, GCOptimizer = true, WorkerPool = true, ObjectPool = true,
    createAIBridgeServer = true, createEnhancedAIBridgeServer = true,
}

local Reader = require("luaduct.migrate.tokens") -- which gets the rest of its functions here
local describe = Reader.describe

-- Line and column (in characters) of a place.
local function position(text, at)
    local line, start = 1, 1
    for stop in text:sub(1, at - 1):gmatch("()\n") do
        line, start = line + 1, stop + 1
    end
    return line, utf8.length(text:sub(start, at - 1)) + 1
end

function Reader:note(at, text, ...)
    self.notes[#self.notes + 1] = {at = at, text = format(text, ...)}
end

-- Reads something that may be no literal: what `read` gives, or nil and the problem, and all is as before.
function Reader:try(read, ...)
    local at, token, depth, constructed = self.at, self.token, self.depth, #self.constructed
    local good, value = pcall(read, self, ...)
    if good then
        return value
    elseif type(value) ~= "table" then
        error(value, 0)
    end
    for index = #self.constructed, constructed + 1, -1 do
        self.constructed[index] = nil
    end
    self.at, self.token, self.depth = at, token, depth
    return nil, value
end

-- Goes on to a symbol for which `stops` holds outside of all brackets, the one that closes what is around it, or the
-- end. Bridges that are made on the way are taken note of. What is no text there is none that matters.
function Reader:skip(stops)
    local depth = 0
    while self.token.kind ~= "end" do
        local token = self.token
        local value = token.kind == "symbol" and token.value
        if depth == 0 and (stops(token) or value == ")" or value == "]" or value == "}") then
            return
        end
        if value == "(" or value == "[" or value == "{" then
            depth = depth + 1
        elseif value == ")" or value == "]" or value == "}" then
            depth = depth - 1
        end
        local made = not self.unclosed and token.kind == "name" and (token.value == "new" or CONSTRUCTORS[token.value])
            and self:try(self.read_unary)
        if not made then
            self.skips = true
            local at = self.at
            local good, problem = pcall(self.advance, self)
            self.skips = false
            if not good and type(problem) ~= "table" then
                error(problem, 0)
            elseif not good then
                self.at, self.token = at + 1, {kind = "symbol", value = "?", at = at}
            end
        end
    end
    self.unclosed = true
end

-- ---- values ----

-- Values are read within one another: bounded, so that a long row of brackets is an answer and no overflow.
function Reader:nest(read, ...)
    self.depth = self.depth + 1
    if self.depth > DEEPEST then
        self:fail(self.token.at, format("nested deeper than %d", DEEPEST))
    end
    local value = read(self, ...)
    self.depth = self.depth - 1
    return value
end

local function new_node(at, kind, fields)
    fields.kind, fields.at = kind, at
    return fields
end

local function set_field(object, name, value)
    if object.fields[name] == nil then
        object.names[#object.names + 1] = name
    end
    object.fields[name] = value
end

-- What is exported has to be literal as a whole; elsewhere what is not is left out.
function Reader:read_member(object, name)
    if self.strict then
        set_field(object, name, self:read_value())
        return
    end
    local at = self.token.at
    local value, problem = self:try(function()
        local value = self:read_value()
        if not self:is(",") and not self:is("}") then
            self:fail(self.token.at, format("expected `,`, got %s", describe(self.token)))
        end
        return value
    end)
    if value then
        set_field(object, name, value)
    elseif self.unclosed then
        error(problem, 0)
    else
        self:note(at, "%s: left out: %s", name, problem.message)
        self:skip(function(token)
            return token.kind == "symbol" and token.value == ","
        end)
    end
end

function Reader:read_object(at)
    local object = new_node(at, "object", {names = {}, fields = {}})
    while not self:take("}") do
        local token = self.token
        if self:take("...") then
            local spread = self:read_value()
            if spread.kind ~= "object" then
                self:fail(token.at, "only an object of this file can be spread here")
            end
            for _, name in ipairs(spread.names) do
                set_field(object, name, spread.fields[name])
            end
        else
            if token.kind ~= "name" and token.kind ~= "text" and token.kind ~= "number" then
                self:fail(token.at, format("expected a key, got %s", describe(token)))
            end
            self:advance()
            local name = tostring(token.value)
            if self:take(":") then
                self:read_member(object, name)
            elseif token.kind == "name" and (self:is(",") or self:is("}")) then
                set_field(object, name, self:lookup(name, token.at))
            else
                self:fail(self.token.at, format("expected `:` after the key %s, got %s", name, describe(self.token)))
            end
        end
        if not self:is("}") then
            self:expect(",")
        end
    end
    return object
end

function Reader:read_list(at)
    local list = new_node(at, "list", {items = {}})
    while not self:take("]") do
        list.items[#list.items + 1] = self:read_value()
        if not self:is("]") then
            self:expect(",")
        end
    end
    return list
end

function Reader:lookup(name, at)
    local known = self.known[name]
    if known == nil and self.failed[name] then
        error(self.failed[name], 0)
    elseif known == nil then
        self:fail(at, format("%s is no literal: it would have to be executed", name))
    elseif not known then
        self:fail(at, format("%s comes from another module: it would have to be executed", name))
    end
    return known
end

-- process.env.NAME or process.env["NAME"], `process` is read.
function Reader:read_variable(at)
    local name
    if self:take(".") and self:take("env") then
        if self:take(".") then
            name = self:expect_name()
        elseif self:take("[") and self.token.kind == "text" then
            name = self.token.value
            self:advance()
            self:expect("]")
        end
    end
    if not name then
        self:fail(at, "of process only process.env.NAME is understood")
    end
    return new_node(at, "variable", {name = name, as = "text"})
end

-- Number(…), parseInt(…, 10) and String(…) of a variable or a literal.
function Reader:read_conversion(at, name)
    self:expect("(")
    local value = self:read_value()
    if self:take(",") then
        local base = self:read_value()
        if name ~= "parseInt" or base.value ~= 10 then
            self:fail(base.at, "only base 10 is understood")
        end
    end
    self:expect(")")
    if value.kind == "variable" and not value.default then
        value.as = name == "String" and "text" or "number"
        return value
    elseif value.kind == "variable" and value.default.kind == "literal" then
        value.as = name == "String" and "text" or "number"
        value.default.value = name == "String" and tostring(value.default.value) or tonumber(value.default.value)
        return value
    elseif value.kind == "literal" and name ~= "String" and tonumber(value.value) then
        value.value = tonumber(value.value)
        return value
    end
    self:fail(at, format("%s of this would have to be executed", name))
end

local WORDS = {["true"] = true, ["false"] = false}
local CONVERSIONS = {Number = true, parseInt = true, parseFloat = true, String = true}

function Reader:read_constructor(at, name)
    if not CONSTRUCTORS[name] then
        self:fail(at, format("%s would have to be executed", name))
    end
    self:expect("(")
    if self.unclosed then
        self:fail(at, format("the brackets of %s do not close", name))
    end
    local options, problem = new_node(at, "object", {names = {}, fields = {}}), nil
    if not self:is(")") and self.strict then
        options = self:read_value()
    elseif not self:is(")") then
        local given
        given, problem = self:try(self.read_value)
        options = given or options
    end
    if problem or (not self.strict and not self:is(")")) then
        self:note(at, "the options of %s are left out: %s", name,
            problem and problem.message or "one object is understood")
        self:skip(function() return false end)
    end
    self:expect(")")
    if options.kind ~= "object" then
        self:fail(options.at, format("expected an object of options for %s", name))
    end
    local copy = new_node(at, "object", {names = options.names, fields = options.fields, constructor = name})
    self.constructed[#self.constructed + 1] = copy
    return copy
end

function Reader:read_primary()
    local token = self.token
    self:advance()
    if token.kind == "text" or token.kind == "number" then
        return new_node(token.at, "literal", {value = token.value})
    elseif token.kind == "name" then
        local name = token.value
        if WORDS[name] ~= nil then
            return new_node(token.at, "literal", {value = WORDS[name]})
        elseif name == "null" or name == "undefined" then
            return new_node(token.at, "literal", {})
        elseif name == "process" then
            return self:read_variable(token.at)
        elseif name == "await" and not self.strict then
            return self:read_unary()
        elseif name == "new" then
            local at = self.token.at
            return self:read_constructor(at, self:expect_name())
        elseif self:is("(") then
            if CONVERSIONS[name] then
                return self:read_conversion(token.at, name)
            end
            return self:read_constructor(token.at, name)
        elseif name == "Object" and self:take(".") and self:take("freeze") then
            self:expect("(")
            local value = self:read_value()
            self:expect(")")
            return value
        elseif self:is("=>") or name == "function" or name == "class" or name == "async" or name == "await" then
            self:fail(token.at, "code is no literal: it would have to be executed")
        end
        return self:lookup(name, token.at)
    elseif token.value == "{" then
        return self:read_object(token.at)
    elseif token.value == "[" then
        return self:read_list(token.at)
    elseif token.value == "(" then
        local value = self:read_value()
        self:expect(")")
        return value
    elseif token.value == "-" or token.value == "+" then
        local value = self:read_unary()
        if value.kind ~= "literal" or type(value.value) ~= "number" then
            self:fail(token.at, "only a number may have a sign")
        end
        return new_node(token.at, "literal", {value = token.value == "-" and -value.value or value.value})
    elseif token.value == "!" then
        local value = self:read_unary()
        if value.kind ~= "literal" or type(value.value) ~= "boolean" then
            self:fail(token.at, "only true and false may be negated")
        end
        return new_node(token.at, "literal", {value = not value.value})
    end
    self:fail(token.at, format("expected a value, got %s", describe(token)))
end

function Reader:read_unary()
    return self:nest(self.read_primary)
end

local OPERATORS = {
    {["*"] = function(a, b) return a * b end, ["/"] = function(a, b) return a / b end},
    {["+"] = function(a, b) return a + b end, ["-"] = function(a, b) return a - b end},
}

function Reader:read_arithmetic(level)
    if level == 0 then
        return self:read_unary()
    end
    local left = self:read_arithmetic(level - 1)
    while self.token.kind == "symbol" and OPERATORS[level][self.token.value] do
        local token = self.token
        self:advance()
        local right = self:read_arithmetic(level - 1)
        if type(left.value) ~= "number" or type(right.value) ~= "number" then
            self:fail(token.at, "only numbers can be calculated with")
        end
        local at = left.at
        left = new_node(at, "literal", {value = OPERATORS[level][token.value](left.value, right.value)})
    end
    return left
end

function Reader:read_value()
    local value = self:read_arithmetic(#OPERATORS)
    local token = self.token
    if self:is("===") or self:is("!==") or self:is("==") or self:is("!=") then
        self:advance()
        local other = self:read_arithmetic(#OPERATORS)
        if value.kind ~= "variable" or value.as ~= "text" or type(other.value) ~= "string" then
            self:fail(token.at, "only process.env.NAME can be compared, with a text")
        end
        value = new_node(value.at, "compare", {
            name = value.name, text = other.value, equal = token.value:sub(1, 1) == "=",
        })
        token = self.token
    end
    if self:is("||") or self:is("??") then
        self:advance()
        local default = self:nest(self.read_value)
        if value.kind ~= "variable" or value.default then
            self:fail(token.at, "only process.env.NAME can have a default here")
        end
        value.default, value.nullish = default, token.value == "??"
    elseif self:is("?") or self:is("&&") then
        self:fail(token.at, "a condition would have to be executed")
    end
    return value
end

-- ---- the file ----

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
