"""What is logged must be found in the files, TensorBoard's events and W&B's records, exactly."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from matplotlib.figure import Figure

from nablafx.training import sink as sink_base
from nablafx.training.media import MediaCallback
from nablafx.training.sinks import FileSink, TensorBoardSink, WandbSink
from nablafx.writing import replacing
from tests.conftest import ROOT
from tests.readback import Clip, Log, read_history, read_tensorboard, read_wandb, wandb_records
from tests.training.toy import Noise, Toy, trainer


@pytest.fixture
def no_wandb_account(monkeypatch, tmp_path):
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps and a test that logged to all three sinks."""
    folder = tmp_path_factory.mktemp("run")
    loggers = [FileSink(str(folder)), TensorBoardSink(str(folder)), WandbSink(str(folder), mode="offline")]
    callbacks = [
        MediaCallback(log_media_every_n_steps=1, max_seconds=0.25, figures=["comparison"]),
        LearningRateMonitor(),
    ]
    fit = trainer(folder, callbacks, loggers)
    module = Toy()
    for logger in loggers:
        logger.log_hyperparams({"lr": 0.01, "loss": {"terms": [Toy]}})
    fit.fit(module, Noise())
    for logger in loggers:  # as a test in the same process does
        logger.log_metrics({"test/esr": 0.5}, step=2)
        logger.finalize("success")
    return folder, fit, module


