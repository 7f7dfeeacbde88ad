-- One attack in a process of its own, for tests/abuse/run: WS_PORT HTTP_PORT SECONDS NAME LOG [CA]. Prints what came of
-- it; exit status 1 when that is not what was promised.
package.path = "./?.lua;" .. package.path
local attacks = require "tests.abuse.attacks.init"
local tls_stream = require "tests.support.tls_stream"
local wait = require "tests.support.wait"

local server = {ws_port = tonumber(arg[1]), http_port = tonumber(arg[2]), log_file = arg[5],
    authority = {ca = arg[6]}, connect = arg[6] and tls_stream.connector(arg[6])}
for _, attack in ipairs(attacks) do
    if attack.name == arg[4] then
        local outcome, good = attack.run(server, wait.deadline(tonumber(arg[3])))
        print(outcome)
        os.exit(good and 0 or 1)
    end
end
error("no such attack: " .. tostring(arg[4]))
