"""What an effect costs that runs as a stream, counted and not timed: multiply-accumulates, and the bytes of its state.

One sample of a stream costs each layer the sample alone, since what was before is in the state:

    convolution          outputs · inputs · K, or outputs · inputs where it has one tap
    residual, γ z + β    one a channel
    state-space system   of each channel 8 a complex state (z s is 4, g u is 2, Re c s is 2), and 1 past them
    LSTM layer           4 H (I + H) of its gates, 3 H of its cell
    second-order section 9, in the states of the filter's loop
    FIR filter           one a tap
    rational curve       one a coefficient
    network of sines     its weights
    follower             1
    compressor           7
    gain, offset, mix    one
    gate                 one a channel

What runs once a block of B samples, the listeners of time-varying conditionings and dynamic controllers with all that
their units pass through, counts 1 / B of that. What only the knobs decide counts nothing, nor do activations, nor the
design of filters from their parameters, although that is done once a block where these move.
"""

from __future__ import annotations

from functools import singledispatch
from typing import cast

import torch
from torch import nn
from torch.utils import _pytree as pytree

from nablafx.conditioning import Conditioning, TVFiLM
from nablafx.conditioning.base import Unmodulated
from nablafx.conditioning.film import FiLMModulation
from nablafx.conditioning.tfilm import BlockModulation
from nablafx.conditioning.tvfilm import TVFiLMModulation
from nablafx.controllers import Controller, DynamicController
from nablafx.effects import GCN, LSTM, Effect, EnvelopeLSTM
from nablafx.effects.gcn import GCNBlock
from nablafx.effects.stack import StackedEffect
from nablafx.layers.block_lstm import BlockLSTM
from nablafx.layers.diagonal_ssm import DiagonalSSM
from nablafx.layers.recurrent import Recurrent
from nablafx.layers.residual import ChannelScale
from nablafx.processors import (
    AsymmetricClipper,
    Compressor,
    DCOffset,
    Gain,
    Mix,
    PhaseShift,
    Polarity,
    Processor,
    SidechainCompressor,
    SosProcessor,
    StaticRationalNonlinearity,
)
from nablafx.processors.fir import TapsProcessor

_SECTION = 9


def parameters(effect: Effect) -> int:
    """Numbers that it has learned."""
    return sum(p.numel() for p in effect.parameters())


def state_bytes(effect: Effect) -> int:
    """Bytes of the state that one stream carries from block to block."""
    controls = torch.full((1, effect.num_controls), 0.5) if effect.num_controls else None
    with torch.inference_mode():
        state = effect.resting(torch.zeros(1, 1, 1), controls)
    return sum(t.numel() * t.element_size() for t in pytree.tree_leaves(state) if isinstance(t, torch.Tensor))


@singledispatch
def macs(module: nn.Module, held: int = 0) -> float:
    """Multiply-accumulates a sample.

    held: samples that what the layers share of a conditioning holds for; 0: for ever.
    """
    return sum(macs(child, held) for child in module.children())


@macs.register(nn.Conv1d)
@macs.register(nn.Linear)
def _(module: nn.Conv1d | nn.Linear, held: int = 0) -> float:
    return module.weight.numel()


@macs.register
def _(module: ChannelScale, held: int = 0) -> float:
    return len(module.weight)


@macs.register
def _(module: DiagonalSSM, held: int = 0) -> float:
    channels, states, _ = module.C.shape
    return channels * (8 * states + 1)


@macs.register
def _(module: Recurrent, held: int = 0) -> float:
    weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
    return weights + 3 * module.hidden_size * module.num_layers


@macs.register
def _(module: BlockLSTM, held: int = 0) -> float:
    return (macs(module.squeeze) + macs(module.lstm)) / module.block_size


@macs.register
def _(module: Conditioning, held: int = 0) -> float:
    return 0


@macs.register
def _(module: TVFiLM, held: int = 0) -> float:
    return macs(module.listener)


@macs.register
def _(module: Unmodulated, held: int = 0) -> float:
    return 0


@macs.register
def _(module: FiLMModulation, held: int = 0) -> float:
    return len(module.norm.mean)


@macs.register
def _(module: TVFiLMModulation, held: int = 0) -> float:
    return macs(module.readout) / held + module.readout.out_channels / 2


@macs.register
def _(module: BlockModulation, held: int = 0) -> float:
    linear = [layer for layer in module.readout.children() if isinstance(layer, nn.Linear)]
    outputs = linear[-1].out_features if linear else module.listener.lstm.hidden_size
    return macs(module.listener) + macs(module.readout) / module.listener.block_size + outputs / 2


@macs.register
def _(module: StackedEffect, held: int = 0) -> float:
    conditioning = module.conditioning
    held = conditioning.listener.block_size if isinstance(conditioning, TVFiLM) else 0
    return sum(macs(child, held) for child in module.children()) + (module.direct_gain is not None)


@macs.register
def _(module: GCN, held: int = 0) -> float:
    # a gate multiplies; the last block's mix feeds nothing
    mixes = [cast(GCNBlock, block).mix for block in module.blocks]
    return macs.dispatch(StackedEffect)(module) + sum(mix.out_channels for mix in mixes) - macs(mixes[-1])


@macs.register
def _(module: LSTM, held: int = 0) -> float:
    return _appended(module) + macs(module.linear) + (module.direct_gain is not None)


@macs.register
def _(module: EnvelopeLSTM, held: int = 0) -> float:
    followers, gain = len(module.envelopes.log_time_ms), 1
    heard = macs(module.resonators) + macs(module.filters) + followers
    return heard + _appended(module) + macs(module.readout) + gain + macs(module.tone) + macs(module.last)


def _appended(module: LSTM | EnvelopeLSTM) -> float:
    """Of the LSTM and its conditioning: features that hold are taken up into the biases when they change."""
    conditioning, lstm = module.conditioning, module.lstm
    appended = 4 * lstm.hidden_size * conditioning.num_features
    again = appended / conditioning.listener.block_size if isinstance(conditioning, TVFiLM) else 0
    return macs(lstm) - appended + again + macs(conditioning)


@macs.register
def _(module: Controller, held: int = 0) -> float:
    return 0


@macs.register
def _(module: DynamicController, held: int = 0) -> float:
    return macs(module.listener) + macs(module.readout) / module.listener.block_size


@macs.register(Gain)
@macs.register(DCOffset)
@macs.register(Polarity)
@macs.register(Mix)
def _(module: Processor, held: int = 0) -> float:
    return 1


@macs.register
def _(module: TapsProcessor, held: int = 0) -> float:
    return len(module.taps())


@macs.register
def _(module: StaticRationalNonlinearity, held: int = 0) -> float:
    return len(module.rational.numerator) - 1 + len(module.rational.denominator)


@macs.register
def _(module: Compressor, held: int = 0) -> float:
    return 7


@macs.register
def _(module: SidechainCompressor, held: int = 0) -> float:
    return 7 + 2 + _SECTION


@macs.register
def _(module: AsymmetricClipper, held: int = 0) -> float:
    # drive, feedback and charge, and six products for each hyperbola, ten for its mean
    return 7 + 2 * (10 if module.antialias else 6)


@macs.register(SosProcessor)
@macs.register(PhaseShift)
def _(module: Processor, held: int = 0) -> float:
    u = torch.full((1, module.num_parameters, 1), 0.5) if module.num_parameters else None
    with torch.no_grad():
        _, state = module.rest(torch.zeros(1, 1, 1), u)
    return _SECTION * state.shape[2] + (2 if isinstance(module, PhaseShift) else 0)
