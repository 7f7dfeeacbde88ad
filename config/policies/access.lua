-- Access rules: who may send what to whom, see what, and administer. To use them, say in the config:
-- policies = { access = "policies/access.lua" }, or name a file of your own of this form. `luaduct check` reads it.
--
-- allow{…} and deny{…} each make a rule; the first one that is about somebody and what he wants decides. What no rule
-- decides is allowed to the shared token, to identities with the role admin, and where no credential is configured; to
-- everybody else it is not (in the mode original it is). The file runs once, when it is loaded: it may use loops and
-- variables, but rules cannot ask Lua about a message. For that there is `route`, which sees envelope.sender.identity.
--
-- Who (all that is given must fit; a text or a list of texts, in which * stands for any text):
--   kind       "shared", "token", "jwt", "certificate", "hook", "socket", or "nobody" (no credential is configured)
--   name       of the identity, such as the name of a token
--   role       one that its credential gives it        label      the same
--   agent      the clientId that it registered with    agentRole  the role that it registered as
--              (over HTTP: those of the agent that `from` names)
-- What:
--   send       intents of envelopes that name a recipient, true for any; with `to`: to these ids only
--   broadcast  intents of envelopes that name none
--   see        "agents", "history", "tasks", "status", "events", or "*"
--   admin      true: /admin/…, /workers/execute, the events of administrators, any `from` over HTTP

-- Without this file these two hold.
allow { role = "agent", send = "*", broadcast = "*" }
allow { role = "reader", see = "*" }

-- Planners give tasks to workers and may tell everybody about them; workers answer them, and nobody else.
allow { role = "planner", send = "task.*", to = "worker-*", broadcast = "task.*", see = { "agents", "tasks" } }
allow { role = "worker", send = { "task.complete", "task.failed", "task.progress" }, to = "planner-*" }

-- Only planners may have the bridge's workers compute; the envelope with this intent goes to `bridge`.
allow { role = "planner", send = "bridge.execute", to = "bridge" }

-- Whoever scrapes figures sees those.
allow { role = "monitor", see = { "status", "events" } }

-- The shared token may do what it likes but flood everybody.
deny { kind = "shared", broadcast = "*" }
