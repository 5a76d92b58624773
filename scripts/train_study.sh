#!/usr/bin/env bash
# The published study, every model on every device:
#   scripts/train_study.sh list [PATTERN] [--seeds N]            the table, and how far each run is
#   scripts/train_study.sh run [PATTERN] [--seeds N] [-- OPTIONS]  train and test what is not done, and go on with what is begun
# PATTERN is part of a run's name, * stands for anything: 'ibanez-ts9/*lstm'. OPTIONS go to nablafx fit.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
source "$root/scripts/lib/experiment.sh"

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage && exit; }
[[ "${1:-list}" == list || "$1" == run ]] || misuse "there is no $1; it is list or run"
set_up_environment ''
exec "$venv/bin/python" scripts/study.py "${@:-list}"
