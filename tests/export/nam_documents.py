"""Contents of .nam files: made up, and what they say worked out in numpy, apart from the package."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np

FILMS = (
    "conv_pre",
    "conv_post",
    "input_mixin_pre",
    "input_mixin_post",
    "activation_pre",
    "activation_post",
    "layer1x1_post",
    "head1x1_post",
)
ACTIVATIONS: list[Any] = [
    "Tanh",
    {"type": "Hardtanh"},
    {"type": "ReLU"},
    {"type": "LeakyReLU", "negative_slope": 0.3},
    {"type": "PReLU", "negative_slope": 0.2},
    {"type": "PReLU", "negative_slopes": [0.7, 0.1]},
    {"type": "Sigmoid"},
    {"type": "SiLU"},
    {"type": "Hardswish"},
    {"type": "Softsign"},
    {"type": "LeakyHardtanh", "min_val": -0.7, "max_val": 0.4, "min_slope": 0.1, "max_slope": 0.2},
]
WARM_UP = 3000


class Weights:
    """A file's weights, taken one array after the other; as many random ones as are asked for, if there are none."""

    def __init__(self, given: list[float] | None, rng: np.random.Generator | None = None) -> None:
        self.given, self.rng, self.taken = given, rng, [] if given is None else None
        self.place = 0

    def take(self, *shape: int) -> np.ndarray:
        count = int(np.prod(shape))
        if self.taken is not None:
            assert self.rng is not None
            self.taken += self.rng.uniform(-0.7, 0.7, count).tolist()
            return np.array(self.taken[-count:]).reshape(shape)
        assert self.given is not None
        values = self.given[self.place : self.place + count]
        self.place += count
        return np.array(values).reshape(shape)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def activate(described: Any, x: np.ndarray) -> np.ndarray:
    """x (C, T) through an activation of a file."""
    given = {"type": described} if isinstance(described, str) else described
    kind = given["type"]
    if kind == "PReLU":
        slopes = np.array(given.get("negative_slopes", [given.get("negative_slope")]))[:, None]
        return np.where(x > 0, x, slopes * x)
    if kind == "LeakyHardtanh":
        low, high = given["min_val"], given["max_val"]
        below, above = (x - low) * given["min_slope"] + low, (x - high) * given["max_slope"] + high
        return np.where(x < low, below, np.where(x > high, above, x))
    simple = {
        "Tanh": np.tanh,
        "Hardtanh": lambda x: np.clip(x, -1, 1),
        "ReLU": lambda x: np.maximum(x, 0),
        "LeakyReLU": lambda x: np.where(x > 0, x, given.get("negative_slope", 0.01) * x),
        "Sigmoid": sigmoid,
        "SiLU": lambda x: x * sigmoid(x),
        "Hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
        "Softsign": lambda x: x / (1 + np.abs(x)),
    }
    return simple[kind](x)


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, dilation: int = 1, groups: int = 1):
    """x (C, T) behind silence; weight (out, in / groups, K), whose last tap meets the newest sample."""
    outputs, inner, taps = weight.shape
    y = np.zeros((outputs, x.shape[1]))
    for o in range(outputs):
        first = o // (outputs // groups) * inner
        for k in range(taps):
            late = (taps - 1 - k) * dilation
            shifted = np.pad(x[first : first + inner], ((0, 0), (late, 0)))[:, : x.shape[1]]
            y[o] += weight[o, :, k] @ shifted
    return y if bias is None else y + bias[:, None]


def film(layer: dict, name: str, x: np.ndarray, c: np.ndarray, parts: dict) -> np.ndarray:
    given = layer[f"{name}_film"]
    if not given["active"]:
        return x
    made = convolve(c, *parts[name], groups=given["groups"])
    return made[: len(x)] * x + (made[len(x) :] if given["shift"] else 0)


