"""What comes with the package besides code: configs, pre-trained weights and demo recordings."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# in a wheel they lie within the package, in a checkout beside it
ROOT = _PACKAGE / "shipped" if (_PACKAGE / "shipped").is_dir() else _PACKAGE.parent
"""The folder that holds cfg/, weights/ and demo/."""
