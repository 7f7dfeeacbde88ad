#!/bin/bash
# Tasks for the worker threads, and whether messages wait for them: scripts/worker-test.sh --help says how.
set -euo pipefail
exec "$(dirname "$0")/proof/start" worker_test "$@"
