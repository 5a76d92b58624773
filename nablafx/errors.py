"""The one kind of error that is meant for the user's eyes alone, and how what others wrote is shown to them."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend: its message says what was found, what is needed and the fix.

    The command line prints it without a traceback, and ends with its status.
    """

    status = 1


def plain(text: str) -> str:
    """A text of somebody else's for a terminal or a page: what would move, colour or turn others is written out.

    Control and direction marks, and bytes that are no text, become escapes such as \\x1b; lines stay lines.
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
