"""ONNX Runtime Web: the one version whose files a demo page is written with, and where they come from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from nablafx.errors import UserError
from nablafx.writing import cache_folder

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# SHA-256 of what runs on the CPU, one thread or more, with SIMD; the package has no smaller build
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
VARIABLE = "NABLAFX_NODE_MODULES"
_CURE = f"install {PACKAGE}@{VERSION} with npm, and name its node_modules folder in ${VARIABLE}"


def find_runtime() -> Path | None:
    """The folder of the files where they are on this machine: in $NABLAFX_NODE_MODULES, or else in the cache.

    Raises:
        UserError: the variable is set, and they are not there as this version has them.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return None if _wrong(_cache()) else _cache()
    folder = Path(given) / PACKAGE / "dist"
    wrong = _wrong(folder)
    if wrong:
        raise UserError(f"${VARIABLE} is {given}, but {wrong}; {_CURE}")
    return folder


def get_runtime() -> Path:
    """As `find_runtime`; where they are nowhere, npm fetches them once, for the cache.

    Raises:
        UserError: there is no npm either, or it does not get them.
    """
    return find_runtime() or _fetched()


def _cache() -> Path:
    return cache_folder(f"{PACKAGE}-{VERSION}")


def _wrong(folder: Path) -> str:
    """What is wrong with the files in a folder; empty: nothing."""
    for name, wanted in FILES.items():
        path = folder / name
        if not path.is_file():
            return f"there is no {path}"
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            return f"{path} is not that of {PACKAGE} {VERSION}"
    return ""


def _fetched() -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"the page needs {PACKAGE} {VERSION}, and there is no npm to get it with; install npm, or {_CURE}"
        )
    print(f"Fetching {PACKAGE} {VERSION} with npm: once, 33 MB", flush=True)
    cache = _cache()
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache.parent) as name:
            folder = Path(name)
            _pack(npm, folder)
            wrong = _wrong(folder)
            if wrong:
                raise UserError(f"npm fetched something else: {wrong}; {_CURE}")
            made = folder / "made"
            made.mkdir()
            for file in FILES:
                (folder / file).rename(made / file)
            # another process may have been faster
            with contextlib.suppress(OSError):
                shutil.rmtree(cache, ignore_errors=True)
                made.rename(cache)
    except OSError as error:
        raise UserError(f"cannot write {cache}: {error}; {_CURE}") from error
    return cache


def _pack(npm: str, folder: Path) -> None:
    """Put the files of the package into a folder; nothing of it is run."""
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--pack-destination", str(folder)]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    packed = list(folder.glob("*.tgz"))
    if done.returncode or not packed:
        told = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise UserError(f"npm cannot fetch {PACKAGE} {VERSION} ({told}); is there a network? Else {_CURE}")
    with tarfile.open(packed[0]) as archive:
        for name in FILES:
            # KeyError would be a package without the file: the check of what is there tells
            with contextlib.suppress(KeyError):
                source = archive.extractfile(f"package/dist/{name}")
                if source is not None:
                    (folder / name).write_bytes(source.read())
