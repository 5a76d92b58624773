#!/usr/bin/env bash
# Train a chain of processors on a device: scripts/train_graybox.sh DEVICE CHAIN [options of nablafx fit]
#   scripts/train_graybox.sh ampeg-optocomp comp
#   scripts/train_graybox.sh ibanez-ts9 dist-rnl-inv --seed_everything 43
# DEVICE is a file of cfg/data/, CHAIN one of cfg/model/graybox/.
# --published as the third word: by the published recipe, whose loss is one of cfg/loss/ (-c).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
source "$root/scripts/lib/experiment.sh"

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage && exit; }
[[ $# -ge 2 ]] || misuse "it needs a device and a chain"
[[ "$2" != *-cond ]] || misuse "$2 is steered by knobs; train it with train_parametric.sh"
device="$1" chain="${2#graybox/}"
shift 2
train "$device" "graybox/$chain" "$@"
