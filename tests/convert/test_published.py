"""Checkpoints of the published framework sound here as they did there: recorded, and made anew in an environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from nablafx.convert.configs import Conversion
from nablafx.convert.weights import chain_weights, net_weights
from nablafx.effects import Effect
from nablafx.training.build import build
from tests.cli import nablafx
from tests.conftest import ROOT
from tests.published.cases import CASES, NUM_CONTROLS

PUBLISHED = ROOT / "tests" / "published"
# what of the published framework runs beside a current torch; the rest is stood in for in record.py
PACKAGES = ["torch==2.13.0", "lightning>=2.6.4,<3", "auraloss==0.4.0", "torchmetrics", "scipy", "einops", "natsort"]
WITHOUT_DEPENDENCIES = ["nablafx==1.0.0", "rational-activations==0.2.0"]


@pytest.fixture(scope="module")
def recorded():
    with np.load(PUBLISHED / "recorded.npz") as content:
        yield {name: torch.from_numpy(content[name]) for name in content}


def converted(case: str, state: dict[str, torch.Tensor]) -> Effect:
    conversion = Conversion({"model": CASES[case]}, exact=True)
    effect = build(conversion.config["model"]["effect"], conversion.num_controls).eval()
    if conversion.chain is None:
        effect.load_state_dict(net_weights(effect, *conversion.net, state))
    else:
        effect.load_state_dict(chain_weights(effect, conversion.chain, state))
    return effect


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_model_sounds_as_it_did(case, recorded):
    state = {key.partition("/")[2]: value for key, value in recorded.items() if key.startswith(f"{case}/model.")}
    effect = converted(case, state)
    controls = recorded["controls"] if effect.num_controls else None
    with torch.no_grad():
        y, _ = effect(recorded["x"], controls)
    torch.testing.assert_close(y, recorded[f"{case}/y"], rtol=0, atol=1e-6)


def environment(folder: Path) -> Path:
    """Python of an environment that has the published framework."""
    given = os.environ.get("NABLAFX_PUBLISHED_PYTHON")
    if given:
        return Path(given)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *PACKAGES, "matplotlib", "soundfile"], check=True)
    subprocess.run([*pip, "--no-deps", *WITHOUT_DEPENDENCIES], check=True)
    return python


@pytest.mark.slow  # installs the published framework
@pytest.mark.timeout(1800)
def test_checkpoints_of_the_published_framework_render_as_there(tmp_path):
    """Through the command line: convert what its trainer saved, render a file, and compare with what it rendered."""
    python = environment(tmp_path / "environment")
    subprocess.run([python, PUBLISHED / "record.py", tmp_path / "old"], check=True, capture_output=True)
    for case in CASES:
        folder = tmp_path / "old" / case
        (folder / "config.json").rename(folder / "config.yaml")  # JSON is YAML
        run = tmp_path / "new" / case
        done = nablafx("convert", folder / "old.ckpt", "-o", run)
        assert done.status == 0, done.err
        with np.load(folder / "audio.npz") as audio:
            x, y = audio["x"][0, 0], audio["y"][0, 0]
            knobs = audio["controls"][0] if "controls" in audio else ()
        data = lay_out(tmp_path / "data" / case, x, y, knobs)
        words = ["--data.dry", data / "DRY", "--data.wet", data / "WET", "--data.segment_length", 100]
        if len(knobs):
            words += ["--data.controls", f"[{', '.join('AB'[:NUM_CONTROLS])}]"]
        rendered = nablafx("predict", "-c", run / "config.yaml", *words)
        assert rendered.status == 0, rendered.err
        (wav,) = (run / "predictions").rglob("*.wav")
        np.testing.assert_allclose(soundfile.read(wav)[0], y, rtol=0, atol=1e-4, err_msg=case)


def lay_out(folder: Path, x: np.ndarray, y: np.ndarray, knobs: tuple[float, ...]) -> Path:
    """A data set of one file, at the setting of the knobs."""
    setting = "_".join(f"{letter}{round(100 * value):03d}" for letter, value in zip("AB", knobs, strict=False))
    for part in ("trainval", "test"):
        wet = folder / "WET" / part / setting
        wet.mkdir(parents=True)
        (folder / "DRY" / part).mkdir(parents=True)
        soundfile.write(folder / "DRY" / part / "a.input.wav", x, 48_000, subtype="FLOAT")
        soundfile.write(wet / f"{setting}{'.' if setting else ''}a.target.wav", y, 48_000, subtype="FLOAT")
    return folder


def test_the_converted_run_is_tested_by_the_command_line(recorded, tmp_path):
    """One case of the slow test above: a checkpoint, its config beside it, data by words."""
    case = "tcn-tfilm"
    state = {key.partition("/")[2]: value for key, value in recorded.items() if key.startswith(f"{case}/model.")}
    torch.save({"state_dict": state, "epoch": 3, "global_step": 7}, tmp_path / "old.ckpt")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": CASES[case]}))
    done = nablafx("convert", tmp_path / "old.ckpt")
    assert done.status == 0, done.err
    assert "cold_start: true" in done.err
    x, y = (recorded[name][0, 0].numpy() for name in ("x", f"{case}/y"))
    data = lay_out(tmp_path / "data", x, y, tuple(recorded["controls"][0].tolist()))
    words = ["--data.dry", data / "DRY", "--data.wet", data / "WET", "--data.controls", "[A, B]"]
    rendered = nablafx("predict", "-c", tmp_path / "old" / "config.yaml", *words, "--data.segment_length", "100")
    assert rendered.status == 0, rendered.err
    (wav,) = (tmp_path / "old" / "predictions").rglob("*.wav")
    np.testing.assert_allclose(soundfile.read(wav)[0], y, rtol=0, atol=1e-6)
