-- Certificates for the tests, made by `luaduct cert dev`, and servers that speak TLS but are not the bridge.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

local dev_certs = {}

local function openssl(...)
    local status, output, errors = process.run({"openssl", ...})
    assert(status == 0, output .. errors)
    return output
end

-- A fresh folder with an authority, a server's certificate and agents'. `...`: more arguments, as "--agent", "alice".
function dev_certs.certs(...)
    local folder = process.folder()
    local status, _, errors = bridge.luaduct({"cert", "dev", folder, ...})
    assert(status == 0, errors)
    return folder
end

-- A server's certificate of the same authority, for localhost and 127.0.0.1, that is not valid now: "expired" or
-- "future". Gives the paths of certificate and key.
function dev_certs.untimely(folder, which)
    local base = folder .. "/" .. which
    local from, to = "20200101000000Z", "20210101000000Z"
    if which == "future" then
        from, to = "20480101000000Z", "20490101000000Z"
    end
    process.write_file(base .. ".conf", ([[
        [ca]
        default_ca = here
        [here]
        database = %s.index
        new_certs_dir = %s
        rand_serial = yes
        default_md = sha256
        policy = any
        x509_extensions = server
        [any]
        commonName = supplied
        [server]
        subjectAltName = DNS:localhost,IP:127.0.0.1
        [req]
        distinguished_name = name
        [name]
    ]]):format(base, folder))
    process.write_file(base .. ".index", "")
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", base .. ".conf",
        "-keyout", base .. ".key", "-out", base .. ".csr", "-subj", "/CN=localhost")
    openssl("ca", "-config", base .. ".conf", "-batch", "-notext", "-cert", folder .. "/ca.pem", "-keyfile",
        folder .. "/ca.key", "-startdate", from, "-enddate", to, "-in", base .. ".csr", "-out", base .. ".pem")
    return base .. ".pem", base .. ".key"
end

-- `openssl s_server` with the folder's server certificate and further arguments. Its send_input(text) goes to the one
-- client that it serves, and its output holds what the client said; `port` is where it listens.
function dev_certs.server(folder, ...)
    local server = process.start({
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-cert", folder .. "/server.pem", "-key",
        folder .. "/server.key", ...,
    }, {input = "pipe"})
    wait.eventually(function()
        server.port = tonumber(server:output():match("ACCEPT 127%.0%.0%.1:(%d+)"))
        return server.port
    end, nil, "s_server to listen")
    return server
end

return dev_certs
