"""Where hypothesis keeps its tables: not in the checkout."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "nablafx-hypothesis"))
