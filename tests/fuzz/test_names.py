"""Names of files, runs and data that lead elsewhere, are no text, or have no end."""

from __future__ import annotations

import os

import pytest
from hypothesis import strategies as st

from nablafx.data import PairedAudioDataModule

from ..data.layout import RATE, SEGMENT, noise, write, write_set
from .harness import budget, search, told_by

NAMES = st.text(min_size=1, max_size=120) | st.sampled_from(
    [
        "-x",
        "--help",
        ".hidden",
        "a\nb",
        "[/bold]",
        "CON",
        "a.input",
        "x" * 240,
        "é",
        "e\u0301",
        " ",
        "\udcff",
        "%s",
        "~",
        "$HOME",
    ]
)


@budget(25, 2000)
def test_names_of_recordings(cases, tmp_path):
    dry, wet = write_set(tmp_path, {"a": 8960, "b": 4720}, settings=())
    source = write(tmp_path / "x.wav", noise(4720))

    def set_up() -> None:
        data = PairedAudioDataModule(str(dry), str(wet), segment_length=SEGMENT, batch_size=4, sample_rate=RATE)
        data.setup("fit")

    def check(name: str) -> None:
        made = []
        try:
            for folder, role in ((dry, "input"), (wet, "target")):
                path = folder / "trainval" / f"{name}.{role}.wav"
                if path.parent != folder / "trainval":
                    return
                os.link(source, path)
                made.append(path)
        except (OSError, ValueError):
            # no file system takes it
            pass
        else:
            told_by(set_up)
        finally:
            for path in made:
                path.unlink()

    search(cases, NAMES, check)


def test_a_loop_of_links(tmp_path):
    dry, wet = write_set(tmp_path, {"a": 8960}, settings=())
    (wet / "trainval" / "b.target.wav").symlink_to(wet / "trainval" / "b.target.wav")
    (dry / "trainval" / "b.input.wav").symlink_to(dry / "trainval" / "b.input.wav")
    data = PairedAudioDataModule(str(dry), str(wet), segment_length=SEGMENT, batch_size=4, sample_rate=RATE)
    assert "cannot be read" in (told_by(data.setup, "fit") or "")


@pytest.mark.parametrize("name", ["../../x", "/x", "a/../../../b", "..", "a\0b", "x" * 300, "", "."])
def test_names_of_runs_stay_below_the_root(name, tmp_path):
    from nablafx.training.runs import new_folder

    root = tmp_path / "logs"
    made: list = []
    told = told_by(lambda: made.append(new_folder(root, name)))
    assert told or root.resolve() in made[0].resolve().parents
    assert set(os.listdir(tmp_path)) <= {"logs"}
