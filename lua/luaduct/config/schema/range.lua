--- The widest ranges of keys.

return {
    MAX_MS = 2147483647, -- what a 32-bit timer of the clients can hold: 24 days
    MAX_COUNT = 1000000000,
    MAX_SIZE = "64TiB", -- far above any machine, and sums of it stay exact in a Lua number
}
