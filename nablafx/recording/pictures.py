"""A picture for each file that something is said of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from nablafx.data.audio import blocks
from nablafx.data.files import Pair
from nablafx.data.inspection.alignment import WIDEST_S, correlation, spectra_of
from nablafx.data.inspection.facts import FileFacts, PairFacts
from nablafx.data.inspection.inspect import Inspection
from nablafx.data.inspection.pairs import excerpt
from nablafx.data.inspection.scan import EXCERPT_S
from nablafx.plots.inspection import Correlation, Wave, plot_inspection
from nablafx.writing import replacing

_COLUMNS = 2000  # of a drawn wave
_AROUND_S = 0.01  # of a small delay


def write_picture(target: Path, title: str, pair: Pair, found: Inspection, path: Path) -> bool:
    """Draw a file of a pair into a png; False where it cannot be read, or holds nothing to draw."""
    facts = found.files.get(path)
    if not isinstance(facts, FileFacts) or not facts.frames:
        return False
    compared = found.pairs.get((pair.dry, pair.wet)) if path == pair.wet else None
    shown = [pair.dry, path] if compared else [path]
    waves = [_wave(one, found.usable(one).channel) for one in shown]
    figure = plot_inspection(
        title,
        waves,
        [place / facts.rate for place in facts.clip_places],
        [(place / facts.rate, delay) for place, delay in compared.track] if compared else (),
        _correlation(pair, found, compared) if compared else None,
    )
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png")
    return True


def _wave(path: Path, channel: int) -> Wave:
    """The lowest and the highest sample of each of the columns; zero for what is no number."""
    info = soundfile.info(path)
    size = max(-(-info.frames // _COLUMNS), 1)
    low, high = [], []
    for block in blocks(path, channel, size):
        finite = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        low.append(float(finite.min()))
        high.append(float(finite.max()))
    return Wave(path.name, np.array(low), np.array(high), info.frames / info.samplerate)


def _correlation(pair: Pair, found: Inspection, compared: PairFacts) -> Correlation:
    """Around the delay, or over all lags that were looked at where there is none."""
    assert pair.wet is not None
    dry, wet = found.usable(pair.dry), found.usable(pair.wet)
    rate = dry.rate
    values = correlation(spectra_of(*excerpt(pair.dry, pair.wet, dry, wet), rate), rate)
    lags_ms = 1000 * (np.arange(len(values)) / rate - int(WIDEST_S * rate) / rate)
    delay_ms = None
    if compared.delay is not None:
        middle = dry.loudest + min(EXCERPT_S * rate, dry.frames - dry.loudest) // 2
        grown = 1e-6 * (compared.drift_ppm or 0) * middle if compared.drifts else 0
        delay_ms = 1000 * (compared.delay + grown) / rate
    shown = np.ones(len(values), dtype=bool)
    if delay_ms is not None:
        shown = np.abs(lags_ms) <= 1000 * _AROUND_S + 1.5 * abs(delay_ms)
    return Correlation(lags_ms[shown], values[shown], delay_ms)
