-- JSON Web Tokens as credentials. Good ones are made by the npm package `jose`, as issuers make them; attackers' by
-- hand (jwt.js).
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/build/interop/node_modules")

local ISSUER = "https://issuer.example"
local now = os.time()

-- Claims of a good token for alice, who may send and see (the built-in rules of access), with `over` in the place of
-- what it names; false: left out.
local function claims(over)
    local all = {
        sub = "alice", iss = ISSUER, aud = "luaduct", iat = now - 60, exp = now + 3600,
        realm = {roles = {"agent", "reader"}},
    }
    for name, value in pairs(over or {}) do
        all[name] = value or nil
    end
    return all
end

local KEYS = {
    rsa = {alg = "RS256", kid = "2026-rsa"}, point = {alg = "ES256", kid = "2026-point"},
    secret = {alg = "HS256", kid = "2026-secret"}, edwards = {alg = "EdDSA", kid = "2026-edwards"},
    stranger = {alg = "ES256", kid = "2026-point"}, later = {alg = "ES256", kid = "2027"},
}

local function nested(name)
    return {realm = {[name] = {"admin", "reader"}}}
end

local TOKENS = {
    rsa = {key = "rsa", claims = claims()},
    point = {key = "point", claims = claims()},
    secret = {key = "secret", claims = claims()},
    later = {key = "later", claims = claims()},
    bob = {key = "point", claims = claims({sub = "bob"})},
    many = {key = "point", claims = claims({
        agents = {"worker-*", "boss"}, job = "planner", tags = {"fast", "blue"},
    })},
    admin = {key = "rsa", claims = claims(nested("roles"))},
    no_admin = {key = "rsa", claims = claims(nested("groups"))},
    two_audiences = {key = "point", claims = claims({aud = {"other", "luaduct"}})},
    access_token = {key = "point", header = {typ = "at+jwt"}, claims = claims()},
    within_leeway = {key = "point", claims = claims({exp = now - 60, nbf = now + 60})},
    bob_within_leeway = {key = "point", claims = claims({sub = "bob", exp = now - 60})},

    expired = {key = "point", claims = claims({exp = now - 3600})},
    no_exp = {key = "point", claims = claims({exp = false})},
    early = {key = "point", claims = claims({nbf = now + 3600})},
    future = {key = "point", claims = claims({iat = now + 3600})},
    issuer = {key = "point", claims = claims({iss = "https://issuer.example.evil"})},
    audience = {key = "point", claims = claims({aud = "other"})},
    no_audience = {key = "point", claims = claims({aud = false})},
    no_sub = {key = "point", claims = claims({sub = false})},
    star = {key = "point", claims = claims({sub = "*"})},
    control = {key = "point", claims = claims({sub = "a\nb"})},
    numeric = {key = "point", claims = claims({sub = 7})},
    bad_roles = {key = "rsa", claims = claims({realm = {roles = {"admin", 1}}})},
    stranger = {key = "stranger", claims = claims()},
    edwards = {key = "edwards", claims = claims()},
    crit = {key = "point", raw = {alg = "ES256", kid = "2026-point", crit = {"exp"}}, claims = claims()},
    none = {key = "rsa", raw = {alg = "none"}, signed = "nothing", claims = claims()},
    stripped = {key = "rsa", raw = {alg = "RS256", kid = "2026-rsa"}, signed = "nothing", claims = claims()},
    confused = {key = "rsa", raw = {alg = "HS256"}, signed = "public key as secret", claims = claims()},
    confused_by_kid = {
        key = "rsa", raw = {alg = "HS256", kid = "2026-rsa"}, signed = "public key as secret", claims = claims(),
    },
    other_kid = {key = "point", raw = {alg = "ES256", kid = "../../dev/null"}, claims = claims()},
}

