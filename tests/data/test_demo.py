"""The made-up device is the same each time, passes every check, and its knobs do something."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import soundfile

from nablafx.data import PairedAudioDataModule, write_demo


def audio(path) -> np.ndarray:
    return soundfile.read(path)[0]


@pytest.mark.parametrize(("settings", "controls"), [((), None), (("D000_T020", "D100_T080"), ["D", "T"])])
def test_a_demo_is_a_data_set_without_a_complaint(tmp_path, settings, controls):
    dry, wet = write_demo(tmp_path, settings, seconds=2)
    data = PairedAudioDataModule(str(dry), str(wet), controls, segment_length=24_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for stage in ("fit", "test", "predict"):
            data.setup(stage)
    settings_count = max(len(settings), 1)
    assert len(data.test_dataloader()) == settings_count
    assert next(iter(data.test_dataloader())).x.shape == (1, 1, 96_000)
    assert data.excerpt(1).x.shape[0] == settings_count


def test_the_seed_decides_the_samples(tmp_path):
    one, again, other = (write_demo(tmp_path / str(index), (), 1, seed) for index, seed in enumerate((0, 0, 1)))
    for path in sorted(one.wet.rglob("*.wav")):
        same = again.wet / path.relative_to(one.wet)
        assert path.read_bytes() == same.read_bytes()
        assert not np.array_equal(audio(path), audio(other.wet / path.relative_to(one.wet)))


def test_the_device_is_causal_and_its_knobs_are_heard(tmp_path):
    settings = ("D000_T000", "D100_T000", "D000_T100")
    dry, wet = write_demo(tmp_path, settings, seconds=1)
    x = audio(dry / "trainval/riffs.input.wav")
    plain, driven, bright = (audio(wet / f"trainval/{name}/{name}.riffs.target.wav") for name in settings)

    def brightness(y: np.ndarray) -> float:
        return np.abs(np.diff(y)).mean() / np.abs(y).mean()

    assert np.abs(driven).mean() > 2 * np.abs(plain).mean()
    assert brightness(bright) > brightness(plain)
    assert len(x) == len(plain) == 48_000
    assert np.abs(x).max() <= 0.5
