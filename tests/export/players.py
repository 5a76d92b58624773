"""Where the tests find the players that run what is exported."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import ROOT

NODE_MODULES = ROOT / "tests" / "node" / "node_modules"
needs_node = pytest.mark.skipif(
    not (NODE_MODULES / "@opendaw" / "nam-wasm").is_dir() or shutil.which("node") is None,
    reason="no Node, or no packages for it: npm ci --ignore-scripts --prefix tests/node",
)
