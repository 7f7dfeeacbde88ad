-- What is measured. figure: the key of `luaduct bench --json` that servers are compared by. targets: the most that the
-- bridge may have of each peer's figure; limits: the most that it may have of its own.
local MiB = 1024 * 1024

return {
    {
        name = "direct",
        title = "direct, 1,000 agents, 256 B, window 16",
        arguments = "direct --agents 1000 --size 256 --window 16",
        figure = "serverCpuUsPerMessage",
        targets = { floor = 1.6, nats = 0.43, bun = 0.11, node = 0.04 },
        limits = { serverRss = 20 * MiB },
    },
    {
        name = "direct-window-1",
        title = "direct, 1,000 agents, 256 B, window 1",
        arguments = "direct --agents 1000 --size 256 --window 1",
        figure = "serverCpuUsPerMessage",
        targets = { floor = 1.1, nats = 0.37, bun = 0.65, node = 0.24 },
    },
    {
        name = "direct-16k",
        title = "direct, 100 agents, 16 KiB, window 4",
        arguments = "direct --agents 100 --size 16384 --window 4",
        figure = "serverCpuUsPerMessage",
        targets = { floor = 1.1, nats = 0.45, bun = 0.22, node = 0.07 },
    },
    {
        name = "broadcast",
        title = "broadcast to 200, 256 B, window 4",
        arguments = "broadcast --agents 200 --size 256 --window 4",
        figure = "serverCpuUsPerMessage",
        targets = { floor = 0.9, nats = 0.9, bun = 1.1, node = 0.2 },
    },
    {
        name = "open",
        title = "open loop, 40,000 messages/s, 1,000 agents, 256 B",
        arguments = "open --agents 1000 --size 256 --rate 40000",
        figure = "p99us",
        targets = { floor = 2, nats = 0.1, bun = 1, node = 0.05 },
    },
    {
        name = "idle",
        title = "idle, 10,000 agents",
        arguments = "idle --agents 10000",
        figure = "rssPerAgent",
        fresh = true, -- memory is only comparable from the same start: a new server for every round
        targets = {},
        limits = { rssPerAgent = 1024 },
    },
    {
        name = "churn",
        title = "churn, 16 agents, 256 B",
        arguments = "churn --agents 16 --size 256",
        figure = "serverCpuUsPerMessage",
        targets = {},
    },
}
