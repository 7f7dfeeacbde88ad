-- One GET over HTTP, by what every Debian has: bash's /dev/tcp. Once a second at most, so what it costs is no matter.
local cjson = require "cjson"
local process = require "bench.support.process"

local http = {}

-- where: host, port, token, folder (for the request: a token must not show in a list of processes). Gives the status
-- and the body, or nil when no answer came within five seconds.
function http.get(where, path)
    local file = where.folder .. "/request"
    local out = assert(io.open(file, "w"))
    out:write(("GET %s HTTP/1.0\r\nHost: %s\r\n"):format(path, where.host:find(":") and "[" .. where.host .. "]"
        or where.host))
    if where.token then
        out:write("Authorization: Bearer ", where.token, "\r\n")
    end
    out:write("\r\n")
    out:close()
    local answer = process.capture(("timeout 5 bash -c 'exec 3<>\"/dev/tcp/$0/$1\" && cat \"$2\" >&3 && cat <&3' "
        .. "%s %d %s 2>/dev/null"):format(process.quote(where.host), where.port, process.quote(file)))
    local status, body = answer:match("^HTTP/1%.%d (%d%d%d).-\r\n\r\n(.*)$")
    if not status then
        return nil
    end
    return tonumber(status), body
end

-- The decoded body of a 200, or nil.
function http.get_json(where, path)
    local status, body = http.get(where, path)
    if status ~= 200 then
        return nil
    end
    local good, value = pcall(cjson.decode, body)
    return good and type(value) == "table" and value or nil
end

return http
