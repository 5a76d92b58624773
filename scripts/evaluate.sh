#!/usr/bin/env bash
# Test runs and render their test audio: scripts/evaluate.sh RUN… [-- options of nablafx test and predict]
#   scripts/evaluate.sh logs/ibanez-ts9/tcn-45-s/blackbox/version_0
# RUN is a folder with config.yaml and checkpoints/ in it, from where you are. The best checkpoint is used.
set -euo pipefail
caller="$PWD"
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
source "$root/scripts/lib/experiment.sh"

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage && exit; }
runs=()
while [[ $# -gt 0 && "$1" != -- ]]; do
  [[ "$1" == /* ]] && run="$1" || run="$caller/$1"
  [[ -f "$run/config.yaml" ]] || misuse "$1 is no run: there is no config.yaml in it"
  runs+=("$run")
  shift
done
[[ ${#runs[@]} -gt 0 ]] || misuse "it needs a run"
[[ $# -eq 0 ]] || shift

set_up_environment ''
for run in "${runs[@]}"; do
  for command in test predict; do
    echo "== nablafx $command, $run"
    "$venv/bin/nablafx" "$command" -c "$run/config.yaml" "$@"
  done
done
