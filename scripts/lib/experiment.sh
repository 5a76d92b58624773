# Sourced by the scripts that train, after environment.sh: one experiment from the names of its configs.
# shellcheck shell=bash
# shellcheck disable=SC2154  # venv is set there

# The comment at the head of the script that was called.
usage() {
  sed -n '2,/^set -/s/^# \{0,1\}//p' -- "${BASH_SOURCE[-1]}" | grep -v '^set -'
}

misuse() {
  printf '%s: %s\n\n' "$(basename -- "$0")" "$1" >&2
  usage >&2
  exit 2
}

names_in() {
  (cd "cfg/$1" && find . -name '*.yaml' | sed 's#^\./##; s#\.yaml$##' | sort | paste -sd' ')
}

# choose KIND NAME: adds cfg/KIND/NAME.yaml to the array `configs`.
choose() {
  [[ -f "cfg/$1/$2.yaml" ]] || misuse "there is no cfg/$1/$2.yaml; there are: $(names_in "$1")"
  configs+=(-c "cfg/$1/$2.yaml")
}

# train DEVICE MODEL[+CONDITIONING…] [--published] [options of nablafx fit]
train() {
  local device="$1" model="$2" part parts trainer recipe=''
  shift 2
  if [[ "${1:-}" == --published ]]; then
    recipe=published-
    shift
  fi
  configs=()
  IFS=+ read -ra parts <<<"$model"
  choose data "$device"
  choose model "${parts[0]}"
  for part in "${parts[@]:1}"; do choose model/with "$part"; done
  case "$recipe$model" in
    published-*lstm/*+tvcond) trainer=tbptt-tvcond ;;
    *lstm/*) trainer=tbptt ;;
    *graybox/*) trainer=graybox ;;
    *) trainer=blackbox ;;
  esac
  choose trainer "$recipe$trainer"
  set_up_environment ''
  exec "$venv/bin/nablafx" fit "${configs[@]}" "$@"
}

has_knobs() {
  grep -q '^  controls:' "cfg/data/$1.yaml" 2>/dev/null
}
