"""Every parameter count of the study, and of the nets beside it, met exactly by what the committed configs describe."""

from __future__ import annotations

import inspect
import itertools

import pytest

from nablafx.training.system import System

from .committed import CHAINS, GRID, NETS, OVERLAYS, build, build_chain, config

# (net, overlay, controls): parameters
COUNTS = {
    ("lstm/32", None, 0): 4_513,
    ("lstm/96", None, 0): 38_113,
    # resonators, filters, time constants, gates, read-out, last poles and filter
    ("envelope-lstm/16", None, 0): 8 * 6 + 12 * 33 + 8 + 4 * 16 * (20 + 16 + 2) + 2 * 17 + 18 + 513,
    ("envelope-lstm/32", None, 0): 7_961,
    ("tcn/45-s", None, 0): 7_457,
    ("tcn/45-l", None, 0): 7_297,
    ("tcn/250-s", None, 0): 14_465,
    ("tcn/250-l", None, 0): 18_401,
    ("tcn/2500-s", None, 0): 13_697,
    ("tcn/2500-l", None, 0): 11_937,
    ("tcn/45-s", "tfilm", 0): 39_457,
    ("tcn/45-l", "tfilm", 0): 71_297,
    ("tcn/250-l", "tfilm", 0): 88_801,
    ("gcn/45-s", None, 0): 16_161,
    ("gcn/45-l", None, 0): 17_121,
    ("gcn/250-l", None, 0): 39_585,
    ("gcn/2500-l", None, 0): 26_401,
    ("gcn/45-s", "tfilm", 0): 141_601,
    ("gcn/250-l", "tfilm", 0): 315_553,
    ("s4/s", None, 0): 2_353,
    ("s4/l", None, 0): 18_993,
    ("s4/s", "tfilm", 0): 27_953,
    ("s4/l", "tfilm", 0): 70_193,
    ("lstm/32", "fixed", 4): 5_025,
    ("lstm/32", "tvcond", 4): 8_033,
    ("envelope-lstm/32", "fixed", 4): 7_961 + 4 * 32 * 4,
    ("lstm/96", "fixed", 4): 39_649,
    ("lstm/96", "tvcond", 4): 45_729,
    ("tcn/45-s", "film", 4): 15_009,
    ("tcn/45-l", "film", 4): 20_129,
    ("tcn/45-s", "tfilm", 4): 42_017,
    ("tcn/45-l", "tfilm", 4): 76_417,
    ("tcn/45-s", "ttfilm", 4): 17_317,
    ("tcn/45-l", "ttfilm", 4): 27_017,
    ("tcn/45-s", "tvfilm", 4): 17_729,
    ("tcn/45-l", "tvfilm", 4): 22_849,
    ("s4/s", "film", 4): 8_849,
    ("s4/l", "film", 4): 29_713,
    ("s4/s", "tfilm", 4): 30_001,
    ("s4/l", "tfilm", 4): 74_289,
    ("s4/s", "ttfilm", 4): 10_241,
    ("s4/l", "ttfilm", 4): 34_769,
    ("s4/s", "tvfilm", 4): 11_569,
    ("s4/l", "tvfilm", 4): 32_433,
}
CHAIN_COUNTS = {
    "comp": 47,
    "dist-rnl": 47,
    "dist-mlp": 2_244,
    "fuzz-rnl": 62,
    "fuzz-mlp": 2_259,
}
LEARNING_RATES = {"lstm": (0.001, 0.005), "envelope-lstm": (0.03,), "tcn": (0.005,), "gcn": (0.005,), "s4": (0.01,)}


def name(case: tuple) -> str:
    net, overlay, controls = case
    return f"{net}+{overlay or 'none'}-{controls}"


@pytest.mark.parametrize("case", COUNTS, ids=name)
def test_count(case):
    assert sum(p.numel() for p in build(*case).parameters()) == COUNTS[case]


@pytest.mark.parametrize("chain", CHAIN_COUNTS)
def test_count_of_a_published_chain(chain):
    assert sum(p.numel() for p in build_chain(chain).parameters()) == CHAIN_COUNTS[chain]
    assert config(f"graybox/{chain}")["lr"] == 0.1


def perceptron(controls: int, parameters: int) -> int:
    """Weights and biases of controls -> 16 -> 16 -> parameters."""
    return 17 * 16 + (controls + 1) * 16 + 17 * parameters


@pytest.mark.parametrize("chain", CHAIN_COUNTS)
@pytest.mark.parametrize("variant", list(itertools.product([False, True], repeat=3)), ids=str)
def test_count_of_a_variant(chain, variant):
    """A response adds its net, an inversion nothing; with knobs a perceptron stands for each vector of parameters."""
    fir, inverted, steered = variant
    if fir and chain == "comp":
        return
    counted = CHAIN_COUNTS[chain] + 2_209 * fir
    if steered:
        vectors = [15, 15, 1] if chain == "comp" else [15, 15, 1, 1] + [1] * chain.startswith("dist")
        counted += sum(perceptron(4, size) - size for size in vectors)
        counted += 4 * 4 * (not chain.startswith("dist"))  # four gates of the LSTM hear four knobs more
    name = chain + "-fir" * fir + "-inv" * inverted + "-cond" * steered
    assert sum(p.numel() for p in build_chain(name, 4 * steered).parameters()) == counted


@pytest.mark.parametrize("kind", ["tcn", "gcn"])
@pytest.mark.parametrize("size", GRID)
def test_grid(kind, size):
    """The nets whose counts the study does not give are those of its grid too."""
    blocks, kernel, growth = GRID[size]
    net = build(f"{kind}/{size}")
    assert [b.conv.kernel_size[0] for b in net.blocks] == [kernel] * blocks
    assert [b.conv.dilation[0] for b in net.blocks] == [growth**n for n in range(blocks)]
    assert {b.conv.out_channels for b in net.blocks} == {16 if kind == "tcn" else 32}


@pytest.mark.parametrize("net", NETS)
def test_learning_rate_is_the_published_or_the_measured_one(net):
    default = inspect.signature(System).parameters["lr"].default
    assert config(net).get("lr", default) in LEARNING_RATES[net.split("/")[0]]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_config_takes_every_conditioning_or_names_another(net, overlay):
    appends = "lstm" in net
    taken = overlay in ("fixed", "tvcond", "film", "tvfilm") if appends else overlay != "fixed"
    if taken:
        assert build(net, overlay, 3).num_controls == 3
    else:
        with pytest.raises(ValueError, match=r"; use \w+"):
            build(net, overlay, 3)


def test_configs_of_the_table_are_all_there():
    kinds = {"lstm": {"32", "96"}, "envelope-lstm": {"16", "32"}, "tcn": set(GRID), "gcn": set(GRID), "s4": {"s", "l"}}
    assert {f"{kind}/{size}" for kind, sizes in kinds.items() for size in sizes} <= set(NETS)
    assert set(CHAIN_COUNTS) <= set(CHAINS)
    assert {"film", "tfilm", "ttfilm", "tvfilm", "fixed", "tvcond"} <= set(OVERLAYS)
