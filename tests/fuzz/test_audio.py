"""Audio files that are not what their headers say, as data of a fit and as input of `nablafx process`."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
import torch

from nablafx.data import PairedAudioDataModule
from nablafx.export import bundle
from nablafx.export.formats import Request

from ..data.layout import RATE, SEGMENT, noise, write_set
from ..export.made import audio, model
from .faults import damaged
from .harness import budget, search, told_by, told_by_command

LAYOUTS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16")}
OTHERS = {
    "rf64": ("RF64", "FLOAT"),
    "aiff": ("AIFF", "PCM_24"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
OTHERS |= {"w64": ("W64", "FLOAT"), "caf": ("CAF", "PCM_16"), "au": ("AU", "FLOAT"), "opus": ("OGG", "OPUS")}


def encoded(layout: str, samples: np.ndarray, rate: int = RATE) -> bytes:
    kind, subtype = (LAYOUTS | OTHERS)[layout]
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where resampled copies go."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bundled(tmp_path):
    torch.set_num_threads(1)
    path = tmp_path / "model.nablafx"
    bundle.write(model("lstm"), path, Request(None, None, audio()))
    return path


def set_up(dry, wet) -> None:
    data = PairedAudioDataModule(str(dry), str(wet), segment_length=SEGMENT, batch_size=4, sample_rate=RATE)
    data.setup("fit")
    for batch in data.train_dataloader():
        assert batch.x.isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
@budget(25, 3000)
def test_files_of_a_data_set(layout, cases, tmp_path):
    dry, wet = write_set(tmp_path, {"a": 8960, "b": 4720}, settings=())
    hurt = wet / "trainval" / f"b.target.{layout}"
    hurt.with_suffix(".wav").unlink()
    good = encoded(layout, noise(4720, 1) / 2)
    hurt.write_bytes(good)
    assert told_by(set_up, dry, wet) is None

    def check(content: bytes) -> None:
        hurt.write_bytes(content)
        told_by(set_up, dry, wet)

    search(cases, damaged(good, 64), check)


@pytest.mark.parametrize("layout", [*LAYOUTS, *OTHERS])
@budget(6, 1000)
def test_files_to_process(layout, cases, tmp_path, bundled):
    good = encoded(layout, noise(4800), 48_000)
    source, target = tmp_path / f"dry.{layout}", tmp_path / "wet.wav"
    words = ("process", bundled, source, target, "--overwrite")
    source.write_bytes(good)
    assert told_by_command(*words) is None

    def check(content: bytes) -> None:
        source.write_bytes(content)
        told_by_command(*words)

    search(cases, damaged(good, 100), check)


def riff(rate: int = 48_000, channels: int = 1, frames: int = 4800) -> bytes:
    """A 16-bit wav file, by hand: libraries write no such headers."""
    samples = (3000 * noise(frames * max(channels, 1))).astype("<i2").tobytes()
    about = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2 % 2**16, 16)
    chunks = b"fmt " + struct.pack("<I", len(about)) + about + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (riff(rate=1, frames=100_000), "says that it is at 1 Hz, and from 1000 to 1000000 Hz are read"),
        (riff(rate=2**31 - 1), "says that it is at 2147483647 Hz"),
        (riff(rate=0), "cannot be read"),
        (riff(channels=1024, frames=20), "has 1024 channels, and up to 64 are read"),
        (riff(channels=65535, frames=1), "cannot be read"),
    ],
)
def test_headers_that_would_size_memory(content, told, tmp_path, bundled):
    source = tmp_path / "dry.wav"
    source.write_bytes(content)
    assert told in (told_by_command("process", bundled, source, tmp_path / "wet.wav") or "")
    dry, wet = write_set(tmp_path, {"a": 8960}, settings=())
    (wet / "trainval" / "a.target.wav").write_bytes(content)
    assert told in (told_by(set_up, dry, wet) or "")


def test_a_flac_file_that_claims_more_than_it_has(tmp_path, bundled):
    """The number of samples has 36 bits in a header: 2^35 of them would take 128 GB."""
    content = bytearray(encoded("flac", noise(4800), 48_000))
    content[21] |= 8
    source = tmp_path / "dry.flac"
    source.write_bytes(content)
    assert soundfile.info(source).frames == 2**35 + 4800
    told = "psf_fseek() failed"  # where libsndfile finds its end before the samples do
    assert told in (told_by_command("process", bundled, source, tmp_path / "wet.wav") or "")
    export = ("export", bundled, "--format", "bundle", "--output", tmp_path / "out.nablafx", "--audio", source)
    assert told in (told_by_command(*export) or "")
    dry, wet = write_set(tmp_path, {"a": 4800}, settings=())
    (wet / "trainval" / "a.target.wav").unlink()
    (wet / "trainval" / "a.target.flac").write_bytes(content)
    assert told in (told_by(set_up, dry, wet) or "")
