"""Damaged and foreign .nam files: one clear message each, and no memory for what is not there."""

from __future__ import annotations

import resource
from copy import deepcopy

import pytest

from nablafx.errors import UserError
from nablafx.export.nam import read_nam

from . import nam_documents as nam


def changed(document: dict, path: str, value) -> dict:
    """A copy with the value at layers.0.channels, say, replaced; removed where the value is `...`."""
    made = deepcopy(document)
    *places, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at = made
    for place in places:
        at = at[place]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return made


PLAIN = nam.DOCUMENTS["wavenet-1"]
WEIGHTS = PLAIN["weights"]
DAMAGES = [
    ("version", ..., "version is missing"),
    ("version", "seven", "version is 'seven', and should be of three numbers"),
    ("version", "0.4.9", "before 0.5.0"),
    ("version", "0.8.0", "0.7 is the newest that is known here: update nablafx"),
    ("version", "1.0.0", "0.7 is the newest"),
    ("architecture", "Transformer", "architecture must be one of .*WaveNet.*, and is 'Transformer'"),
    ("config", [], "config must be a JSON object, and is a list"),
    ("config.layers", [], "config.layers must be a list with something in it"),
    ("config.layers.0.channels", "many", r"config.layers\[0\].channels must be a whole number .* and is 'many'"),
    ("config.layers.0.channels", 10**30, "channels must be a whole number from 1 to 4096"),
    ("config.layers.0.dilations", [True], r"dilations\[0\] must be a whole number"),
    ("config.layers.0.dilations.0", 2**24, "span more than|numbers of the past"),
    ("config.layers.0.kernel_size", 3, "kernel_size and kernel_sizes are both there"),
    ("config.layers.0.gating_mode", "often", "gating_mode must be one of none, gated, blended"),
    ("config.layers.0.activation", {"type": "GELU"}, "activation.type must be one of Tanh, .*, and is 'GELU'"),
    ("config.layers.0.activation", {"type": "PReLU", "negative_slopes": [0.1] * 9}, "negative_slopes are 9"),
    ("config.layers.0.activation", ["Tanh"] * 9, "activation has 9 values, for"),
    ("config.layers.0.groups_input", 3, "are no 3 groups"),
    ("config.layers.0.condition_size", 5, "must be"),
    ("config.layers.0.input_size", 2, "must be"),
    ("config.in_channels", 2, "in_channels must be a whole number from 1 to 1"),
    ("weights", WEIGHTS[:-1], f"it has {len(WEIGHTS) - 1} weights, and its WaveNet needs {len(WEIGHTS)}"),
    ("weights", [*WEIGHTS, 0.0], "weights, and its WaveNet needs"),
    ("weights", [*WEIGHTS[:-1], "1"], "weights are not all numbers that are finite in 32 bits"),
    ("weights", [*WEIGHTS[:-1], 1e300], "weights are not all numbers that are finite in 32 bits"),
    ("weights", {}, "weights must be a list"),
    ("weights", [*WEIGHTS[:-1], 10**400], "weights are not all numbers that are finite in 32 bits"),
    (
        "config.layers.0.activation",
        {"type": "LeakyReLU", "negative_slope": 1e39},
        "negative_slope must be a finite number",
    ),
    ("sample_rate", 10**400, "sample_rate must be a finite number, and is 1000"),
    ("sample_rate", 0, "sample_rate is 0.0 Hz"),
    ("sample_rate", "fast", "sample_rate must be a finite number"),
]


@pytest.mark.parametrize(("path", "value", "told"), DAMAGES, ids=[f"{p}={str(v)[:20]}" for p, v, _ in DAMAGES])
def test_damage_is_told(path, value, told, put):
    with pytest.raises(UserError, match=rf"file.nam cannot be read as a .nam file: .*({told})"):
        put(changed(PLAIN, path, value))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"RIFF\xff\xfe", "it is no JSON text"),
        (b'{"version": "0.7.0", "weights": [1, 2', "it is no JSON text"),
        (b"[1, 2]", "the file must be a JSON object, and is a list"),
        (b'{"version": "0.7.0", "x": NaN}', "it holds NaN"),
        (b'{"in_shape": [null, null, 1], "layers": []}', "version is missing"),
        (b'{"a":' * 100_000, "too deep"),
    ],
)
def test_other_files_are_told(content, told, tmp_path):
    path = tmp_path / "file.nam"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_nam(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"none.nam cannot be read as a .nam file: No such file"):
        read_nam(tmp_path / "none.nam")


def test_parts_within_parts_have_an_end(put):
    nested = nam.OTHERS["linear"]
    for _ in range(100):
        nested = nam.document("SlimmableContainer", {"submodels": [{"max_value": 1.0, "model": nested}]}, [])
    assert put(nested).name == "file"
    with pytest.raises(UserError, match="must be a whole number from 1 to 1"):
        put(
            changed(
                nam.DOCUMENTS["wavenet-0"],
                "config.condition_dsp",
                nam.filled("LSTM", {**nam.LSTM_CONFIG, "input_size": 2}),
            )
        )


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("LSTM", {"input_size": 1, "hidden_size": 4096, "num_layers": 64}),
        ("Linear", {"receptive_field": 2**24, "bias": False}),
        ("ConvNet", {"channels": 4096, "dilations": [2**20] * 4, "batchnorm": False, "activation": "Tanh"}),
    ],
)
def test_sizes_cost_nothing_until_there_are_weights(architecture, config, put):
    made = nam.document(architecture, config, [0.0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=f"weights, and its {architecture} needs|numbers of the past"):
        put(made)
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32_000
    )  # kB; the least of them would take 64 MB


# every class that NAM's trainer writes, and Linear, whose taps the Core plays in the other order, left out
