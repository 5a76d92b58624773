"""What the demo page runs on, and .nam files of documents."""

from __future__ import annotations

import json
import os

import pytest

from nablafx.errors import UserError
from nablafx.export.demo_runtime import PACKAGE, VARIABLE, VERSION, find_runtime
from nablafx.export.nam import read_nam
from tests.conftest import ROOT

MODULES = ROOT / "tests" / "node" / "node_modules"


@pytest.fixture(scope="session")
def web_runtime():
    """ONNX Runtime Web from $NABLAFX_NODE_MODULES, tests/node or the cache; no test fetches it."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get(VARIABLE) and MODULES.is_dir():
            patch.setenv(VARIABLE, str(MODULES))
        try:
            found = find_runtime()
        except UserError as error:
            pytest.skip(str(error))
        if found is None:
            pytest.skip(f"there is no {PACKAGE} {VERSION} here: npm ci --ignore-scripts --prefix tests/node")
        yield found


@pytest.fixture
def put(tmp_path):
    """Writes a document, and reads it."""

    def read(document, name="file.nam"):
        path = tmp_path / name
        path.write_text(json.dumps(document))
        return read_nam(path)

    return read