def run_layer(array: dict, n: int, h: np.ndarray, c: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    channels, width, gating = array["channels"], array["bottleneck"], array["gating_mode"][n]
    z = width if gating == "none" else 2 * width
    groups, mixin_groups = array["groups_input"], array["groups_input_mixin"]
    conv = weights.take(z, channels // groups, array["kernel_sizes"][n]), weights.take(z)
    mixin = weights.take(z, len(c) // mixin_groups, 1)
    ones = {}
    for key, outputs in (("layer1x1", channels), ("head1x1", array["head1x1"]["out_channels"])):
        if array[key]["active"]:
            ones[key] = weights.take(outputs, width // array[key]["groups"], 1), weights.take(outputs)
    sizes = [channels, z, len(c), z, z, width, channels, array["head1x1"]["out_channels"]]
    films = {}
    for name, size in zip(FILMS, sizes, strict=True):
        given = array[f"{name}_film"]
        if given["active"]:
            outputs = (1 + given["shift"]) * size
            films[name] = weights.take(outputs, len(c) // given["groups"], 1), weights.take(outputs)
    a = convolve(film(array, "conv_pre", h, c, films), *conv, dilation=array["dilations"][n], groups=groups)
    b = convolve(film(array, "input_mixin_pre", c, c, films), mixin, None, groups=mixin_groups)
    s = film(array, "conv_post", a, c, films) + film(array, "input_mixin_post", b, c, films)
    s = film(array, "activation_pre", s, c, films)
    made = activate(array["activation"][n], s[:width])
    if gating != "none":
        gate = activate(array["secondary_activation"][n], s[width:])
        made = made * gate if gating == "gated" else gate * made + (1 - gate) * s[:width]
    made = film(array, "activation_post", made, c, films)
    heard = made
    if "head1x1" in ones:
        heard = convolve(made, *ones["head1x1"], groups=array["head1x1"]["groups"])
        heard = film(array, "head1x1_post", heard, c, films)
    if "layer1x1" in ones:
        mixed = convolve(made, *ones["layer1x1"], groups=array["layer1x1"]["groups"])
        # as NeuralAmpModelerCore 0.5.3 does
        h = h + (film(array, "layer1x1_post", mixed, c, films) if gating == "blended" else mixed)
    return h, heard


def run_wavenet(config: dict, x: np.ndarray, weights: Weights) -> np.ndarray:
    c = run(config["condition_dsp"], x) if config.get("condition_dsp") else x
    h, head = x, 0
    for array in config["layers"]:
        h = convolve(h, weights.take(array["channels"], array["input_size"], 1), None)
        for n in range(len(array["dilations"])):
            h, heard = run_layer(array, n, h, c, weights)
            head = head + heard
        plan = array["head"]
        weight = weights.take(plan["out_channels"], len(head), plan["kernel_size"])
        head = convolve(head, weight, weights.take(plan["out_channels"]) if plan["bias"] else None)
    after = []
    if config["head"]:
        plan = config["head"]
        widths = [len(head), *[plan["channels"]] * (len(plan["kernel_sizes"]) - 1), plan["out_channels"]]
        for taps, (inputs, outputs) in zip(plan["kernel_sizes"], pairwise(widths), strict=True):
            after.append((weights.take(outputs, inputs, taps), weights.take(outputs)))
    y = weights.take() * head
    for conv in after:
        y = convolve(activate(config["head"]["activation"], y), *conv)
    return y


def run_lstm(config: dict, x: np.ndarray, weights: Weights) -> np.ndarray:
    size, signal = config["hidden_size"], x.T
    for _ in range(config["num_layers"]):
        matrix, bias = weights.take(4 * size, signal.shape[1] + size), weights.take(4 * size)
        h, c = weights.take(size), weights.take(size)
        made = []
        for row in signal:
            i, f, g, o = (matrix @ np.concatenate([row, h]) + bias).reshape(4, size)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            made.append(h)
        signal = np.array(made)
    outputs = config.get("out_channels", 1)
    return weights.take(outputs, size) @ signal.T + weights.take(outputs)[:, None]


def run_convnet(config: dict, x: np.ndarray, weights: Weights) -> np.ndarray:
    width = config["channels"]
    for dilation in config["dilations"]:
        conv = weights.take(width, len(x), 2)
        x = convolve(x, conv, None if config["batchnorm"] else weights.take(width), dilation)
        if config["batchnorm"]:
            mean, var, scale, shift = (np.abs(weights.take(width))[:, None] for _ in range(4))
            x = (x - mean) / np.sqrt(var + np.abs(weights.take())) * scale + shift
        x = activate(config["activation"], x)
    return convolve(x, weights.take(1, width, 1), weights.take(1))


def run_linear(config: dict, x: np.ndarray, weights: Weights) -> np.ndarray:
    response = weights.take(config["receptive_field"])
    y = np.convolve(x[0], response)[None, : x.shape[1]]
    return y + weights.take() if config["bias"] else y


RUN = {"WaveNet": run_wavenet, "LSTM": run_lstm, "ConvNet": run_convnet, "Linear": run_linear}


def run(document: dict, x: np.ndarray) -> np.ndarray:
    """What a file makes of audio (1, T) that begins with the file's own states and no past: (outputs, T)."""
    weights = Weights(document["weights"])
    y = RUN[document["architecture"]](document["config"], x, weights)
    assert weights.place == len(document["weights"])
    return y


def after_silence(document: dict, x: np.ndarray) -> np.ndarray:
    """What it makes of audio (T,) after silence that is longer than its memory: (T,)."""
    return run(document, np.concatenate([np.zeros(WARM_UP), x])[None])[0, WARM_UP:]


def filled(architecture: str, config: dict, seed: int = 0) -> dict:
    """The document of a config, with as many random weights as it needs."""
    weights = Weights(None, np.random.default_rng(seed))
    RUN[architecture](config, np.zeros((1, 2)), weights)
    assert weights.taken is not None
    return document(architecture, config, weights.taken)


def document(architecture: str, config: dict, weights: list[float], **more: Any) -> dict:
    content = {"version": "0.7.0", "architecture": architecture, "config": config, "weights": weights}
    return {**content, "sample_rate": 48_000, **more}


def random_array(rng: random.Random, inputs: int, channels: int, condition: int, head: int | None) -> dict:
    """head: the width of the array before's head, None: there is none."""
    layers = rng.randint(1, 3)
    mixes = rng.random() < 0.8
    # without a layer1x1 the Core wants as many features as channels; a PReLU here has two slopes
    width = 2 if mixes else channels
    one = rng.random() < 0.5 or (head is not None and head != width)
    gating = [rng.choice(["none", "gated", "blended"]) for _ in range(layers)]
    # in a gated layer the Core bends only the first channel by a PReLU of one slope
    known = [a for a in ACTIVATIONS if width == 2 or "negative_slopes" not in a]
    gated = [a for a in known if "PReLU" not in str(a) or "negative_slopes" in a]
    films = {name: rng.random() < 0.4 for name in FILMS}
    films["layer1x1_post"] &= mixes
    films["head1x1_post"] &= one
    return {
        "input_size": inputs,
        "condition_size": condition,
        "channels": channels,
        "bottleneck": width,
        "kernel_sizes": [rng.randint(1, 4) for _ in range(layers)],
        "dilations": [rng.choice([1, 3, 8]) for _ in range(layers)],
        "activation": [rng.choice(known if g == "none" else gated) for g in gating],
        "gating_mode": gating,
        "secondary_activation": [None if g == "none" else rng.choice(gated) for g in gating],
        "head": {"out_channels": rng.choice([2, 4]), "kernel_size": rng.choice([1, 3]), "bias": rng.random() < 0.5},
        "head1x1": {"active": one, "out_channels": head or 4, "groups": rng.choice([1, 2])},
        "layer1x1": {"active": mixes, "groups": rng.choice([1, 2])},
        "groups_input": rng.choice([1, 2]),
        "groups_input_mixin": condition,
        **{f"{n}_film": {"active": on, "shift": rng.random() < 0.5, "groups": condition} for n, on in films.items()},
        "slimmable": None,
    }


def random_wavenet(seed: int, outputs: int = 1, steered: bool = True) -> dict:
    """A WaveNet that uses what the format has, in one of many ways."""
    rng = random.Random(seed)
    config: dict[str, Any] = {"layers": [], "head": None, "head_scale": 0.5}
    steered = steered and seed % 2 == 0
    if steered:
        lstm = {"input_size": 1, "hidden_size": 3, "num_layers": 1, "out_channels": 2}
        parts = [lambda: filled("LSTM", lstm, seed), lambda: random_wavenet(seed + 1000, 2, steered=False)]
        config["condition_dsp"] = parts[seed // 2 % 2]()
    inputs, head = 1, None
    for _ in range(rng.randint(1, 3)):
        channels = head or rng.choice([2, 4])
        config["layers"].append(random_array(rng, inputs, channels, 2 if steered else 1, head))
        inputs, head = channels, config["layers"][-1]["head"]["out_channels"]
    config["layers"][-1]["head"]["out_channels"] = outputs
    if outputs == 1 and rng.random() < 0.5:
        activation = rng.choice(["Tanh", {"type": "LeakyReLU", "negative_slope": 0.5}])
        kernels = [rng.randint(1, 3) for _ in range(rng.randint(1, 2))]
        config["head"] = {"channels": 3, "activation": activation, "out_channels": 1, "kernel_sizes": kernels}
    return filled("WaveNet", config, seed)


SEEDS = range(16)
LSTM_CONFIG = {"input_size": 1, "hidden_size": 4, "num_layers": 2}
CONVNET = {"channels": 3, "dilations": [1, 2, 4, 8], "batchnorm": False, "activation": "Tanh"}
OTHERS = {
    "lstm": filled("LSTM", LSTM_CONFIG),
    "convnet": filled("ConvNet", CONVNET),
    "linear": filled("Linear", {"receptive_field": 700, "bias": True}),
}
DOCUMENTS = {**{f"wavenet-{seed}": random_wavenet(seed) for seed in SEEDS}, **OTHERS}
