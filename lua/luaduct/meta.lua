---@meta
-- What a Luaduct script sees, for editors with LuaLS. docs/lua-api.md says what it does.

---@class luaduct.Log
local Log = {}
---@param ... any joined by spaces
function Log.debug(...) end
---@param ... any
function Log.info(...) end
---@param ... any
function Log.warn(...) end
---@param ... any
function Log.error(...) end

---@class luaduct.Task
---@field operation string
---@field data? any plain values
---@field priority? "high"|"normal"|"low"
---@field timeoutMs? number

---@class luaduct.Workers
local Workers = {}
---Waits until a worker has done it.
---@param task luaduct.Task
---@return any result nil when it failed
---@return string? problem
---@return "task_failed"|"task_timeout"|"unknown_operation"|"overloaded"|nil code
function Workers.execute(task) end
---Makes an operation of a file that returns a function of one value. At the top of a script only.
---@param name string
---@param file string from the script folder
function Workers.register(name, file) end

---@alias luaduct.Plain boolean|number|string|table|userdata

---One dictionary for all reactors and workers.
---@class luaduct.Shared
local Shared = {}
---@param key string
---@return luaduct.Plain? value
function Shared.get(key) end
---@param key string
---@param value luaduct.Plain? nil deletes
---@param ttlMs? number
function Shared.set(key, value, ttlMs) end
---@param key string
---@param value luaduct.Plain
---@param ttlMs? number
---@return boolean added there was none
function Shared.add(key, value, ttlMs) end
---@param key string
---@param by? number 1
---@param initial? number 0
---@param ttlMs? number of a number that is new
---@return number sum
function Shared.incr(key, by, initial, ttlMs) end
---@param key string
---@param ttlMs number
---@return boolean found
function Shared.expire(key, ttlMs) end
---@param key string
---@return boolean found
function Shared.delete(key) end
---@param prefix? string
---@param limit? integer 1000
---@return string[]
function Shared.keys(prefix, limit) end

---@class luaduct.Timer
local Timer = {}
---@return boolean cancelled it would have run again
function Timer:cancel() end

---@class luaduct.PoolOptions
---@field create fun(): table
---@field reset? fun(object: table)
---@field maxSize? integer
---@field maxAgeMs? number
---@field name? string

---@class luaduct.Pool
local Pool = {}
---@return table
function Pool:acquire() end
---@param object table
function Pool:release(object) end
---@return {acquired: integer, released: integer, held: integer, available: integer, created: integer, destroyed: integer, hitRate: number, evicted: {lru: integer, ttl: integer, pressure: integer}}
function Pool:stats() end

---@class luaduct
---@field log luaduct.Log
---@field workers luaduct.Workers
---@field shared luaduct.Shared
---@field state table what the next version of the script finds: plain values
---@field null userdata JSON's null
luaduct = {}
---Waits in a hook; the bridge goes on meanwhile.
---@param ms number
function luaduct.sleep(ms) end
---@param ms number
---@param run fun(bridge: luaduct.Bridge)
---@return luaduct.Timer
function luaduct.after(ms, run) end
---@param ms number
---@param run fun(bridge: luaduct.Bridge)
---@return luaduct.Timer
function luaduct.every(ms, run) end
---Marks a table as a JSON array, which matters when it is empty.
---@param list? table
---@return table
function luaduct.array(list) end
---@param options luaduct.PoolOptions
---@return luaduct.Pool
function luaduct.pool(options) end
---Asks for a full collection.
---@return integer bytes that the state uses
function luaduct.gc() end

---@class luaduct.Decision
local Decision = {} -- luacheck: ignore

---@class luaduct.Selector
---@field role? string
---@field label? string
---@field intent? string
---@field tool? string
---@field id? string

---@class luaduct.Expiry
---@field expiresMs? number

---@class luaduct.AllSelector: luaduct.Selector, luaduct.Expiry

---@class luaduct.AnySelector: luaduct.Selector, luaduct.Expiry
---@field wait? boolean wait in the queue when all are full

---What a script sends itself; fields that are left out have their defaults.
---@class luaduct.Sending
---@field to? string|string[]
---@field intent? string
---@field payload? any
---@field taskId? string
---@field channel? string
---@field priority? string
---@field from? string
---@field context? any

---@class luaduct.Request: luaduct.Sending
---@field timeoutMs? number 10000
---@field retries? integer 0
---@field backoffMs? number 100

---@class luaduct.Gathering: luaduct.Sending
---@field requests? luaduct.Request[]
---@field count? integer how many replies are enough
---@field timeoutMs? number 10000

