"""The Fréchet distance against scipy and algebra, and in a test of a model."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.linalg import sqrtm

from nablafx.embeddings import Gaussian, frechet_distance, load_embedding
from nablafx.report.runs import read_runs
from tests.cli import nablafx


def gaussian(vectors):
    found = Gaussian(vectors.shape[1])
    for part in vectors.split(7):
        found.update(part)
    return found


def vectors(count, size, seed):
    noise = torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (
        noise @ torch.randn(size, size, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64) + seed
    )


@pytest.mark.parametrize(("count", "size"), [(200, 6), (5, 12)], ids=["many", "fewer than dimensions"])
def test_it_is_that_of_scipy(count, size):
    a, b = vectors(count, size, 0), vectors(count + 3, size, 1)
    mean = [x.mean(dim=0).numpy() for x in (a, b)]
    cov = [np.cov(x.numpy().T) for x in (a, b)]
    cross = sqrtm(cov[0] @ cov[1])
    wanted = np.sum((mean[0] - mean[1]) ** 2) + np.trace(cov[0] + cov[1] - 2 * np.real(cross))
    assert frechet_distance(gaussian(a), gaussian(b)) == pytest.approx(wanted, rel=1e-5)


def test_it_is_the_closed_form_of_independent_dimensions():
    """|Δμ|² + Σ (s - t)² for standard deviations s and t; here the vectors lie such that moments are exact."""
    signs = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    scale = math.sqrt(3 / 4)  # of N - 1
    a = signs * scale * torch.tensor([2.0, 3.0])
    b = signs * scale * torch.tensor([5.0, 1.0]) + torch.tensor([1.0, -2.0])
    assert frechet_distance(gaussian(a), gaussian(b)) == pytest.approx(5 + 9 + 4)


def test_equal_sets_are_at_no_distance_and_order_says_nothing():
    a, b = vectors(50, 5, 0), vectors(40, 5, 3)
    assert frechet_distance(gaussian(a), gaussian(a.flip(0))) == pytest.approx(0, abs=1e-8 * float(a.square().sum()))
    assert frechet_distance(gaussian(a), gaussian(b)) == pytest.approx(frechet_distance(gaussian(b), gaussian(a)))


def test_parts_add_up():
    a, b = vectors(50, 5, 0), vectors(40, 5, 3)
    parts = gaussian(a[:20]).merged([gaussian(a[20:33]), gaussian(a[33:])])
    assert frechet_distance(parts, gaussian(b)) == pytest.approx(frechet_distance(gaussian(a), gaussian(b)))


def test_one_vector_has_no_distance():
    assert math.isnan(frechet_distance(gaussian(vectors(1, 3, 0)), gaussian(vectors(9, 3, 0))))


def test_a_test_tells_it_of_all_files(two_runs, tmp_path):
    """In metrics.csv as from the very files: target, and what predict renders."""
    run = next(two_runs.rglob("*lstm-32/smoke/version_0"))
    assert nablafx("predict", "-c", run / "config.yaml").status == 0
    network = load_embedding("mel")
    (dry,) = sorted((run / "predictions").rglob("*.wav"))
    with (run / "metrics.csv").open(newline="") as file:
        *files, whole = csv.DictReader(file)
    assert {row["fad_mel"] for row in files} == {""}
    audio, rate = soundfile.read(dry, dtype="float32")
    (wet,) = [path for path in _wet(run) if "test" in path.parts]
    sets = [Gaussian(network.size), Gaussian(network.size)]
    for seen, samples in zip(sets, (soundfile.read(wet, dtype="float32")[0], audio), strict=True):
        seen.update(network(torch.from_numpy(samples), rate))
    wanted = frechet_distance(*sets)
    told = float(whole["fad_mel"])
    assert math.isnan(told) if math.isnan(wanted) else told == pytest.approx(wanted, rel=1e-3)
    # and the other commands read it
    (read,), _ = read_runs([run])
    assert "fad_mel" in read.metrics
    assert all("fad_mel" not in row for row in read.files.values())


def _wet(run):
    import yaml

    return sorted(Path(yaml.safe_load((run / "config.yaml").read_text())["data"]["wet"]).rglob("*.wav"))


@pytest.mark.parametrize(
    ("embedding", "told"), [("vggish", "vggish-10086976.pth, which is not there"), ("mell", "mean mel")]
)
def test_what_is_missing_is_said_before_anything_is_tested(two_runs, tmp_path, monkeypatch, embedding, told):
    monkeypatch.setenv("NABLAFX_EMBEDDINGS", str(tmp_path))
    run = next(two_runs.rglob("*lstm-32/smoke/version_0"))
    before = (run / "metrics.csv").read_bytes()
    done = nablafx("test", "-c", run / "config.yaml", "--fad.embeddings", f"[mel, {embedding}]")
    assert done.status == 1
    assert told in done.err
    assert (run / "metrics.csv").read_bytes() == before
