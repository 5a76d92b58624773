"""The one kind of error that is meant for the user's eyes alone."""

from __future__ import annotations

import pickle
import struct
import zipfile


class UserError(Exception):
    """A mistake that the user can mend: its message says what was found, what is needed and the fix.

    The command line prints it without a traceback, and ends with its status.
    """

    status = 1


# what torch.load raises on bytes that are no checkpoint: its machine stumbles wherever they lead it
UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    OSError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
