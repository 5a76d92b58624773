"""What all figures share: colours, panels, labels, and an axis of frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nablafx.errors import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Theme(NamedTuple):
    """Colours of a figure. Blue, orange and ink stay apart in the usual colour deficiencies."""

    ground: str
    ink: str
    faint: str
    target: str
    prediction: str


LIGHT = Theme("#ffffff", "#1a1a1a", "#c4c4c4", "#0072b2", "#d55e00")
DARK = Theme("#16181c", "#e8e8e8", "#4a4d54", "#4fb0ea", "#f0903c")


def theme_of(dark: bool) -> Theme:
    return DARK if dark else LIGHT


def literal(text: str) -> str:
    """As matplotlib shows it letter by letter: dollars would make mathematics of a name."""
    return plain(text).replace("$", r"\$")


def sheet(title: str, width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of so many inches under its title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, facecolor=theme.ground)
    figure.suptitle(literal(title), color=theme.ink, fontsize=13, y=1 - 0.1 / height)
    return figure


def panel(figure: Figure, place: Any, theme: Theme) -> Axes:
    """Axes with two spines, in the colours of the theme."""
    axes = figure.add_subplot(place, facecolor=theme.ground)
    axes.tick_params(which="both", colors=theme.ink, labelsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.ink)
    return axes


def label(axes: Axes, theme: Theme, title: str, x: str, y: str = "") -> None:
    """Title on the left, and the names of the axes."""
    axes.set_title(literal(title), loc="left", color=theme.ink, fontsize=11)
    axes.set_xlabel(x, color=theme.ink, fontsize=10)
    axes.set_ylabel(y, color=theme.ink, fontsize=10)


def legend(axes: Axes, theme: Theme) -> None:
    """In a row above the panel: inside, it would cover what is drawn."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=4,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=10,
        borderaxespad=0.2,
    )


def hertz(axes: Axes, low: float, high: float) -> None:
    """A logarithmic x-axis of frequencies from low to high, marked in Hz and kHz."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    marks = [hz for hz in (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000) if low <= hz <= high]
    axes.set_xticks(marks, labels=[f"{hz / 1000:g}k" if hz >= 1000 else f"{hz:g}" for hz in marks])
    axes.minorticks_off()
