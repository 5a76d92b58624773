"""Data sets appear whole, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from nablafx.errors import UserError
from nablafx.recording.writing import audio_writer, write_files


def full_disk(path):
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_nothing(tmp_path):
    there = {"a/one.wav": audio_writer(np.ones(10), 8000, "FLOAT")}
    write_files(tmp_path, there, overwrite=False)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="No space left"):
        write_files(tmp_path, {"a/two.wav": audio_writer(np.ones(5), 8000, "FLOAT"), "b/three.wav": full_disk}, False)
    assert sorted(tmp_path.rglob("*")) == before


def test_only_what_differs_is_written_and_only_when_asked(tmp_path):
    ones = {"x.wav": audio_writer(np.ones(10), 8000, "FLOAT"), "x.yaml": lambda path: path.write_text("a: 1")}
    assert write_files(tmp_path, ones, overwrite=False) == ["x.wav", "x.yaml"]
    assert write_files(tmp_path, ones, overwrite=False) == []
    halves = {"new.wav": ones["x.wav"], "x.wav": audio_writer(np.full(10, 0.5), 8000, "FLOAT")}
    with pytest.raises(UserError, match="--overwrite"):
        write_files(tmp_path, halves, overwrite=False)
    assert not (tmp_path / "new.wav").exists()
    assert write_files(tmp_path, halves, overwrite=True) == ["new.wav", "x.wav"]
    np.testing.assert_array_equal(soundfile.read(tmp_path / "x.wav")[0], np.full(10, 0.5))
