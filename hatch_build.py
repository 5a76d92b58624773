"""What a wheel carries besides code; hatchling calls it."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Shipped(BuildHookInterface):
    """In a checkout configs, weights and recordings lie beside the package, in a wheel within it (nablafx.shipped)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # an editable install uses the checkout's
        if version == "standard":
            build_data["force_include"] |= {name: f"nablafx/shipped/{name}" for name in ("cfg", "weights", "demo")}
