-- config/deploy: the manifests keep to their schemas and to each other, and what they start starts.
local bridge = require "tests.support.bridge"
local cjson = require "cjson"
local dev_certs = require "tests.support.dev_certs"
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/tests/interop/node_modules")
local K8S = "config/deploy/k8s/"

-- Their documents, which manifests.js has held against the schemas.
local function documents(kind, ...)
    local command = {"node", "tests/interop/manifests.js", kind, ...}
    local status, output, errors = process.run(command, {env = {NODE_PATH = MODULES}, seconds = 60})
    assert.equal(0, status, errors)
    return cjson.decode(output)
end

local function find(list, kind, name)
    for _, document in ipairs(list) do
        if document.kind == kind and document.metadata.name == name then
            return document
        end
    end
    error(("there is no %s %s"):format(kind, name))
end

local function selects(labels, pod)
    for name, value in pairs(labels) do
        if pod.metadata.labels[name] ~= value then
            return false
        end
    end
    return true
end

describe("Kubernetes' manifests", function()
    local all, deployment, pod, container

    setup(function()
        all = documents("kubernetes", K8S .. "production-deployment.yaml", K8S .. "canary-deployment.yaml",
            K8S .. "service.yaml", K8S .. "network-policy.yaml", K8S .. "monitoring-alerts.yaml")
        deployment = find(all, "Deployment", "luaduct")
        pod = deployment.spec.template
        container = pod.spec.containers[1]
    end)

    after_each(bridge.clean)

    it("mean the same pods, and ports that these have", function()
        local ports = {}
        for _, port in ipairs(container.ports) do
            ports[port.name] = port.containerPort
        end
        local service = find(all, "Service", "luaduct")
        assert.is_true(selects(deployment.spec.selector.matchLabels, pod))
        assert.is_true(selects(service.spec.selector, pod))
        assert.is_true(selects(find(all, "PodDisruptionBudget", "luaduct").spec.selector.matchLabels, pod))
        assert.is_true(selects(find(all, "NetworkPolicy", "luaduct").spec.podSelector.matchLabels, pod))
        local monitor = find(all, "ServiceMonitor", "luaduct").spec
        assert.is_true(selects(monitor.selector.matchLabels, service))
        local names = {}
        for _, port in ipairs(service.spec.ports) do
            assert.equal(port.port, ports[port.targetPort])
            names[port.name] = true
        end
        assert.is_true(names[monitor.endpoints[1].port])
        assert.same({websocket = 4567, http = 4568}, ports)
    end)

    it("let the Job's pod in where they let clients in", function()
        local job = find(all, "Job", "luaduct-canary-scripts").spec.template
        local from = find(all, "NetworkPolicy", "luaduct").spec.ingress[1].from[1]
        assert.is_true(selects(from.podSelector.matchLabels, job))
    end)

    it("try a new program in a pod that differs by its image, one of ten", function()
        local canary = find(all, "Deployment", "luaduct-canary")
        local command = process.read_file(K8S .. "canary-deployment.yaml")
        local stable = tonumber(command:match("kubectl scale deployment/luaduct %-%-replicas=(%d+)"))
        assert.equal(0.1, canary.spec.replicas / (canary.spec.replicas + stable))
        assert.is_true(selects(find(all, "Service", "luaduct").spec.selector, canary.spec.template))
        assert.is_false(selects(deployment.spec.selector.matchLabels, canary.spec.template))

        assert.not_equal(container.image, canary.spec.template.spec.containers[1].image)
        local same = cjson.decode(cjson.encode(canary.spec))
        same.replicas = deployment.spec.replicas
        same.selector.matchLabels["luaduct/track"] = "stable"
        same.template.metadata.labels["luaduct/track"] = "stable"
        same.template.spec.containers[1].image = container.image
        assert.same(deployment.spec, same)
    end)

    it("give the bridge as many threads as processors, and all of its memory for itself", function()
        local resources = container.resources
        local config = loadstring(find(all, "ConfigMap", "luaduct").data["luaduct.lua"])()
        assert.equal("auto", config.limits.memory) -- which follows the container's limit
        assert.equal(resources.requests.memory, resources.limits.memory)
        assert.equal(tonumber(resources.limits.cpu), config.performance.worker_threads)
        assert.equal(tonumber(resources.limits.cpu), config.phase2.workerPool.maxWorkers)
    end)

    it("have the rules that Prometheus has", function()
        local status, output, errors = process.run({"luajit", "scripts/prometheus-rule.lua"})
        assert.equal(0, status, errors)
        assert.equal(output, process.read_file(K8S .. "monitoring-alerts.yaml"))
        for _, name in ipairs({"recording", "alerts"}) do
            local names = {}
            for _, group in ipairs(find(all, "PrometheusRule", "luaduct-" .. name).spec.groups) do
                assert.is_nil(names[group.name])
                names[group.name] = true
            end
            assert.truthy(next(names))
        end
    end)

    -- A folder as the kubelet makes it: what is mounted are links to links, so that a change comes to all at once.
    local function mount(folder, contents, secrets)
        local version = process.folder()
        process.run({"mkdir", "-p", folder})
        for _, volume in ipairs(pod.spec.volumes) do
            for _, source in ipairs(volume.projected.sources) do
                for _, item in ipairs((source.configMap or source.secret).items) do
                    local text = source.configMap and contents[item.key] or secrets[item.key]
                    local path = ("%s/%s"):format(version, item.path)
                    process.run({"mkdir", "-p", path:match("(.*)/")})
                    process.write_file(path, assert(text, item.key))
                end
            end
        end
        local name = "..version" .. tostring(math.random(1e9))
        process.run({"cp", "-r", version, ("%s/%s"):format(folder, name)})
        process.run({"ln", "-sfn", name, folder .. "/..new"})
        process.run({"mv", "-T", folder .. "/..new", folder .. "/..data"})
        for _, entry in ipairs({"luaduct.lua", "scripts", "tls", "tokens"}) do
            process.run({"ln", "-sfn", "..data/" .. entry, ("%s/%s"):format(folder, entry)})
        end
    end

    -- The same words to a bridge at this port instead.
    local function at(words, server, file)
        local list = {}
        for i, word in ipairs(words) do
            list[i] = word:gsub("^https://luaduct:4568$", "https://127.0.0.1:" .. server.http_port)
                :gsub(":4568$", ":" .. server.http_port):gsub("^/tls/ca.crt$", file or "%0")
        end
        return list
    end

    local function probe(words, server)
        local list = at(words, server)
        assert.equal("/usr/bin/luaduct", table.remove(list, 1))
        return bridge.luaduct(list)
    end

    it("start a bridge, find it alive and ready, give a tenth a new script, and see it end in time", function()
        local certs = dev_certs.certs("--name", "luaduct")
        local tokens = process.folder() .. "/tokens.jsonl"
        local function token(...)
            local status, output, errors = bridge.luaduct({"token", "new", "--file", tokens, ...})
            assert.equal(0, status, errors)
            return output:match("%S+")
        end
        local admin, reader = token("admin", "--role", "admin"), token("reader", "--role", "reader")
        local secrets = {
            ["tls.crt"] = process.read_file(certs .. "/server.pem"),
            ["tls.key"] = process.read_file(certs .. "/server.key"),
            ["tokens.jsonl"] = process.read_file(tokens),
        }
        local folder = process.folder() .. "/luaduct"
        local contents = find(all, "ConfigMap", "luaduct").data
        mount(folder, contents, secrets)
        assert.same({"run", "/etc/luaduct/luaduct.lua"}, container.args)
        local server = bridge.run(folder .. "/luaduct.lua")

        for _, name in ipairs({"startupProbe", "livenessProbe", "readinessProbe"}) do
            local status, _, errors = probe(container[name].exec.command, server)
            assert.equal(0, status, errors)
        end
        local url = "https://127.0.0.1:" .. server.http_port
        local status, output = process.run({"curl", "-s", "--cacert", certs .. "/ca.pem", "-H",
            "Authorization: Bearer " .. reader, url .. "/metrics", "-H", "Accept: text/plain"})
        assert.equal(0, status)
        assert.match("luaduct_uptime_seconds", output)

        contents["route.lua"] = "return {route = function(envelope) envelope.channel = 'new' end}"
        mount(folder, contents, secrets)
        local job = find(all, "Job", "luaduct-canary-scripts").spec.template.spec.containers[1]
        local reload_status, said, errors = bridge.luaduct(at(job.args, server, certs .. "/ca.pem"),
            {env = {AI_BRIDGE_AUTH_TOKEN = admin}})
        assert.equal(0, reload_status, errors)
        assert.match("version 2", said)

        server:signal("SIGTERM")
        server.expected_end = true
        assert.equal(0, server:wait_exit(pod.spec.terminationGracePeriodSeconds))
    end)
end)

