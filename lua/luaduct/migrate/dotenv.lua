--- Reads a file of variables, as the Node bridge read `.env`: lines NAME=VALUE, `export` before it, comments, values in
--- quotes ("…" with \n and \", '…' and `…` as they are). Nothing is put in the place of $NAME.

local format = string.format

local function unescape(text)
    return (text:gsub("\\(.)", {n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\"}))
end

local QUOTES = {["'"] = "^'([^']*)'%s*(.*)$", ["`"] = "^`([^`]*)`%s*(.*)$"}

-- The value at the end of a line, or nil and what is wrong.
local function read_value(rest)
    local quote = rest:sub(1, 1)
    if quote == '"' then
        -- Not ended by a quote that is escaped.
        local body, after = rest:match('^"(.-[^\\])"%s*(.*)$')
        if rest:find('^""') then
            body, after = "", rest:match('^""%s*(.*)$')
        end
        if not body then
            return nil, "this text does not end on its line"
        elseif after ~= "" and after:sub(1, 1) ~= "#" then
            return nil, "something stands behind the text"
        end
        return unescape(body)
    elseif QUOTES[quote] then
        local body, after = rest:match(QUOTES[quote])
        if not body then
            return nil, "this text does not end on its line"
        elseif after ~= "" and after:sub(1, 1) ~= "#" then
            return nil, "something stands behind the text"
        end
        return body
    end
    return (rest:gsub("#.*$", ""):gsub("%s+$", ""))
end

--- A list of {name, value, line}, the last one of each name; or nil and {line, column, message}.
return function(text)
    local list, index, number = {}, {}, 0
    text = text:gsub("^\239\187\191", "")
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        number = number + 1
        if not line:find("^%s*$") and not line:find("^%s*#") then
            local start, name, rest = line:match("^%s*()([%a_][%w_.-]*)%s*=%s*(.*)$")
            local export_start, export_name, export_rest = line:match("^%s*export%s+()([%a_][%w_.-]*)%s*=%s*(.*)$")
            if export_name then
                start, name, rest = export_start, export_name, export_rest
            end
            if not name then
                return nil, {line = number, column = 1, message = "expected NAME=VALUE"}
            end
            local value, problem = read_value(rest)
            if not value then
                return nil, {line = number, column = start, message = format("%s: %s", name, problem)}
            end
            local entry = {name = name, value = value, line = number}
            if index[name] then
                list[index[name]] = entry
            else
                list[#list + 1] = entry
                index[name] = #list
            end
        end
    end
    return list
end
