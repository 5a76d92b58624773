#!/usr/bin/env bash
# Train on a SLURM cluster, a process a GPU: sbatch [options of sbatch] scripts/slurm_train.sh [options of nablafx fit]
#   sbatch --nodes 2 --gpus-per-node 4 --ntasks-per-node 4 scripts/slurm_train.sh \
#     -c cfg/data/ibanez-ts9.yaml -c cfg/model/tcn/45-s.yaml -c cfg/trainer/blackbox.yaml
# Call it in the checkout, which all nodes see. The run lies below $LOG_ROOT (logs), in slurm-JOB. SIGUSR1 before the end
# of the job's time puts it back into the queue, and from there it goes on where its last checkpoint is.
#SBATCH --job-name=nablafx
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out
set -euo pipefail
# SLURM runs a copy of this file from elsewhere
checkout="${SLURM_SUBMIT_DIR:-$(dirname -- "${BASH_SOURCE[0]}")/..}"
# shellcheck source=lib/environment.sh
source "$checkout/scripts/lib/environment.sh"
# shellcheck source=lib/experiment.sh
source "$root/scripts/lib/experiment.sh"

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage && exit; }
[[ $# -gt 0 ]] || misuse "it needs the configs of a run"
[[ -n "${SLURM_JOB_ID:-}" ]] || misuse "it is no job of SLURM; call it by sbatch"
set_up_environment ''

logs="${LOG_ROOT:-logs}/slurm-$SLURM_JOB_ID"
tasks="${SLURM_NTASKS_PER_NODE:-1}"
words=(--log_root "$logs" --trainer.devices "$tasks" --trainer.num_nodes "${SLURM_NNODES:-1}")
[[ "$tasks" == 1 && "${SLURM_NNODES:-1}" == 1 ]] || words+=(--trainer.strategy ddp)
# back from the queue: a job that did not get as far as a checkpoint begins anew
if [[ "${SLURM_RESTART_COUNT:-0}" -gt 0 && -n "$(find "$logs" -name '*.ckpt' -not -name '.*' -print -quit 2>/dev/null)" ]]; then
  words+=(--ckpt_path last)
fi
exec srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "$venv/bin/nablafx" fit "$@" "${words[@]}"
