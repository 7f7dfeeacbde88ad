-- No behaviour at all: what a script leaves open stays open. For specs of scripts (luaduct.test), which want to see
-- that; what the bridge does with such an envelope is the same as in the modes.
return {}