local REFUSALS = {
    expired = "the token has expired (exp)", no_exp = "the token has no exp",
    early = "the token is not valid yet (nbf)", future = "the token was issued in the future (iat)",
    issuer = "iss is not auth.jwt.issuer", audience = "aud does not name auth.jwt.audience",
    no_audience = "aud does not name auth.jwt.audience", no_sub = "the claim of auth.jwt.idClaim is not text",
    star = "the claim of auth.jwt.idClaim has a *", control = "the claim of auth.jwt.idClaim is not text",
    numeric = "the claim of auth.jwt.idClaim is not text", bad_roles = "the claim of auth.jwt.rolesClaim is not a list",
    stranger = "the signature is wrong", stripped = "the signature is wrong",
    edwards = "alg is EdDSA, which mbedtls 2.28 does not have",
    crit = "the header asks for an extension (crit, b64)", none = "alg is none: the token is not signed",
    confused = "no key of this algorithm and kid is configured",
    confused_by_kid = "no key of this algorithm and kid is configured",
    other_kid = "no key of this algorithm and kid is configured",
}

local made

local function jwks(...)
    local keys = {}
    for index, name in ipairs({...}) do
        keys[index] = made.keys[name].jwk
    end
    return json.encode({keys = keys})
end

local function start(options)
    options = options or {}
    local jwt = {
        keys = "jwks.json", issuer = ISSUER, audience = "luaduct", clientIdsClaim = "agents", agentRolesClaim = "job",
        rolesClaim = {"realm", "roles"}, labelsClaim = "tags",
    }
    for name, value in pairs(options.jwt or {}) do
        jwt[name] = value
    end
    return bridge.start({
        config = {
            mode = options.mode, auth = {jwt = jwt, token = options.token}, http = options.http,
            performance = {worker_threads = options.reactors or 2},
        },
        files = {["jwks.json"] = options.jwks or jwks("rsa", "point", "edwards")},
    })
end

local function bearer(name)
    return {Authorization = "Bearer " .. (made.tokens[name] or name)}
end

local function register_refused(server, name)
    local client = websocket.connect(server)
    client:send_register("alice", {authToken = made.tokens[name]})
    assert.equal("unauthorized", client:expect_error("unauthorized").error)
    client:expect_close(1008)
end

