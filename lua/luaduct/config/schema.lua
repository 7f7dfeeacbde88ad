--- Every key of the config file, declared once: validation, the overrides, docs/config.md and config/luaduct.lua all
--- come from this list, in this order. The folder schema/ has the keys, a file for each group of sections.
--
-- path       dotted name; what stands before the last dot is a section
-- type       a kind of validate.lua
-- default    as a reader would write it; absent: the key may be left out
-- min, max   range of a number or a size;  zero: what 0 means beside that range;  auto: "auto" is a value too
-- choices    of a "choice"
-- variables  environment variables that override the key, the strongest first;  flag: of `luaduct run`, stronger still
-- secret     the value never stands in a message
-- live       a reload takes up a changed value; without it the change waits for a restart
-- feature    of a later version, by the name that a message gives it: the key is not available yet; its default is
--            fine, anything else stops the start
-- example    shown, commented out, in config/luaduct.lua where there is no default
-- help       one line

-- In the order of the reference page.
local GROUPS = { "bridge", "agents", "limits", "security", "engines", "operation" }

local keys, by_path = {}, {}
local sections = {} -- one line about each, for the reference page and the default file
for _, name in ipairs(GROUPS) do
    local group = require("luaduct.config.schema." .. name)
    for _, key in ipairs(group.keys) do
        key.available = key.feature == nil
        keys[#keys + 1] = key
        by_path[key.path] = key
    end
    for section, line in pairs(group.sections) do
        sections[section] = line
    end
end

-- Names that the bridge before this one knew; only the hint for an unknown key uses them.
local former_names = {
    enableObjectPooling = "phase2.objectPooling.enabled",
    enableWorkerPool = "phase2.workerPool.enabled",
    enableGCOptimization = "phase2.gcOptimization.enabled",
    memoryPressureThreshold = "phase2.gcOptimization.memoryThreshold",
    gcCooldownMs = "phase2.gcOptimization.cooldownMs",
    maxAge = "phase2.objectPooling.maxAgeMs",
}

return { keys = keys, by_path = by_path, sections = sections, former_names = former_names }
