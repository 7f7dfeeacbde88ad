-- The reader of JavaScript literals (lua/luaduct/migrate/): what Node says of the same text is the measure.
package.path = "lua/?.lua;" .. package.path

local dotenv = require "luaduct.migrate.dotenv"
local javascript = require "luaduct.migrate.javascript"
local json = require "cjson"
local process = require "tests.support.process"

-- Kept: the same texts in every run.
local SEED = 20261129

local function plain(node)
    if node.kind == "object" then
        local copy = {}
        for name, value in pairs(node.fields) do
            copy[name] = plain(value)
        end
        return copy
    elseif node.kind == "list" then
        local copy = {}
        for index, item in ipairs(node.items) do
            copy[index] = plain(item)
        end
        return copy
    elseif node.value == nil then
        return json.null
    end
    return node.value
end

local function pick(list)
    return list[math.random(#list)]
end

local BLANKS = {"", " ", "\n", "\t", " // words } ] '\n", " /* { ' \" */ ", "\r\n"}
local NUMBERS = {"0", "7", "0x1F", "0b101", "0o17", "1_000", "1e3", "1.5e-3", ".5", "5.", "-3", "+4", "60 * 1000",
    "7 - 2 - 1", "(1 + 2) * 3", "12 / 4 / 3", "2 + 3 * 4"}
local TEXTS = {[['a']], [["it's"]], [[`t"'`]], [["\n\t\\\"\u00e9\x41\u{1F600}"]], [['\ud83d\ude00']], [["grüße"]],
    "`two\nlines`", [['\
joined']], [["\/\q\0"]], [["// no comment"]]}
local NAMES = {"a", "b1", "$c", "_d", "'quoted name'", '"x-y"', "12", "default", "new", "true", "grün"}

local write
function write(depth)
    local kind = math.random(depth > 3 and 5 or 8)
    if kind == 1 then
        return pick(NUMBERS)
    elseif kind == 2 then
        return pick(TEXTS)
    elseif kind <= 4 then
        return pick({"true", "false", "null", "!true", "Object.freeze('x')", "Number('12')", "parseInt('7', 10)"})
    elseif kind == 5 then
        return "(" .. pick(NUMBERS) .. ")"
    end
    local parts = {}
    for index = 1, math.random(0, 5) do
        local value = write(depth + 1)
        parts[index] = kind == 6 and value or pick(NAMES) .. pick(BLANKS) .. ":" .. pick(BLANKS) .. value
    end
    local text = table.concat(parts, pick(BLANKS) .. "," .. pick(BLANKS))
    if #parts > 0 then
        text = text .. pick(BLANKS) .. pick({"", ","}) .. pick(BLANKS)
    end
    return kind == 6 and "[" .. text .. "]" or "{" .. text .. "}"
end

-- A module that exports an object; `how` it does that varies.
local function module(how)
    local value = "{value: " .. write(0) .. ", other: " .. write(1) .. "}"
    return ({
        "module.exports = " .. value,
        "'use strict';\nconst whole = " .. value .. "\nmodule.exports = whole;",
        "exports.value = " .. write(0) .. ";\nexports.other = " .. write(1),
        "const part = " .. value .. ";\nconst value = 1;\nmodule.exports = {...part, part, value, last: part};",
    })[how]
end

-- What Node makes of each text, as it would be written in JSON.
local function ask_node(texts)
    local folder = process.folder()
    for index, text in ipairs(texts) do
        process.write_file(("%s/%d.cjs"):format(folder, index), text)
    end
    process.write_file(folder .. "/all.cjs", ([[
        for (let index = 1; index <= %d; index++) console.log(JSON.stringify(require('./' + index + '.cjs')));
    ]]):format(#texts))
    local status, output, errors = process.run({"node", folder .. "/all.cjs"}, {seconds = 60})
    assert.equal(0, status, errors)
    local answers = {}
    for line in output:gmatch("[^\n]+") do
        answers[#answers + 1] = line
    end
    return answers
end

describe("the reader of JavaScript", function()
    after_each(process.clean)

    it("reads what Node reads", function()
        math.randomseed(SEED)
        local texts = {}
        for index = 1, 400 do
            texts[index] = module(index % 4 + 1)
        end

        for index, answer in ipairs(ask_node(texts)) do
            local value, problem = javascript(texts[index])
            assert(value, texts[index] .. "\n" .. (problem and problem.message or ""))
            assert.same(json.decode(answer), plain(value), texts[index])
        end
    end)

    it("reads modules of the other kind", function()
        local value = javascript(
            "import os from 'os';\nimport 'dotenv/config'\nexport const a = 1;\nexport let b = {c: a};")
        assert.same({a = 1, b = {c = 1}}, plain(value))
        assert.same({a = 1}, plain(javascript("#!/usr/bin/env node\nexport default {a: 1};")))
        assert.same({a = 1}, plain(javascript("\239\187\191export default {a: 1};")))
    end)

    it("reads variables, their defaults and comparisons", function()
        local fields = javascript([[module.exports = {
            a: process.env.A, b: process.env['B'] || 'x', c: Number(process.env.C) ?? 5, d: process.env.D !== 'no',
            e: parseInt(process.env.E || '7', 10),
        }]]).fields
        assert.equal("A", fields.a.name)
        assert.equal("x", fields.b.default.value)
        assert.equal("number", fields.c.as)
        assert.is_true(fields.c.nullish)
        assert.same({"D", "no", false}, {fields.d.name, fields.d.text, fields.d.equal})
        assert.equal(7, fields.e.default.value)
    end)

    it("reads the options of constructors where nothing is exported", function()
        local value = javascript(
            "import {EnhancedAIBridge} from './x.js'\nconst bridge = new EnhancedAIBridge({a: 1});")
        assert.same({a = 1}, plain(value))
        assert.equal("EnhancedAIBridge", value.constructor)
    end)

    it("takes the enhanced one of two bridges, and says so", function()
        local value, notes = javascript(
            "const a = new AIBridge({wsPort: 1});\nconst b = new EnhancedAIBridge({wsPort: 2});")
        assert.same({wsPort = 2}, plain(value))
        assert.equal("EnhancedAIBridge", value.constructor)
        assert.equal("AIBridge is left out: one bridge is taken, the enhanced one", notes[1].text)

        value, notes = javascript("const a = new AIBridge(options); const b = new EnhancedAIBridge(options);")
        assert.same({}, plain(value))
        assert.equal("EnhancedAIBridge", value.constructor)
        assert.equal(3, #notes)
    end)

    it("takes one object that is declared, where nothing is exported", function()
        local value = javascript("const alerts = {gcFrequency: {threshold: 10}};")
        assert.same({gcFrequency = {threshold = 10}}, plain(value))
    end)

    it("reads a file that starts its bridge, and names what it passes over", function()
        for _, text in ipairs({
            "const b = new EnhancedAIBridge({a: 1, log: console.log, c: 2});\nb.start()\n" ..
                "  .then(() => {\n f(`${b.c}`) })",
            "new EnhancedAIBridge({a: 1, c: 2}).start();",
            "const server = createEnhancedAIBridgeServer({a: 1, c: 2}).listen(3000, () => { console.log(`up ${1}`) });",
            "async function main() {\n const b = new EnhancedAIBridge({a: 1, c: 2});\n await b.start();\n}\nmain();",
            "const quotes = /['\"]/g;\nconst b = await createEnhancedAIBridgeServer({a: 1, c: 2});\nawait b.start()",
            "if (process.env.X) {\n require('x')\n} else {\n y()\n}\nconst b = new EnhancedAIBridge({a: 1, c: 2})",
        }) do
            local value, notes = javascript(text)
            assert.truthy(value, notes.message)
            assert.same({a = 1, c = 2}, plain(value), text)
        end
        local _, notes = javascript("const b = new EnhancedAIBridge({a: f(), c: 2});\nb.start();\nprocess.on('x', g);")
        assert.same({"a: left out: f would have to be executed",
            "ignored: `b` would have to be executed: only literals are read",
            "ignored: `process` would have to be executed: only literals are read"},
            {notes[1].text, notes[2].text, notes[3].text})
    end)

    -- {text, line, column, a word of the message}
    local REFUSED = {
        {"module.exports = {\n  a: fetch('x')\n}", 2, 6, "fetch would have to be executed"},
        {"module.exports = {\n  ä: 'ü', b: `${x}` }", 2, 15, "template"},
        {"module.exports = { a: () => 1 }", 1, 24, "expected a value"},
        {"module.exports = { a: function () {} }", 1, 23, "executed"},
        {"const os = require('os');\nmodule.exports = { a: os.cpus().length }", 2, 23, "another module"},
        {"module.exports = { a: x ? 1 : 2 }", 1, 23, "x is no literal"},
        {"module.exports = { a: process.env.X ? 1 : 2 }", 1, 37, "condition"},
        {"module.exports = { a: process.exit(1) }", 1, 23, "process.env.NAME"},
        {"module.exports = { a: 'x", 1, 23, "does not end"},
        {"module.exports = { a: 1 /* x", 1, 25, "comment"},
        {"module.exports = { a 1 }", 1, 22, "expected `:`"},
        {"module.exports = { get a() { return 1 } }", 1, 24, "expected `:`"},
        {"module.exports = { [a]: 1 }", 1, 20, "expected a key"},
        {"module.exports = { a: 0777 }", 1, 23, "number"},
        {"module.exports = { a: 10n }", 1, 23, "number"},
        {"module.exports = { a: /x/ }", 1, 23, "expected a value"},
        {"module.exports = [1]", 1, 18, "object"},
        {"module.exports = { a: 1", 1, 24, "expected `,`"},
        {"console.log(1)", 1, 15, "or export default {…}; line 1: `console`"},
        {"const a = {b: 1}, c = {d: 2};\nconst e = {f: 1};", 2, 18, "nothing is exported"},
        {"const a = fetch('x');\nmodule.exports = a;", 1, 11, "fetch would have to be executed"},
        {"const a = 1;", 1, 13, "nothing is exported"},
        {"", 1, 1, "nothing is exported"},
        {"module.exports = { a: " .. ("["):rep(5000), 1, 122, "nested deeper"},
        {"module.exports = { a: " .. ("process.env.A || "):rep(5000) .. "1 }", 1, 1700, "nested deeper"},
        {"module.exports = { a: " .. ("-"):rep(5000) .. "1 }", 1, 122, "nested deeper"},
    }

    for index, row in ipairs(REFUSED) do
        it(("says where it cannot read, %d"):format(index), function()
            local value, problem = javascript(row[1])
            assert.is_nil(value)
            assert.truthy(problem.message:find(row[4], 1, true), problem.message)
            assert.equal(row[2], problem.line)
            if row[3] < 1000 then
                assert.equal(row[3], problem.column, problem.message)
            end
        end)
    end

    it("gives an answer to any text", function()
        math.randomseed(SEED)
        local pieces = {
            "{", "}", "[", "]", "(", ")", ",", ":", ";", "'", '"', "`", "\\", "/*", "*/", "//", "\n", "...", "||", "??",
            "===", "!", "-", "new ", "process.env.X", "process", ".", "const a =", "module.exports =",
            "export default ", "import ", "\0", "\255", "\226\128", "1", "0x", "1e", "a", "${", "require('x')",
            "Number(", "parseInt(", "Object.freeze(",
        }
        for index = 1, 20000 do
            local text
            if index % 2 == 0 then -- a good one, hurt
                text = module(index % 4 + 1)
                local at = math.random(#text)
                text = text:sub(1, at - 1) .. pick(pieces) .. text:sub(at + math.random(0, 3))
            else
                local parts = {}
                for part = 1, math.random(1, 30) do
                    parts[part] = pick(pieces)
                end
                text = "module.exports = {a: " .. table.concat(parts)
            end
            text = index % 3 == 0 and text:gsub("^module.exports = ", "const a = ") or text
            local value, problem = javascript(text)
            assert.truthy(value or (problem.line >= 1 and problem.column >= 1 and #problem.message > 0))
        end
    end)

    it("takes no more time than the text is long", function()
        local text = "module.exports = {" .. ("a: {b: [1, 'x', process.env.A || 2]},\n"):rep(20000) .. "}"
        assert.truthy(javascript(text))
        javascript(("new AIBridge({a: "):rep(5000))
        javascript("const a = " .. ("{a: x, b: "):rep(5000))
        assert.truthy(javascript("new AIBridge({a: 1});\n" .. ("f({a: [1, g()]});\n"):rep(5000)))
    end)
end)

describe("the reader of .env", function()
    local function read(text)
        local list, problem = dotenv(text)
        if not list then
            return problem
        end
        local values = {}
        for _, entry in ipairs(list) do
            values[entry.name] = entry.value
        end
        return values
    end

    it("reads what dotenv reads", function()
        assert.same({
            A = "1", B = "two words", C = "x # y", D = "a\nb\"c", E = "$HOME\\n", F = "", G = "x=y", H = "", I = "last",
        }, read([[
# comment
A=1
export B = two words   # comment
C='x # y'
  D="a\nb\"c" # comment
E='$HOME\n'
F=
G=x=y
H=""
I=first
I=last
]]))
    end)

    it("says where it cannot read", function()
        assert.same({line = 2, column = 1, message = "expected NAME=VALUE"}, read("A=1\nB 2"))
        assert.equal(1, read('A="x').line)
        assert.equal(1, read("A='x").line)
        assert.equal(1, read("A='x' y").line)
    end)
end)
