"""Batches hold the samples that the files hold, the same however they are read, in an order seed and epoch decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nablafx.data import Batch, DataError, PairedAudioDataModule
from nablafx.data.audio import read, resampled
from nablafx.data.splits import GUARD_S
from tests.data.layout import LENGTHS, RATE, SEGMENT, SETTINGS, build, items, noise, start_of, write, write_set


def test_facts_are_known_from_names_alone(tmp_path):
    """The files are empty: opening one would fail."""
    for path in ("dry/trainval/a.wav", "wet/trainval/D000_T020/a.wav", "wet/trainval/D050_T050/a.wav"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    data = PairedAudioDataModule(str(tmp_path / "dry"), str(tmp_path / "wet"), ["T", 0], sample_rate=44100)
    assert (data.num_controls, data.control_names, data.sample_rate) == (2, ("T", "D"), 44100)
    one = PairedAudioDataModule(str(tmp_path / "dry"), str(tmp_path / "wet"), "none", "D000_T020")
    assert (one.num_controls, one.control_names) == (0, ())


@pytest.mark.parametrize("context", [0, 1, 700, 2500])
def test_items_are_the_samples_of_the_files_with_silence_before_the_start(pair, context):
    dry, _ = pair
    data = build(*pair, context=context)
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in loader:
            assert isinstance(batch, Batch)
            assert batch.context == context
            assert batch.controls is None
            assert batch.x.shape == batch.y.shape == (len(batch.names), 1, context + SEGMENT)
            assert batch.x.dtype == torch.float32
        for name, x, y, _ in items(loader):
            stem = name.split(".")[1]
            whole = read(dry / f"trainval/{stem}.input.wav", 0, 0, LENGTHS[stem])
            start = start_of(name)
            expected = np.pad(whole, (context, 0))[start : start + context + SEGMENT]
            np.testing.assert_array_equal(x[0].numpy(), expected)
            np.testing.assert_array_equal(y[0].numpy(), expected / 2)


@pytest.mark.parametrize("arguments", [{}, {"split": "file"}, {"val_fraction": 0.4}, {"context": 500}])
def test_what_trains_and_what_validates_keep_their_distance(knobbed, arguments):
    """In every dry file, over all settings; context is run and not scored, so it does not count."""
    data = build(*knobbed, controls=["D"], **arguments)
    train, val = items(data.train_dataloader()), items(data.val_dataloader())
    assert train
    assert val
    for name, *_ in val:
        for other, *_ in train:
            if name.split(".")[1] == other.split(".")[1]:
                assert data.split == "time"
                assert start_of(name) - (start_of(other) + SEGMENT) >= GUARD_S * RATE
    positions = {setting: {name[10:] for name, *_ in val if name.startswith(setting)} for setting in SETTINGS}
    assert positions["D000_T020"] == positions["D050_T050"] == positions["D100_T080"]


def test_the_split_is_the_same_whatever_the_order_of_the_files(tmp_path):
    names = [f"{index}" for index in range(8)]
    found = []
    for order in (names, names[::-1]):
        dry, wet = write_set(tmp_path / order[0], dict.fromkeys(order, 2500))
        data = build(dry, wet, split="file", val_fraction=0.3)
        found.append([name for name, *_ in items(data.val_dataloader())])
    assert found[0] == found[1]
    assert len({name.split(".")[1] for name in found[0]}) == 2


def test_controls_belong_to_their_settings(knobbed):
    data = build(*knobbed, controls=["T", "D"])
    found = items(data.train_dataloader()) + items(data.val_dataloader())
    expected = {"D000_T020": [0.2, 0.0], "D050_T050": [0.5, 0.5], "D100_T080": [0.8, 1.0]}
    for name, x, y, controls in found:
        setting = name[:9]
        torch.testing.assert_close(controls, torch.tensor(expected[setting]), rtol=0, atol=0)
        np.testing.assert_array_equal(y.numpy(), x.numpy() / np.float32(2 + SETTINGS.index(setting)))


@pytest.mark.parametrize(
    "how", [{"preload": True}, {"cache_on_device": True}, {"num_workers": 1}, {"preload": True, "num_workers": 1}]
)
@pytest.mark.parametrize("stage", ["train", "val", "test", "predict"])
def test_every_way_of_reading_gives_the_same_batches(knobbed, how, stage):
    def batches(**arguments) -> list[Batch]:
        setup = "fit" if stage in ("train", "val") else stage
        data = build(*knobbed, setup, controls=["D"], context=300, **arguments)
        return [data.on_after_batch_transfer(batch, 0) for batch in getattr(data, f"{stage}_dataloader")()]

    lazy, other = batches(), batches(**how)
    assert len(lazy) == len(other) > 0
    for one, two in zip(lazy, other, strict=True):
        assert (one.names, one.context) == (two.names, two.context)
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.controls, two.controls)
        assert (one.y is None) == (two.y is None) == (stage == "predict")
        assert one.y is None or torch.equal(one.y, two.y)


def test_a_fraction_of_the_data_is_spread_over_it(knobbed):
    whole = items(build(*knobbed, controls=["D"]).train_dataloader())
    half = items(build(*knobbed, controls=["D"], data_to_use=0.5).train_dataloader())
    one = items(build(*knobbed, controls=["D"], data_to_use=1e-6).train_dataloader())
    assert len(half) == round(len(whole) / 2)
    assert {name for name, *_ in half} < {name for name, *_ in whole}
    assert {name[:9] for name, *_ in half} == set(SETTINGS)
    assert len(one) == 1


def test_seed_and_epoch_alone_decide_the_order(pair):
    def order(epoch: int, seed: int, noise_seed: int) -> list[str]:
        torch.manual_seed(noise_seed)
        loader = build(*pair, seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)
        torch.rand(noise_seed)
        return [name for name, *_ in items(loader)]

    first = order(0, 0, 1)
    assert order(0, 0, 2) == first
    assert sorted(order(1, 0, 1)) == sorted(first)
    assert order(1, 0, 1) != first
    assert order(0, 7, 1) != first
    before = torch.get_rng_state()
    list(build(*pair).train_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_whole_files_are_tested_and_predicted(pair):
    dry, _ = pair
    data = build(*pair, "test", context=100)
    data.setup("predict")
    tested = list(data.test_dataloader())
    assert [batch.names for batch in tested] == [["D050.t.target"], ["D050.u.target"]]
    predicted = list(data.predict_dataloader())
    assert [batch.names for batch in predicted] == [["t.input"], ["u.input"]]
    for batch, again in zip(tested, predicted, strict=True):
        name = again.names[0]
        whole = read(dry / f"test/{name}.wav", 0, 0, batch.x.shape[-1])
        np.testing.assert_array_equal(batch.x[0, 0].numpy(), whole)
        np.testing.assert_array_equal(batch.y[0, 0].numpy(), whole / 2)
        assert torch.equal(again.x, batch.x)
        assert (batch.context, again.context, again.y) == (0, 0, None)


def test_predict_needs_no_wet_audio_and_runs_every_setting(knobbed):
    dry, wet = knobbed
    write(dry / "test/new.input.wav", noise(100))
    data = build(dry, wet, "predict", controls=["D"])
    found = [(batch.names[0], round(batch.controls.item(), 6)) for batch in data.predict_dataloader()]
    assert found == [
        (f"{setting}/{name}.input", value)
        for setting, value in zip(SETTINGS, (0.0, 0.5, 1.0), strict=True)
        for name in ("new", "t")
    ]


def test_other_rates_are_resampled(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dry, wet = write_set(tmp_path, {"a": 8960})
    data = build(dry, wet, sample_rate=2 * RATE)
    whole = read(resampled(dry / "trainval/a.input.wav", 2 * RATE), 0, 0, 17920)
    for name, x, _, _ in items(data.train_dataloader()):
        start = round(float(name.split("@")[1][:-1]) * 2 * RATE)
        np.testing.assert_array_equal(x[0].numpy(), whole[start : start + SEGMENT])


def test_one_channel_of_several_is_used_as_named(tmp_path):
    left, right = noise(4960, 1), noise(4960, 2)
    write(tmp_path / "dry/trainval/a.wav", np.stack([left, right], axis=1))
    write(tmp_path / "wet/trainval/a.wav", np.stack([left / 2, right / 4], axis=1))
    with pytest.raises(DataError, match="channel: left"):
        build(tmp_path / "dry", tmp_path / "wet")
    data = build(tmp_path / "dry", tmp_path / "wet", channel="right")
    for name, x, y, _ in items(data.val_dataloader()):
        expected = right[start_of(name) :][:SEGMENT]
        np.testing.assert_array_equal(x[0].numpy(), expected)
        np.testing.assert_array_equal(y[0].numpy(), expected / 4)
