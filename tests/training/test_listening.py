"""Stretches to listen to: the loudest, as the whole file has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from nablafx.analysis.loudness import STEP, loudest
from nablafx.errors import UserError
from nablafx.training.listening import excerpts, subject_of
from nablafx.training.load import load


@pytest.fixture
def run(two_runs):
    return next(two_runs.rglob("*fuzz-rnl/smoke/version_0"))


def test_the_loudest_stretch_is_found():
    y = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    y[9000:12_000] *= 3
    starts = range(0, 20_000 - 2500 + 1, 500)
    assert loudest(y, 2500, 500) == max(starts, key=lambda n: float(y[n : n + 2500].square().sum()))
    assert loudest(y, 30_000) == 0
    assert loudest(torch.zeros(20_000), 100) == 0


def test_an_excerpt_is_a_part_of_the_whole(run):
    loaded = load(run)
    (excerpt,) = excerpts(loaded, 0.3, 5)
    assert excerpt.start > 0
    assert excerpt.start % STEP == 0
    wet = next(p for p in _wet(run) if "test" in p.parts)
    y = soundfile.read(wet, dtype="float32")[0]
    stretch = slice(excerpt.start, excerpt.start + 14_400)
    np.testing.assert_array_equal(excerpt.y[0, 0], y[stretch])
    whole = torch.cat([excerpt.past, excerpt.x], dim=-1)
    torch.testing.assert_close(excerpt.prediction, loaded.system.render(whole)[..., stretch], atol=1e-6, rtol=0)
    # also where it is not known yet
    subject = subject_of(loaded, excerpt, "")._replace(prediction=None)
    torch.testing.assert_close(subject.predicted(), excerpt.prediction, atol=1e-6, rtol=0)


def test_without_test_files_it_is_of_validation(run, tmp_path):
    loaded = load(run)
    wet = tmp_path / "wet"
    shutil.copytree(loaded.config["data"]["wet"], wet, ignore=shutil.ignore_patterns("test"))
    loaded.config["data"]["wet"] = str(wet)
    (excerpt,) = excerpts(loaded, 0.1, 3)
    stretch = load(run).data().excerpt(0.1)
    assert excerpt.name == stretch.names[0]
    torch.testing.assert_close(excerpt.x, stretch.x[:1])


def test_data_that_are_not_here_are_named(run):
    loaded = load(run)
    loaded.config["data"]["dry"] = "/nowhere"
    with pytest.raises(UserError, match=r"the data of .* are not here: dry: /nowhere"):
        next(excerpts(loaded, 1.0, 1))
    with pytest.raises(UserError, match="has no section data"):
        next(excerpts(loaded._replace(config={}), 1.0, 1))


def _wet(run):
    return sorted(Path(yaml.safe_load((run / "config.yaml").read_text())["data"]["wet"]).rglob("*.wav"))
