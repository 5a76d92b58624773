"""Pure functions from arrays to matplotlib figures; matplotlib is imported when one is called."""

from nablafx.plots.benchmark import plot_benchmark
from nablafx.plots.characteristics import plot_distortion, plot_gain_trace, plot_loop, plot_response
from nablafx.plots.comparison import plot_comparison
from nablafx.plots.history import plot_histories, plot_history
from nablafx.plots.ranking import plot_ranking
from nablafx.plots.stages import StageView, plot_stages

__all__ = [
    "StageView",
    "plot_benchmark",
    "plot_comparison",
    "plot_distortion",
    "plot_gain_trace",
    "plot_histories",
    "plot_history",
    "plot_loop",
    "plot_ranking",
    "plot_response",
    "plot_stages",
]