---@class luaduct.Agent
---@field id string
---@field role string
---@field labels string[]
---@field tools any[]
---@field intents string[]
---@field maxConcurrentTasks integer
---@field openTasks integer
---@field messageCount integer
---@field errorCount integer
---@field connectedAt string ISO 8601
---@field lastSeen string ISO 8601

---What `on_register` is given.
---@class luaduct.Registration
---@field id string
---@field role string
---@field labels string[]
---@field tools any[]
---@field intents string[]
---@field maxConcurrentTasks integer
---@field identity? string

---@class luaduct.Sender
---@field id string
---@field role string
---@field labels string[]
---@field identity? string

---@class luaduct.Envelope
---@field id string
---@field timestamp string|number
---@field intent string
---@field taskId? string
---@field channel string
---@field priority string
---@field from string
---@field role string
---@field to? string
---@field replyTo? string
---@field context any
---@field payload any decoded; a change counts when it is assigned
---@field tools any[]
---@field attachments any[]
---@field trace any
---@field sender? luaduct.Sender what the bridge knows; nil over HTTP without an identity

---@class luaduct.Bridge
local Bridge = {}
---@param ids string|string[]
---@param options? luaduct.Expiry
---@return luaduct.Decision
function Bridge.to(ids, options) end
---@param name string
---@param options? luaduct.Expiry
---@return luaduct.Decision
function Bridge.role(name, options) end
---@param name string
---@param options? luaduct.Expiry
---@return luaduct.Decision
function Bridge.label(name, options) end
---@param selector luaduct.AllSelector
---@return luaduct.Decision
function Bridge.all(selector) end
---@param selector luaduct.AnySelector
---@return luaduct.Decision
function Bridge.any(selector) end
---@param options? luaduct.Expiry
---@return luaduct.Decision
function Bridge.broadcast(options) end
---@param payload any
---@return luaduct.Decision
function Bridge.reply(payload) end
---@param reason string
---@param options? {tell: boolean}
---@return luaduct.Decision
function Bridge.drop(reason, options) end
---@param id string
---@return luaduct.Agent?
function Bridge.agent(id) end
---@param selector? luaduct.Selector
---@return luaduct.Agent[]
function Bridge.agents(selector) end

---In timers, on_register and on_disconnect: sends a new envelope.
---@param sending luaduct.Sending
---@return string id
function Bridge.send(sending) end
---Asks an agent and waits for its reply.
---@param request luaduct.Request
---@return table? reply the envelope
---@return string? problem
---@return "no_recipient"|"task_timeout"|"overloaded"|nil code
function Bridge.request(request) end
---Asks several and waits for their replies.
---@param gathering luaduct.Gathering
---@return table[] replies
---@return {to: string, index: integer, code: string?, text: string?}[] missing
function Bridge.gather(gathering) end

---A client certificate, as on_identify and authenticate are given it.
---@class luaduct.Certificate
---@field commonName? string
---@field uris string[]
---@field dns string[]
---@field fingerprint string SHA-256, hexadecimal
---@field expires string

---What `authenticate` is given.
---@class luaduct.Credentials
---@field token? string Bearer, or authToken
---@field address string of an IPv6 peer its /64
---@field path? string of the request; nil in a register message
---@field headers table<string, string> names in lower case, without authorization
---@field certificate? luaduct.Certificate

---Who somebody is.
---@class luaduct.Identity
---@field name string
---@field roles? string[]
---@field clientIds? string[] that it may take; * stands for any text
---@field agentRoles? string[] that it may register as
---@field labels? string[]
---@field limits? {messagesPerSecond: integer?, messageBurst: integer?, bytesPerSecond: integer?, connections: integer?}
---@field expires? string|number

---The table that a script returns.
---@class luaduct.Script
---@field route? fun(envelope: luaduct.Envelope, bridge: luaduct.Bridge): luaduct.Decision|luaduct.Decision[]|nil
---@field cache? ("to"|"intent"|"from"|"role"|"channel"|"priority"|"taskId"|"replyTo"|"sender")[] all that `route` decides by
---@field on_register? fun(agent: luaduct.Registration, bridge: luaduct.Bridge): boolean|luaduct.Registration|nil, string?
---@field on_undeliverable? fun(envelope: luaduct.Envelope, reason: "no_recipient"|"mailbox_full"|"evicted"|"expired"|"slow_agent", recipient: string?, bridge: luaduct.Bridge): luaduct.Decision|luaduct.Decision[]|nil
---@field on_disconnect? fun(agent: luaduct.Agent, reason: string, bridge: luaduct.Bridge)
---@field on_reload? fun(previous_version: integer, state: table)
---@field authenticate? fun(credentials: luaduct.Credentials): luaduct.Identity|false|nil, string?
---@field on_identify? fun(certificate: luaduct.Certificate): luaduct.Identity|false|nil, string?
