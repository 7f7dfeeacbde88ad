#!/bin/bash
# Shows the moderator at work: what is sent, and what arrives. The bridge must be running:
#   build/luaduct run examples/moderator/config.lua
# AI_BRIDGE_URL says where it is, when not at ws://127.0.0.1:4567.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
luaduct=${LUADUCT:-$here/../../build/luaduct}
export AI_BRIDGE_URL=${AI_BRIDGE_URL:-ws://127.0.0.1:4567} # for `send` too: either port answers both

# Made up, every one of them.
key=sk-proj-0123456789abcdef0123
pem="-----BEGIN PRIVATE KEY-----\\nMIIBVAIBADANBgkqhkiG9w0BAQ\\n-----END PRIVATE KEY-----"

send() {
    echo "sent      $1"
    "$luaduct" send --to auditor "$1" 2>&1 >/dev/null || true # shows a refusal, not the answer to what is taken
}

send '{"text":"The task list is done, write to ann@example.com."}'
send '{"text":"I called it with '"$key"' and got 401."}'
send '{"request":{"headers":[{"Authorization":"Basic YW5uOmxvdmU="},{"Accept":"*/*"}]}}'
send '{"log":"db_password=hunter2 retries=3"}'
send '{"file":"'"$pem"'"}'
send '{"n":1e400,"password":"hunter2"}' # a number that Lua cannot write back: not checked to the end, so dropped

# The auditor was not there, so its mailbox kept what came.
"$luaduct" agent auditor </dev/null | sed 's/.*"payload":\({.*}\),"tools":.*/arrived   \1/'
