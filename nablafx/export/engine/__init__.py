"""An effect compiled for one mono stream: the hot loops of its layers in numba, between buffers made once."""

from nablafx.export.engine.lowering import NoLoweringError, lower_effect
from nablafx.export.engine.numba_engine import NumbaEngine

__all__ = ["NoLoweringError", "NumbaEngine", "lower_effect"]
