"""Weights come back as they were written, and whatever does not fit is refused before it touches the net."""

import io
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nablafx.errors import UserError
from nablafx.layers import pretrained
from nablafx.layers.pretrained import KEY, PretrainedError, read_pretrained, save_pretrained
from nablafx.layers.siren import SIREN, SirenCurve, SirenTaps

SMALL = {"hidden_size": 4, "num_hidden": 2}


def saved(module, path):
    save_pretrained(module.siren, path, module.facts)
    return path


@pytest.fixture
def curve_file(tmp_path):
    torch.manual_seed(0)
    return saved(SirenCurve(**SMALL), tmp_path / "curve.safetensors")


def test_a_curve_comes_back(tmp_path):
    torch.manual_seed(1)
    curve = SirenCurve(**SMALL, w0=12.5, reach=5.0)
    path = saved(curve, tmp_path / "curve.safetensors")
    twin = SirenCurve(**SMALL, w0=12.5, reach=5.0, pretrained=str(path))
    x = torch.linspace(-7, 7, 101)
    assert torch.equal(twin(x), curve(x))
    assert read_pretrained(path).facts == {"kind": "tanh", **SMALL, "w0": 12.5, "reach": 5.0}


def test_taps_come_back(tmp_path):
    torch.manual_seed(1)
    net = SirenTaps(20, **SMALL, sample_rate=48_000)
    path = saved(net, tmp_path / "taps.safetensors")
    for rate in (48_000, 48_000.0, None):
        assert torch.equal(SirenTaps(20, **SMALL, sample_rate=rate, pretrained=path)(), net())


def test_a_bare_net_takes_the_weights_of_either(curve_file):
    siren = SIREN(**SMALL)
    siren.load_pretrained(curve_file)
    assert torch.equal(siren(torch.ones(1)), SirenCurve(**SMALL, pretrained=curve_file)(torch.tensor([6.0])))


def test_the_same_weights_give_the_same_bytes(tmp_path):
    curve = SirenCurve(**SMALL)
    assert len({saved(curve, tmp_path / f"{n}.safetensors").read_bytes() for n in range(5)}) == 1


def test_weights_are_learned_on(curve_file):
    curve = SirenCurve(**SMALL, pretrained=curve_file)
    curve(torch.linspace(-1, 1, 9)).sum().backward()
    assert all(p.requires_grad and p.grad.abs().sum() > 0 for p in curve.parameters())


def test_a_path_is_looked_for_here_and_then_below_the_checkout(tmp_path, monkeypatch):
    here, top = tmp_path / "here", tmp_path / "top"
    monkeypatch.setattr(pretrained, "ROOT", top)
    for folder in (here, top):
        (folder / "weights").mkdir(parents=True)
    monkeypatch.chdir(here)
    nets = [SirenCurve(**SMALL), SirenCurve(**SMALL)]
    saved(nets[0], top / "weights/a.safetensors")
    x = torch.linspace(-1, 1, 9)
    assert torch.equal(SirenCurve(**SMALL, pretrained="weights/a.safetensors")(x), nets[0](x))
    saved(nets[1], here / "weights/a.safetensors")
    assert torch.equal(SirenCurve(**SMALL, pretrained="weights/a.safetensors")(x), nets[1](x))


def test_the_checkout_is_that_of_the_package(root):
    assert root == pretrained.ROOT


def test_a_missing_file_is_answered_with_those_that_are_there(curve_file):
    with pytest.raises(PretrainedError) as caught:
        SirenCurve(pretrained=curve_file.with_name("curves.safetensors"))
    message = str(caught.value)
    for part in ("there are no weights", "curves.safetensors", "holds curve.safetensors", "`nablafx pretrain`"):
        assert part in message
    with pytest.raises(PretrainedError, match="there are no weights"):
        SirenCurve(pretrained=curve_file.parent)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"hidden_size": 8}, "made with hidden_size 4, and this block has hidden_size 8"),
        ({"num_hidden": 3}, "made with num_hidden 2, and this block has num_hidden 3"),
        ({"w0": 20.0, "reach": 4.5}, "made with w0 30, reach 6, and this block has w0 20, reach 4.5"),
    ],
)
def test_another_net_is_refused(curve_file, sizes, told):
    with pytest.raises(PretrainedError) as caught:
        SirenCurve(**{**SMALL, **sizes}, pretrained=curve_file)
    assert str(curve_file) in str(caught.value)
    assert told in str(caught.value)
    assert "Give the block what the file has" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"), [({"num_taps": 21}, "num_taps 20"), ({"sample_rate": 44_100}, "sample_rate 48000")]
)
def test_other_taps_are_refused(tmp_path, change, told):
    path = saved(SirenTaps(20, **SMALL, sample_rate=48_000), tmp_path / "taps.safetensors")
    with pytest.raises(PretrainedError, match=f"made with {told}"):
        SirenTaps(**{"num_taps": 20, **SMALL, **change}, pretrained=path)


