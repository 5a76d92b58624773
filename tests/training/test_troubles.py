"""What is around a run and fails it: disks, files that go, memory, W&B."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import soundfile
import torch

from nablafx.data.audio import resampled
from nablafx.data.errors import DataError, LostAudioError
from nablafx.errors import UserError
from nablafx.training import locks
from nablafx.training.locks import RUN_LOCK, training_in
from nablafx.training.memory import explained
from nablafx.training.sinks import FileSink, TensorBoardSink, WandbSink
from nablafx.training.system import System
from tests.cli import config, data_words, nablafx
from tests.data.layout import build, noise, write, write_set
from tests.readback import read_history, read_tensorboard, read_wandb

from .small import data, system, trainer


@pytest.fixture
def full(tmp_path):
    """A folder in which no file may become longer than 4 kB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_logs_that_find_no_room_are_told_once_and_the_rest_is_whole(full):
    sink = FileSink(str(full))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in range(300):
            sink.log_metrics({"loss": 1.0 / (step + 1), "esr": 0.5}, step)
        sink.log_audio("audio/x", torch.zeros(48_000), 48_000, 0)
    (warning,) = told
    assert re.search("FileSink could not write .*make room", str(warning.message))
    history = read_history(full / "history.csv")
    rows = len(history["loss"])
    assert 100 < rows < 300
    # a shorter one may still have had room
    assert all(value == 1.0 / (step + 1) for step, value in history["loss"])
    assert not list(full.rglob("*.wav"))
    # room again
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sink.log_metrics({"loss": 7.0, "esr": 0.5}, 1000)
    assert read_history(full / "history.csv")["loss"][rows:] == [(1000, 7.0)]


