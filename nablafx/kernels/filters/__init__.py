"""Second-order sections and envelope followers."""

from nablafx.kernels.filters.ops import envelope, sections

__all__ = ["envelope", "sections"]
