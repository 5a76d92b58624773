#!/usr/bin/env bash
# Train a network on a device: scripts/train_blackbox.sh DEVICE NET[+CONDITIONING] [options of nablafx fit]
#   scripts/train_blackbox.sh ibanez-ts9 tcn/45-s
#   scripts/train_blackbox.sh klon-centaur s4/l+tfilm --published -c cfg/loss/l1-0.5-mrstft-0.5.yaml
# DEVICE is a file of cfg/data/, NET one of cfg/model/, CONDITIONING one of cfg/model/with/. An LSTM is trained truncated.
# --published as the third word: by the published recipe, whose loss is one of cfg/loss/ (-c).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
source "$root/scripts/lib/experiment.sh"

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage && exit; }
[[ $# -ge 2 ]] || misuse "it needs a device and a net"
[[ "$2" != graybox/* ]] || misuse "$2 is a chain; train it with train_graybox.sh"
train "$@"
