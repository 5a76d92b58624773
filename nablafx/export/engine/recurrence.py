"""What is recurrent in a plan: layers of an LSTM, and listeners that run once a block."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from nablafx.export.engine.lowering import FOREVER, Dense, by_group, in_lanes, numbers, padded
from nablafx.kernels.streams.nets import LANES, run_lstm
from nablafx.kernels.streams.signals import pool
from nablafx.layers.block_lstm import BlockLSTM


class RecurrentLayer:
    """A layer of an LSTM over features that pass, and others that hold and are taken up into the biases.

    Attributes:
        hidden: (size + 1, units), row 0 the state, then a row for every sample of the last run.
    """

    def __init__(
        self, lstm: nn.LSTM, number: int, size: int, heard: int | None = None, parts_in: int = 1, parts: int = 1
    ) -> None:
        """
        Args:
            heard: inputs that pass, the first ones; None: all of them.
            parts_in, parts: of whole groups that the inputs, and the units, lie in.
        """
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w_ih, w_hh, b_ih, b_hh = (numbers(getattr(lstm, f"{name}_l{number}")) for name in names)
        self._parts = parts
        self._w_held = w_ih[:, heard:].T if heard is not None else w_ih[:, :0].T
        self._bias = b_ih + b_hh
        w_ih = in_lanes(w_ih[:, :heard], parts_in) if parts_in > 1 else w_ih[:, :heard]
        w_hh = in_lanes(w_hh, parts) if parts > 1 else w_hh
        self._w_in, self._w_rec = self._by_gate(w_ih.T), self._by_gate(w_hh.T)
        groups = len(self._w_in)
        self._cell = np.zeros((groups, LANES), np.float32)
        self._gates = np.zeros((groups, 4, LANES), np.float32)
        self.hidden = np.zeros((size + 1, groups * LANES), np.float32)
        self._out = self.hidden[1:]
        self._last = 0
        self.hold(np.zeros(len(self._w_held)))

    def hold(self, features: np.ndarray) -> None:
        """Set the features (P,) that hold, until they are set again."""
        self._rows = self._by_gate(self._bias + features @ self._w_held)[None]

    def held_taps(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and biases that make rows of `run` of features that hold for a block each: as of a convolution."""
        weight, bias = self._by_gate(self._w_held), self._by_gate(self._bias)
        taps = np.ascontiguousarray(weight.swapaxes(1, 2)).reshape(-1, 1, weight.shape[1], LANES)
        return taps, bias.reshape(-1, LANES)

    def load(self, h: Tensor, c: Tensor) -> None:
        """Set the state (H,)."""
        self._last = 0
        self.hidden[0] = in_lanes(numbers(h), self._parts)
        self._cell[:] = by_group(in_lanes(numbers(c), self._parts))

    def run(
        self, x: np.ndarray, length: int, rows: np.ndarray | None = None, block: int = FOREVER, offset: int = 0
    ) -> np.ndarray:
        """x (T, I) -> h (T, units), `hidden` without its first row; rows: biases of each block, (N, G, 4, LANES)."""
        self.hidden[0] = self.hidden[self._last]
        self._last = length
        rows = self._rows if rows is None else rows
        run_lstm(x, self._w_in, self._w_rec, rows, block, offset, self._cell, self._gates, self.hidden, length)
        return self._out

    def _by_gate(self, values: np.ndarray) -> np.ndarray:
        """(..., 4 H) -> (G, ..., 4, LANES)."""
        return by_group(in_lanes(values.reshape(*values.shape[:-1], 4, -1), self._parts))


class Listener:
    """A BlockLSTM: what it made of the blocks so far.

    Attributes:
        rows: (N, units), what holds for each block of the last run.
        block: samples that a row holds for.
        offset: samples of the first block that lie before the last run.
        made: rows that the last run added.
    """

    def __init__(
        self,
        module: BlockLSTM,
        size: int,
        num_controls: int,
        rectify: bool = False,
        parts_in: int = 1,
        parts: int = 1,
    ) -> None:
        """
        Args:
            num_controls: inputs that hold.
            rectify: it hears magnitudes.
            parts_in, parts: of whole groups that the features, and the units, lie in.
        """
        self.block, self._lookahead = module.block_size, module.lookahead
        self._ends = module.lookahead * (2 if module.fill_zeros else 1)
        self._rectify, self._parts_in = rectify, parts_in
        most = size // self.block + 2
        channels = heard = module.lstm.input_size - num_controls
        self._squeeze: Dense | None = None
        if isinstance(module.squeeze, nn.Conv1d):
            self._squeeze = Dense(module.squeeze, most, parts_in=parts_in)
            channels = module.squeeze.in_channels
        width = 1 if channels == 1 else parts_in * padded(channels // parts_in)
        self._pooled, self._peak = np.zeros((most, width), np.float32), np.zeros(width, np.float32)
        self._filled = np.zeros(1, np.int64)
        self._layer = RecurrentLayer(module.lstm, 0, most, heard, 1 if self._squeeze else parts_in, parts)
        # looking ahead, what was made of the block before governs nothing any more
        self.rows = self._layer.hidden[1:] if self._lookahead else self._layer.hidden
        self.offset = self.made = 0

    @property
    def count(self) -> int:
        """How many of the rows count, N."""
        return self.made if self._lookahead else self.made + 1

    def turn(self, controls: Tensor | None) -> None:
        self._layer.hold(np.zeros(0) if controls is None else numbers(controls)[0])

    def load(self, state: tuple[Tensor, Tensor, Tensor]) -> None:
        pending, h, c = state
        self._layer.load(h[0, 0], c[0, 0])
        heard = numbers(pending)[0]
        self._filled[0] = heard.shape[-1]
        if heard.shape[-1]:
            peak = heard.max(-1)
            self._peak[:] = peak if len(peak) == 1 else in_lanes(peak, self._parts_in)

    def run(self, x: np.ndarray, length: int) -> None:
        """Hear x (T, C)."""
        self.offset = int(self._filled[0])
        arrays = (self._peak, self._filled, self._pooled)
        self.made = pool(x, self.block, self._rectify, *arrays, length, self._ends)
        features = self._squeeze.run(self._pooled, self.made) if self._squeeze else self._pooled
        self._layer.run(features, self.made)
