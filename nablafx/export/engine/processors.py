"""Rules of the processors."""

from __future__ import annotations

from functools import singledispatch

from torch import nn

from nablafx.export.engine.curves import pieces_of
from nablafx.export.engine.filters import Filtering, PhaseShifting, Taps
from nablafx.export.engine.processing import (
    Bending,
    Clipping,
    Compression,
    Level,
    LookUp,
    Mixing,
    Processing,
    TorchProcessing,
)
from nablafx.processors import (
    AsymmetricClipper,
    Cabinet,
    Compressor,
    DCOffset,
    Gain,
    Mix,
    PhaseInversion,
    PhaseShift,
    Polarity,
    Processor,
    SosProcessor,
    StaticFIRFilter,
    StaticMLPNonlinearity,
    StaticRationalNonlinearity,
    TanhNonlinearity,
)
from nablafx.processors.fir import TapsProcessor


@singledispatch
def lower_processor(processor: Processor, size: int) -> Processing:
    """What runs a processor on pieces of up to `size` samples: itself, where it has no rule and is no SosProcessor."""
    kind = type(processor)
    if isinstance(processor, SosProcessor) and (kind.process, kind.hear) == (SosProcessor.process, Processor.hear):
        return Filtering(processor, size)
    return TorchProcessing(processor)


@lower_processor.register
def _(processor: Gain, size: int) -> Processing:
    return Level(by_gain=True)


@lower_processor.register
def _(processor: DCOffset, size: int) -> Processing:
    return Level(by_offset=True)


@lower_processor.register
def _(processor: PhaseInversion, size: int) -> Processing:
    return Level(scale=-1.0)


@lower_processor.register
def _(processor: Polarity, size: int) -> Processing:
    return Level(scale=float(processor.sign))


@lower_processor.register
def _(processor: Mix, size: int) -> Processing:
    return Mixing()


@lower_processor.register
def _(processor: TanhNonlinearity, size: int) -> Processing:
    return Bending(nn.Tanh())


@lower_processor.register
def _(processor: StaticRationalNonlinearity, size: int) -> Processing:
    return Bending(processor.rational)


@lower_processor.register
def _(processor: StaticMLPNonlinearity, size: int) -> Processing:
    pieces = pieces_of(processor.siren)
    return TorchProcessing(processor) if pieces is None else LookUp(processor.siren.reach, pieces)


@lower_processor.register(StaticFIRFilter)
@lower_processor.register(Cabinet)
def _(processor: TapsProcessor, size: int) -> Processing:
    return Taps(processor, size)


@lower_processor.register
def _(processor: PhaseShift, size: int) -> Processing:
    return PhaseShifting(processor, size)


@lower_processor.register
def _(processor: Compressor, size: int) -> Processing:
    return Compression(processor)


@lower_processor.register
def _(processor: AsymmetricClipper, size: int) -> Processing:
    return Clipping(processor)
