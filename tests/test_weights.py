"""weights/: its README tells what is there, and the blocks that it names load it."""

from __future__ import annotations

import hashlib
import re
import runpy

import numpy as np
import pytest
import soundfile
import torch

from nablafx.layers.pretrained import read_pretrained
from nablafx.layers.siren import SirenCurve, SirenTaps
from nablafx.training.fitting import measure_curve, measure_taps, thd

from .conftest import ROOT

WEIGHTS = ROOT / "weights"
README = (WEIGHTS / "README.md").read_text()
SIZES = (2, 4, 8, 16, 32, 64)


def table(head: str) -> dict[str, list[str]]:
    """The rows of a table by their file: the other cells."""
    (body,) = re.findall(rf"^\| file \| parameters \| {head}.*\n\|[ -|]*\n((?:\|.*\n)+)", README, re.MULTILINE)
    rows = [[cell.strip(" `") for cell in line.strip("|\n").split("|")] for line in body.splitlines()]
    return {name: cells for name, *cells in rows}


def number(cell: str) -> float:
    return float(cell.replace(",", "").removesuffix(" %").removesuffix(" dB"))


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_sums_of_every_file():
    told = {name: sum_ for sum_, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", README, re.MULTILINE)}
    there = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in WEIGHTS.iterdir() if p.name != "README.md"}
    assert told == there


def test_every_file_is_in_a_table():
    told = {*table("error"), *table("energy")}
    assert told == {path.name for path in WEIGHTS.glob("*.safetensors")}
    assert set(table("error")) == {f"tanh-{size}.safetensors" for size in SIZES}


def test_files_are_small():
    for path in WEIGHTS.iterdir():
        assert path.stat().st_size < 100_000, path.name


@pytest.mark.parametrize("size", SIZES)
def test_tanh(size, tmp_path, monkeypatch):
    """What the table says, measured again; and what a gray box may rely on."""
    monkeypatch.chdir(tmp_path)  # the path is found below the checkout
    curve = SirenCurve(size, pretrained=f"weights/tanh-{size}.safetensors")
    parameters, inside, beyond, *heard = map(number, table("error")[f"tanh-{size}.safetensors"])
    found = measure_curve(curve)
    assert count(curve) == parameters
    # other machines round sines otherwise, by some 1e-6
    assert [found.inside, found.beyond] == pytest.approx([inside, beyond], rel=0.05, abs=2e-6)
    for sine, percent, difference in zip(found.sines, heard[0::2], heard[1::2], strict=True):
        assert 100 * thd(sine.prediction) == pytest.approx(percent, abs=0.002)
        assert sine.residual_db == pytest.approx(difference, abs=1.0)
        assert sine.residual_db < (-90 if size >= 16 else -60)
        assert thd(sine.prediction) == pytest.approx(thd(sine.target), rel=1e-4 if size >= 16 else 5e-3)


@pytest.mark.parametrize("size", SIZES)
def test_tanh_is_flat_outside_and_still_in_silence(size):
    curve = SirenCurve(size, pretrained=WEIGHTS / f"tanh-{size}.safetensors")
    y = curve(torch.tensor([-100.0, -6.0, 0.0, 6.0, 100.0])).detach()
    # a sine may round otherwise at another place of a tensor
    torch.testing.assert_close(y[[0, 4]], y[[1, 3]], atol=2e-6, rtol=0)
    torch.testing.assert_close(y, torch.tensor([-1.0, -1.0, 0.0, 1.0, 1.0]), atol=5e-4, rtol=0)
    assert y[2].abs() < (4e-6 if size >= 32 else 9e-5)


def test_tanh_does_not_ring_in_its_slope():
    curve = SirenCurve(32, pretrained=WEIGHTS / "tanh-32.safetensors")
    x = torch.linspace(-5.999, 5.999, 50_001, requires_grad=True)
    (slope,) = torch.autograd.grad(curve(x).sum(), x)
    assert (slope - (1 - x.detach().tanh() ** 2)).abs().max() < 1e-3


def test_of_tanh_itself():
    told = re.search(r"tanh itself has a THD of ([\d.]+) % and ([\d.]+) %", README).groups()
    sines = measure_curve(SirenCurve(2, pretrained=WEIGHTS / "tanh-2.safetensors")).sines
    assert [f"{100 * thd(sine.target):.3f}" for sine in sines] == list(told)


@pytest.mark.parametrize(("name", "taps"), [("cabinet", 1024), ("unit", 64)])
def test_responses(name, taps):
    net = SirenTaps(taps, pretrained=WEIGHTS / f"{name}-fir.safetensors", sample_rate=48_000)
    target, rate = soundfile.read(WEIGHTS / f"{name}.wav")
    assert rate == 48_000
    parameters, *levels = map(number, table("energy")[f"{name}-fir.safetensors"])
    assert count(net) == parameters
    assert measure_taps(target, net().detach().double().numpy()) == pytest.approx(levels, abs=1.0)
    assert max(levels) < -60


def test_unit_is_an_impulse():
    target, _ = soundfile.read(WEIGHTS / "unit.wav")
    assert target.tolist() == [1.0] + 63 * [0.0]


def test_cabinet_is_what_its_script_makes(tmp_path):
    script = runpy.run_path(str(ROOT / "scripts" / "make_cabinet.py"))
    script["main"](tmp_path / "cabinet.wav")
    made, committed = (soundfile.read(folder / "cabinet.wav")[0] for folder in (tmp_path, WEIGHTS))
    assert len(made) == 1024
    np.testing.assert_allclose(made, committed, atol=1e-7)


def test_cabinet_sounds_like_one():
    response = np.abs(np.fft.rfft(soundfile.read(WEIGHTS / "cabinet.wav")[0], 48_000))  # a bin is 1 Hz
    assert response.max() == pytest.approx(1.0, abs=1e-3)
    assert response[80:4000].min() > 10 ** (-15 / 20)
    assert response[8000:].max() < 10 ** (-35 / 20)
    assert response[20] < 10 ** (-20 / 20)


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda path: path.name)
def test_headers_say_what_they_hold(path):
    facts = read_pretrained(path).facts
    if path.name.startswith("tanh"):
        size = int(re.search(r"\d+", path.name)[0])
        assert facts == {"kind": "tanh", "hidden_size": size, "num_hidden": 3, "w0": 30, "reach": 6}
    else:
        taps = 64 if path.name.startswith("unit") else 1024
        want = {"kind": "fir", "hidden_size": 32, "num_hidden": 3, "w0": 100, "num_taps": taps, "sample_rate": 48_000}
        assert facts == want
