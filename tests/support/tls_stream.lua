-- A connection that speaks TLS by OpenSSL's libssl, read and written like one of tests/support/stream.lua. Content can
-- be sealed into records of a chosen size and sent later or in part, and hands need not be shaken to the end.
local ffi = require "ffi"
local socket = require "socket"
local stream = require "tests.support.stream"
local wait = require "tests.support.wait"

-- Declared only once, for each test file loads its own copy of this module.
pcall(ffi.cdef, [[
    typedef struct ssl_ctx_st SSL_CTX;
    typedef struct ssl_st SSL;
    typedef struct ssl_session_st SSL_SESSION;
    typedef struct bio_st BIO;
    const void *TLS_client_method(void);
    SSL_CTX *SSL_CTX_new(const void *method);
    int SSL_CTX_load_verify_locations(SSL_CTX *context, const char *file, const char *folder);
    void SSL_CTX_set_verify(SSL_CTX *context, int mode, void *callback);
    SSL *SSL_new(SSL_CTX *context);
    void SSL_free(SSL *ssl);
    void SSL_set_connect_state(SSL *ssl);
    void SSL_set_bio(SSL *ssl, BIO *reads, BIO *writes);
    int SSL_do_handshake(SSL *ssl);
    int SSL_read(SSL *ssl, void *buffer, int size);
    int SSL_write(SSL *ssl, const void *content, int length);
    int SSL_shutdown(SSL *ssl);
    void SSL_set_shutdown(SSL *ssl, int mode);
    int SSL_get_error(const SSL *ssl, int result);
    SSL_SESSION *SSL_get1_session(SSL *ssl);
    int SSL_set_session(SSL *ssl, SSL_SESSION *session);
    int SSL_session_reused(const SSL *ssl);
    void SSL_SESSION_free(SSL_SESSION *session);
    const void *BIO_s_mem(void);
    BIO *BIO_new(const void *method);
    size_t BIO_ctrl_pending(BIO *bio);
    int BIO_read(BIO *bio, void *buffer, int size);
    int BIO_write(BIO *bio, const void *bytes, int length);
    void ERR_clear_error(void);
]])
local ssl = ffi.load("ssl")
local VERIFY_PEER, WANT_READ, ENDED_BOTH_WAYS = 1, 2, 3
local RECORD_BYTES = 16384

local tls_stream = {}
local methods = setmetatable({}, {__index = stream.methods})
methods.__index = methods

local contexts = {} -- by the file of authorities
local room = ffi.new("char[?]", 65536)

local function context_of(ca)
    local key = ca or ""
    if not contexts[key] then
        local context = ssl.SSL_CTX_new(ssl.TLS_client_method())
        if ca then
            assert(ssl.SSL_CTX_load_verify_locations(context, ca, nil) == 1, "no authorities in " .. ca)
            ssl.SSL_CTX_set_verify(context, VERIFY_PEER, nil)
        end
        contexts[key] = context
    end
    return contexts[key]
end

