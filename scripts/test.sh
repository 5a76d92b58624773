#!/usr/bin/env bash
# Set up the environment where needed, and run the tests: scripts/test.sh [arguments of pytest]
#   scripts/test.sh tests/data -k split       a part
#   scripts/test.sh -m slow                   what the default suite leaves out
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
set_up_environment dev

workers="$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)"
# a worker is a process with one thread: torch would take all cores in each
export OMP_NUM_THREADS=1
# tests of a group share what is dear to make
exec "$venv/bin/python" -m pytest -n "$((workers < 4 ? workers : 4))" --dist loadgroup "$@"
