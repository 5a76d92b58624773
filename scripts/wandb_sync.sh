#!/usr/bin/env bash
# Send offline W&B runs to their account: scripts/wandb_sync.sh [--dry-run] [FOLDER…]
#   scripts/wandb_sync.sh logs/ibanez-ts9
# They are looked for below the folders, or below $LOG_ROOT (logs). What is sent already is left out.
set -euo pipefail
caller="$PWD"
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
source "$root/scripts/lib/experiment.sh"

dry_run=false folders=()
for word in "$@"; do
  case "$word" in
    -h | --help) usage && exit ;;
    --dry-run) dry_run=true ;;
    -*) misuse "there is no option $word" ;;
    /*) folders+=("$word") ;;
    *) folders+=("$caller/$word") ;;
  esac
done
if [[ -f .env ]]; then
  # as nablafx does: what the shell has goes first
  LOG_ROOT="${LOG_ROOT:-$(sed -n 's/^LOG_ROOT=//p' .env | tail -1)}"
  key="$(sed -n 's/^WANDB_API_KEY=//p' .env | tail -1)"
  [[ -n "${WANDB_API_KEY:-}" || -z "$key" ]] || export WANDB_API_KEY="$key"
fi
[[ ${#folders[@]} -gt 0 ]] || folders=("${LOG_ROOT:-logs}")
for folder in "${folders[@]}"; do [[ -d "$folder" ]] || fail "there is no folder $folder; name one that holds runs"; done

waiting=()
while IFS= read -r run; do
  compgen -G "$run/*.synced" >/dev/null || waiting+=("$run")
done < <(find "${folders[@]}" -type d -name 'offline-run-*' | sort)
echo "${#waiting[@]} offline runs to send"
[[ ${#waiting[@]} -gt 0 ]] || exit 0
$dry_run && printf '%s\n' "${waiting[@]}" && exit 0

set_up_environment ''
[[ -x "$venv/bin/wandb" ]] || fail "$venv has no wandb; $venv/bin/pip install -e '.[wandb]' brings it"
failed=()
for run in "${waiting[@]}"; do
  "$venv/bin/wandb" sync "$run" || failed+=("$run")
done
[[ ${#failed[@]} -eq 0 ]] || fail "${#failed[@]} of ${#waiting[@]} could not be sent: ${failed[*]}"