-- What libssl has to say to the peer.
local function take_sealed(self)
    local parts = {}
    while ssl.BIO_ctrl_pending(self.writes) > 0 do
        local length = ssl.BIO_read(self.writes, room, ffi.sizeof(room))
        parts[#parts + 1] = ffi.string(room, length)
    end
    return table.concat(parts)
end

-- A connection whose hands are not shaken yet. options: as of stream.connect, and `ca`, a file of authorities that must
-- vouch for the peer (without it any certificate will do), `session`, one to be taken up.
function tls_stream.open(port, options)
    options = options or {}
    local wire = stream.connect(port, options)
    local self = setmetatable({wire = wire, tcp = wire.tcp, buffer = "", at = 1, taken = 0}, methods)
    self.ssl = ffi.gc(ssl.SSL_new(context_of(options.ca)), ssl.SSL_free)
    self.reads, self.writes = ssl.BIO_new(ssl.BIO_s_mem()), ssl.BIO_new(ssl.BIO_s_mem())
    ssl.SSL_set_bio(self.ssl, self.reads, self.writes) -- which frees them
    ssl.SSL_set_connect_state(self.ssl)
    if options.session then
        ssl.SSL_set_session(self.ssl, options.session)
    end
    return self
end

-- Goes on shaking hands with what has come. True when that is done; nil and "timeout" (more must come), "closed" or
-- "refused".
function methods:step()
    local came, reason = self.wire:fill(0)
    if came then
        local bytes = self.wire:take(self.wire:here())
        ssl.BIO_write(self.reads, bytes, #bytes)
    end
    ssl.ERR_clear_error()
    local result = ssl.SSL_do_handshake(self.ssl)
    self.wire:send(take_sealed(self))
    if result == 1 then
        return true
    elseif ssl.SSL_get_error(self.ssl, result) ~= WANT_READ then
        return nil, "refused"
    end
    return nil, reason or "timeout"
end

-- The same with hands shaken; raises when the bridge or its certificate is not what was expected.
function tls_stream.connect(port, options)
    local self = tls_stream.open(port, options)
    local deadline = wait.deadline()
    while true do
        local done, reason = self:step()
        if done then
            return self
        elseif reason ~= "timeout" or wait.left(deadline) == 0 then
            self.wire:close()
            error("no TLS with port " .. tostring(port) .. ": " .. reason, 2)
        end
        socket.select({self.tcp}, nil, wait.left(deadline))
    end
end

-- A `connect` for tests/support/websocket.lua and http.lua: of a bridge whose certificate is of that authority.
function tls_stream.connector(ca)
    return function(port, options)
        local own = {ca = ca}
        for name, value in pairs(options or {}) do
            own[name] = value
        end
        return tls_stream.connect(port, own)
    end
end

-- The session, for the next connection's options.
function methods:session()
    return ffi.gc(ssl.SSL_get1_session(self.ssl), ssl.SSL_SESSION_free)
end

function methods:resumed()
    return ssl.SSL_session_reused(self.ssl) == 1
end

-- The content as records of at most `size` bytes each, for self.wire; they have to be sent in the order of sealing.
function methods:seal(content, size)
    size = size or RECORD_BYTES
    local bytes = ffi.cast("const char *", content)
    for at = 0, #content - 1, size do
        local length = math.min(size, #content - at)
        assert(ssl.SSL_write(self.ssl, bytes + at, length) == length)
    end
    return take_sealed(self)
end

function methods:send(content, seconds)
    return self.wire:send(self:seal(content), seconds)
end

-- What the kernel does not take is lost, and the connection with it.
function methods:send_some(content)
    return self.wire:send_some(self:seal(content))
end

-- The alert that nothing more follows (close_notify), sealed.
function methods:seal_end()
    ssl.SSL_shutdown(self.ssl)
    return take_sealed(self)
end

function methods:half_close()
    self.wire:send(self:seal_end())
end

function methods:fill(deadline)
    repeat
        if self.ended then
            return nil, "closed"
        end
        local came, reason = self.wire:fill(deadline)
        if not came then
            self.ended = reason == "closed"
            return nil, reason
        end
        local sealed, parts = self.wire:take(self.wire:here()), {}
        ssl.BIO_write(self.reads, sealed, #sealed)
        ssl.ERR_clear_error()
        local length = ssl.SSL_read(self.ssl, room, ffi.sizeof(room))
        while length > 0 do
            parts[#parts + 1] = ffi.string(room, length)
            length = ssl.SSL_read(self.ssl, room, ffi.sizeof(room))
        end
        self.ended = ssl.SSL_get_error(self.ssl, length) ~= WANT_READ
        self.buffer = self.buffer:sub(self.at) .. table.concat(parts)
        self.at = 1
    until self:here() > 0
    return true
end

-- Closes without a word.
function methods:abandon()
    ssl.SSL_set_shutdown(self.ssl, ENDED_BOTH_WAYS) -- else libssl takes the session for a bad one
    self.closed = true
    self.wire:close()
end

function methods:close()
    if not self.closed then
        self.closed = true
        if not self.ended then
            self.wire:send_some(self:seal_end())
        end
        self.wire:close()
    end
end

return tls_stream