describe("the compose file", function()
    it("keeps to its schema, and names files that are there", function()
        local compose = documents("compose", "config/deploy/container/compose.yaml")[1]
        local build = compose.services.luaduct.build
        assert.truthy(unistd.access(("config/deploy/container/%s/%s"):format(build.context, build.dockerfile)))
        for _, service in pairs(compose.services) do
            for _, volume in ipairs(service.volumes or {}) do
                local source = volume:match("^(%.[^:]*):")
                assert.truthy(not source or unistd.access("config/deploy/container/" .. source), volume)
            end
        end
    end)
end)

describe("Prometheus beside it", function()
    it("has a config and rules where the compose file mounts them", function()
        local folder, mounted = process.folder(), 0
        local prometheus = documents("compose", "config/deploy/container/compose.yaml")[1].services.prometheus
        local place = prometheus.command[1]:match("%-%-config%.file=(.*)/prometheus%.yaml$")
        for _, volume in ipairs(prometheus.volumes) do
            local source, target = volume:match("^(%./?[^:]*):(.-):ro$")
            if source then
                local name = assert(target:match("^" .. place .. "/([%w.]+)$"), target)
                local text = process.read_file("config/deploy/container/" .. source)
                process.write_file(folder .. "/" .. name, (text:gsub("/run/secrets/token", folder .. "/token")))
                mounted = mounted + 1
            end
        end
        process.write_file(folder .. "/token", "secret")
        assert.equal(3, mounted)

        local status, output, errors = process.run({"promtool", "check", "config", folder .. "/prometheus.yaml"})

        assert.equal(0, status, output .. errors)
    end)
end)

