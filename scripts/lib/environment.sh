# Sourced by the scripts, which it moves to the top of the checkout ($root).
# `set_up_environment EXTRA` (or '') gives them the virtual environment $venv with nablafx and that extra in it.
# NABLAFX_VENV names another place for it than .venv. Nothing is installed that is there already.
# shellcheck shell=bash

root="$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." >/dev/null && pwd)"
venv="${NABLAFX_VENV:-$root/.venv}"
[[ "$venv" == /* ]] || venv="$PWD/$venv"
cd "$root" || exit

fail() {
  printf '%s: %s\n' "$(basename -- "$0")" "$1" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in python3.11 python3 python3.12 python3.13 python3.10; do
    # run, not looked up: a version manager's stub may stand where there is no such Python
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  fail "found no Python 3.10 or newer (python3.11 is what is tested); install one, or name a virtual environment in NABLAFX_VENV"
}

make_venv() {
  if [[ -e "$venv" ]]; then
    "$venv/bin/python" -c '' 2>/dev/null ||
      fail "$venv is no working virtual environment; remove it, or name another one in NABLAFX_VENV"
    return
  fi
  local python
  python="$(find_python)"
  echo "Making a virtual environment in $venv"
  if ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    fail "$python cannot make virtual environments; on Debian and Ubuntu the package python3-venv lets it"
  fi
}

# A stamp is what was installed: the checkout's place and its pyproject.toml.
stamp_text() {
  printf '%s\n' "$root"
  cat pyproject.toml
}

is_installed() {
  local extra="$1" stamp stamps=("$venv/nablafx-dev.stamp")
  [[ -x "$venv/bin/nablafx" ]] || return 1
  [[ -n "$extra" ]] || stamps+=("$venv/nablafx.stamp")
  for stamp in "${stamps[@]}"; do
    if [[ -e "$stamp" ]]; then
      [[ "$(<"$stamp")" == "$(stamp_text)" ]]
      return
    fi
  done
  # without a stamp: somebody installed this checkout by hand
  [[ -z "$extra" ]] && (cd / && "$venv/bin/python" - "$root") 2>/dev/null <<'PYTHON'
import pathlib, sys
import nablafx
sys.exit(pathlib.Path(nablafx.__file__).resolve().parents[1] != pathlib.Path(sys.argv[1]))
PYTHON
}

set_up_environment() {
  local extra="$1"
  make_venv
  is_installed "$extra" && return
  echo "Installing nablafx into $venv (minutes, the first time)"
  "$venv/bin/python" -m pip install -qq --disable-pip-version-check -e ".${extra:+[$extra]}" ||
    fail "pip could not install nablafx into $venv; its message is above"
  stamp_text >"$venv/nablafx${extra:+-$extra}.stamp"
}
