--- Who may come, by which credential, and through which encryption.

local range = require("luaduct.config.schema.range")
local MAX_MS, MAX_COUNT = range.MAX_MS, range.MAX_COUNT

-- What there is of TLS 1.2 with forward secrecy and authenticated encryption; core/net/tls/tls_cipher.c has the same.
local CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

local keys = {
    {
        path = "http.corsOrigins", type = "origins", live = true,
        default = {}, variables = { "AI_BRIDGE_CORS_ORIGINS" },
        help = 'origins of web pages that may call: a list such as { "https://app.example" }, or "*"',
    },
    {
        path = "http.hosts", type = "hosts", live = true, default = {},
        help = "names of this bridge, beside localhost and addresses, that a request without credential may use",
    },
    {
        path = "http.rateMax", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = 120,
        variables = { "AI_BRIDGE_RATE_MAX" }, help = "requests of one address in a window",
    },
    {
        path = "http.rateWindowMs", type = "integer", min = 1, max = MAX_MS, default = 60000,
        variables = { "AI_BRIDGE_RATE_WINDOW_MS" }, help = "that window",
    },
    {
        path = "http.headerTimeoutMs", type = "integer", min = 1, max = MAX_MS, default = 10000,
        help = "a request whose header is not complete by then is closed",
    },
    {
        path = "http.bodyTimeoutMs", type = "integer", min = 1, max = MAX_MS, default = 30000,
        help = "the same of its body, counted from the end of the header",
    },
    {
        path = "http.headerBytes", type = "size", min = 1024, max = "1MiB", default = "16KiB",
        help = "of a request's header; past it 431",
    },

    {
        path = "auth.token", type = "token", live = true, example = '{ file = "token" }', secret = true,
        variables = { "AI_BRIDGE_AUTH_TOKEN" }, help = "the credential that all share: text, or a file that holds it",
    },
    {
        path = "auth.tokenIsAdmin", type = "boolean", live = true, default = false,
        help = "whoever has the token may administer too",
    },
    {
        path = "auth.tokens", type = "text", live = true, example = '"tokens.jsonl"',
        help = "a file of named tokens, each with its own rights: see `luaduct help token`",
    },
    {
        path = "auth.hook", type = "boolean", live = true, default = false,
        help = "the script's `authenticate` says who somebody is, where no other credential does",
    },
    {
        path = "auth.jwt.keys", type = "text", live = true, example = '"jwks.json"',
        help = "JSON Web Tokens are taken that are signed with a key of this JWK set",
    },
    {
        path = "auth.jwt.key", type = "text", live = true, example = '"public.pem"',
        help = "... or with this public key (RSA of 2048 to 4096 bits, or P-256)",
    },
    {
        path = "auth.jwt.secret", type = "token", live = true, example = '{ file = "jwt-secret" }', secret = true,
        help = "... or with this secret (HS256; 32 bytes or more): text, or a file that holds it",
    },
    {
        path = "auth.jwt.algorithms", type = "algorithms", live = true, choices = { "HS256", "RS256", "ES256" },
        example = '{ "RS256", "ES256" }', help = "that tokens may be signed by; left out: those that the keys are for",
    },
    {
        path = "auth.jwt.issuer", type = "text", live = true, example = '"https://issuer.example"',
        help = "what `iss` must be; left out: it is not looked at",
    },
    {
        path = "auth.jwt.audience", type = "text", live = true, example = '"luaduct"',
        help = "what `aud` must name; left out: a token with `aud` is refused",
    },
    {
        path = "auth.jwt.leewayMs", type = "integer", live = true, min = 0, max = 600000, default = 10000,
        help = "by how much clocks may differ where `exp`, `nbf` and `iat` are judged",
    },
    {
        path = "auth.jwt.idClaim", type = "claim", live = true, default = { "sub" },
        help = "the claim that says who it is: text. A claim inside objects is a list of names, the outermost first",
    },
    {
        path = "auth.jwt.clientIdsClaim", type = "claim", live = true, example = '"agents"',
        help = "... which clientIds it may take (* stands for any text); left out or not in the token: only its id",
    },
    {
        path = "auth.jwt.agentRolesClaim", type = "claim", live = true, example = '"agent_roles"',
        help = "... as which roles it may register",
    },
    {
        path = "auth.jwt.rolesClaim", type = "claim", live = true, example = '{ "realm_access", "roles" }',
        help = "... which roles it has for rules of access; `admin` may administer",
    },
    {
        path = "auth.jwt.labelsClaim", type = "claim", live = true, example = '"labels"',
        help = "... which labels it has",
    },

    {
        path = "tls.cert", type = "text", live = true, example = '"cert.pem"',
        help = "certificate chain, PEM, the leaf first; with it both ports speak TLS and nothing else",
    },
    {
        path = "tls.key", type = "text", live = true, example = '"key.pem"',
        help = "its private key, PEM, without a passphrase",
    },
    {
        path = "tls.certs", type = "pairs", live = true, default = {},
        help = "more of both, by server name; without names: those in the certificate; see docs/operations.md",
    },
    {
        path = "tls.clientCa", type = "text", live = true, example = '"clients.pem"',
        help = "who signs client certificates, PEM; none: no client is asked for one",
    },
    {
        path = "tls.requireClientCert", type = "boolean", live = true, default = false,
        help = "refuse a client without one; a wrong one is refused always",
    },
    {
        path = "tls.crl", type = "text", live = true, example = '"revoked.pem"',
        help = "lists of revoked client certificates, PEM; one that has run out refuses all of its authority",
    },
    {
        path = "tls.minVersion", type = "version", live = true, choices = { "1.2" }, default = "1.2",
        help = "of the protocol; the TLS library (mbedtls 2.28) has no newer one",
    },
    {
        path = "tls.ciphers", type = "choices", live = true, choices = CIPHERS, default = {},
        help = "cipher suites, best first; none: all six, as in docs/security.md",
    },
    {
        path = "tls.handshakeTimeoutMs", type = "integer", live = true, min = 1, max = MAX_MS, default = 10000,
        help = "a handshake that takes longer is closed",
    },
    {
        path = "tls.maxHandshakes", type = "integer", live = true, min = 1, max = 1000000, default = 1024,
        help = "handshakes under way, some 44 KiB each; past it connections are closed",
    },
    {
        path = "tls.handshakeThreads", type = "integer", min = 1, max = 64, default = "auto", auto = true,
        help = 'threads that shake hands; "auto" is one for each processor, at most 4',
    },
}

local sections = {
    http = "Web pages, and what a single address may ask.",
    auth = "The credential. Without one, whoever reaches the port may call.",
    ["auth.jwt"] = "JSON Web Tokens as credentials, with `keys`, `key` or `secret` or several of them.",
    tls = "Encryption on the bridge's own ports.",
}

return { keys = keys, sections = sections }
