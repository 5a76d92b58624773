"""Blocks of convolution nets: a causal convolution, and what becomes of it in one pass over the audio."""

from nablafx.kernels.conv.blocks import convolve, finish_gate, finish_tanh, gated_block, tanh_block
from nablafx.kernels.conv.reference import FOREVER, modulate

__all__ = ["FOREVER", "convolve", "finish_gate", "finish_tanh", "gated_block", "modulate", "tanh_block"]
