#!/bin/bash
# Load, churn, reloads and attacks for half an hour: scripts/soak.sh --help says how.
set -euo pipefail
exec "$(dirname "$0")/proof/start" soak "$@"
