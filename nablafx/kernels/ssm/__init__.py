"""Diagonal linear state-space systems."""

from nablafx.kernels.ssm.ops import scan

__all__ = ["scan"]
