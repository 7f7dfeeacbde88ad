-- A moderator: secrets that agents put into envelopes by accident do not leave the bridge. What looks like one is
-- replaced by "[redacted]" in every part that agents fill freely, before anybody gets the envelope and before it enters
-- the history.
--
-- It fails closed. The config beside this file says script.onError = "drop": an envelope that this script could not
-- look through to its end (it raised an error, or ran out of time or memory) goes nowhere, and its sender is told.
--
-- It catches accidents. Who wants to leak a secret can spell it backwards, and no list of patterns will notice.

local REDACTED = "[redacted]"

-- The parts of an envelope that hold any JSON. An envelope without a find goes out byte for byte as it came, because
-- only what is assigned back is written anew.
local PARTS = {"payload", "context", "attachments", "tools", "trace"}

-- Names whose value is a secret, whatever it looks like: as a key ("db_password": …) and in a text (password=…).
-- Compared in lower case and without "_", "-" and "."; a name that ends like one of these counts as well. E-mail
-- addresses are not here: agents need them to do their work. To hide them too, add a line to RULES.
local SECRET_NAMES = {
    "password", "passwd", "passphrase", "secret", "secretkey", "apikey", "accesskey", "privatekey", "accesstoken",
    "authtoken", "refreshtoken", "sessiontoken", "authorization", "credential", "credentials",
}
local SHORT_NAMES = {token = true, pwd = true} -- too common as the end of other words

local function is_secret_name(name)
    local plain = name:lower():gsub("[_.-]", "")
    if SHORT_NAMES[plain] then
        return true
    end
    for _, ending in ipairs(SECRET_NAMES) do
        if plain:sub(-#ending) == ending then
            return true
        end
    end
    return false
end

-- Random letters nearly always have a digit among them; names and words of prose do not.
local function looks_random(text, length)
    return #text >= length and text:find("%d") ~= nil
end

local function key_with_prefix(prefix, length)
    return {
        hint = prefix,
        -- %f[…] is a frontier: the match starts where a word starts, so "task-list" has no "sk-" in it. It also keeps
        -- a long word from being tried again at each of its letters.
        pattern = "%f[%w_]" .. prefix:gsub("%p", "%%%0") .. "[%w_-]+",
        replace = function(key)
            return looks_random(key, length) and REDACTED or nil
        end,
    }
end

local KEY_BEGIN = "%-%-%-%-%-BEGIN [%u%d ]*PRIVATE KEY%-%-%-%-%-"
local KEY_END = "%-%-%-%-%-END [%u%d ]*PRIVATE KEY%-%-%-%-%-"

-- Applied in this order. `hint` is text that must be there for the pattern to have a chance: looking for it is far
-- quicker than trying the pattern, and most texts have none. A replacement that gives nil leaves the text as it is.
local RULES = {
    {hint = "PRIVATE KEY", pattern = KEY_BEGIN .. ".-" .. KEY_END},
    {hint = "PRIVATE KEY", pattern = KEY_BEGIN .. ".*"}, -- cut off before its end
    {hint = "uthorization", pattern = "(%f[%w][Aa]uthorization[\"']?%s*[:=]%s*)[^\r\n]+", replace = "%1" .. REDACTED},
    {
        hint = "earer",
        pattern = "(%f[%w][Bb]earer%s+)([%w._~+/-]+=*)",
        replace = function(head, token)
            return looks_random(token, 16) and head .. REDACTED or nil
        end,
    },
    key_with_prefix("sk-", 20), -- OpenAI, Anthropic and others
    key_with_prefix("sk_live_", 20), -- Stripe
    key_with_prefix("AKIA", 20), -- AWS
    key_with_prefix("AIza", 35), -- Google
    key_with_prefix("ghp_", 30), key_with_prefix("gho_", 30), key_with_prefix("ghs_", 30), -- GitHub
    key_with_prefix("github_pat_", 30),
    key_with_prefix("glpat-", 20), -- GitLab
    key_with_prefix("xoxb-", 20), key_with_prefix("xoxp-", 20), -- Slack
    {hint = "eyJ", pattern = "%f[%w]eyJ[%w_-]+%.[%w_-]+%.[%w_-]*"}, -- JSON Web Tokens
    {hint = "://", pattern = "(%f[%w]%a[%w+.-]*://[^%s/:@]*:)[^%s/@]+@", replace = "%1" .. REDACTED .. "@"},
}

-- password=…, "api_key": "…", SECRET: '…' inside a text. What has no secret's name is left alone, and so is its value's
-- beginning: the "https:" of a link is followed by more, perhaps by ?password=….
local ASSIGNMENT = "%f[%w_]([%w_.-]+)\\*[\"']?%s*[:=]%s*\\*"

local function redact_assignments(text)
    local parts, copied, at = {}, 1, 1
    while true do
        local _, last, name = text:find(ASSIGNMENT, at)
        if not last then
            break
        end
        at = last + 1
        if is_secret_name(name) then
            local quote = text:match("^[\"']", at)
            local first = quote and at + 1 or at
            local behind = text:find(quote and "\\*" .. quote or "[%s\"',;&\\]", first) or #text + 1
            if behind > first then
                parts[#parts + 1] = text:sub(copied, first - 1) .. REDACTED
                copied, at = behind, behind
            end
        end
    end
    return #parts > 0 and table.concat(parts) .. text:sub(copied) or text
end

local function redact_text(text)
    for _, rule in ipairs(RULES) do
        if text:find(rule.hint, 1, true) then
            text = text:gsub(rule.pattern, rule.replace or REDACTED)
        end
    end
    if text:find("=", 1, true) or text:find(":", 1, true) then
        text = redact_assignments(text)
    end
    return text
end

-- Gives the value without secrets, and whether there were any. Tables are changed in place.
local function redact(value)
    if type(value) == "string" then
        local clean = redact_text(value)
        return clean, clean ~= value
    elseif type(value) ~= "table" then
        return value, false
    end
    local found, renamed = false, nil
    for key, inner in pairs(value) do
        local clean, changed
        if type(key) == "string" and is_secret_name(key) then
            clean, changed = REDACTED, inner ~= REDACTED
        else
            clean, changed = redact(inner)
        end
        if changed then
            value[key] = clean
            found = true
        end
        if type(key) == "string" and redact_text(key) ~= key then
            renamed = renamed or {}
            renamed[#renamed + 1] = key
        end
    end
    for _, key in ipairs(renamed or {}) do -- not above: a table must not get new keys while pairs walks it
        value[redact_text(key)], value[key] = value[key], nil
        found = true
    end
    return value, found
end

local hooks = {}

function hooks.route(envelope)
    for _, part in ipairs(PARTS) do
        local value, found = redact(envelope[part])
        if found then
            envelope[part] = value
            -- Who and where, never what: the log is read by more people than the envelope.
            luaduct.log.info(("redacted %s of %s from %s"):format(part, envelope.id, envelope.from))
        end
    end
    return nil -- whom it goes to is for the next script in the list, or for the bridge's own rule
end

return hooks
