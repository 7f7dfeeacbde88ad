--- Reads a value of a JavaScript config module, and passes over what is none. Adds to the reader of tokens.lua;
--- javascript.lua reads the statements around values.
---
--- A value is a node {kind, at (its place in the text), …}:
---   literal  value (a text, number or boolean; nil: null or undefined)
---   object   names (a list, in order), fields (name to node); constructor (of which these are the options) or nil
---   list     items
---   variable name, as ("text", "number"), default (a node) or nil, nullish (by ??)
---   compare  name, text, equal (false: !==)

local format = string.format

local DEEPEST = 100
local CONSTRUCTORS = { -- of the Node bridge
    AIBridge = true, EnhancedAIBridge = true, GCOptimizer = true, WorkerPool = true, ObjectPool = true,
    createAIBridgeServer = true, createEnhancedAIBridgeServer = true,
}

local Reader = require("luaduct.migrate.tokens")
local describe = Reader.describe
Reader.CONSTRUCTORS = CONSTRUCTORS

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
Reader.set_field = set_field

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

return Reader