describe("the Dockerfile", function()
    after_each(bridge.clean)

    it("starts with words that the program takes, at the ports that it exposes", function()
        local text = process.read_file("config/deploy/container/Dockerfile")
        local health = cjson.decode(text:match("\nHEALTHCHECK .- CMD (%b[])"))
        local command = cjson.decode(text:match("\nCMD (%b[])"))
        assert.equal(cjson.decode(text:match("\nENTRYPOINT (%b[])"))[1], health[1])
        assert.same({"run", "/etc/luaduct/luaduct.lua"}, command)
        assert.equal("4567 4568", text:match("\nEXPOSE ([^\n]+)"))
        local host = text:match("\nENV AI_BRIDGE_HOST=(%S+)")

        local refused, said = bridge.start_failing({env = {AI_BRIDGE_HOST = host}})
        local server = bridge.start({env = {AI_BRIDGE_HOST = host, AI_BRIDGE_INSECURE = "1"}})

        assert.equal(1, refused)
        assert.match("^[^\n]*TLS[^\n]*credential[^\n]*\n$", said)
        assert.equal(0, (bridge.luaduct({health[2]}, {env = {AI_BRIDGE_URL = server:url()}})))
        wait.eventually(function()
            return (bridge.luaduct({health[2], "--ready", "--url", server:url()})) == 0
        end)
    end)
end)
