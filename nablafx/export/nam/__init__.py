"""Files of Neural Amp Modeler: writing, checking and reading them."""

from nablafx.export.nam.nets import NamConvNet, NamLinear, NamLSTM
from nablafx.export.nam.reader import read_nam
from nablafx.export.nam.wavenet import NamWaveNet
from nablafx.export.nam.writer import check, write

__all__ = ["NamConvNet", "NamLSTM", "NamLinear", "NamWaveNet", "check", "read_nam", "write"]
