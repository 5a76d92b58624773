"""What was measured is not measured again, unless the file or the checks have changed."""

from __future__ import annotations

import json
import os

import pytest

from nablafx.data import PairedAudioDataModule
from nablafx.data.inspection import cache, inspect
from nablafx.data.inspection.cache import Cache
from nablafx.data.inspection.inspect import inspect as measure
from tests.data.layout import LENGTHS, RATE, SEGMENT, noise, write, write_set


@pytest.fixture
def scans(monkeypatch):
    """The names of the files that are read through."""
    names = []
    whole = inspect.scan
    monkeypatch.setattr(inspect, "scan", lambda path, *rest: names.append(path.name) or whole(path, *rest))
    return names


@pytest.fixture
def couple(tmp_path):
    x = noise(4 * RATE)
    return write(tmp_path / "a.input.wav", x), write(tmp_path / "a.target.wav", -x / 2)


def test_figures_are_kept_as_they_were(couple, tmp_path, scans):
    first = measure([couple], None, Cache(tmp_path))
    assert sorted(scans) == ["a.input.wav", "a.target.wav"]
    second = measure([couple], None, Cache(tmp_path))
    assert len(scans) == 2
    assert second.files == first.files
    kept, made = second.pairs[couple], first.pairs[couple]
    assert (kept.delay, kept.inverted, kept.gain_db) == (made.delay, made.inverted, made.gain_db)
    assert [tuple(point) for point in kept.track] == made.track


def test_a_second_module_reads_no_audio(tmp_path, scans):
    dry, wet = write_set(tmp_path, LENGTHS)
    for _ in range(2):
        data = PairedAudioDataModule(str(dry), str(wet), segment_length=SEGMENT, sample_rate=RATE)
        data.setup("fit")
        assert len(scans) == 2 * len(LENGTHS)


def test_a_changed_file_and_its_pair_are_measured_again(couple, tmp_path, scans):
    measure([couple], None, Cache(tmp_path))
    write(couple[1], noise(4 * RATE, 7))
    os.utime(couple[1], ns=(1, 1))
    found = measure([couple], None, Cache(tmp_path))
    assert sorted(scans[2:]) == ["a.input.wav", "a.target.wav"]  # the pair asks for both
    assert found.pairs[couple].delay is None


def test_another_channel_and_another_version_are_measured(couple, tmp_path, scans, monkeypatch):
    measure([couple], None, Cache(tmp_path))
    measure([couple], 0, Cache(tmp_path))
    assert len(scans) == 4
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    measure([couple], None, Cache(tmp_path))
    assert len(scans) == 6


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[1]", b'{"version": 1, "entries": [1]}'])
def test_a_damaged_cache_counts_as_none(couple, tmp_path, scans, damage):
    measure([couple], None, Cache(tmp_path))
    (path,) = [one for one in cache.cache_folder("checks").iterdir() if one.name.startswith(tmp_path.name)]
    path.write_bytes(damage)
    measure([couple], None, Cache(tmp_path))
    assert len(scans) == 4
    assert json.loads(path.read_text())["version"] == cache.VERSION


@pytest.mark.parametrize("entry", [1, {}, {"rate": 3}, None])
def test_a_damaged_entry_counts_as_none(couple, tmp_path, scans, entry):
    measure([couple], None, Cache(tmp_path))
    (path,) = [one for one in cache.cache_folder("checks").iterdir() if one.name.startswith(tmp_path.name)]
    content = json.loads(path.read_text())
    content["entries"] = dict.fromkeys(content["entries"], entry)
    path.write_text(json.dumps(content))
    measure([couple], None, Cache(tmp_path))
    assert len(scans) == 4


def test_two_runs_at_once_keep_what_both_found(couple, tmp_path, scans):
    other = write(tmp_path / "b.wav", noise(RATE))
    one, two = Cache(tmp_path), Cache(tmp_path)
    measure([(couple[0], None)], None, one)
    two.get("", cache.FileFacts)
    measure([(other, None)], None, two)
    measure([(couple[0], None), (other, None)], None, Cache(tmp_path))
    assert sorted(scans) == ["a.input.wav", "b.wav"]


def test_a_cache_that_cannot_be_written_is_done_without(couple, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cache, "cache_folder", lambda _kind: tmp_path / "file" / "below")
    assert measure([couple], None, Cache(tmp_path)).pairs[couple].inverted


def test_what_is_gone_is_forgotten(couple, tmp_path):
    other = write(tmp_path / "b.wav", noise(RATE))
    measure([(other, None)], None, Cache(tmp_path))
    other.unlink()
    measure([couple], None, Cache(tmp_path))
    (path,) = [one for one in cache.cache_folder("checks").iterdir() if one.name.startswith(tmp_path.name)]
    assert not [key for key in json.loads(path.read_text())["entries"] if "b.wav" in key]
