"""The one kind of error that is meant for the user's eyes alone."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend: its message says what was found, what is needed and the fix.

    The command line prints it without a traceback, and ends with its status.
    """

    status = 1
