"""Dry and wet recordings of a device as batches: found, checked, split and read."""

from nablafx.data.datamodule import PairedAudioDataModule
from nablafx.data.dataset import Batch
from nablafx.data.demo import write_demo
from nablafx.data.errors import DataError, DataWarning

__all__ = ["Batch", "DataError", "DataWarning", "PairedAudioDataModule", "write_demo"]
