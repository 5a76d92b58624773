"""The data module in the hands of a trainer, a YAML file, a listener, and somebody whose files are wrong."""

from __future__ import annotations

import ast
import logging
import sys
import warnings

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule, Trainer

from nablafx.data import Batch, DataError, DataWarning, PairedAudioDataModule
from nablafx.data.audio import read
from nablafx.data.dataset import ClipBatch
from tests.data.layout import LENGTHS, RATE, SEGMENT, build, items, noise, write, write_set


def test_all_problems_come_in_one_error_before_training_and_again_until_they_are_mended(pair):
    dry, wet = pair
    bad = noise(8960)
    bad[5] = np.nan
    write(wet / "trainval/D050/D050.a.target.wav", bad)
    write(wet / "trainval/D050/D050.b.target.wav", noise(4700))
    write(dry / "trainval/c.input.wav", noise(100))
    data = PairedAudioDataModule(str(dry), str(wet), segment_length=SEGMENT, sample_rate=RATE)
    for _ in range(2):
        with pytest.raises(DataError) as error:
            data.setup("fit")
        assert "D050.a.target.wav\n  - has 1 NaN" in str(error.value)
        assert "D050.b.target.wav\n  - has 4700 samples" in str(error.value)
        assert "c.input.wav\n  - has no wet file" in str(error.value)
    write(wet / "trainval/D050/D050.a.target.wav", noise(8960))
    write(wet / "trainval/D050/D050.b.target.wav", noise(4720, 1))
    (dry / "trainval/c.input.wav").unlink()
    data.setup("fit")


def test_findings_are_said_once(pair):
    dry, wet = pair
    write(wet / "trainval/D050/D050.a.target.wav", -noise(8960))
    data = PairedAudioDataModule(str(dry), str(wet), segment_length=SEGMENT, sample_rate=RATE)
    with pytest.warns(DataWarning, match="D050.a.target.wav\n  - looks inverted"):
        data.setup("fit")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.setup("validate")
        data.setup("fit")


def test_a_file_shorter_than_a_segment_is_said_to_be_unused(tmp_path):
    dry, wet = write_set(tmp_path, {"a": 9000, "b": 3000})
    with pytest.warns(DataWarning, match=r"b.input.wav\n  - has 3000 samples, less than one segment \(3500\)"):
        data = build(dry, wet, segment_length=3500)
    assert {name.split(".")[1] for name, *_ in items(data.train_dataloader())} == {"a"}
    with pytest.raises(DataError, match="segment_length of 3500 or less"), pytest.warns(DataWarning):
        build(dry, wet, segment_length=3501)


def test_the_excerpt_is_held_out_audio_at_up_to_four_settings(tmp_path):
    settings = tuple(f"D{value:03}" for value in (0, 20, 40, 60, 80))
    dry, wet = write_set(tmp_path, LENGTHS, settings=settings)
    data = build(dry, wet, controls=["D"], context=200, val_fraction=0.3)
    whole = read(dry / "trainval/a.input.wav", 0, 0, 8960)
    short, long = data.excerpt(0.05), data.excerpt(60)
    assert short.x.shape == (4, 1, 400)
    assert long.x.shape == (4, 1, 2880)
    assert short.context == 0
    np.testing.assert_array_equal(long.x[3, 0].numpy(), whole[6080:])
    np.testing.assert_array_equal(short.x[0, 0].numpy(), whole[6080:6480])
    assert short.names == [f"{setting}.a.target@0.76s" for setting in ("D000", "D020", "D060", "D080")]
    torch.testing.assert_close(short.controls, torch.tensor([[0.0], [0.2], [0.6], [0.8]]))


def test_the_excerpt_of_a_device_without_controls_is_one_item(pair):
    data = PairedAudioDataModule(*map(str, pair), segment_length=SEGMENT, sample_rate=RATE)
    batch = data.excerpt(10)
    assert batch.x.shape == batch.y.shape == (1, 1, SEGMENT)
    assert batch.controls is None


@pytest.mark.parametrize(("seconds", "count", "length"), [(60, 22, 960), (1.2, 10, 960), (0.01, 1, 80)])
def test_training_audio_is_of_what_trains_evenly_and_bounded(tmp_path, seconds, count, length):
    """Of 9 settings with 4 segments each, of which 22 may be used."""
    settings = tuple(f"D{value:03}" for value in range(0, 90, 10))
    dry, wet = write_set(tmp_path, {"a": 8960}, settings=settings)
    data = build(dry, wet, controls=["D"], context=200, val_fraction=0.3, data_to_use=0.6)
    trains = {name: (x, y, knobs) for name, x, y, knobs in items(data.train_dataloader())}
    batch = data.training_audio(seconds)
    assert len(trains) == 22
    assert batch.x.shape == batch.y.shape == (count, 1, length)
    assert batch.context == 0
    assert len(set(batch.names)) == count
    for name, x, y, knobs in zip(batch.names, batch.x, batch.y, batch.controls, strict=True):
        for got, want in zip((x, y), trains[name], strict=False):
            torch.testing.assert_close(got, want[:, 200 : 200 + length], rtol=0, atol=0)
        torch.testing.assert_close(knobs, trains[name][2])
    assert len({name.split(".")[0] for name in batch.names}) >= min(count, 8)
    assert all(torch.equal(a, b) for a, b in zip(batch[:3], data.training_audio(seconds)[:3], strict=True))


