#!/bin/bash
# Has testssl.sh (Debian's package) look at a bridge that speaks TLS with its defaults, started for this on a free port,
# with a certificate as an operator brings it: one that says where its authority publishes what it revokes.
# scripts/tls-check.sh [JSON]: prints every finding that is not OK or for information; its answers go to the file JSON.
# Exit status: 0; 1 when a finding is above LOW, or the check could not run; 2 for wrong usage. Takes some minutes.
set -euo pipefail
[ $# -le 1 ] || {
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
}

luaduct=${LUADUCT_BIN:-$(dirname "$0")/../build/luaduct}
command -v testssl >/dev/null || {
    echo "tls-check: testssl is missing: scripts/setup bench installs it" >&2
    exit 1
}

folder=$(mktemp -d)
bridge=
finish() {
    if [ -n "$bridge" ]; then
        kill "$bridge" 2>/dev/null || true
        wait "$bridge" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' INT TERM

"$luaduct" cert dev "$folder" >/dev/null
# In the place of the one that `cert dev` made, whose authority publishes nothing.
cat >"$folder/extensions" <<END
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
authorityKeyIdentifier = keyid
crlDistributionPoints = URI:http://ca.example/revoked.crl
END
openssl req -new -key "$folder/server.key" -subj /CN=localhost -out "$folder/server.csr"
openssl x509 -req -in "$folder/server.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -sha256 \
    -days 90 -extfile "$folder/extensions" -out "$folder/server.pem" 2>"$folder/log" || {
    cat "$folder/log" >&2
    exit 1
}
"$luaduct" run --ws-port 0 --http-port 0 "$folder/bridge.lua" >"$folder/log" 2>&1 &
bridge=$!
port=
for _ in $(seq 200); do
    port=$(sed -n 's|^  HTTP  *https://[^ ]*:\([0-9]*\)$|\1|p' "$folder/log")
    [ -z "$port" ] && kill -0 "$bridge" 2>/dev/null || break
    sleep 0.05
done
[ -n "$port" ] || {
    echo "tls-check: the bridge did not start:" >&2
    cat "$folder/log" >&2
    exit 1
}

answers=${1:-$folder/answers.json}
rm -f "$answers"
# Its exit status counts findings of every kind; what it found is what is judged.
testssl --quiet --color 0 --nodns none --warnings batch --add-ca "$folder/ca.pem" --ip 127.0.0.1 --jsonfile "$answers" \
    "https://localhost:$port" >"$folder/report" 2>&1 </dev/null || true

# One finding a line: severity, id, what.
findings=$(tr -d '\n' <"$answers" | grep -o '{[^{}]*}' |
    sed -n 's/.*"id" *: *"\([^"]*\)".*"severity" *: *"\([^"]*\)".*"finding" *: *"\(.*\)" *}$/\2\t\1\t\3/p')
count=$(printf '%s\n' "$findings" | grep -c . || true)
# A check that stopped half-way has not found anything either.
if ! printf '%s\n' "$findings" | grep -q 'TLS1_2' || ! printf '%s\n' "$findings" | grep -q 'overall_grade\|RC4'; then
    echo "tls-check: testssl did not come to an end:" >&2
    tail -20 "$folder/report" >&2
    exit 1
fi
printf '%s\n' "$findings" | grep -vE '^(OK|INFO|DEBUG)' || true
bad=$(printf '%s\n' "$findings" | grep -cE '^(MEDIUM|HIGH|CRITICAL|FATAL)' || true)
echo "$count answers, $bad above LOW"
[ "$bad" -eq 0 ]
