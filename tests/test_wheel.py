"""The wheel carries all that the main job needs: installed where nothing else is, it runs from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from .conftest import ROOT

SOURCES = (".py", ".json", ".html", ".css", ".js", ".txt")
CARRIED = ("nablafx", "cfg", "weights", "demo")
JOB = ["-c", "data/demo-overdrive.yaml", "-c", "model/lstm/32.yaml", "-c", "trainer/quickstart.yaml"]
SHORT = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
# one process for all: importing torch and Lightning takes longer than the rest
SCRIPT = f"""
import pathlib, sys
import nablafx
from nablafx.cli import main
assert pathlib.Path(nablafx.__file__).is_relative_to(sys.prefix), nablafx.__file__
job, short = {JOB!r}, {SHORT!r}
assert main(["configs", "overdrive"]) == 0
assert main(["demo-data", "demo"]) == 0
assert main(["fit", *job, *short, "--media.log_media_every_n_steps", "0"]) == 0
assert main(["test", *job]) == 0
from nablafx.processors import StaticMLPNonlinearity
StaticMLPNonlinearity(pretrained="weights/tanh-32.safetensors")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of what git would hand out of the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in CARRIED:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source / name)
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_package_and_what_comes_with_it(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "nablafx").rglob("*") if path.suffix in SOURCES}
    beside = {
        f"nablafx/shipped/{path.relative_to(ROOT)}"
        for folder in ("cfg", "weights", "demo")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert held == code | beside | {"nablafx/py.typed"}


def take_what_is_compiled(packages: Path) -> None:
    """The loops that the checkout has compiled: to do it again for another place takes longer than the main job."""
    for path in (ROOT / "nablafx" / "kernels").rglob("*.py"):
        placed = packages / path.relative_to(ROOT)
        # numba knows a source by its size and time
        shutil.copystat(path, placed)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.nb?"):
            (placed.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy(compiled, placed.parent / "__pycache__")


def test_the_main_job_runs_from_an_empty_folder(wheel, tmp_path):
    """In an environment with the wheel, and the dependencies of the one that runs the tests."""
    environment, folder = tmp_path / "venv", tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    paths = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", vars=paths))
    zipfile.ZipFile(wheel).extractall(packages)
    take_what_is_compiled(packages)
    # a .pth there is not read, so that the checkout, which is installed by one, is not found
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    folder.mkdir()
    bare = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DATA_ROOT", "LOG_ROOT")}
    done = subprocess.run(
        [environment / "bin" / "python", "-c", SCRIPT], cwd=folder, env=bare, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "logs/demo-overdrive/lstm-32/quickstart/version_0/metrics.csv").is_file()


@pytest.mark.slow  # installs all dependencies
@pytest.mark.timeout(1800)
def test_pip_installs_it_and_the_console_script_does_the_main_job(wheel, tmp_path):
    environment, folder = tmp_path / "venv", tmp_path / "empty"
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin" / "pip", "install", "-q", wheel], check=True)
    command = environment / "bin" / "nablafx"
    run = {"cwd": folder, "check": True, "stdin": subprocess.DEVNULL}
    subprocess.run([command, "demo-data", "demo"], **run)
    for name in ("fit", "test", "predict"):
        subprocess.run([command, name, *JOB, "--trainer.max_epochs", "2"], **run)
    assert list(folder.rglob("predictions/*.wav"))
