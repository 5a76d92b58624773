"""`nablafx pretrain`: files that blocks take, responses that keep their sound, and answers to mistakes."""

import io
import sys

import numpy as np
import pytest
import soundfile
import torch

from nablafx.errors import UserError
from nablafx.layers.pretrained import read_pretrained
from nablafx.layers.siren import SirenCurve, SirenTaps
from nablafx.training.pretrain import read_response

from ..cli import nablafx

QUICK = ["--hidden_size", 2, "--steps", 2]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch):
    """For tests that do not look at the picture: drawing takes a second."""
    monkeypatch.setattr("nablafx.training.pretrain.png_bytes", lambda figure: b"")


def ping(rate=48_000, seconds=0.02):
    """An impulse response far from silent, with nothing above 5 kHz to speak of."""
    time = np.arange(round(seconds * rate)) / rate
    return 4e4 / rate * time * 1e3 * np.exp(-time / 5e-4) * np.cos(2 * np.pi * 900 * time)


def write(name, audio, rate=48_000, subtype="DOUBLE"):
    soundfile.write(name, audio, rate, subtype=subtype)
    return name


def response(taps, rate, hz):
    return np.exp(-2j * np.pi * np.outer(hz, np.arange(len(taps))) / rate) @ taps


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_tanh(here):
    done = nablafx("pretrain", "tanh", "--hidden_size", 4, "--steps", 20)
    assert done.status == 0, done.err
    assert files(here / "weights") == ["tanh-4.png", "tanh-4.safetensors"]
    curve = SirenCurve(4, pretrained="weights/tanh-4.safetensors")
    assert (curve(torch.linspace(-9, 9, 99)) - torch.linspace(-9, 9, 99).tanh()).abs().max() < 0.2
    assert (here / "weights/tanh-4.png").read_bytes().startswith(b"\x89PNG")
    lines = done.out.splitlines()
    assert lines[0] == "Fitting tanh by 53 parameters"
    assert lines[1].startswith("Step 104 of 104")
    assert "Sine of amplitude 1: THD" in done.out
    assert "of tanh 35.7" in done.out
    assert "weights/tanh-4.safetensors" in lines[-1]
    assert "errors between the training points" in lines[-1]


def test_the_same_words_give_the_same_file(here, undrawn):
    for name in ("a", "b"):
        assert nablafx("pretrain", "tanh", *QUICK, "--output", f"{name}.safetensors", "--seed", 7).status == 0
    assert (here / "a.safetensors").read_bytes() == (here / "b.safetensors").read_bytes()


def test_sizes_reach_the_net_and_the_file(undrawn):
    words = ["--hidden_size", 3, "--num_hidden", 2, "--w0", 12.5, "--reach", 4, "--steps", 2]
    assert nablafx("pretrain", "tanh", *words, "--output", "a.safetensors").status == 0
    SirenCurve(3, 2, 12.5, 4.0, pretrained="a.safetensors")
    sizes = {"hidden_size": 3, "num_hidden": 2, "w0": 12.5, "reach": 4.0}
    assert read_pretrained("a.safetensors").facts == {"kind": "tanh", **sizes}


def test_fir_reproduces_a_response(undrawn):
    audio = ping(seconds=0.004)
    write("small box.wav", audio)
    words = ["--num_taps", 192, "--hidden_size", 16, "--steps", 60]
    done = nablafx("pretrain", "fir", "small box.wav", *words)
    assert done.status == 0, done.err
    taps = SirenTaps(192, 16, sample_rate=48_000, pretrained="weights/small box-fir.safetensors")().detach().numpy()
    assert np.sum((taps - audio) ** 2) < 1e-3 * np.sum(audio**2)
    hz = np.array([0, 100, 900, 2000, 5000])
    np.testing.assert_allclose(response(taps, 48_000, hz), response(audio, 48_000, hz), atol=0.05)
    assert "energy of the error -" in done.out.splitlines()[-1]
    assert "coarsely" not in done.out


def test_a_coarse_fit_is_told(undrawn):
    write("noise.wav", np.random.default_rng(0).standard_normal(200))
    done = nablafx("pretrain", "fir", "noise.wav", *QUICK, "--num_taps", 200)
    assert "coarsely" in done.out
    assert "--hidden_size" in done.out


def test_a_response_is_taken_as_it_is():
    audio = ping()[:500]
    for name, subtype, tolerance in (("a.wav", "FLOAT", 1e-7), ("a.flac", "PCM_24", 1e-6), ("b.wav", "DOUBLE", 0)):
        taps, notes = read_response(write(name, audio, subtype=subtype), 500)
        assert notes == []
        np.testing.assert_allclose(taps, audio, atol=tolerance)


@pytest.mark.parametrize("rate", [44_100, 88_200, 96_000])
def test_another_rate_keeps_the_frequency_response(rate):
    taps, notes = read_response(write("a.wav", ping(rate), rate), 960)
    assert any(f"from {rate:,} to 48,000 Hz" in note for note in notes)
    hz = np.array([0, 50, 500, 900, 3000, 8000])
    # ping scales its samples so that every rate samples one and the same response
    np.testing.assert_allclose(response(taps, 48_000, hz), response(ping(rate), rate, hz), atol=0.01)
    np.testing.assert_allclose(response(taps, 48_000, hz), response(ping(), 48_000, hz), atol=0.01)


def test_a_longer_response_is_faded_out():
    taps, (note,) = read_response(write("a.wav", np.ones(1000)), 64)
    assert len(taps) == 64
    assert (taps[:56] == 1).all()
    assert (np.diff(taps[55:]) < 0).all()
    assert taps[-1] == pytest.approx(0, abs=1e-12)
    lost = 1000 - 56 - np.sum(taps[56:] ** 2) - 2 * np.sum(taps[56:] * (1 - taps[56:]))
    assert "cut from 1,000 to 64 samples (1.3 ms) with a fade-out" in note
    assert f"{10 * np.log10(lost / 1000):.1f} dB" in note


