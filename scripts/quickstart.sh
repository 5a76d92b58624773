#!/usr/bin/env bash
# Train an LSTM on the overdrive recordings in demo/, test it on audio that it has not heard, and render that.
# Arguments go to all three commands: scripts/quickstart.sh --trainer.max_epochs 1
# Results lie in a new folder below $LOG_ROOT (default: logs).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
set_up_environment ''

logs="${LOG_ROOT:-logs}/quickstart-$(date +%Y%m%d-%H%M%S)"
mkdir -p "${LOG_ROOT:-logs}"
mkdir "$logs"
# the demo lies in the checkout, wherever the user's own data are
export DATA_ROOT="$root"
# an LSTM this small gains little from a second thread, and loses much where another program wants the core
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

for command in fit test predict; do
  echo "== nablafx $command"
  "$venv/bin/nablafx" "$command" -c cfg/data/demo-overdrive.yaml -c cfg/model/lstm/32.yaml \
    -c cfg/trainer/quickstart.yaml "$@" --log_root "$logs"
done

metrics="$(find "$logs" -name metrics.csv)"
run="$(dirname -- "$metrics")"
echo
echo "The run is in    $run"
find "$run/predictions" -name '*.wav' | sed 's/^/Rendered audio   /'
echo "Metrics          $metrics"
find "$run/test" -name '*.png' | sed 's/^/Picture          /'
"$venv/bin/python" - "$metrics" <<'PYTHON'
import csv, sys
with open(sys.argv[1], newline="") as file:
    print(f"ESR on the test  {float(list(csv.DictReader(file))[-1]['esr']):.4f}")
PYTHON
echo
# its last line is the address of the page
"$venv/bin/nablafx" report "$run"