def read_files(folder) -> Log:
    audio: dict[str, list[Clip]] = {}
    for path in sorted((folder / "audio").rglob("step-*.wav")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        tag = path.parent.relative_to(folder).as_posix()
        audio.setdefault(tag, []).append(Clip(int(path.stem.removeprefix("step-")), samples, rate))
    pictures = sorted((folder / "figures/comparison").glob("*.png"))
    steps = [int(path.stem.removeprefix("step-")) for path in pictures]
    return Log(read_history(folder / "history.csv"), audio, {"figures/comparison": steps})


@pytest.mark.parametrize("read", [read_files, read_tensorboard, read_wandb])
def test_every_sink_holds_all_that_was_logged(run, read):
    folder, fit, module = run
    log = read(folder)
    assert [step for step, _ in log.scalars["loss"]] == [0, 1]
    assert log.scalars["loss"][-1][1] == pytest.approx(fit.logged_metrics["loss"].item(), rel=1e-6)
    assert {value for _, value in log.scalars["lr-SGD"]} <= {0.01, float(np.float32(0.01))}
    assert log.scalars["test/esr"] == [(2, 0.5)]
    assert log.figures["figures/comparison"] == [1, 2]
    excerpt = Noise().excerpt(0.25)
    assert len(log.audio) == 4 * len(excerpt.names)
    for k, name in enumerate(excerpt.names):
        (dry,), (wet,) = log.audio[f"audio/input/{name}"], log.audio[f"audio/target/{name}"]
        assert (dry.step, dry.sample_rate) == (0, 8000)
        assert np.array_equal(dry.samples.T, excerpt.x[k])
        assert np.array_equal(wet.samples.T, excerpt.y[k])  # beyond full scale, and not clipped
        first, last = log.audio[f"audio/prediction/{name}"]
        assert (first.step, last.step) == (1, 2)
        assert np.array_equal(last.samples.T, module.gain.detach() * excerpt.x[k])
        difference = log.audio[f"audio/difference/{name}"][-1]
        assert np.array_equal(difference.samples.T, excerpt.y[k] - module.gain.detach() * excerpt.x[k])


def test_files_lie_in_the_run_folder_without_further_levels(run):
    folder = run[0]
    assert {path.name for path in folder.iterdir()} == {
        ".write.lock",
        "history.csv",
        "audio",
        "figures",
        "tensorboard",
        "wandb",
    }
    assert list(folder.glob("tensorboard/events.*"))
    runs = list(folder.glob("wandb/offline-run-*"))
    identities = {path.name.split("-")[-1] for path in runs}
    assert identities == {(folder / "wandb" / "id").read_text()}  # two stages, one W&B run
    assert len(runs) == 2


def test_history_keeps_old_rows_when_a_column_appears_late(tmp_path):
    sink = FileSink(str(tmp_path))
    for step in range(5):
        sink.log_metrics({"loss": torch.tensor(1.0 / (step + 1))}, step)
    sink.log_metrics({"val/loss": 0.1, "loss": float("nan")}, 5)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["step", "loss", "val/loss"]
    assert {len(row) for row in rows} == {3}
    history = read_history(tmp_path / "history.csv")
    assert history["loss"][:5] == [(k, torch.tensor(1.0 / (k + 1)).item()) for k in range(5)]
    assert np.isnan(history["loss"][5][1])
    assert history["val/loss"] == [(5, 0.1)]


def test_history_is_appended_by_a_resumed_run_without_the_row_that_another_was_killed_in(tmp_path):
    FileSink(str(tmp_path)).log_metrics({"b": 2.0, "a": 1.0}, 0)
    with (tmp_path / "history.csv").open("a") as file:
        file.write("1,4.")  # killed here
    FileSink(str(tmp_path)).log_metrics({"a": 3.0, "c": 5.0}, 2)
    history = read_history(tmp_path / "history.csv")
    assert history == {"b": [(0, 2.0)], "a": [(0, 1.0), (2, 3.0)], "c": [(2, 5.0)]}


@pytest.mark.parametrize("tag", ["audio/../../../x", "../../x", "/tmp/x"])
def test_a_tag_cannot_leave_the_run_folder(tmp_path, tag):
    with pytest.raises(ValueError, match="leads out of"):
        FileSink(str(tmp_path / "run")).log_audio(tag, torch.zeros(10), 8000, 0)


def test_audio_of_one_dimension_and_of_two_channels(tmp_path):
    sink = FileSink(str(tmp_path))
    sink.log_audio("mono", torch.full((9,), 3.0), 8000, 7)
    sink.log_audio("stereo", torch.arange(20.0).reshape(2, 10), 8000, 7)
    assert soundfile.info(tmp_path / "audio/mono/step-000007.wav").subtype == "FLOAT"
    samples, _ = soundfile.read(tmp_path / "audio/stereo/step-000007.wav")
    assert np.array_equal(samples, np.arange(20.0).reshape(2, 10).T)
    with pytest.raises(ValueError, match="channels"):
        sink.log_audio("batch", torch.zeros(2, 1, 10), 8000, 7)


def test_wandb_online_without_a_key_is_refused_at_once(tmp_path, no_wandb_account, monkeypatch):
    message = "W&B has no API key: set WANDB_API_KEY, or run offline with WANDB_MODE=offline"
    with pytest.raises(ValueError, match=message):
        WandbSink(str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    WandbSink(str(tmp_path))
    with pytest.raises(ValueError, match="no API key"):
        WandbSink(str(tmp_path), mode="online")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password 0\n")
    WandbSink(str(tmp_path), mode="online")
    assert not list(tmp_path.glob("wandb*"))


class FakeRun:
    """Stands for the run of a sweep's agent, and keeps what it is asked to do."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append(name)


def test_a_wandb_run_that_was_open_before_is_used_and_left_open(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setattr(wandb, "run", FakeRun())
    sink = WandbSink(str(tmp_path), mode="offline")
    sink.log_metrics({"loss": 1.0}, 0)
    sink.finalize("success")
    assert wandb.run.calls == ["define_metric", "define_metric", "log"]


def test_wandb_settings_come_from_arguments_before_the_environment(tmp_path, monkeypatch):
    import wandb

    asked = {}
    monkeypatch.setattr(wandb, "init", lambda **settings: asked.update(settings) or FakeRun())
    monkeypatch.setenv("WANDB_ENTITY", "band")
    WandbSink(str(tmp_path), "ts9/lstm", mode="offline").log_metrics({"loss": 1.0}, 0)
    assert asked["project"] == "nablafx"
    assert (asked["entity"], asked["name"], asked["dir"]) == ("band", "ts9/lstm", str(tmp_path))
    monkeypatch.setenv("WANDB_PROJECT", "pedals")
    WandbSink(str(tmp_path), mode="offline").log_metrics({"loss": 1.0}, 0)
    assert asked["project"] == "pedals"
    WandbSink(str(tmp_path), project="amps", mode="offline").log_metrics({"loss": 1.0}, 0)
    assert asked["project"] == "amps"


def the_run(folder):
    """The record `run` of the one offline run in a folder."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    (run,) = [record.run for record in wandb_records(path) if record.WhichOneof("record_type") == "run"]
    return run


def test_wandb_group_and_tags_come_from_the_run_s_name(tmp_path, monkeypatch, no_wandb_account):
    monkeypatch.setenv("WANDB_TAGS", "studio, night")
    monkeypatch.setenv("WANDB_PROJECT", "pedals")
    monkeypatch.setenv("WANDB_ENTITY", "band")
    sink = WandbSink(str(tmp_path), "ts9/tcn-45-s+tfilm/blackbox", mode="offline")
    sink.log_metrics({"loss": 1.0}, 0)
    sink.finalize("success")
    run = the_run(tmp_path)
    assert (run.project, run.entity, run.run_group) == ("pedals", "band", "ts9/tcn-45-s+tfilm")
    assert run.display_name == "ts9/tcn-45-s+tfilm/blackbox"
    assert list(run.tags) == ["ts9", "tcn-45-s", "tfilm", "blackbox", "studio", "night"]


def test_wandb_runs_with_the_env_file_as_it_is(tmp_path, monkeypatch, no_wandb_account):
    for line in (ROOT / ".env.tmp").read_text().splitlines():
        if line and not line.startswith("#"):
            monkeypatch.setenv(*line.split("=", 1))
    sink = WandbSink(str(tmp_path), "ts9/lstm-32/tbptt")
    sink.log_metrics({"loss": 1.0}, 0)
    sink.finalize("success")
    run = the_run(tmp_path)
    assert (run.project, run.run_group, list(run.tags)) == ("nablafx", "ts9/lstm-32", ["ts9", "lstm-32", "tbptt"])


def test_wandb_group_and_tags_that_are_given_go_first(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "friday")
    sink = WandbSink(str(tmp_path), "ts9/lstm-32/tbptt", mode="offline")
    assert sink._init["group"] == "friday"
    sink = WandbSink(str(tmp_path), "ts9/lstm-32/tbptt", mode="offline", group="g", tags=["a"])
    assert (sink._init["group"], sink._init["tags"]) == ("g", ["a"])
    # W&B takes 64 characters
    assert WandbSink(str(tmp_path), 80 * "x", mode="offline")._init["tags"] == [64 * "x"]


@pytest.mark.parametrize(("sink", "package"), [(TensorBoardSink, "tensorboard"), (WandbSink, "wandb")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, sink, package):
    monkeypatch.setattr(sink_base, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'nablafx\[{package}\]'"):
        sink(str(tmp_path))


def test_sinks_import_neither_wandb_nor_tensorboard():
    code = "import sys, nablafx.training.callbacks; print({'wandb', 'tensorboard', 'soundfile'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "metrics.csv"
    with replacing(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(TypeError), replacing(path) as temporary:
        temporary.write_bytes(b"ha" + temporary.write_bytes(b"h"))
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_figure_keeps_its_resolution(tmp_path):
    sink = FileSink(str(tmp_path))
    sink.log_figure("figures/x", Figure(figsize=(3, 2), dpi=100), 0)
    header = (tmp_path / "figures/x/step-000000.png").read_bytes()[16:24]
    assert np.frombuffer(header, ">u4").tolist() == [300, 200]
