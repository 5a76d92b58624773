"""Controllers that follow the audio: an LSTM over the peaks of its blocks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from nablafx.controllers.base import Controller
from nablafx.layers.block_lstm import BlockLSTM
from nablafx.layers.held import Held


class DynamicController(Controller):
    """max-pool(abs(x)) over blocks -> LSTM -> sigmoid, held over the block.

    Published, the outputs of the LSTM, which lie in (-1, 1), are what the sigmoid gets: u stays within 0.27 and 0.73. A
    `hidden_size` puts a linear read-out between, which reaches the whole range.
    """

    def __init__(
        self,
        num_parameters: int,
        num_controls: int = 0,
        block_size: int = 128,
        lookahead: bool = True,
        hidden_size: int | None = None,
        sidechain: bool = False,
    ) -> None:
        """
        Args:
            num_controls: of the device; it listens to none of them.
            block_size: samples between two values.
            lookahead: a block's own peak governs it, as published: cuts fall between blocks. False: the blocks before.
            hidden_size: of an LSTM with a read-out; None: as many as there are parameters, and none.
            sidechain: it hears the input of the chain, as published, and not that of its stage.
        """
        self._build(num_parameters, 0, block_size, lookahead, hidden_size)
        self.sidechain = sidechain

    def _build(self, num_parameters: int, num_controls: int, block: int, lookahead: bool, hidden: int | None) -> None:
        super().__init__(num_parameters, num_controls)
        self.frame_size = block if lookahead else 1
        self.listener = BlockLSTM(1, hidden or num_parameters, num_controls, block, lookahead)
        self.readout = nn.Conv1d(hidden, num_parameters, 1) if hidden else nn.Identity()
        if hidden:
            _listen(self.listener.lstm)

    def forward(self, x: Tensor, controls: Tensor | None, state: Any) -> tuple[Held, Any]:
        held, state = self.listener(x.abs(), self._heard(controls), state)
        return held.map(self._normalise), state

    def rest(self, x: Tensor, controls: Tensor | None) -> tuple[Held, Any]:
        held, state = self.listener.rest(x.abs(), self._heard(controls))
        return held.map(self._normalise), state

    def _heard(self, controls: Tensor | None) -> Tensor | None:
        return controls if self.num_controls else None

    def _normalise(self, h: Tensor) -> Tensor:
        return torch.sigmoid(self.readout(h))


def _listen(lstm: nn.LSTM) -> None:
    """Start with units that hear the peaks, and forget them after one block, the next after more, the last after 32.

    A fresh LSTM moves by some hundredths for a peak of full scale and forgets it in two blocks: training then often
    stays for hundreds of steps where the gain is constant.
    """
    hidden, parameters = lstm.hidden_size, dict(lstm.named_parameters())
    with torch.no_grad():
        nn.init.normal_(parameters["weight_ih_l0"], std=2.0)
        nn.init.normal_(parameters["weight_hh_l0"], std=0.3)
        nn.init.zeros_(parameters["bias_ih_l0"])
        nn.init.zeros_(parameters["bias_hh_l0"])
        # a forget gate of bias b keeps a value for about exp(b) blocks
        parameters["bias_ih_l0"][hidden : 2 * hidden] = torch.linspace(0, math.log(32), hidden)


class DynamicCondController(DynamicController):
    """As DynamicController, with the device's controls beside the peaks."""

    def __init__(
        self,
        num_parameters: int,
        num_controls: int,
        block_size: int = 128,
        lookahead: bool = True,
        hidden_size: int | None = None,
        sidechain: bool = False,
    ) -> None:
        self._build(num_parameters, num_controls, block_size, lookahead, hidden_size)
        self.sidechain = sidechain
        self._needs_controls()
