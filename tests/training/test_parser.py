"""What the command line makes of settings of before: tested as it was, and no training by another schedule."""

from __future__ import annotations

import shutil

import pytest
import yaml

from ..cli import config, data_words, nablafx
from ..conftest import ROOT


@pytest.fixture
def old_run(two_runs, tmp_path):
    """A run whose config has the plateau as it was said once, its schedule and what is new left out."""
    folder = tmp_path / "version_0"
    shutil.copytree(two_runs / "demo/lstm-32/smoke/version_0", folder)
    content = yaml.safe_load((folder / "config.yaml").read_text())
    for name in ("schedule", "initialise"):
        del content["model"][name]
    content["model"] |= {"plateau_factor": 0.5, "plateau_patience": 20}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_runs_of_before_are_validated_rendered_and_processed(old_run, tmp_path):
    for command in ("validate", "predict"):
        done = nablafx(command, "-c", old_run / "config.yaml")
        assert done.status == 0, done.err
    assert list((old_run / "predictions").rglob("*.wav"))
    done = nablafx("export", old_run, "--format", "bundle", "--output", tmp_path / "model.nablafx")
    assert done.status == 0, done.err


def test_training_by_the_plateau_of_before_is_refused_with_what_to_write(old_run, knobless):
    again = nablafx("fit", "-c", old_run / "config.yaml")
    words = [*config(ROOT, "model/lstm/32", "trainer/smoke"), *data_words(knobless)]
    given = nablafx("fit", *words, "--model.plateau_patience", "3")
    assert (again.status, given.status) == (1, 1)
    assert "class_path: PlateauSchedule, init_args: {factor: 0.5, patience: 20}" in again.err
    assert "model.plateau_patience: the schedule is a class of its own now" in given.err
    cure = yaml.safe_load("model: " + given.err.split("place model: ")[1])
    assert cure == {"model": {"schedule": {"class_path": "PlateauSchedule", "init_args": {"patience": 3}}}}


def test_the_cure_is_taken(capsys):
    schedule = "{class_path: PlateauSchedule, init_args: {patience: 3}}"
    with pytest.raises(SystemExit) as ending:
        nablafx("fit", *config(ROOT, "data/demo-comp", "model/lstm/32"), "--model.schedule", schedule, "--print_config")
    assert ending.value.code == 0


def test_a_schedule_that_is_none_is_told_with_the_nearest():
    told = nablafx("fit", *config(ROOT, "data/demo-comp", "model/lstm/32"), "--model.schedule", "PlateauSchedul")
    assert told.status == 1
    assert "Did you mean 'PlateauSchedule'?" in told.err
