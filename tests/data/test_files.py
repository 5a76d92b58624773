"""Every layout gives the pairs a person would see in it; what has no partner is named."""

from __future__ import annotations

import pytest

from nablafx.data import DataError
from nablafx.data.errors import Report
from nablafx.data.files import PairedFolders, resolve_folder
from tests.data.layout import noise, write, write_set

LENGTHS = {"a": 10, "b": 10}


def names(folders: PairedFolders, part: str) -> list[tuple[str, str]]:
    report = Report()
    pairs = folders.pairs(part, report)
    report.settle()
    return [(pair.dry.name, pair.name) for pair in pairs]


def problems(folders: PairedFolders, part: str = "trainval") -> str:
    report = Report()
    folders.pairs(part, report)
    with pytest.raises(DataError) as error:
        report.settle()
    return str(error.value)


def test_one_setting_is_a_device_without_controls(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS, {"t": 10})
    folders = PairedFolders(str(dry), str(wet), None, None)
    assert folders.control_names == ()
    assert names(folders, "trainval") == [("a.input.wav", "D050.a.target"), ("b.input.wav", "D050.b.target")]
    assert [pair.name for pair in folders.renders(Report())] == ["t.input"]


def test_several_settings_need_controls_or_a_setting(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS, {"t": 10}, settings=("D000_T020", "D100_T080"))
    with pytest.raises(DataError, match=r"D000_T020, D100_T080.*controls: \[D, T\].*setting: D000_T020"):
        PairedFolders(str(dry), str(wet), None, None)
    one = PairedFolders(str(dry), str(wet), None, "D100_T080")
    assert names(one, "test") == [("t.input.wav", "D100_T080.t.target")]
    assert one.control_names == ()
    all_of_them = PairedFolders(str(dry), str(wet), ["T"], None)
    report = Report()
    assert [pair.controls for pair in all_of_them.pairs("trainval", report)] == [(0.2,), (0.2,), (0.8,), (0.8,)]
    renders = all_of_them.renders(report)
    assert [(pair.name, pair.controls) for pair in renders] == [
        ("D000_T020/t.input", (0.2,)),
        ("D100_T080/t.input", (0.8,)),
    ]


def test_test_may_hold_settings_that_trainval_lacks(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS, {"t": 10}, settings=("D000", "D100"))
    write(wet / "test/D045/D045.t.target.wav", noise(10))
    report = Report()
    pairs = PairedFolders(str(dry), str(wet), ["D"], None).pairs("test", report)
    assert [pair.controls for pair in pairs] == [(0.0,), (0.45,), (1.0,)]
    report.settle()


def test_flat_folders_pair_by_name_with_and_without_roles(tmp_path):
    for name in ("a.target.wav", "b.flac"):
        write(tmp_path / "wet/trainval" / name, noise(10), subtype="PCM_16")
    for name in ("a.wav", "b.input.flac", ".hidden.wav", "notes.txt.target.wav"):
        write(tmp_path / "dry/trainval" / name, noise(10), subtype="PCM_16")
    folders = PairedFolders(str(tmp_path / "dry"), str(tmp_path / "wet"), None, None)
    assert names(folders, "trainval") == [("a.wav", "a.target"), ("b.input.flac", "b")]


def test_dry_and_wet_may_share_a_flat_folder(tmp_path):
    for name in ("a.input.wav", "a.target.wav"):
        write(tmp_path / "trainval" / name, noise(10))
    folders = PairedFolders(str(tmp_path), str(tmp_path), None, None)
    assert names(folders, "trainval") == [("a.input.wav", "a.target")]


def test_wet_may_point_straight_at_a_setting(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS, {"t": 10}, settings=("D000", "D100"))
    folders = PairedFolders(str(dry), str(wet / "trainval/D100"), None, None)
    assert names(folders, "test") == [("t.input.wav", "D100.t.target")]


def test_settings_may_lie_below_trainval_only(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS)
    write(dry / "test/t.input.wav", noise(10))
    write(wet / "test/D050.t.target.wav", noise(10))
    folders = PairedFolders(str(dry), str(wet), None, None)
    assert names(folders, "test") == [("t.input.wav", "D050.t.target")]


def test_files_without_their_settings_in_the_name_get_names_that_differ(tmp_path):
    write(tmp_path / "dry/trainval/a.wav", noise(10))
    for setting in ("D000", "D100"):
        write(tmp_path / f"wet/trainval/{setting}/a.wav", noise(10))
    folders = PairedFolders(str(tmp_path / "dry"), str(tmp_path / "wet"), ["D"], None)
    assert [name for _, name in names(folders, "trainval")] == ["D000.a", "D100.a"]


