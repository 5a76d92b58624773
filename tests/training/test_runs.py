"""Names and folders of runs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nablafx.errors import UserError
from nablafx.training import runs
from nablafx.training.runs import (
    checkpoint,
    folder_beside,
    folder_of,
    group_of,
    latest_folder,
    new_folder,
    run_name,
    tags_of,
)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """What other runs of this process left in the environment, and what these leave, is gone afterwards."""
    monkeypatch.setenv("NABLAFX_RUN_FOLDER", "")
    monkeypatch.delenv("LOCAL_RANK", raising=False)


NAMES = {
    "ts9/tcn-250-l+tfilm/blackbox": [
        "cfg/data/ts9.yaml",
        "cfg/model/tcn/250-l.yaml",
        "cfg/model/with/tfilm.yaml",
        "cfg/trainer/blackbox.yaml",
    ],
    # in any order
    "ts9/lstm-32/tbptt": ["cfg/trainer/tbptt.yaml", "cfg/model/lstm/32.yaml", "cfg/data/ts9.yaml"],
    # a logger does not count
    "ts9/smoke": ["cfg/data/ts9.yaml", "cfg/trainer/logger/wandb.yaml", "cfg/trainer/smoke.yaml"],
    "ts9/tcn-45-s+l1/smoke": [
        "cfg/data/ts9.yaml",
        "cfg/model/tcn/45-s.yaml",
        "cfg/loss/l1.yaml",
        "cfg/trainer/smoke.yaml",
    ],
    "graybox-fuzz": ["/home/me/nablafx/cfg/model/graybox/fuzz.yaml"],
    # folders above cfg/ are nobody's business
    "ts9/s4-l": ["/data/model/cfg/data/ts9.yaml", "/trainer/cfg/model/s4/l.yaml"],
    # two of a kind
    "ts9/smoke+fast": ["cfg/data/ts9.yaml", "cfg/trainer/smoke.yaml", "cfg/trainer/fast.yaml"],
    "my-amp--v2-": ["cfg/data/my amp (v2).yaml"],
    "ts9.v1_2": ["cfg/data/ts9.v1_2.yaml"],
    "run": [],
}


@pytest.mark.parametrize("name", NAMES)
def test_names_come_from_the_paths(name):
    assert run_name(NAMES[name]) == name
    assert run_name([Path(file) for file in NAMES[name]]) == name


def test_files_elsewhere_are_what_their_one_section_says(tmp_path):
    contents = {
        "pedal.yaml": "data: {dry: here}",
        "net.yaml": "model: {lr: 0.1}",
        "fast.yaml": "trainer: {max_epochs: 1}",
        "all.yaml": "data: {dry: here}\nmodel: {lr: 0.1}",
        "odd.yaml": "- 1",
        "empty.yaml": "",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    given = {name.removesuffix(".yaml"): tmp_path / name for name in contents}
    assert run_name([given["net"], given["fast"], given["pedal"]]) == "pedal/net/fast"
    assert run_name(["cfg/data/ts9.yaml", given["net"]]) == "ts9/net"
    # what says all has its own name only where it is alone
    assert run_name([given["all"]]) == "all"
    assert run_name([given["odd"], given["empty"]]) == "odd+empty"
    assert run_name([tmp_path / "missing.yaml"]) == "missing"


def test_names_stay_inside_the_logs():
    for file in ("cfg/data/../../etc.yaml", "cfg/model/a/b c:d\\e.yaml", "/etc/passwd"):
        parts = run_name([file]).split("/")
        assert all(part and part not in (".", "..") and "\\" not in part for part in parts)


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/tmp/out", "a\0b"])
def test_a_name_does_not_lead_out_of_the_logs(tmp_path, name):
    """It may stand in a config of somebody else."""
    for folder in (new_folder, latest_folder):
        with pytest.raises(UserError, match="leads out of"):
            folder(tmp_path / "logs", name)
    assert list(tmp_path.iterdir()) == []


def test_versions_count_up(tmp_path):
    made = [new_folder(tmp_path / "logs", "ts9/tcn") for _ in range(3)]
    assert made == [tmp_path / "logs" / "ts9" / "tcn" / f"version_{n}" for n in range(3)]
    assert all(folder.is_dir() for folder in made)
    assert new_folder(tmp_path / "logs", "ts9/lstm").name == "version_0"


def test_versions_go_on_after_the_highest(tmp_path):
    """By number and not by letter; what only looks like a version is not one."""
    for name in ("version_2", "version_10", "version_x", "version_11_old", "versions"):
        (tmp_path / "run" / name).mkdir(parents=True)
    assert new_folder(tmp_path, "run").name == "version_11"


def test_a_version_that_is_a_file_is_passed_over(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "version_0").write_text("")
    assert new_folder(tmp_path, "run").name == "version_1"


def test_threads_never_share_a_folder(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_folder(tmp_path, "run"), range(64)))
    assert {folder.name for folder in made} == {f"version_{n}" for n in range(64)}


def test_processes_never_share_a_folder(tmp_path):
    """All begin at once, and each claims twenty-five folders."""
    code = (
        "import sys, pathlib, time; from nablafx.training.runs import new_folder\n"
        "root, me = map(pathlib.Path, sys.argv[1:]); me.touch()\n"
        "while len(list(root.glob('ready-*'))) < 3: time.sleep(0.001)\n"
        "for _ in range(25): print(new_folder(root, 'run').name)"
    )
    words = [[sys.executable, "-c", code, tmp_path, tmp_path / f"ready-{n}"] for n in range(3)]
    processes = [subprocess.Popen(w, stdout=subprocess.PIPE, text=True) for w in words]
    names = [name for process in processes for name in process.communicate(timeout=60)[0].split()]
    assert all(process.returncode == 0 for process in processes)
    assert sorted(names) == sorted(f"version_{n}" for n in range(75))


def test_further_ranks_write_where_the_first_does(tmp_path, monkeypatch):
    first = new_folder(tmp_path, "run")
    assert new_folder(tmp_path, "run") != first, "a second run of the process has its own"
    own = new_folder(tmp_path, "run")
    monkeypatch.setenv("NABLAFX_RUN_FOLDER", str(own))  # by the command
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert new_folder(tmp_path, "run") == own
    monkeypatch.delenv("NABLAFX_RUN_FOLDER")
    assert new_folder(tmp_path, "run").name == "version_3"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot make the run's folder .*file.*set LOG_ROOT or --log_root"):
        new_folder(tmp_path / "file", "run")


def with_checkpoints(folder: Path, *names: str) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    for name in names:
        (folder / "checkpoints" / name).touch()
    return folder


def test_latest_is_the_newest_that_holds_a_checkpoint(tmp_path):
    with_checkpoints(tmp_path / "run" / "version_2", "last.ckpt")
    newest = with_checkpoints(tmp_path / "run" / "version_10", "last.ckpt")
    with_checkpoints(tmp_path / "run" / "version_11")
    (tmp_path / "run" / "version_12").mkdir()
    assert latest_folder(tmp_path, "run") == newest


def test_no_run_with_a_checkpoint_is_told(tmp_path):
    message = r"there is no run with a checkpoint in .*run; train one with nablafx fit .* --ckpt_path FILE.ckpt"
    with pytest.raises(UserError, match=message):
        latest_folder(tmp_path, "run")
    with_checkpoints(tmp_path / "run" / "version_0")
    with pytest.raises(UserError, match=message):
        latest_folder(tmp_path, "run")


@pytest.mark.parametrize(
    ("there", "asked", "found"),
    [
        (("best.ckpt", "last.ckpt"), "best", "best.ckpt"),
        (("best.ckpt", "last.ckpt"), "last", "last.ckpt"),
        (("last.ckpt",), "best", "last.ckpt"),
        (("best.ckpt",), "last", "best.ckpt"),
    ],
)
def test_checkpoint(tmp_path, there, asked, found):
    folder = with_checkpoints(tmp_path / "version_0", *there)
    assert checkpoint(folder, asked) == folder / "checkpoints" / found


def test_checkpoints_of_other_names_alone_are_told(tmp_path):
    folder = with_checkpoints(tmp_path / "version_0", "epoch-3.ckpt")
    with pytest.raises(UserError, match=r"neither best nor last .*epoch-3.ckpt"):
        checkpoint(folder, "best")


def test_folder_of_a_checkpoint(tmp_path, monkeypatch):
    assert folder_of(tmp_path / "version_0" / "checkpoints" / "best.ckpt") == tmp_path / "version_0"
    assert folder_of(tmp_path / "elsewhere" / "mine.ckpt") == tmp_path / "elsewhere"
    monkeypatch.chdir(with_checkpoints(tmp_path / "version_0", "best.ckpt") / runs.CHECKPOINTS)
    assert folder_of(Path("best.ckpt")) == tmp_path / "version_0"


def test_folder_beside_a_resolved_config(tmp_path):
    run = with_checkpoints(tmp_path / "version_0", "best.ckpt")
    bare = with_checkpoints(tmp_path / "version_1")
    assert folder_beside([run / "config.yaml"]) == run
    assert folder_beside([str(bare / "config.yaml"), str(run / "config.yaml")]) == run
    assert folder_beside([run / "other.yaml"]) is None
    assert folder_beside([]) is None


@pytest.mark.parametrize(
    ("name", "group", "tags"),
    [
        ("ts9/tcn-45-s+tfilm/blackbox", "ts9/tcn-45-s+tfilm", ["ts9", "tcn-45-s", "tfilm", "blackbox"]),
        ("ts9/lstm-32", None, ["ts9", "lstm-32"]),
        ("alone", None, ["alone"]),
    ],
)
def test_group_and_tags_of_a_name(name, group, tags):
    assert group_of(name) == group
    assert tags_of(name) == tags