def test_a_shorter_response_ends_in_zeros():
    taps, (note,) = read_response(write("a.wav", np.ones(50)), 64)
    assert taps.tolist() == [1.0] * 50 + [0.0] * 14
    assert "50 samples, and zeros up to 64" in note


def broken_responses():
    loud_and_odd = ping()
    loud_and_odd[5] = np.nan
    return {
        "stereo.wav": (np.zeros((100, 2)), "has 2 channels"),
        "short.wav": (np.ones(15), "has 15 samples"),
        "empty.wav": (np.ones(0), "has 0 samples"),
        "long.wav": (np.ones(61 * 8000), "61 s"),
        "nan.wav": (loud_and_odd, "no numbers"),
        "silent.wav": (np.zeros(100), "is silent"),
        "late.wav": (np.r_[np.zeros(500), ping()], "is silent in its first 64 samples"),
    }


@pytest.mark.parametrize("name", broken_responses())
def test_responses_that_are_none_are_refused(name):
    audio, told = broken_responses()[name]
    write(name, audio, 8000 if name == "long.wav" else 48_000)
    with pytest.raises(UserError, match=told) as caught:
        read_response(name, 64)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["text.wav", "text.raw", "half.flac"])
def test_files_that_are_no_audio_are_refused(here, name):
    (here / name).write_bytes(b"no audio")
    if name == "half.flac":
        write(name, ping(), subtype="PCM_24")
        content = (here / name).read_bytes()
        (here / name).write_bytes(content[:20])
    with pytest.raises(UserError, match="cannot be read as audio"):
        read_response(name, 64)


MISTAKES = {
    "no goal": ([], ["GOAL", "nablafx pretrain --help"]),
    "unknown goal": (["relu"], ["relu", "tanh", "fir"]),
    "unknown option": (["tanh", "--layers", 3], ["--layers"]),
    "no sines": (["tanh", "--hidden_size", 0], ["--hidden_size", "'0'", "1 or more"]),
    "half a step": (["tanh", "--steps", 1.5], ["--steps", "'1.5'"]),
    "no reach": (["tanh", "--reach", "nan"], ["--reach", "'nan'", "positive"]),
    "no response": (["fir"], ["response", "nablafx pretrain fir --help"]),
    "missing response": (["fir", "gone.wav"], ["there is no file gone.wav"]),
    "few taps": (["fir", "a.wav", "--num_taps", 4], ["--num_taps", "16 or more"]),
    "another ending": (["tanh", *QUICK, "--output", "a.pt"], ["a.pt", ".safetensors"]),
    "below a file": (["tanh", *QUICK, "--output", "file/a.safetensors"], ["nothing can be written there"]),
    "a folder": (["tanh", *QUICK, "--output", "b.safetensors", "--overwrite"], ["nothing can be written there"]),
    "a huge w0": (["tanh", *QUICK, "--w0", 1e30], ["ran away"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_and_leave_nothing(here, mistake):
    words, told = MISTAKES[mistake]
    (here / "file").write_text("no folder")
    (here / "b.safetensors").mkdir()
    done = nablafx("pretrain", *words)
    assert done.status == 1
    for part in told:
        assert part in done.err
    assert files(here) == ["file"]


def test_weights_are_overwritten_only_when_told(here, undrawn):
    words = ["pretrain", "tanh", *QUICK, "--output", "a.safetensors"]
    for name in ("a.png", "a.safetensors"):
        (here / name).write_text("mine")
        done = nablafx(*words)
        assert done.status == 1
        assert f"{name} is there already; say --overwrite" in done.err
        assert files(here) == [name]
        assert (here / name).read_text() == "mine"
        (here / name).unlink()
    (here / "a.safetensors").write_text("old")
    assert nablafx(*words, "--overwrite").status == 0
    SirenCurve(2, pretrained="a.safetensors")


def test_a_full_disk_leaves_the_old_weights(here, monkeypatch):
    def fail(module, path, facts):
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    (here / "a.safetensors").write_text("mine")
    monkeypatch.setattr("nablafx.training.pretrain.save_pretrained", fail)
    done = nablafx("pretrain", "tanh", *QUICK, "--output", "a.safetensors", "--overwrite")
    assert done.status == 1
    assert "a.safetensors cannot be written: no space left on device" in done.err
    assert files(here) == ["a.safetensors"]
    assert (here / "a.safetensors").read_text() == "mine"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar(monkeypatch, undrawn):
    monkeypatch.setattr(sys, "stdout", Terminal())
    from nablafx.cli import main

    assert main(["pretrain", "tanh", "--hidden_size", "2", "--steps", "2"]) == 0
    text = sys.stdout.getvalue()
    assert "100%" in text
    assert "Step" not in text


@pytest.mark.parametrize("words", [["--help"], ["tanh", "--help"], ["fir", "--help"]], ids=" ".join)
def test_help(words, capsys):
    from nablafx.cli import main

    with pytest.raises(SystemExit) as ending:
        main(["pretrain", *words])
    assert ending.value.code == 0
    told = capsys.readouterr().out
    for part in ("tanh", "fir") if words == ["--help"] else ("--steps", "--output", "default: 1000"):
        assert part in told


def test_threads_are_given_back(undrawn):
    before = torch.get_num_threads()
    nablafx("pretrain", "tanh", *QUICK)
    assert torch.get_num_threads() == before
