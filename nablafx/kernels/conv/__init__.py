"""Blocks of convolution nets: a causal convolution, and what becomes of it in one pass over the audio."""

from nablafx.kernels.conv.blocks import convolve, finish_gate, finish_tanh, gated_block, tanh_block
from nablafx.kernels.conv.reference import FOREVER, by_block, modulate, repeated

__all__ = [
    "FOREVER",
    "by_block",
    "convolve",
    "finish_gate",
    "finish_tanh",
    "gated_block",
    "modulate",
    "repeated",
    "tanh_block",
]
