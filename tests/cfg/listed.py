"""The committed configs by name: their paths below cfg/, without .yaml."""

from __future__ import annotations

from ..conftest import ROOT

CFG = ROOT / "cfg"


def names(folder: str, pattern: str = "*.yaml") -> list[str]:
    return sorted(str(path.relative_to(CFG).with_suffix("")) for path in (CFG / folder).glob(pattern))
