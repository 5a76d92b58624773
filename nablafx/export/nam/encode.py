"""Our networks as those of .nam files: exactly, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import singledispatch

import torch
from torch import Tensor, nn

from nablafx.conditioning import FiLM, FixedConditioning, Unconditioned
from nablafx.effects import GCN, LSTM, TCN, Effect
from nablafx.effects.gcn import GCNBlock
from nablafx.effects.stack import ConvBlock
from nablafx.effects.tcn import TCNBlock
from nablafx.export.cells import cells
from nablafx.export.decimals import decimals
from nablafx.export.formats import ExportError
from nablafx.export.nam.base import Net
from nablafx.export.nam.parts import (
    IDENTITY,
    SIGMOID,
    TANH,
    Activation,
    Array,
    Document,
    Layer,
    matrix,
    wavenet,
    zeros,
)
from nablafx.layers.held import Held

# what does not change with the audio becomes part of the weights
CONSTANT = (Unconditioned, FiLM, FixedConditioning)
LEAST_RESIDUAL = 1e-9
"""A gain below it is taken for it: 180 dB down, and what divides by it stays within 32 bits."""


def encode(effect: Effect, controls: Tensor | None) -> Document:
    """The network of a .nam file that does what the effect does with the controls (1, P) as they stand.

    Raises:
        ExportError: there is none.
    """
    if effect.cold_start:
        raise ExportError(
            f"{type(effect).__name__} with cold_start cannot be expressed in .nam, whose players begin in what silence "
            "leaves; build it with cold_start: false"
        )
    knobs = None if controls is None else controls.double().cpu()
    with torch.no_grad():
        return _encode(deepcopy(effect).cpu().double().eval(), knobs)


def _refuse(effect: Effect, part: str) -> ExportError:
    return ExportError(f"{type(effect).__name__} with {part} cannot be expressed in .nam; --format onnx can")


def _condition(effect: TCN | GCN | LSTM, controls: Tensor | None) -> Held | None:
    """What the conditioning makes of the controls."""
    if not isinstance(effect.conditioning, CONSTANT):
        raise _refuse(effect, f"{type(effect.conditioning).__name__}, which changes with the audio,")
    return effect.conditioning.encode(zeros(1, 1, 1), controls, ())[0]


@singledispatch
def _encode(effect: Effect, controls: Tensor | None) -> Document:
    raise ExportError(
        f"{type(effect).__name__} cannot be expressed in .nam, which holds convolutional nets and LSTMs; "
        "--format onnx can"
    )


@_encode.register
def _net(effect: Net, controls: Tensor | None) -> Document:
    raise ExportError("the model comes from a .nam file, and is not written as another: copy that file")


@_encode.register
def _lstm(effect: LSTM, controls: Tensor | None) -> Document:
    """Alone where nothing follows it; else a WaveNet of a layer or two that adds the input, and bends the sum."""
    net = _recurrence(effect, controls)
    bend = TANH if isinstance(effect.output_activation, nn.Tanh) else IDENTITY
    residual = float(effect.residual)
    if effect.direct_gain is not None:
        # the first layer hears (x, 0), and leaves (x, tanh(g x)) to the second
        shaping, adding = matrix([0, 0], [float(effect.direct_gain), 0]), matrix([residual, 1], [0, 0])
        keep, nothing = (matrix([0, 0], [0, 1]), zeros(2)), (zeros(2, 2), zeros(2))
        first = Layer(shaping.unsqueeze(-1), zeros(2), keep, TANH, head=(zeros(1, 2), zeros(1)))
        heard, lstm = (matrix([1, 0]), zeros(1)), matrix([1, 0])
        second = Layer(adding.unsqueeze(-1), zeros(2), nothing, bend, head=heard, direct=lstm)
        return wavenet([Array(matrix([1], [0]), [first, second], matrix([1]))], condition=net)
    if bend is IDENTITY and not effect.residual:
        return net
    nothing = (zeros(1, 1), zeros(1))
    layer = Layer(matrix([residual]).unsqueeze(-1), zeros(1), nothing, bend, direct=matrix([1]))
    return wavenet([Array(matrix([1]), [layer], matrix([1]))], condition=net)


def _recurrence(effect: LSTM, controls: Tensor | None) -> Document:
    """The cells and the read-out; constant inputs become part of the bias."""
    lstm, cond = effect.lstm, _condition(effect, controls)
    start = effect.rest(zeros(1, 1, 1), controls)["lstm"]
    weights = []
    for n, cell in enumerate(cells(lstm, None if cond is None else cond.values.flatten())):
        weights += [torch.cat([cell.w_ih, cell.w_hh], dim=1), cell.bias, *(state[0, n] for state in start)]
    weights += [effect.linear.weight, effect.linear.bias]
    config = {"input_size": 1, "hidden_size": lstm.hidden_size, "num_layers": lstm.num_layers}
    return Document("LSTM", config, torch.cat([w.flatten() for w in weights]))


def _blocks(effect: TCN | GCN, controls: Tensor | None) -> Iterator[tuple[ConvBlock, Tensor, Tensor]]:
    """Each block with the weight and bias of its convolution, its constant modulation folded in."""
    if effect.residual_delay:
        raise _refuse(effect, "residual_delay")
    cond = _condition(effect, controls)
    for block in effect.blocks:
        assert isinstance(block, ConvBlock)
        held, _ = block.modulation(None, cond, ())
        weight, bias = block.conv.weight, block.conv.bias
        assert bias is not None
        if held is not None:
            scale, shift = held.values[0, :, 0].chunk(2)
            weight, bias = weight * scale.view(-1, 1, 1), bias * scale + shift
        yield block, weight, bias


def _widen(weight: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
    """A convolution's weight (Z, in, K), where each input has become several equal channels of `outputs` in all.

    NAM's channels keep their number within an array: the input is repeated before the layer, which hears one of each.

    Returns:
        The weight (Z, outputs, K), and what repeats the input, (outputs, in).
    """
    inputs = weight.shape[1]
    repeats = outputs // inputs
    wide = zeros(len(weight), outputs, weight.shape[-1])
    wide[:, ::repeats] = weight
    return wide, torch.eye(inputs, dtype=torch.float64).repeat_interleave(repeats, dim=0)


Stacks = list[tuple[Tensor, list[Layer]]]
"""What repeats the channels of the stack before, and the layers, of each width."""


def _add(stacks: Stacks, repeat: Tensor, layer: Layer) -> None:
    if not stacks or repeat.shape[0] != repeat.shape[1]:
        stacks.append((repeat, []))
    stacks[-1][1].append(layer)


def _arrays(stacks: Stacks, head: float) -> list[Array]:
    """An array for each stack. The first channel of its head goes on times `head`; it is as wide as the next array."""
    widths = [*(len(repeat) for repeat, _ in stacks[1:]), 1]
    arrays = []
    for (repeat, layers), outputs in zip(stacks, widths, strict=True):
        heard = layers[0].head
        passed = zeros(outputs, len(repeat) if heard is None else len(heard[1]))
        passed[0, 0] = head
        arrays.append(Array(repeat, layers, passed))
    return arrays


@_encode.register
def _tcn(effect: TCN, controls: Tensor | None) -> Document:
    """h <- r h + act(conv(h)) as NAM's g <- g + act(conv(d g)) / (r d), with h = d g; a last layer reads it out.

    NAM has no gain on the residual path, so each channel's d is the product of its gains r so far.
    """
    stacks: Stacks = []
    d = torch.ones(1, dtype=torch.float64)
    for block, weight, bias in _blocks(effect, controls):
        assert isinstance(block, TCNBlock)
        if block.residual is None:
            raise _refuse(effect, "residual: false")
        wide, repeat = _widen(weight * d.view(1, -1, 1), len(bias))
        gains = block.residual.weight.flatten()
        d = (repeat @ d) * torch.where(gains < 0, gains.clamp_max(-LEAST_RESIDUAL), gains.clamp_min(LEAST_RESIDUAL))
        mix = torch.diag(1 / d), zeros(len(d))
        _add(stacks, repeat, Layer(wide, bias, mix, _activation(effect, block.act), block.conv.dilation[0]))
    assert effect.mix.bias is not None
    bend = TANH if isinstance(effect.output_activation, nn.Tanh) else IDENTITY
    nothing = (zeros(1, 1), zeros(1))
    last = Layer(torch.ones(1, 1, 1), effect.mix.bias, nothing, bend, direct=_direct(effect, 1))
    return wavenet([*_arrays(stacks, 0), Array(effect.mix.weight.view(1, -1) * d, [last], matrix([1]))])


def _activation(effect: TCN, act: nn.Module) -> Activation:
    if isinstance(act, nn.Tanh):
        return TANH
    if isinstance(act, nn.PReLU):
        return {"type": "PReLU", "negative_slopes": decimals(act.weight)}
    raise _refuse(effect, f"a {type(act).__name__.lower()} activation")


@_encode.register
def _gcn(effect: GCN, controls: Tensor | None) -> Document:
    """Gated layers, each with its part of the output as head1x1; a last layer for the direct path."""
    stacks: Stacks = []
    offset: Tensor = effect.bias
    for block, weight, bias in _blocks(effect, controls):
        assert isinstance(block, GCNBlock)
        if not block.residual:
            raise _refuse(effect, "residual: false")
        wide, repeat = _widen(weight, len(bias) // 2)
        assert block.mix.bias is not None
        skip, mix = block.skip.weight.flatten(), (block.mix.weight, block.mix.bias)
        head = _head(skip, offset, first=not stacks or (len(stacks) == 1 and len(repeat) == repeat.shape[1]))
        _add(stacks, repeat, Layer(wide, bias, mix, TANH, block.conv.dilation[0], SIGMOID, head))
        offset = zeros()
    if effect.direct_gain is not None:
        width = len(skip)
        past = _head(torch.eye(width, dtype=torch.float64)[0], zeros(), first=len(stacks) == 1)
        nothing = (zeros(width, width), zeros(width))
        last = Layer(zeros(width, width, 1), zeros(width), nothing, IDENTITY, head=past, direct=_direct(effect, width))
        stacks[-1][1].append(last)
    return wavenet(_arrays(stacks, 1), tanh=isinstance(effect.output_activation, nn.Tanh))


def _head(weight: Tensor, offset: Tensor, first: bool) -> tuple[Tensor, Tensor]:
    """head1x1 with one output; behind another array it has as many as channels, of which the first is used."""
    padding = zeros(0 if first else len(weight) - 1, len(weight))
    return torch.cat([weight.unsqueeze(0), padding]), torch.cat([offset.view(1), padding[:, 0]])


def _direct(effect: TCN | GCN, width: int) -> Tensor | None:
    """What the first of `width` features hears of the input."""
    gain = effect.direct_gain
    return None if gain is None else torch.cat([gain.view(1), zeros(width - 1)])
