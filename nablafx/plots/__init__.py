"""Pure functions from arrays to matplotlib figures; matplotlib is imported when one is called."""

from nablafx.plots.comparison import plot_comparison

__all__ = ["plot_comparison"]