def test_another_kind_of_block_is_refused(curve_file, tmp_path):
    with pytest.raises(
        PretrainedError, match=r"kind 'tanh', and this one is of the kind 'fir'.*`nablafx pretrain fir`"
    ):
        SirenTaps(20, **SMALL, pretrained=curve_file)
    path = saved(SirenTaps(20, **SMALL), tmp_path / "taps.safetensors")
    with pytest.raises(PretrainedError, match=r"kind 'fir', and this one is of the kind 'tanh'"):
        SirenCurve(**SMALL, pretrained=path)


def rewritten(path, tensors=None, header="as it is"):
    facts = json.dumps(read_pretrained(path).facts)
    header = {KEY: facts} if header == "as it is" else header
    save_file(load_file(path) if tensors is None else tensors, path, header)


@pytest.mark.parametrize("header", [None, {}, {"kind": "tanh"}, {KEY: "{"}, {KEY: "3"}, {KEY: '{"w0": [30]}'}], ids=str)
def test_a_file_that_does_not_say_what_it_is_is_refused(curve_file, header):
    rewritten(curve_file, header=header)
    with pytest.raises(PretrainedError, match="do not say what they are for"):
        SirenCurve(**SMALL, pretrained=curve_file)


def test_missing_facts_are_told(curve_file):
    rewritten(curve_file, header={KEY: json.dumps({"kind": "tanh", **SMALL, "w0": 30})})
    with pytest.raises(PretrainedError, match="made with reach absent, and this block has reach 6"):
        SirenCurve(**SMALL, pretrained=curve_file)


def without_bias(tensors):
    del tensors["layers.1.bias"]


def reshaped(tensors):
    tensors["layers.0.weight"] = torch.zeros(1, 4)


def with_more(tensors):
    tensors["layers.9.bias"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_bias, r"layers.1.bias: absent there, \(4,\) here"),
        (reshaped, r"layers.0.weight: \(1, 4\) there, \(4, 1\) here"),
        (with_more, r"layers.9.bias: \(3,\) there, absent here"),
    ],
)
def test_other_tensors_than_the_header_says_are_refused(curve_file, change, told):
    tensors = load_file(curve_file)
    change(tensors)
    rewritten(curve_file, tensors)
    with pytest.raises(PretrainedError, match=told):
        SirenCurve(**SMALL, pretrained=curve_file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_and_the_net_stays(curve_file, value):
    tensors = load_file(curve_file)
    tensors["layers.2.weight"][0, 1] = value
    rewritten(curve_file, tensors)
    curve = SirenCurve(**SMALL)
    before = {name: p.clone() for name, p in curve.state_dict().items()}
    with pytest.raises(PretrainedError, match=r"no numbers, in layers.2.weight"):
        curve.load_pretrained(curve_file)
    assert all(torch.equal(before[name], p) for name, p in curve.state_dict().items())


def damages(content):
    yield b""
    yield b"no weights at all"
    yield struct.pack("<Q", 2**62) + content[8:]
    yield content[:8] + b"\xff" + content[9:]
    yield from (content[:length] for length in range(1, len(content), 37))
    yield content + b"more"


def test_damaged_files_are_refused(curve_file):
    content = curve_file.read_bytes()
    for damaged in damages(content):
        curve_file.write_bytes(damaged)
        with pytest.raises(PretrainedError, match="damaged or no safetensors"):
            SirenCurve(**SMALL, pretrained=curve_file)


class Malice:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def load_torch(content):
    return torch.load(io.BytesIO(content), weights_only=False)


def save_torch(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("dump", "load"), [(save_torch, load_torch), (pickle.dumps, pickle.loads)], ids=["torch", "pickle"]
)
def test_a_pickle_by_that_name_is_refused_and_runs_nothing(tmp_path, dump, load):
    path, trace = tmp_path / "tanh-32.safetensors", tmp_path / "trace"
    path.write_bytes(dump({**SirenCurve().siren.state_dict(), "more": Malice(trace)}))
    with pytest.raises(PretrainedError, match="damaged or no safetensors"):
        SirenCurve(pretrained=path)
    assert not trace.exists()
    load(path.read_bytes())
    assert trace.exists()  # it would have


def test_the_error_is_told_to_users_and_known_as_a_value_error():
    assert issubclass(PretrainedError, UserError)
    assert issubclass(PretrainedError, ValueError)
