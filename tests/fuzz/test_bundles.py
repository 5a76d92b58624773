"""Bundles and .nam files of anybody: bytes, headers, descriptions and tensors that are not what they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import load_file, save

from nablafx.export import bundle
from nablafx.export.bundle import read_bundle
from nablafx.export.formats import Request
from nablafx.export.nam import read_nam

from ..export import nam_documents as nam
from ..export.made import audio, model
from ..export.test_bundle import header_of
from .faults import VALUES, altered, damaged
from .harness import budget, search, told_by

TENSORS = st.sampled_from(
    [
        torch.zeros(0),
        torch.zeros(()),
        torch.full((2, 3), float("nan")),
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(2, 2, dtype=torch.bool),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, dtype=torch.float8_e5m2),
        torch.zeros(1, 1, 2**21),
    ]
)


@pytest.fixture(params=["lstm", "knobbed", "tfilm", "chain"])
def good(request, tmp_path) -> Path:
    made = model(request.param)
    controls = torch.tensor([[0.2, 0.9]]) if made.control_names else None
    path = tmp_path / "model.nablafx"
    bundle.write(made, path, Request(controls, None, audio()))
    assert told_by(read_bundle, path) is None
    return path


def content_of(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Header and tensors of a bundle; copies of these, for they lie in the file, and it is about to be overwritten."""
    return header_of(path), {name: value.clone() for name, value in load_file(path).items()}


@budget(10, 500)
def test_bytes_of_a_bundle(good, cases):
    def check(content: bytes) -> None:
        good.write_bytes(content)
        told_by(read_bundle, good)

    search(cases, damaged(good.read_bytes(), 2048), check)


@budget(6, 1000)
def test_what_a_bundle_says(good, cases):
    header, tensors = content_of(good)

    def check(case) -> None:
        told, changes = case
        kept = {**tensors, **changes}
        good.write_bytes(save({k: v for k, v in kept.items() if v is not None}, {"nablafx": json.dumps(told)}))
        told_by(read_bundle, good)

    names = st.sampled_from([*tensors, "effect.other", "snapshot.controls"])
    changes = st.dictionaries(names, st.none() | TENSORS, max_size=1)
    search(cases, st.tuples(altered(header), changes), check)


@budget(6, 1000)
def test_what_a_bundle_builds(good, cases):
    """Sizes that no tensor of the file vouches for."""
    header, tensors = content_of(good)

    def check(effect) -> None:
        good.write_bytes(save(tensors, {"nablafx": json.dumps({**header, "effect": effect})}))
        told_by(read_bundle, good)

    effect = header["effect"]
    options = ["hidden_size", "num_layers", "num_blocks", "channel_width", "kernel_size", "dilation_growth"]
    options += ["stack_size", "block_size", "lookahead", "num_taps", "num_states"]
    described = st.fixed_dictionaries(
        {
            "class_path": st.sampled_from(["LSTM", "TCN", "GCN", "S4", "GrayBox"]),
            "init_args": st.dictionaries(st.sampled_from(options), VALUES, min_size=1, max_size=3),
        }
    )
    added = described.map(lambda other: {**effect, "init_args": {**effect.get("init_args", {}), **other["init_args"]}})
    search(cases, described | added | altered(effect), check)


@pytest.mark.parametrize(
    ("effect", "more"),
    [
        ({"class_path": "LSTM", "init_args": {"hidden_size": 100_000}}, "weights"),
        ({"class_path": "LSTM", "init_args": {"num_layers": 10**30}}, "weights"),
        ({"class_path": "TCN", "init_args": {"num_blocks": 2**31}}, "1024 are the most"),
        ({"class_path": "GCN", "init_args": {"channel_width": 2**31}}, "weights"),
        ({"class_path": "S4", "init_args": {"num_blocks": 100_000}}, "weights"),
        ({"class_path": "GrayBox", "init_args": {"stages": {n: {"processor": "Gain"} for n in "abc" * 9}}}, "Gain"),
        (
            {
                "class_path": "GrayBox",
                "init_args": {"stages": {"x": {"processor": "StaticFIRFilter", "init_args": {"num_taps": 2**31}}}},
            },
            "StaticFIRFilter",
        ),
    ],
)
def test_sizes_in_a_bundle_cost_nothing_until_there_are_weights(effect, more, tmp_path):
    path = tmp_path / "model.nablafx"
    bundle.write(model("lstm"), path, Request(None, None, audio()))
    header, tensors = content_of(path)
    path.write_bytes(save(tensors, {"nablafx": json.dumps({**header, "effect": effect})}))
    assert more in (told_by(read_bundle, path) or "")


@pytest.mark.parametrize("name", ["wavenet-0", "wavenet-1", *nam.OTHERS])
@budget(6, 400)
def test_bytes_and_values_of_a_nam_file(name, cases, tmp_path):
    path = tmp_path / "file.nam"
    document = nam.DOCUMENTS[name] if name in nam.DOCUMENTS else nam.OTHERS[name]
    content = json.dumps(document).encode()

    def check(case) -> None:
        path.write_bytes(case if isinstance(case, bytes) else json.dumps(case).encode())
        told_by(read_nam, path)

    # weights are a long list: most faults go to the rest
    rest = altered({**document, "weights": "…"}).map(
        lambda made: {**made, "weights": document["weights"]} if isinstance(made, dict) and "weights" in made else made
    )
    search(cases, damaged(content) | altered(document) | rest | rest, check)
