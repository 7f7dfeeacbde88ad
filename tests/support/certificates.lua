-- Authorities, certificates and revocation lists for tests, made by the openssl command.
local process = require "tests.support.process"

local certificates = {}
local methods = {}
methods.__index = methods

local CONFIG = [[
[ca]
default_ca = authority
[authority]
database = DIR/index.txt
serial = DIR/serial
crlnumber = DIR/crlnumber
new_certs_dir = DIR
certificate = DIR/ca.pem
private_key = DIR/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
unique_subject = no
policy = any
copy_extensions = none
[any]
commonName = optional
[req]
distinguished_name = name
[name]
]]

local function openssl(...)
    local status, _, errors = process.run({"openssl", ...})
    if status ~= 0 then
        error("openssl " .. table.concat({...}, " ") .. ":\n" .. errors, 3)
    end
end

local function make_key(path, kind)
    if kind == "rsa" then
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
    elseif kind == "small rsa" then
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", path)
    elseif kind == "ed25519" then
        openssl("genpkey", "-algorithm", "ED25519", "-out", path)
    else
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" .. (kind or "P-256"), "-out", path)
    end
end

-- An authority in a folder of its own: ca.pem, ca.key. Other names go to the same folder.
function certificates.authority(name)
    local folder = process.folder()
    local self = setmetatable({folder = folder, ca = folder .. "/ca.pem"}, methods)
    process.write_file(folder .. "/openssl.cnf", (CONFIG:gsub("DIR", folder)))
    process.write_file(folder .. "/index.txt", "")
    process.write_file(folder .. "/serial", "01\n")
    process.write_file(folder .. "/crlnumber", "01\n")
    make_key(folder .. "/ca.key")
    openssl("req", "-x509", "-new", "-key", folder .. "/ca.key", "-out", self.ca, "-days", "60", "-subj",
        "/CN=" .. (name or "Test authority"), "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    return self
end

-- NAME.pem and NAME.key below the authority's folder. options: subject ("/CN=…"), names (subjectAltName, default
-- localhost), key ("rsa", "P-384" …), from and until ("20200101000000Z"), usage (extendedKeyUsage), key_of (another
-- name whose key it takes). Gives both paths.
function methods:issue(name, options)
    options = options or {}
    local base = self.folder .. "/" .. name
    local key = options.key_of and self.folder .. "/" .. options.key_of .. ".key" or base .. ".key"
    if not options.key_of then
        make_key(key, options.key)
    end
    process.write_file(base .. ".ext", ("subjectAltName=%s\n%s"):format(
        options.names or "DNS:localhost,IP:127.0.0.1,IP:::1",
        options.usage and "extendedKeyUsage=" .. options.usage .. "\n" or ""))
    openssl("req", "-new", "-config", self.folder .. "/openssl.cnf", "-key", key, "-out", base .. ".csr", "-subj",
        options.subject or "/CN=localhost")
    local arguments = {"ca", "-batch", "-notext", "-config", self.folder .. "/openssl.cnf", "-in", base .. ".csr",
        "-out", base .. ".pem", "-extfile", base .. ".ext"}
    for flag, value in pairs({["-startdate"] = options.from, ["-enddate"] = options["until"]}) do
        arguments[#arguments + 1] = flag
        arguments[#arguments + 1] = value
    end
    openssl(unpack(arguments))
    return base .. ".pem", key
end

-- An authority that this one vouches for.
function methods:between(name)
    local below = certificates.authority(name)
    openssl("req", "-new", "-config", self.folder .. "/openssl.cnf", "-key", below.folder .. "/ca.key", "-out",
        below.folder .. "/ca.csr", "-subj", "/CN=" .. name)
    process.write_file(below.folder .. "/ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    openssl("ca", "-batch", "-notext", "-config", self.folder .. "/openssl.cnf", "-in", below.folder .. "/ca.csr",
        "-out", below.ca, "-extfile", below.folder .. "/ca.ext")
    return below
end

function methods:revoke(name)
    openssl("ca", "-batch", "-config", self.folder .. "/openssl.cnf", "-revoke", self.folder .. "/" .. name .. ".pem")
end

-- The list of those that are revoked, as a file. seconds: after which it runs out (default 30 days).
function methods:crl(seconds)
    local path = self.folder .. "/crl.pem"
    local arguments = {"ca", "-batch", "-config", self.folder .. "/openssl.cnf", "-gencrl", "-out", path}
    if seconds then
        arguments[#arguments + 1] = "-crlsec"
        arguments[#arguments + 1] = ("%d"):format(math.ceil(seconds))
    end
    openssl(unpack(arguments))
    return path
end

return certificates
