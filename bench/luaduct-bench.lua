-- The bridge as `make bench` measures it: everything that a user gets by default (validation, routing in Lua, history),
-- one reactor so that it can be compared with servers of one thread, and no limit on requests.
return {
    mode = "enhanced",
    performance = { worker_threads = 1 },
    http = { rateMax = 0 },
    log = { level = "warn" },
}
