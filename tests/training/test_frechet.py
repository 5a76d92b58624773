"""The distance between all targets and all predictions of a test: in real runs, and over processes."""

from __future__ import annotations

import copy
import csv
import math
from types import SimpleNamespace

import pytest
import yaml

from nablafx.embeddings import Gaussian, MelStatistics, UnknownEmbeddingError, frechet_distance, resampled
from nablafx.report.runs import _metrics
from nablafx.training.callbacks import TestReport
from nablafx.training.frechet import FrechetDistance
from nablafx.training.plot import read_history
from nablafx.training.sinks import FileSink
from tests.cli import config, data_words, nablafx
from tests.conftest import ROOT
from tests.training.toy import Noise, Toy, noise, trainer

LENGTH = 12_000  # 1.5 s at the toy's 8 kHz


@pytest.fixture
def long(monkeypatch):
    """Test files of more than one frame."""
    monkeypatch.setattr("tests.training.toy.noise", lambda seed: noise(seed, length=LENGTH))


def expected(batches: int) -> float:
    network, sides = MelStatistics(), (Gaussian(96), Gaussian(96))
    for k in range(batches):
        batch = noise(k, length=LENGTH)
        for side, audio in zip(sides, (batch.y[0], batch.x[0]), strict=True):
            side.update(network(resampled(audio, 8000, 48_000)))
    return frechet_distance(*sides)


def test_it_is_in_the_table_the_totals_and_the_logs(long, tmp_path, capsys):
    module, callbacks = Toy(), [FrechetDistance(["mel"]), TestReport(max_pictures=0)]
    run = trainer(tmp_path, callbacks, [FileSink(str(tmp_path))])
    run.test(module, Noise(batches=3), verbose=False)
    distance = expected(3)
    assert distance > 1.0
    assert module.test_totals["fad_mel"] == pytest.approx(distance, rel=1e-6)
    assert module.test_totals["mae"] == 0.25
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert float(rows["all"]["fad_mel"]) == pytest.approx(distance, rel=1e-6)
    assert {row["fad_mel"] for name, row in rows.items() if name != "all"} == {""}
    ((_, logged),) = read_history(tmp_path / "history.csv")["metrics/test/fad_mel"]
    assert logged == pytest.approx(distance, rel=1e-6)
    assert "fad_mel" in capsys.readouterr().out
    run.test(module, Noise(batches=3), verbose=False)  # heard anew
    assert module.test_totals["fad_mel"] == pytest.approx(distance, rel=1e-6)


def test_blank_cells_are_left_out_where_runs_are_read(long, tmp_path):
    trainer(tmp_path, [FrechetDistance(), TestReport(max_pictures=0)]).test(Toy(), Noise(), verbose=False)
    rows = _metrics(tmp_path / "metrics.csv")
    assert set(rows["all"]) == {"mae", "mse", "esr", "fad_mel"}
    assert set(rows["D0.1_T2/riff0.0"]) == {"mae", "mse"}


def test_one_frame_is_too_few_and_told(tmp_path):
    module = Toy()
    run = trainer(tmp_path, [FrechetDistance()])
    with pytest.warns(UserWarning, match="fad_mel is not known: .* there is 1"):
        run.test(module, Noise(batches=1), verbose=False)
    assert math.isnan(module.test_totals["fad_mel"])


def test_none_are_none(long, tmp_path):
    module = Toy()
    trainer(tmp_path, [FrechetDistance([])]).test(module, Noise(), verbose=False)
    assert set(module.test_totals) == {"mae", "mse", "esr"}


def test_wrong_names_and_missing_weights_are_told_before_the_test(tmp_path, monkeypatch):
    with pytest.raises(UnknownEmbeddingError, match="Did you mean 'mel'"):
        FrechetDistance(["mle"])
    monkeypatch.setenv("NABLAFX_EMBEDDINGS", str(tmp_path))
    module = Toy()
    with pytest.raises(Exception, match="vggish needs weights"):
        trainer(tmp_path, [FrechetDistance(["mel", "vggish"])]).test(module, Noise(), verbose=False)
    assert module.rendered == 0


def test_processes_add_up_what_they_heard(monkeypatch):
    def heard(batches):
        callback = FrechetDistance()
        callback.on_test_start(None, module)
        for k in batches:
            batch = noise(k, length=LENGTH)
            callback.on_test_batch_end(None, module, {"y": batch.y[0], "prediction": batch.x[0]})
        return callback

    def gather(mine):
        return [copy.deepcopy(mine), copy.deepcopy(other)]

    module = SimpleNamespace(device="cpu", sample_rate=8000, test_totals={}, global_step=0)
    first, other = heard([0, 2]), heard([1])._sides
    monkeypatch.setattr("nablafx.training.frechet.gathered", gather)
    first.on_test_end(SimpleNamespace(loggers=[]), module)
    assert module.test_totals["fad_mel"] == pytest.approx(expected(3), rel=1e-9)


def test_the_command_line_has_it_and_switches_it_by_one_line(knobless, tmp_path):
    words = [*config(ROOT, "model/tcn/45-s", "trainer/smoke"), *data_words(knobless), "--log_root", tmp_path]
    assert nablafx("fit", *words, "--media.log_media_every_n_steps", 0).status == 0
    (run,) = tmp_path.rglob("version_0")
    assert yaml.safe_load((run / "config.yaml").read_text())["fad"] == {"embeddings": ["mel"]}
    done = nablafx("test", "-c", run / "config.yaml")
    assert done.status == 0, done.err
    assert "fad_mel" in done.out
    assert "fad_mel" in _metrics(run / "metrics.csv")["all"]
    (tmp_path / "off.yaml").write_text("fad: {embeddings: []}\n")
    done = nablafx("test", "-c", run / "config.yaml", "-c", tmp_path / "off.yaml")
    assert done.status == 0, done.err
    assert "fad_mel" not in done.out
    failed = nablafx("test", "-c", run / "config.yaml", "--fad.embeddings", "[clap]")
    assert failed.status == 1
    assert "the embedding clap needs weights" in failed.err
    assert "fad_mel" not in (run / "metrics.csv").read_text()