def test_a_resampled_copy_that_finds_no_room_is_an_error(full, monkeypatch):
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    path = write(full / "a.wav", noise(80_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    monkeypatch.setenv("XDG_CACHE_HOME", str(full / "cache"))
    with pytest.raises(
        DataError, match=r"a\.wav at 16000 Hz cannot be written .*cache.*: make room, set XDG_CACHE_HOME"
    ):
        resampled(path, 16_000)
    assert not list((full / "cache/nablafx/resampled").iterdir())


def test_a_cache_that_cannot_be_made_is_told_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set XDG_CACHE_HOME to a folder that can be written"):
        build(*write_set(tmp_path, {"a": 4800}), sample_rate=16_000)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_vanishes_is_named_also_by_a_worker(tmp_path, workers):
    source = build(*write_set(tmp_path, {"a": 19_200}), num_workers=workers)
    loader = source.train_dataloader()
    assert len(list(loader)) > 1
    lost = tmp_path / "wet/trainval/D050/D050.a.target.wav"
    lost.unlink()
    with pytest.raises(LostAudioError) as told:
        list(loader)
    assert str(told.value).startswith(f"{lost} can no longer be read (")
    assert "Traceback" not in str(told.value)
    assert "--ckpt_path last" in str(told.value)
    # nor is a shorter one taken for it
    soundfile.write(lost, noise(1000), 8000, subtype="FLOAT")
    with pytest.raises(LostAudioError, match=r"ends .* samples early|can no longer be read"):
        list(loader)


def test_a_file_that_vanishes_ends_a_run_with_its_checkpoints_kept(root, knobless, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(Path(knobless.dry).parent, "recordings")
    place = {name: Path("recordings") / Path(getattr(knobless, name)).name for name in ("dry", "wet")}
    words = [*config(root, "model/lstm/32", "trainer/smoke"), "--data.dry", place["dry"], "--data.wet", place["wet"]]
    words += ["--data.segment_length", "4800", "--log_root", "logs", "--media.log_media_every_n_steps", "0"]
    assert nablafx("fit", *words).status == 0
    kept = Path("logs/lstm-32/smoke/version_0/checkpoints/last.ckpt").read_bytes()
    before = System.training_step

    def losing(self, batch, index):
        for path in (place["wet"] / "trainval").rglob("*.wav"):
            path.unlink()
        return before(self, batch, index)

    monkeypatch.setattr(System, "training_step", losing)
    done = nablafx("fit", *words, "--ckpt_path", "last", "--trainer.max_epochs", "3")
    assert done.status == 1
    assert "can no longer be read" in done.err
    assert "Traceback" not in done.err
    assert Path("logs/lstm-32/smoke/version_0/checkpoints/last.ckpt").read_bytes() == kept


OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee documentation"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
    "python": MemoryError(),
    "worker": RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
}


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_memory_that_ends_is_told_with_what_to_lower(knobbed, tmp_path, kind):
    (tmp_path / "checkpoints").mkdir()
    for name in ("last.ckpt", ".1.best.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    with pytest.raises(UserError) as told, explained(system(tbptt_samples=1280), data(knobbed), tmp_path):
        raise OUT_OF_MEMORY[kind]
    for part in ("batches of 4 segments of 0 + 4800 samples", "pieces of 1280", "Lower data.batch_size"):
        assert part in str(told.value)
    assert "checkpoints holds last.ckpt: with --ckpt_path last" in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.__cause__ is OUT_OF_MEMORY[kind]


def test_other_errors_keep_their_type_and_cause(knobbed, tmp_path):
    with pytest.raises(RuntimeError, match="the size of tensor a"), explained(system(), data(knobbed), tmp_path):
        raise RuntimeError("the size of tensor a")


@pytest.mark.slow
def test_memory_that_ends_for_real(root, knobless, tmp_path):
    """With 6 GB of addresses, and a batch that needs more."""
    words = [*config(root, "model/tcn/45-s", "trainer/smoke"), *data_words(knobless), "--log_root", tmp_path]
    # the weights are few, what a layer makes of a batch is 3 GB
    words += ["--model.effect.init_args.channel_width", "40000", "--model.effect.init_args.num_blocks", "1"]
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30)); "
    command = limit + "from nablafx.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", command, "fit", *map(str, words)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "out of memory with batches of" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_wandb_that_does_not_answer_delays_a_run_by_a_bounded_time_and_is_logged_offline(tmp_path, monkeypatch):
    for name, value in {"API_KEY": "0" * 40, "BASE_URL": "http://127.0.0.1:9", "INIT_TIMEOUT": "1"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    sink = WandbSink(str(tmp_path), "a/b/c")
    processor = time.process_time()
    with pytest.warns(UserWarning, match="W&B cannot be used .*offline.*wandb_sync.sh"):
        sink.log_metrics({"loss": 1.0}, 3)
    sink.log_metrics({"loss": 0.5}, 4)
    sink.finalize("success")
    assert time.process_time() - processor < 10
    assert read_wandb(tmp_path).scalars["loss"] == [(3, 1.0), (4, 0.5)]


def test_wandb_that_goes_meanwhile_is_told_once_and_ends_nothing(tmp_path, monkeypatch):
    import wandb

    class Gone:
        def __getattr__(self, name):
            if name in ("log", "finish"):
                raise wandb.errors.CommError("the service is gone")
            return lambda *args, **kwargs: None

    limits = {}
    monkeypatch.setattr(wandb, "init", lambda **options: limits.update(options["settings"]) or Gone())
    sink = WandbSink(str(tmp_path), mode="offline")
    with pytest.warns(UserWarning, match=r"WandbSink could not write .*the service is gone"):
        sink.log_metrics({"loss": 1.0}, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sink.log_metrics({"loss": 1.0}, 1)
        sink.finalize("success")
    assert (limits["init_timeout"], limits["finish_timeout"]) == (30.0, 60.0)


def test_tensorboard_forgets_what_came_after_the_checkpoint(tmp_path):
    first = TensorBoardSink(str(tmp_path))
    for step in range(4):
        first.log_metrics({"loss": float(step)}, step)
    position = first.position(None)
    for step in range(4, 7):
        first.log_metrics({"loss": 99.0}, step)
    first.finalize("failed")
    time.sleep(1.1)  # event files are named after the second
    resumed = TensorBoardSink(str(tmp_path))
    resumed.rewind(position)
    assert resumed.position(None) == 3
    for step in range(4, 7):
        resumed.log_metrics({"loss": float(step)}, step)
    resumed.finalize("success")
    assert read_tensorboard(tmp_path).scalars["loss"] == [(step, float(step)) for step in range(7)]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / RUN_LOCK).mkdir()
    with pytest.raises(UserError, match="cannot write into the run's folder"), training_in(tmp_path):
        pass


def test_without_locks_a_warning_is_all(tmp_path, monkeypatch):
    def lockf(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "lockf", lockf)
    with pytest.warns(UserWarning, match="has no locks"), training_in(tmp_path):
        pass


@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_disk_that_is_full_when_a_run_is_tested_is_told(two_runs, monkeypatch, command):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the file")

    for writer in ("write_wav", "png_bytes"):
        monkeypatch.setattr(f"nablafx.training.callbacks.{writer}", full)
    (run,) = two_runs.glob("demo/lstm-32/smoke/version_0")
    done = nablafx(command, "-c", run / "config.yaml")
    assert done.status == 1
    assert "No space left on device (the file); make room" in done.err


def test_errors_of_callbacks_keep_their_cause(knobbed, tmp_path):
    import lightning.pytorch as pl

    class Broken(pl.Callback):
        def on_train_batch_end(self, *args):
            try:
                raise KeyError("the cause")
            except KeyError as error:
                raise ZeroDivisionError("the error") from error

    run = trainer(tmp_path, callbacks=[Broken()], max_steps=2)
    with pytest.raises(ZeroDivisionError, match="the error") as told:
        run.fit(system(), data(knobbed))
    assert isinstance(told.value.__cause__, KeyError)
