-- All attacks. Each has a name, the bound that should hold it, what the bridge is configured with beside the defaults,
-- perhaps a script or TLS, and run(server, till): attacks until then, and gives in words what came of it and whether
-- that is what was promised. Connections that it leaves open stay so.
local attacks = {}
for _, kind in ipairs({"slow", "flood", "text", "tls"}) do
    for _, attack in ipairs(require("tests.abuse.attacks." .. kind)) do
        attacks[#attacks + 1] = attack
    end
end
return attacks
