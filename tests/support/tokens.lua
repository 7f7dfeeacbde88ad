-- Files of named tokens: tokens.file({alice = {token = "…", roles = {…}, …}}) is the text of one.
local json = require "tests.support.json"
local sha256 = require "tests.support.sha256"

local tokens = {}

function tokens.file(list)
    local lines = {}
    for name, about in pairs(list) do
        local line = {name = name, sha256 = sha256.hex(about.token or name)}
        for key, value in pairs(about) do
            if key ~= "token" then
                line[key] = value
            end
        end
        lines[#lines + 1] = json.encode(line)
    end
    return table.concat(lines, "\n") .. "\n"
end

-- The header by which a caller shows it.
function tokens.bearer(token)
    return {Authorization = "Bearer " .. token}
end

return tokens
