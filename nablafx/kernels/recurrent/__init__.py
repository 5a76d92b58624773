"""LSTM layers."""

from nablafx.kernels.recurrent.ops import lstm

__all__ = ["lstm"]
