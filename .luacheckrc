-- luacheck's settings. LuaJIT is the only Lua here.
std = "luajit"
max_line_length = 120
exclude_files = {"build", "**/node_modules"}

-- Tests run in busted.
files["tests/**/*_spec.lua"] = {std = "luajit+busted"}

-- What a routing script may use: see docs/lua-api.md.
files["config/policies"] = {read_globals = {"luaduct"}}
files["config/policies/access.lua"] = {read_globals = {"allow", "deny"}}
files["examples"] = {
    read_globals = {luaduct = {other_fields = true, fields = {state = {read_only = false, other_fields = true}}}},
}
files["examples/**/*_spec.lua"] = {std = "luajit+busted"}
files["lua/luaduct/bridge"] = {read_globals = {"luaduct"}}

-- Annotations for editors: functions without bodies.
files["lua/luaduct/meta.lua"] = {globals = {"luaduct"}, ignore = {"212", "241", "631"}}
