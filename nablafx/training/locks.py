"""Who writes into a run's folder: one training, and one writer of its shared files at a time.

The locks are POSIX record locks. They belong to the process, so that neither its workers nor W&B's keep them when it is
killed; the kernel gives them back then, and on NFS (with its lock service, as it is by default) other hosts see them.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from nablafx.errors import UserError
from nablafx.training.runs import RUN_LOCK

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

_WRITE_LOCK = ".write.lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)


@contextmanager
def training_in(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a run's folder; of the processes of one training, the first is to call it.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    try:
        handle = os.open(folder / RUN_LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"cannot write into the run's folder {folder}: {error}; mend its rights or its disk") from error
    try:
        if not _lock(handle, wait=False, folder=folder):
            holder = os.read(handle, 1000).decode(errors="replace").strip() or "another process"
            raise UserError(
                f"{holder} is training in {folder}, and two runs must not write one folder; wait for it or stop it, "
                "or begin a new run: leave --ckpt_path out"
            )
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(handle)


@contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Wait for one's turn to change a file that several commands change: run.json, history.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / _WRITE_LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(handle, wait=True, folder=folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, wait: bool, folder: Path) -> bool:
    """Whether the lock is ours; a file system without locks is warned of, once, and gives it to everybody."""
    if fcntl is None:
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if not wait:
            rank_zero_warn(f"the file system of {folder} has no locks ({error}): see that no other run writes there")
    return True
