"""The weights of published checkpoints, by the names of this framework."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nablafx.convert.chains import FAR, Chain
from nablafx.effects import Effect, GrayBox
from nablafx.training.checkpoints import CheckpointError

Weights = dict[str, Tensor]
NET, PROCESSORS, CONTROLLERS = "model.processor.", "model.processor.processors.", "model.controller.controllers."
# published name (a pattern), name here; the first that matches counts, an empty one says that it is held twice
NAMES = [
    (r"cond_nn\.layers\..*", ""),
    (r"cond_nn\.mlp\.(.*)", r"conditioning.mlp.\1"),
    (r"cond_nn\.lstm\.(.*)", r"conditioning.listener.lstm.\1"),
    (r"(blocks\.\d+)\.film\.bn\.running_(mean|var)", r"\1.modulation.norm.\2"),
    (r"(blocks\.\d+)\.film\.bn\.num_batches_tracked", r"\1.modulation.norm.updates"),
    (r"(blocks\.\d+)\.film\.lstm\.(.*)", r"\1.modulation.listener.lstm.\2"),
    (r"(blocks\.\d+)\.film\.conv\.(.*)", r"\1.modulation.listener.squeeze.\2"),
    (r"(blocks\.\d+)\.res\.(.*)", r"\1.residual.\2"),
    (r"(blocks\.\d+)\.act1\.(.*)", r"\1.act_in.\2"),
    (r"(blocks\.\d+)\.act2\.(.*)", r"\1.act_out.\2"),
    (r"(blocks\.\d+)\.s4\.(.*)", r"\1.ssm.\2"),
    (r"(output|contract)\.(.*)", r"mix.\2"),
    (r"lin\.(.*)", r"linear.\1"),
    (r"direct_gain\.weight", "direct_gain"),
]
# by what of a layer's conditioning the published adaptor is
ADAPTORS = {
    "film": r"\1.modulation.linear.\2",
    "ttfilm": r"\1.modulation.readout.\2",
    "tvfilm": r"\1.modulation.readout.\2",
}


def net_weights(effect: Effect, name: str, published: dict[str, Any], state: Weights) -> Weights:
    """Weights for a converted net, from the state_dict of a checkpoint.

    Args:
        name, published: class and arguments of the published net.

    Raises:
        CheckpointError: the checkpoint is of another net than the config.
    """
    theirs = {key.removeprefix(NET): value for key, value in state.items() if key.startswith(NET)}
    kind = published.get("cond_type")
    names = [(r"(blocks\.\d+)\.film\.adaptor\.(.*)", ADAPTORS[kind]), *NAMES] if kind in ADAPTORS else NAMES
    found: Weights = {}
    if name == "GCN":
        found |= _gcn_output(effect, theirs)
    for key, value in theirs.items():
        ours = _renamed(key, names)
        if ours:
            found[ours] = value
    return _fitted(effect, found)


def _gcn_output(effect: Effect, theirs: Weights) -> Weights:
    """Each block here has its slice of the published 1x1 convolution over all of them; they are taken from `theirs`."""
    weight, bias = theirs.pop("mix.weight", None), theirs.pop("mix.bias", None)
    blocks = len(effect.get_submodule("blocks"))  # type: ignore[arg-type]
    if weight is None or weight.shape[1] % blocks:
        return {}
    found = {f"blocks.{n}.skip.weight": part for n, part in enumerate(weight.chunk(blocks, dim=1))}
    return found if bias is None else {**found, "bias": bias}


def chain_weights(effect: GrayBox, chain: Chain, state: Weights) -> Weights:
    """Weights for a converted chain; raises as :func:`net_weights`."""
    found: Weights = {}
    for number, (stage, (name, published)) in enumerate(chain.stages.items()):
        for key, value in _of(state, f"{CONTROLLERS}{number}."):
            ours = {"control_params": "logits", "projection": "mlp", "lstm": "listener.lstm"}
            head, _, rest = key.partition(".")
            if head not in ours:
                raise CheckpointError(f"the checkpoint has a controller of another kind than the config: {key}")
            if not rest.startswith("layers."):
                found[f"stages.{stage}.controller.{ours[head]}{rest and '.'}{rest.removeprefix('mlp.')}"] = value
        prefix = f"stages.{stage}.processor."
        own = dict(_of(state, f"{PROCESSORS}{number}."))
        if name == "StaticRationalNonlinearity":
            found |= {f"{prefix}rational.{key.removeprefix('net.')}": value for key, value in own.items()}
        elif name in ("StaticMLPNonlinearity", "StaticFIRFilter"):
            found |= {f"{prefix}siren.siren.layers.{key}": v for key, v in _siren(name, published, own).items()}
        elif own:
            raise CheckpointError(f"the checkpoint has weights of a {name} ({', '.join(own)}), and it has none")
    return _fitted(effect, found)


def _siren(name: str, published: dict[str, Any], theirs: Weights) -> Weights:
    """Published, w0 multiplies the first layer alone and nothing scales what goes in and comes out."""
    w0 = float(published.get("w0_initial", 30.0))
    depth = int(published.get("num_layers", 3))
    found = {}
    for key, value in theirs.items():
        match = re.fullmatch(r"net\.(?:layers\.(\d+)|last_layer)\.(weight|bias)", key)
        if match is None:
            continue
        number = depth if match[1] is None else int(match[1])
        if number == depth and name == "StaticFIRFilter":
            value = value * math.sqrt(int(published["n_taps"]))
        elif number == 0 and name == "StaticMLPNonlinearity" and match[2] == "weight":
            value = value * FAR
        elif 0 < number < depth:
            value = value / w0
        found[f"{number}.{match[2]}"] = value
    return found


def _of(state: Weights, prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((key.removeprefix(prefix), value) for key, value in state.items() if key.startswith(prefix))


def _renamed(key: str, names: list[tuple[str, str]]) -> str:
    for pattern, name in names:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(name) if name else ""
    return key


def _fitted(effect: Effect, found: Weights) -> Weights:
    """The weights in the shapes of `effect`'s; biases that the published net does without are zero.

    Raises:
        CheckpointError: there are others than it needs.
    """
    needed = effect.state_dict()
    for name, value in needed.items():
        if name not in found and name.endswith("bias"):
            found[name] = torch.zeros_like(value)
    differing = [f"{name} is missing" for name in needed.keys() - found.keys()]
    differing += [f"{name} has no place" for name in found.keys() - needed.keys()]
    differing += [
        f"{name} has {found[name].numel()} values, and {value.numel()} are needed"
        for name, value in needed.items()
        if name in found and found[name].numel() != value.numel()
    ]
    if differing:
        raise CheckpointError(
            f"the checkpoint is of another model than the config: {'; '.join(sorted(differing)[:5])}. "
            "Give the config that it was trained with: -c old.yaml"
        )
    return {name: found[name].reshape(value.shape).to(value.dtype) for name, value in needed.items()}
