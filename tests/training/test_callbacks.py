"""Callbacks in real Trainer runs of a stand-in module."""

import csv
import re
import sys

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch.loggers.logger import Logger

from nablafx.training import callbacks
from nablafx.training.callbacks import PredictionWriter, ProgressBar, TestReport
from nablafx.training.media import MediaCallback
from nablafx.training.sinks import FileSink
from tests.training.toy import Noise, Toy, noise, trainer


class ForeignLogger(Logger):
    """A logger with a log_audio of its own, as Lightning's WandbLogger has."""

    name = version = "foreign"

    def log_metrics(self, metrics, step=None): ...

    def log_hyperparams(self, params, *args, **kwargs): ...

    def log_audio(self, key, audios, step=None, **kwargs):
        raise AssertionError("must not be called")


def predictions(folder) -> list[int]:
    wavs = (folder / "audio/prediction/D0.1_T2/riff0").glob("*.wav")
    return sorted(int(path.stem.removeprefix("step-")) for path in wavs)


def fit(folder, callback, module=None, loggers=None, **kwargs):
    module = module or Toy()
    loggers = [FileSink(str(folder))] if loggers is None else loggers
    run = trainer(folder, [callback], loggers, **kwargs)
    run.fit(module, Noise())
    return module, run


def test_audio_comes_every_n_steps_and_at_the_end_once(tmp_path):
    module, _ = fit(tmp_path, MediaCallback(2, max_seconds=0.1, figures=["comparison"]), steps=5)
    assert predictions(tmp_path) == [2, 4, 5]
    assert module.rendered == 3
    assert len(list((tmp_path / "audio/input").rglob("*.wav"))) == 2  # two items, once
    module, _ = fit(tmp_path / "even", MediaCallback(2, max_seconds=0.1, figures=["comparison"]), steps=4)
    assert predictions(tmp_path / "even") == [2, 4]


def test_audio_fires_when_a_batch_jumps_over_a_multiple(tmp_path):
    fit(tmp_path, MediaCallback(10, max_seconds=0.1, figures=["comparison"]), Toy(steps_per_batch=7), steps=28)
    assert predictions(tmp_path) == [14, 21, 28]


@pytest.mark.parametrize("loggers", [[], [ForeignLogger()]])
def test_audio_is_not_rendered_where_nobody_listens(tmp_path, loggers):
    module, _ = fit(tmp_path, MediaCallback(1, max_seconds=0.1, figures=["comparison"]), loggers=loggers)
    assert module.rendered == 0


def test_audio_can_be_switched_off(tmp_path):
    module, _ = fit(tmp_path, MediaCallback(0, max_seconds=0.1, figures=["comparison"]))
    assert module.rendered == 0
    assert not (tmp_path / "audio").exists()


def test_audio_without_a_data_module_is_an_error_with_the_cure(tmp_path):
    run = trainer(tmp_path, [MediaCallback(1)], [FileSink(str(tmp_path))])
    with pytest.raises(ValueError, match="log_media_every_n_steps: 0"):
        run.fit(Toy(), Noise().loader())


def test_report_writes_what_the_steps_returned_and_the_totals_last(tmp_path, capsys):
    module, data = Toy(), Noise(batches=3)
    run = trainer(tmp_path, [TestReport(max_pictures=2)])
    run.test(module, data, verbose=False)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [*(f"D0.1_T2/riff0.{k}" for k in range(3)), "all"]
    assert list(rows[0]) == ["file", "mae", "mse", "esr"]
    for k, row in enumerate(rows[:3]):
        batch = noise(k)
        assert float(row["mae"]) == (batch.x - batch.y).abs().mean().item()
        assert float(row["mse"]) == (batch.x - batch.y).square().mean().item()
        assert row["esr"] == ""
    assert float(rows[3]["esr"]) == 1.0 / 3.0
    pictures = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert pictures == ["test/D0.1_T2/riff0.0.png", "test/D0.1_T2/riff0.1.png"]
    printed = capsys.readouterr().out
    assert "0.3333" in printed
    assert "D0.1_T2/riff0.2" in printed


def test_report_shows_every_figure_of_a_wide_table_in_a_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    module = Toy()
    totals = {f"metric_{k}": k + 0.12345 for k in range(12)}
    monkeypatch.setattr(module, "on_test_epoch_end", lambda: setattr(module, "test_totals", totals))
    trainer(tmp_path, [TestReport(folder=str(tmp_path / "run"), max_pictures=0)]).test(module, Noise(), verbose=False)
    printed = capsys.readouterr().out
    assert all(f"{value:.4g}" in printed for value in totals.values())
    assert all(key in printed for key in totals)
    assert (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("width", "names", "first_column", "tables"),
    [
        (200, ["a"], "file", 1),
        (60, ["a"], "metric", 1),
        (60, [f"a/long/folder/{k}" for k in range(5)], "file", 2),
        (60, ["a name of a file that is wider than the terminal, all by itself"], "file", 3),
    ],
    ids=["wide", "few files", "many files", "long name"],
)
def test_report_cuts_no_figure_off_on_a_terminal(capsys, monkeypatch, width, names, first_column, tables):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    rows = {name: {f"key_{k}": k + 0.12345 for k in range(10)} for name in [*names, "all"]}
    callbacks._print_table([f"key_{k}" for k in range(10)], rows)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("┃ " + first_column) for line in lines) == tables
    for value in rows["all"].values():
        assert sum(line.count(f"{value:.4g} ") for line in lines) == len(rows)


def test_predictions_are_float_files_of_the_inputs_length(tmp_path, capsys):
    module = Toy()
    trainer(tmp_path, [PredictionWriter()]).predict(module, Noise(), return_predictions=False)
    paths = sorted((tmp_path / "predictions").rglob("*"))
    assert [path.name for path in paths] == ["D0.1_T2", "riff0.0.wav", "riff0.1.wav"]
    for k, path in enumerate(paths[1:]):
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == 8000
        assert soundfile.info(path).subtype == "FLOAT"
        assert np.array_equal(samples, noise(k).x[0, 0])
    assert str(tmp_path / "predictions") in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/tmp/nablafx-x", ""])
def test_a_prediction_cannot_leave_its_folder(tmp_path, name):
    writer = PredictionWriter(folder=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="leads out of"):
        writer.on_predict_batch_end(None, Toy(), {"name": name, "prediction": torch.zeros(1, 8)}, None, 0)
    assert not list(tmp_path.iterdir())


def test_a_log_gets_few_lines_and_a_terminal_a_bar(tmp_path, capsys, monkeypatch):
    run = trainer(tmp_path, [ProgressBar(refresh_rate=1)], [FileSink(str(tmp_path))], 20, progress=True)
    run.fit(Toy(), Noise())
    lines = capsys.readouterr().out.splitlines()
    assert 1 <= len(lines) <= 2
    assert lines[-1].startswith("Step 20, epoch 10, loss ")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run = trainer(tmp_path, [ProgressBar(refresh_rate=2)], [FileSink(str(tmp_path))], 2, progress=True)
    run.fit(Toy(), Noise())
    shown = capsys.readouterr().out
    assert "loss=" in shown
    assert "v_num" not in shown


def test_the_bar_reads_numbers_only_when_it_is_redrawn(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    reads = []
    bar = ProgressBar()
    monkeypatch.setattr(bar, "get_metrics", lambda *args: reads.append(args[0].global_step) or {})
    trainer(tmp_path, [bar], steps=30, progress=True).fit(Toy(), Noise(batches=30))
    assert reads[:3] == [10, 20, 30]
    assert len(reads) == 4  # and at the end of the epoch