describe("a JSON Web Token", function()
    setup(function()
        local status, output, errors = process.run({"node", "tests/interop/jwt.js"}, {
            env = {NODE_PATH = MODULES}, input = json.encode({keys = KEYS, tokens = TOKENS}), seconds = 60,
        })
        assert(status == 0, errors)
        made = json.decode(output)
        process.clean()
    end)

    after_each(bridge.clean)

    for _, name in ipairs({"rsa", "point"}) do
        it("signed with a key of the set is a credential everywhere: " .. KEYS[name].alg, function()
            local server = start()

            local client = websocket.agent(server, "alice", {authToken = made.tokens[name]})
            client:send_envelope({to = "alice", id = "e1"})
            assert.equal("e1", client:receive_envelope().id)

            local second = websocket.agent(server, "alice", nil, {headers = bearer(name)})
            client:expect_close(4001)
            second:send_envelope({to = "alice", id = "e2"})
            assert.equal("e2", second:receive_envelope().id)

            for _ = 1, 2 do
                assert.equal(200, select(2, http.get(server, "/agents", bearer(name))).status)
            end
        end)
    end

    it("signed with a secret is a credential, where one is configured", function()
        local secret = start({jwks = jwks("secret")})

        websocket.agent(secret, "alice", {authToken = made.tokens.secret})

        assert.equal(200, select(2, http.get(secret, "/agents", bearer("secret"))).status)
    end)

    it("is judged by one public key in PEM as by a set", function()
        local server = bridge.start({
            config = {auth = {jwt = {key = "public.pem", audience = "luaduct"}}},
            files = {["public.pem"] = made.keys.point.pem},
        })
        websocket.agent(server, "alice", {authToken = made.tokens.point})
        register_refused(server, "stranger")
        register_refused(server, "rsa")
    end)

    it("may have several audiences, be an access token, and be off by the leeway", function()
        local server = start({jwt = {leewayMs = 600000}})
        for _, name in ipairs({"two_audiences", "access_token", "within_leeway"}) do
            assert.equal(200, select(2, http.get(server, "/agents", bearer(name))).status, name)
        end
    end)

    for _, mode in ipairs({"enhanced", "original"}) do
        it("that is not good is refused everywhere in " .. mode .. " mode", function()
            local server = start({mode = mode})
            for name in pairs(REFUSALS) do
                register_refused(server, name)
                assert.equal(401, select(2, http.get(server, "/agents", bearer(name))).status, name)
                assert.equal(401, (websocket.upgrade(server, {headers = bearer(name)})), name)
            end
            assert.equal(0, #http.get(server, "/agents", bearer("rsa")).agents)
        end)
    end

    it("that is not good is never in the log, but why it is not", function()
        for name, why in pairs(REFUSALS) do
            local server = start({reactors = 1})
            http.get(server, "/agents", bearer(name))
            local log = server:wait_log("a JSON Web Token was refused: " .. why)
            assert.is_nil(log:find(made.tokens[name]:match("[^.]+$") or made.tokens[name], 1, true))
            server:stop()
        end
    end)

    it("changed in one place is refused", function()
        local server = start()
        local token = made.tokens.rsa
        local first, second = token:find(".", 1, true), token:find("%.[^.]*$")
        for _, at in ipairs({5, first + 20, second + 20, #token - 1}) do
            local changed = token:sub(1, at - 1) .. (token:sub(at, at) == "A" and "B" or "A") .. token:sub(at + 1)
            assert.equal(401, select(2, http.get(server, "/agents", bearer(changed))).status, at)
        end
        for _, changed in ipairs({token .. "=", token .. "A", token .. ".", token:sub(1, -2), token:sub(1, second),
            "." .. token, token:gsub("%.", "..", 1)}) do
            assert.equal(401, select(2, http.get(server, "/agents", bearer(changed))).status, changed)
        end
        assert.equal(200, select(2, http.get(server, "/agents", bearer(token))).status)
    end)

    it("of a kind whose algorithm is not allowed is refused", function()
        local server = start({jwt = {algorithms = {"ES256"}}})
        register_refused(server, "rsa")
        websocket.agent(server, "alice", {authToken = made.tokens.point})
    end)

    it("binds its agent: the clientId is the token's id, where it names no others", function()
        local server = start()
        local client = websocket.connect(server)
        client:send_register("bob", {authToken = made.tokens.point})
        client:expect_error("forbidden")
        client:expect_close(1008)

        local _, registered = websocket.agent(server, nil, {authToken = made.tokens.point})
        assert.equal("alice", registered.client.id)
    end)

    it("says which clientIds, role and labels its agent has", function()
        local server = start()
        local _, registered = websocket.agent(server, "worker-7", {authToken = made.tokens.many})
        assert.equal("worker-7", registered.client.id)
        assert.equal("planner", registered.client.role)
        assert.same({"fast", "blue"}, registered.client.labels)
        websocket.agent(server, "boss", {authToken = made.tokens.many})

        for id, fields in pairs({alice = {}, ["worker-8"] = {role = "boss"}, ["worker-9"] = {labels = {"slow"}}}) do
            local client = websocket.connect(server)
            fields.authToken = made.tokens.many
            client:send_register(id, fields)
            client:expect_error("forbidden")
        end
    end)

    it("keeps others from taking its agent over", function()
        local server = start({jwt = {clientIdsClaim = "none", idClaim = "sub"}, mode = "original"})
        local client = websocket.agent(server, "alice", {authToken = made.tokens.point})
        local bob = websocket.connect(server)
        bob:send_register("alice", {authToken = made.tokens.bob})
        bob:expect_error("forbidden")
        client:send_envelope({to = "alice", id = "e1"})
        assert.equal("e1", client:receive_envelope().id)
    end)

    it("administers with the role admin, and only with it", function()
        local server = start()
        for name, status in pairs({admin = 202, no_admin = 403, point = 403}) do
            local answer = http.request(server, {method = "POST", path = "/admin/gc", headers = bearer(name)})
            assert.equal(status, answer.status, name)
        end
    end)

    it("stands beside the shared token", function()
        local server = start({token = "the shared one"})
        websocket.agent(server, "alice", {authToken = made.tokens.point})
        websocket.agent(server, "anybody", {authToken = "the shared one"})
        assert.equal(401, select(2, http.get(server, "/agents", bearer("the.shared.one"))).status)
    end)

    it("that is slow to verify holds its sender's next messages, in their order", function()
        local server = start({reactors = 1})
        local client = websocket.connect(server)
        client:send_register("alice", {authToken = made.tokens.point})
        for index = 1, 100 do
            client:send_envelope({to = "alice", id = "e" .. index})
        end
        assert.equal("registered", client:receive_json().type)
        for index = 1, 100 do
            assert.equal("e" .. index, client:receive_envelope().id)
        end
    end)

    it("that is slow to verify may follow another, and what follows both waits for both", function()
        local server = start({reactors = 1})
        local client = websocket.connect(server)
        client:send_register("alice", {authToken = made.tokens.point, features = {"none"}})
        client:send_register("alice", {authToken = made.tokens.two_audiences, features = {"none"}})
        client:send_envelope({to = "alice", id = "e1"})
        client:send_envelope({to = "alice", id = "e2"})
        assert.equal("registered", client:receive_json().type)
        assert.equal("registered", client:receive_json().type)
        assert.equal("e1", client:receive_envelope().id)
        assert.equal("e2", client:receive_envelope().id)
    end)

    it("that is slow to verify holds pipelined requests, each is counted, and each is answered in its order", function()
        local server = start({reactors = 1, http = {rateMax = 3, rateWindowMs = 600000}})
        local connection = http.connect(server)
        local head = ("GET /%%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n"):format(
            made.tokens.point)
        connection:send_bytes(head:format("agents") .. head:format("history") .. head:format("tasks")
            .. head:format("agents"))
        assert.match('^{"agents"', connection:receive().body)
        assert.match('^{"history"', connection:receive().body)
        assert.match('^{"tasks"', connection:receive().body)
        assert.equal(429, connection:receive().status)
    end)

    it("that is slow to verify may come from a peer that has closed its side already", function()
        local server = start({reactors = 1})
        local connection = http.connect(server)
        connection:send_request({path = "/agents", headers = bearer("point")})
        connection:half_close()
        assert.equal(200, connection:receive().status)
    end)

    it("that is slow to verify harms nobody whose peer is gone before", function()
        local server = start({reactors = 1})
        for index = 1, 40 do
            -- Each is another token: the signature is wrong in the end.
            local token = made.tokens.point:sub(1, -3) .. ("AABBCCDD"):sub(index % 8 + 1, index % 8 + 1) .. "A"
            if index % 2 == 0 then
                local connection = http.connect(server)
                connection:send_request({path = "/agents", headers = {Authorization = "Bearer " .. token}})
                connection:close()
            else
                local client = websocket.connect(server)
                client:send_register("alice", {authToken = token})
                client:close()
            end
        end
        websocket.agent(server, "alice", {authToken = made.tokens.rsa})
        wait.eventually(function()
            return #http.get(server, "/agents", bearer("rsa")).agents == 1
        end)
    end)

    it("that is slow to verify and wrong is not verified any more when an address has shown many", function()
        local server = start({reactors = 1})
        local function status(token)
            return select(2, http.get(server, "/agents", {Authorization = "Bearer " .. token})).status
        end
        local right, seen = made.tokens.point, {}
        assert.equal(200, status(right))
        for index = 1, 60 do -- another letter in the signature each time
            local at = #right - 70 + index
            local letter = right:sub(at, at) == "A" and "B" or "A"
            local answer = status(right:sub(1, at - 1) .. letter .. right:sub(at + 1))
            seen[answer] = (seen[answer] or 0) + 1
        end

        assert.is_true(seen[401] >= 33 and (seen[503] or 0) > 0, ("%s, %s"):format(seen[401], seen[503]))
        assert.equal(200, status(right)) -- which was verified before
        assert.equal(200, status(made.tokens.rsa))
    end)

    it("works on as long as its key is in the set, and a reload takes up another set", function()
        local server = start({jwks = jwks("point")})
        local client = websocket.agent(server, "alice", {authToken = made.tokens.point})
        register_refused(server, "later")

        process.write_file(server.folder .. "/jwks.json", jwks("point", "later"))
        server:signal("SIGHUP")
        server:wait_log("SIGHUP: version 2 of the scripts") -- all reactors have it
        assert.equal(200, select(2, http.get(server, "/agents", bearer("later"))).status)
        assert.equal(200, select(2, http.get(server, "/agents", bearer("point"))).status)

        process.write_file(server.folder .. "/jwks.json", jwks("later"))
        server:signal("SIGHUP")
        server:wait_log("SIGHUP: version 3 of the scripts")
        assert.equal(401, select(2, http.get(server, "/agents", bearer("point"))).status)
        register_refused(server, "point")
        client:send_envelope({to = "alice", id = "e1"})
        assert.equal("e1", client:receive_envelope().id)
    end)

    it("whose key was taken away stays refused when an older version of the scripts comes back", function()
        local server = start({jwks = jwks("rsa", "point")})
        process.write_file(server.folder .. "/jwks.json", jwks("rsa"))
        for _, body in ipairs({"{}", '{"to":1}'}) do
            local answer = http.request(server, {
                method = "POST", path = "/admin/reload", headers = bearer("admin"), body = body,
            })
            assert.equal(200, answer.status, answer.body)
            register_refused(server, "point")
        end
    end)

    it("that was good is refused once another key has its kid", function()
        local server = start({jwks = jwks("rsa", "point")})
        assert.equal(200, select(2, http.get(server, "/agents", bearer("point"))).status)
        process.write_file(server.folder .. "/jwks.json", jwks("rsa", "stranger"))
        local answer = http.request(server, {method = "POST", path = "/admin/reload", headers = bearer("admin")})
        assert.equal(200, answer.status, answer.body)
        assert.equal(401, select(2, http.get(server, "/agents", bearer("point"))).status)
        assert.equal(200, select(2, http.get(server, "/agents", bearer("stranger"))).status)
    end)

    it("keeps its keys when a reload finds wrong ones", function()
        local server = start({jwks = jwks("point")})
        process.write_file(server.folder .. "/jwks.json", '{"keys":[{"kty":"EC","crv":"P-256","kid":"broken"}]}')
        server:signal("SIGHUP")
        server:wait_log("jwks.json: key 1 (kid broken): expected x and y of 32 bytes in base64url")
        websocket.agent(server, "alice", {authToken = made.tokens.point})
    end)

    it("that runs out while its agent is connected ends the connection, unless it showed a newer one", function()
        -- It runs out some seconds after the start.
        local server = start({jwt = {leewayMs = (os.time() - now + 60 + 5) * 1000}})
        local client = websocket.agent(server, "alice", {authToken = made.tokens.within_leeway})
        local bob = websocket.agent(server, "bob", {authToken = made.tokens.bob_within_leeway})
        bob:register("bob", {authToken = made.tokens.bob})

        assert.equal("unauthorized", client:expect_error("unauthorized").error)
        client:expect_close(1008)

        bob:send_envelope({to = "bob", id = "e1"})
        assert.equal("e1", bob:receive_envelope().id)
        assert.equal(401, select(2, http.get(server, "/agents", bearer("within_leeway"))).status)
    end)
end)

describe("keys for JSON Web Tokens that are wrong", function()
    after_each(bridge.clean)

    it("stop the start, named by file and key, and luaduct check says the same", function()
        local options = {
            config = {auth = {jwt = {keys = "jwks.json"}}},
            files = {["jwks.json"] = '{"keys":[{"kty":"oct","kid":"short","k":"c2hvcnQ"}]}'},
        }
        local problem = "auth%.jwt%.keys: [^\n]*jwks%.json: key 1 %(kid short%): expected k of 32 to 1024 bytes"
        local status, errors = bridge.start_failing(options)
        assert.equal(1, status)
        assert.match(problem, errors)

        local path = bridge.write(options)
        local check_status, _, check_errors = bridge.luaduct({"check", path})
        assert.equal(1, check_status)
        assert.match(problem, check_errors)
    end)
end)
