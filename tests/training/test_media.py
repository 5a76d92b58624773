"""Audio, figures and norms of real runs: what is logged is what the model does; and the same by `nablafx plot`."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile
import torch

from nablafx.errors import UserError
from nablafx.training.controls import controls_of
from nablafx.training.figures import FIGURES
from nablafx.training.load import load
from nablafx.training.media import NormsCallback
from nablafx.training.plot import read_history
from tests.cli import config, data_words, nablafx
from tests.conftest import ROOT

LAST = "step-000002"
pytestmark = pytest.mark.xdist_group("media")


@pytest.fixture(scope="module")
def chain(knobbed, tmp_path_factory):
    """The folder of a gray box trained two steps on a device with knobs, with all that can be logged."""
    folder = tmp_path_factory.mktemp("chain")
    words = [*config(ROOT, "model/graybox/fuzz-rnl-cond", "trainer/smoke"), *data_words(knobbed, controls="[D, T]")]
    words += ["--media.figures", f"[{', '.join(FIGURES)}]", "--media.max_seconds", "0.1", "--log_root", folder]
    words += ["--trainer.callbacks+", "NormsCallback", "--trainer.callbacks.log_norms_every_n_steps", "1"]
    done = nablafx("fit", *words)
    assert done.status == 0, done.err
    (run,) = folder.rglob("version_0")
    return run


def first(run, kind, step):
    path = sorted((run / "audio" / kind).rglob(f"{step}.wav"))[0]
    return soundfile.read(path, dtype="float32")[0]


def test_audio_is_that_of_the_model_and_of_its_stages(chain):
    loaded = load(chain, "last")
    assert loaded.control_names == ("D", "T")
    x, y = first(chain, "input", "step-000000"), first(chain, "target", "step-000000")
    prediction, difference = first(chain, "prediction", LAST), first(chain, "difference", LAST)
    np.testing.assert_array_equal(difference, y - prediction)
    knobs = torch.tensor([[0.2, 0.5]])
    expected = loaded.system.render(torch.from_numpy(x).view(1, 1, -1), knobs)[0, 0].numpy()
    np.testing.assert_allclose(prediction, expected, rtol=1e-5, atol=1e-6)
    stages = {path.name for path in (chain / "audio/stage").iterdir()}
    assert stages == set(loaded.system.effect.links)
    np.testing.assert_allclose(first(chain, "stage/lowpass", LAST), prediction, rtol=1e-5, atol=1e-6)


def test_every_figure_is_logged(chain):
    assert {path.parent.name for path in (chain / "figures").rglob(f"{LAST}.png")} == set(FIGURES)


def test_norms_are_logged_for_each_part(chain):
    history = read_history(chain / "history.csv")
    parts = {key.rpartition("/")[2] for key in history if key.startswith("norms/gradient/")}
    assert parts == {
        "all",
        *(f"stages.{n}" for n in ("pre_eq", "drive", "offset", "nonlinearity", "gain", "post_eq", "lowpass")),
    }
    squares = sum(history[f"norms/gradient/{part}"][0][1] ** 2 for part in parts - {"all"})
    assert history["norms/gradient/all"][0][1] == pytest.approx(squares**0.5, rel=1e-5)
    assert [step for step, _ in history["norms/parameter/all"]] == [0, 1]
    with pytest.raises(ValueError, match="it needs 1 or more"):
        NormsCallback(0)


def test_figures_come_from_a_checkpoint(chain, tmp_path):
    told = nablafx("plot", chain, "--output", tmp_path / "plots")
    assert told.status == 0, told.err
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {*FIGURES, "history", "parameters"}
    # at other knobs there is no wet audio to compare with
    other = nablafx(
        "plot",
        chain / "checkpoints/last.ckpt",
        "--controls",
        "D=1",
        "--figures",
        "comparison,curve,parameters",
        "--dark",
    )
    assert other.status == 0, other.err
    assert "No comparison: it needs wet audio at this setting of the knobs" in other.out
    assert (chain / "plots/curve.png").is_file()
    table = list(csv.DictReader((chain / "plots/parameters.csv").open()))
    (drive,) = [row for row in table if row["stage"] == "drive"]
    assert (drive["processor"], drive["parameter"]) == ("Gain", "gain_db")
    # it follows the knobs and not the audio: one value, that of the chain
    effect, knobs = load(chain).system.effect, controls_of("D=1", ("D", "T"))
    with torch.no_grad():
        (tap,) = [tap for tap in effect.taps(torch.zeros(1, 1, 10), knobs) if tap.name == "drive"]
    assert float(drive["value"]) == pytest.approx(tap.params["gain_db"].values.item(), rel=1e-3)
    assert drive["least"] == ""
    assert all(row["value"] in other.out for row in table)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--figures", "respons"], "there is no figure respons; did you mean response?"),
        (["--controls", "X=1"], "there is no knob 'X'; the model has D, T"),
        (["--controls", "D=2"], "the knob D is '2'; it needs a number from 0 to 1"),
        (["--controls", "D"], "the knob D is ''"),
    ],
)
def test_wrong_words_are_told(chain, words, message):
    told = nablafx("plot", chain, *words)
    assert (told.status, message in told.err) == (1, True)


def test_knobs_that_are_not_said_are_in_the_middle():
    torch.testing.assert_close(controls_of("T=1", ("D", "T")), torch.tensor([[0.5, 1.0]]))
    assert controls_of("", ()) is None


def test_what_cannot_be_loaded_is_told(chain, tmp_path):
    with pytest.raises(UserError, match="there is no run and no checkpoint"):
        load(tmp_path / "none")
    copy = tmp_path / "run"
    (copy / "checkpoints").mkdir(parents=True)
    (copy / "checkpoints/best.ckpt").write_bytes((chain / "checkpoints/best.ckpt").read_bytes())
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        load(copy)
    (copy / "config.yaml").write_text("model: {effect: TCN}")
    with pytest.raises(UserError, match="is another model's"):
        load(copy)
    (copy / "config.yaml").write_text("model: {effect: Reverb}")
    with pytest.raises(UserError, match="describes no effect of this version"):
        load(copy)


def test_a_run_without_its_data_is_drawn_without_audio(chain, tmp_path):
    copy = tmp_path / "run"
    (copy / "checkpoints").mkdir(parents=True)
    (copy / "checkpoints/best.ckpt").write_bytes((chain / "checkpoints/best.ckpt").read_bytes())
    text = (chain / "config.yaml").read_text().replace("dry: /", "dry: /nowhere/")
    (copy / "config.yaml").write_text(text)
    told = nablafx("plot", copy, "--figures", "response,gain,history,stages")
    assert told.status == 0, told.err
    assert "Without audio: the data of" in told.out
    assert "No gain: it needs dry audio" in told.out
    assert "No history: there is no history.csv" in told.out
    assert {path.stem for path in (copy / "plots").iterdir()} == {"response", "stages"}
