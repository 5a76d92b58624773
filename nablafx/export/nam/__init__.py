"""Files of Neural Amp Modeler: writing, checking and reading them."""

from nablafx.export.nam.nets import LSTM, ConvNet, Linear
from nablafx.export.nam.reader import read_nam
from nablafx.export.nam.wavenet import WaveNet
from nablafx.export.nam.writer import check, write

__all__ = ["LSTM", "ConvNet", "Linear", "WaveNet", "check", "read_nam", "write"]
