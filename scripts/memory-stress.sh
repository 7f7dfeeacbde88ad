#!/bin/bash
# Gigabytes in shapes that are hard on memory, while a quiet pair of agents talks: scripts/memory-stress.sh --help says how.
set -euo pipefail
exec "$(dirname "$0")/proof/start" memory_stress "$@"
