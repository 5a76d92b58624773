"""Effects: learnable, causal maps from dry to wet audio."""

from nablafx.effects.base import Effect
from nablafx.effects.envelope_lstm import EnvelopeLSTM
from nablafx.effects.gcn import GCN
from nablafx.effects.gray_box import GrayBox, Stage
from nablafx.effects.lstm import LSTM
from nablafx.effects.s4 import S4
from nablafx.effects.tcn import TCN

__all__ = ["GCN", "LSTM", "S4", "TCN", "Effect", "EnvelopeLSTM", "GrayBox", "Stage"]
