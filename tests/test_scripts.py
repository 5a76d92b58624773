"""The shell scripts: what they install, what they say, and that the quickstart's way goes through."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

SCRIPTS = [*sorted((ROOT / "scripts").rglob("*.sh")), ROOT / ".ci" / "run"]
IN_QUICKSTART = [
    ROOT / "cfg" / name for name in ("data/demo-overdrive.yaml", "model/lstm/32.yaml", "trainer/quickstart.yaml")
]


def bash(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {key: value for key, value in os.environ.items() if key not in ("NABLAFX_VENV", "LOG_ROOT")}
    return subprocess.run(
        ["bash", *words], env={**bare, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A virtual environment of stubs; what its Python is asked to do is written to its file `asked`."""
    stub = f'#!/bin/sh\necho "$@" >>"{tmp_path}/venv/asked"\n[ "$1" != - ]\n'
    for name in ("python", "nablafx"):
        path = tmp_path / "venv" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stub)
        path.chmod(0o755)
    return tmp_path / "venv"


def set_up(venv: Path, *extra: str) -> str:
    """Run the set-up of the scripts; returns the line of pip that it needed, or nothing."""
    (venv / "asked").write_text("")
    words = ' && set_up_environment "$@"'
    done = bash("-ec", f"source {ROOT}/scripts/lib/environment.sh{words}", "scripts", *extra, NABLAFX_VENV=str(venv))
    assert done.returncode == 0, done.stderr
    return "".join(line for line in (venv / "asked").read_text().splitlines() if "pip install" in line)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax(script):
    done = bash("-n", str(script))
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script):
    # -x: follow what is sourced
    done = subprocess.run(
        ["shellcheck", "-x", "-P", "SCRIPTDIR", str(script)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", ["scripts/test.sh", "scripts/quickstart.sh", ".ci/run"])
def test_can_be_called(script):
    assert os.access(ROOT / script, os.X_OK)


def test_installs_once(venv):
    assert "-e .[dev]" in set_up(venv, "dev")
    assert set_up(venv, "dev") == ""


def test_the_extra_includes_the_plain_package(venv):
    set_up(venv, "dev")
    assert set_up(venv) == ""


def test_the_plain_package_does_not_include_the_extra(venv):
    assert set_up(venv).endswith("-e .")
    assert set_up(venv) == ""
    assert "-e .[dev]" in set_up(venv, "dev")


def test_installs_again_when_the_dependencies_change(venv):
    set_up(venv, "dev")
    stamp = venv / "nablafx-dev.stamp"
    stamp.write_text(stamp.read_text().replace("torch>=", "torch>"))
    assert "-e .[dev]" in set_up(venv, "dev")


def test_an_environment_of_another_checkout_is_installed_into(venv):
    set_up(venv)
    stamp = venv / "nablafx.stamp"
    stamp.write_text(f"/elsewhere{stamp.read_text()}")
    assert set_up(venv).endswith("-e .")


def test_this_environment_needs_no_plain_install():
    """Also without a stamp: the tests run in an environment that has this checkout."""
    done = bash("-ec", f"source {ROOT}/scripts/lib/environment.sh && is_installed ''", NABLAFX_VENV=sys.prefix)
    assert done.returncode == 0, done.stderr


def test_no_python_is_said(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "cat", "dirname", "basename"):
        (tools / tool).symlink_to(shutil.which(tool))
    done = bash(str(ROOT / "scripts/test.sh"), PATH=str(tools), NABLAFX_VENV=str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "test.sh: found no Python 3.10 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_broken_environment_is_said(tmp_path):
    done = bash(str(ROOT / "scripts/quickstart.sh"), NABLAFX_VENV=str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path} is no working virtual environment; remove it" in done.stderr


@pytest.mark.slow  # three starts of the command line, and two tests of whole files
def test_quickstart(tmp_path):
    missing = [str(path.relative_to(ROOT)) for path in IN_QUICKSTART if not path.exists()]
    assert not missing, f"the quickstart needs {', '.join(missing)}"
    words = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]
    done = subprocess.run(
        [ROOT / "scripts" / "quickstart.sh", *words],
        cwd=tmp_path,  # it runs from anywhere
        env={**os.environ, "NABLAFX_VENV": sys.prefix, "LOG_ROOT": str(tmp_path / "logs"), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Installing" not in done.stdout
    lines = done.stdout.splitlines()
    told = dict(line.split("  ", 1) for line in lines if "  " in line)
    places = [Path(told[name].strip()) for name in ("Rendered audio", "Metrics", "Picture")]
    # its last line opens the page
    places.append(Path(lines[-1].removeprefix("Open file://")))
    assert all(place.is_file() and tmp_path in place.parents for place in places)
    assert places[-1].suffix == ".html"
    assert 0 < float(told["ESR on the test"]) < 4