def test_every_file_without_a_partner_is_in_one_error(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS)
    write(dry / "trainval/alone.input.wav", noise(10))
    write(wet / "trainval/D050/D050.aa.target.wav", noise(10))
    write(wet / "trainval/D050/D090.a.target.wav", noise(10))
    text = problems(PairedFolders(str(dry), str(wet), None, None))
    assert "alone.input.wav\n  - has no wet file alone.target.wav" in text
    assert "D050.aa.target.wav\n  - has no dry file aa.input.wav" in text
    assert "D090.a.target.wav\n  - has no dry file D090.a.input.wav" in text
    assert "add it, or remove this one" in text


def test_a_wet_file_missing_at_one_setting_is_only_said(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS, settings=("D000", "D100"))
    (wet / "trainval/D100/D100.b.target.wav").unlink()
    report = Report()
    pairs = PairedFolders(str(dry), str(wet), ["D"], None).pairs("trainval", report)
    assert [pair.name for pair in pairs] == ["D000.a.target", "D000.b.target", "D100.a.target"]
    with pytest.warns(UserWarning, match=r"b.input.wav\n  - has no wet file at D100"):
        report.settle()


def test_one_name_in_two_formats_is_a_problem(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS)
    write(dry / "trainval/a.input.flac", noise(10), subtype="PCM_16")
    assert "same name as a.input.flac beside it: remove one" in problems(PairedFolders(str(dry), str(wet), None, None))


def test_a_part_that_is_not_there_is_a_problem(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS)
    text = problems(PairedFolders(str(dry), str(wet), None, None), "test")
    assert f"{dry / 'test'}\n  - holds no dry .wav or .flac files" in text
    assert f"{wet / 'test'}\n  - holds no wet files, and a folder D050 is needed" in text


@pytest.mark.parametrize(
    ("controls", "setting", "words"),
    [
        (None, "D05", "there is no D05 in .*did you mean D050"),
        (["X"], None, "unknown knob 'X'"),
    ],
)
def test_wrong_names_are_answered_with_the_right_ones(tmp_path, controls, setting, words):
    dry, wet = write_set(tmp_path, LENGTHS)
    with pytest.raises(DataError, match=words):
        PairedFolders(str(dry), str(wet), controls, setting)


def test_controls_of_flat_folders_and_mixed_folders_are_refused(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS, settings=())
    with pytest.raises(DataError, match="leave controls out"):
        PairedFolders(str(dry), str(wet), ["D"], None)
    write(wet / "trainval/D050/D050.a.target.wav", noise(10))
    with pytest.raises(DataError, match="both settings folders"):
        PairedFolders(str(dry), str(wet), None, None)


def test_folders_are_found_absolute_below_data_root_and_below_the_current_directory(tmp_path, monkeypatch):
    (tmp_path / "root/set").mkdir(parents=True)
    (tmp_path / "here/set").mkdir(parents=True)
    (tmp_path / "here/other").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert resolve_folder(str(tmp_path / "root"), "dry") == tmp_path / "root"
    assert resolve_folder("set", "dry") == tmp_path / "here/set"
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "root"))
    assert resolve_folder("set", "dry") == tmp_path / "root/set"
    assert resolve_folder("other", "dry") == tmp_path / "here/other"
    with pytest.raises(DataError) as error:
        resolve_folder("nowhere", "wet")
    for place in ("root/nowhere", "here/nowhere"):
        assert str(tmp_path / place) in str(error.value)


def test_a_wet_folder_without_parts_is_refused(tmp_path):
    with pytest.raises(DataError, match="neither trainval/ nor test/"):
        PairedFolders(str(tmp_path), str(tmp_path), None, None)


def test_controls_at_one_setting_and_a_folder_that_contradicts_the_setting(tmp_path):
    dry, wet = write_set(tmp_path, LENGTHS, settings=("D000", "D100"))
    report = Report()
    pairs = PairedFolders(str(dry), str(wet), ["D"], "D100").pairs("trainval", report)
    assert [pair.controls for pair in pairs] == [(1.0,), (1.0,)]
    report.settle()
    with pytest.raises(DataError, match="wet points straight at D000: drop one of the two"):
        PairedFolders(str(dry), str(wet / "trainval/D000"), None, "D100")
