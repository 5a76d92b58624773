#!/usr/bin/env bash
# Train a model of a device with its knobs: scripts/train_parametric.sh DEVICE MODEL [options of nablafx fit]
#   scripts/train_parametric.sh multidrive-f-fuzz tcn/45-l+tvfilm
#   scripts/train_parametric.sh multidrive-f-fuzz lstm/96+tvcond
#   scripts/train_parametric.sh marshall-jvm410h-od1 graybox/dist-rnl-cond
# DEVICE is a file of cfg/data/ that names controls, MODEL a net with a conditioning, or a chain that ends in -cond.
# --published as the third word: by the published recipe, whose loss is one of cfg/loss/ (-c).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
source "$root/scripts/lib/experiment.sh"

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage && exit; }
[[ $# -ge 2 ]] || misuse "it needs a device and a model"
[[ ! -f "cfg/data/$1.yaml" ]] || has_knobs "$1" || misuse "cfg/data/$1.yaml names no controls; give a device with knobs"
[[ "$2" == *+* || "$2" == *-cond ]] || misuse "$2 hears no knobs; add a conditioning ($2+film), or take a chain with -cond"
train "$@"
