"""What is read is what was written, at every bit depth, any stretch, any rate."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from nablafx.data.audio import FileStore, MemoryStore, Track, choose_channel, read, resampled, track
from tests.data.layout import noise, write

FORMATS = [(".wav", bits) for bits in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")]
FORMATS += [(".flac", bits) for bits in ("PCM_16", "PCM_24")]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
def test_formats_are_read_to_their_bit_depth(tmp_path, suffix, subtype):
    audio = noise(1000)
    path = write(tmp_path / f"a{suffix}", audio, subtype=subtype)
    step = {"PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-24, "FLOAT": 0, "DOUBLE": 0}[subtype]
    assert np.abs(read(path, 0, 0, 1000) - audio).max() <= step


def test_full_scale_integers_are_exact(tmp_path):
    """A 16-bit code c is read as c / 32768."""
    codes = np.array([-32768, -1, 0, 1, 32767], dtype=np.int16)
    path = write(tmp_path / "a.wav", codes, subtype="PCM_16")
    assert read(path, 0, 0, 5).tolist() == (codes / 32768).tolist()


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_any_stretch_of_any_channel_from_file_and_from_memory(tmp_path, suffix):
    audio = np.stack([noise(5000, 1), noise(5000, 2)], axis=1)
    path = write(tmp_path / f"a{suffix}", audio, subtype="PCM_24")
    memory = MemoryStore(torch.device("cpu"))
    for channel in (0, 1):
        source = Track(path, channel, 5000)
        memory.load(source)
        for start, stop in [(0, 5000), (0, 1), (4095, 4097), (4321, 5000)]:
            piece = FileStore().span(source, start, stop)
            assert piece.dtype == torch.float32
            assert np.abs(piece.numpy() - audio[start:stop, channel]).max() < 2e-7
            assert torch.equal(piece, memory.span(source, start, stop))


@pytest.mark.parametrize(
    ("channels", "channel", "index"),
    [(1, None, 0), (1, "right", 0), (2, "left", 0), (2, "right", 1), (4, 3, 3)],
)
def test_channels_by_name_and_index(channels, channel, index):
    assert choose_channel(channels, channel) == index


@pytest.mark.parametrize(("channels", "channel", "fix"), [(2, None, "channel: left"), (2, 2, "from 0 to 1")])
def test_a_channel_that_is_not_named_or_not_there_is_refused(channels, channel, fix):
    with pytest.raises(ValueError, match=fix):
        choose_channel(channels, channel)


def test_resampling_agrees_with_scipy_and_keeps_channels(tmp_path):
    """Band-limited noise, so that the two filters' edges near Nyquist do not matter."""
    low = scipy.signal.sosfilt(scipy.signal.butter(8, 0.5, output="sos"), noise(44100))
    path = write(tmp_path / "a.wav", np.stack([low, -low], axis=1), rate=44100)
    audio, rate = soundfile.read(resampled(path, 48000))
    assert rate == 48000
    assert audio.shape == (48000, 2)
    np.testing.assert_array_equal(audio[:, 0], -audio[:, 1])
    expected = scipy.signal.resample_poly(low, 160, 147, window=("kaiser", 12.0))
    assert np.abs(audio[500:-500, 0] - expected[500:-500]).max() < 1e-3 * np.abs(expected).max()


def test_a_copy_is_made_once_and_anew_when_the_file_changes(tmp_path):
    path = write(tmp_path / "a.wav", noise(4410), rate=44100)
    copy = resampled(path, 48000)
    made = copy.stat().st_mtime_ns
    assert resampled(path, 48000) == copy
    assert copy.stat().st_mtime_ns == made
    assert resampled(path, 22050) != copy
    write(path, noise(8820), rate=44100)
    other = resampled(path, 48000)
    assert other != copy
    assert soundfile.info(other).frames == 9600


def test_a_stopped_resampling_leaves_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(4410), rate=44100)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nablafx.data.audio._resample", stop)
    with pytest.raises(KeyboardInterrupt):
        resampled(path, 48000)
    assert list((tmp_path / "cache/nablafx/resampled").iterdir()) == []


def test_a_file_at_the_right_rate_is_read_in_place(tmp_path):
    path = write(tmp_path / "a.wav", noise(100), rate=48000)
    assert track(path, 0, 48000) == Track(path, 0, 100)
    assert track(path, 0, 24000).frames == 50
