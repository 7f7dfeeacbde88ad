#!/bin/bash
# Shows the router at work: one boss, four workers, seven tasks. The bridge must be running:
#   build/luaduct run examples/skill-router/config.lua
# AI_BRIDGE_URL says where it is, when not at ws://127.0.0.1:4567.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
luaduct=${LUADUCT:-$here/../../build/luaduct}

folder=$(mktemp -d)
workers=()
clean() {
    # Both ends of each pipeline: an agent comes first, its worker last.
    kill $(jobs -p) "${workers[@]}" 2>/dev/null || true
    wait || true
    rm -rf "$folder"
}
trap clean EXIT

# worker NAME SKILL…: an agent whose lines in and out are worker.lua's.
worker() {
    local name=$1 skill labels=()
    shift
    for skill in "$@"; do labels+=(--label "$skill"); done
    mkfifo "$folder/$name"
    "$luaduct" agent "$name" --role worker "${labels[@]}" --intent task.complete <"$folder/$name" |
        luajit "$here/worker.lua" "$name" boss >"$folder/$name" &
    workers+=($!)
}

# The payload of the next envelope to the boss.
next() {
    local line
    if ! read -r -t 10 -u 4 line; then
        cat "$folder/refused" >&2
        echo "no answer came: is the bridge running?" >&2
        exit 1
    fi
    sed 's/.*"payload":\({.*}\),"tools":.*/\1/' <<<"$line"
}

# The boss: what is written to 3 is sent, what comes for it can be read from 4.
mkfifo "$folder/tasks" "$folder/results"
"$luaduct" agent boss --intent task.assign <"$folder/tasks" >"$folder/results" 2>"$folder/refused" &
exec 3>"$folder/tasks" 4<"$folder/results"

worker ben count
worker cleo count
worker dora shout
for _ in 1 2 3; do next >>"$folder/ready"; done
echo "Ready:"
sort "$folder/ready"

cat >&3 <<'TASKS'
{"taskId":"t0","skill":"translate","text":"thank you","wait":false}
{"taskId":"t1","skill":"count","text":"one two three"}
{"taskId":"t2","skill":"count","text":"four"}
{"taskId":"t3","skill":"shout","text":"not so loud"}
{"taskId":"t4","skill":"count","text":"five six"}
{"taskId":"t5","skill":"count","text":"seven eight nine ten"}
{"taskId":"t6","skill":"translate","text":"good morning"}
TASKS
for _ in 1 2 3 4 5; do next >>"$folder/done"; done
echo "Refused, for nobody translates and the task would not wait:"
cat "$folder/refused"
echo "Done by whoever was free:"
sed 's/,"by":.*/}/' "$folder/done" | sort
echo "They were:"
sed 's/.*"by":"\(.*\)"}/\1/' "$folder/done" | sort -u

echo "A translator joins and finds what waited:"
worker waiting.translate translate
next
next
