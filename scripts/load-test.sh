#!/bin/bash
# Messages at a steady rate between many agents, for as long as it is asked for: scripts/load-test.sh --help says how.
set -euo pipefail
exec "$(dirname "$0")/proof/start" load_test "$@"