def test_training_audio_of_a_device_without_controls(pair):
    batch = PairedAudioDataModule(*map(str, pair), segment_length=SEGMENT, sample_rate=RATE).training_audio(1)
    assert batch.x.shape == batch.y.shape == (8, 1, SEGMENT)
    assert batch.controls is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("segment_length", 0),
        ("context", -1),
        ("batch_size", 0),
        ("val_fraction", 1.0),
        ("data_to_use", 0),
        ("split", "x"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(pair, name, value):
    with pytest.raises(DataError, match=name):
        build(*pair, **{name: value})


class Listener(LightningModule):
    """Writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.heard: list[tuple[int, list[str]]] = []

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        self.heard.append((self.current_epoch, batch.names))
        assert batch.controls is not None
        return ((batch.y - self.weight * batch.x) ** 2).mean()

    def validation_step(self, batch: Batch, index: int) -> None:
        self.log("loss", (batch.x - batch.y).mean(), batch_size=len(batch.names))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("cache_on_device", [False, True])
def test_a_trainer_is_given_another_order_each_epoch_and_the_same_each_run(knobbed, tmp_path, cache_on_device):
    def run() -> list[tuple[int, list[str]]]:
        model = Listener()
        trainer = Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        dry, wet = map(str, knobbed)
        arguments = {"segment_length": SEGMENT, "sample_rate": RATE, "cache_on_device": cache_on_device}
        trainer.fit(model, datamodule=PairedAudioDataModule(dry, wet, ["D"], **arguments))
        return model.heard

    heard = run()
    assert heard == run()
    first, second = ([name for epoch, names in heard if epoch == which for name in names] for which in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("times", [0, 3.99, 4])
def test_audio_is_kept_on_an_accelerator_that_has_room_for_it(knobbed, tmp_path, monkeypatch, caplog, times):
    """A CPU stands in for one that has so many times the audio free; then other stages keep to it, whatever is free."""
    dry, wet = map(str, knobbed)
    data = PairedAudioDataModule(dry, wet, ["D"], segment_length=SEGMENT, sample_rate=RATE)
    data.setup("validate")
    dry_samples = sum({file["name"].split(".")[1]: file["frames"] for file in data.audio("trainval")}.values())
    needed = 4 * (dry_samples + sum(file["frames"] for file in data.audio("trainval")))
    data = PairedAudioDataModule(dry, wet, ["D"], segment_length=SEGMENT, sample_rate=RATE)
    monkeypatch.setattr("nablafx.data.datamodule.free_memory", lambda device: int(times * needed))
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        trainer.fit(Listener(), datamodule=data)
    told = [message for message in caplog.messages if "cache_on_device" in message]
    assert len(told) == (times > 0)
    assert all(("are kept on cpu" if times == 4 else "are not kept on cpu") in message for message in told)
    monkeypatch.setattr("nablafx.data.datamodule.free_memory", lambda device: 1)
    data.setup("test")
    loaders = (data.train_dataloader(), data.test_dataloader())
    assert {isinstance(next(iter(loader)), ClipBatch) for loader in loaders} == {times == 4}


@pytest.mark.parametrize(
    ("text", "controls"),
    [("[D, T]", ["D", "T"]), ("[0, 1]", [0, 1]), ("null", None), ("none", "none")],
)
def test_the_class_is_built_from_yaml(knobbed, text, controls):
    dry, wet = knobbed
    parser = ArgumentParser()
    parser.add_class_arguments(PairedAudioDataModule, "data")
    setting = "null" if isinstance(controls, list) else "D050_T050"
    source = f"data: {{dry: {dry}, wet: {wet}, controls: {text}, setting: {setting}, channel: 1}}"
    config = parser.parse_string(source)
    assert config.data.controls == controls
    assert config.data.channel == 1
    assert parser.instantiate(config).data.num_controls == (2 if isinstance(controls, list) else 0)


def test_the_room_imports_nothing_heavy_when_it_is_imported(root):
    """soxr and rich wait until they are needed; torch and lightning are the room's own ground."""
    light = {"soundfile", "numpy", "torch", "lightning", "nablafx"} | set(sys.stdlib_module_names)
    for path in (root / "nablafx/data").glob("*.py"):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Import):
                assert {alias.name.split(".")[0] for alias in statement.names} <= light, path
            elif isinstance(statement, ast.ImportFrom):
                assert statement.module.split(".")[0] in light, path
