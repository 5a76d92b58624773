"""Problems of a data set, gathered by file, so that one run reports all of them."""

from __future__ import annotations

import warnings
from pathlib import Path

from nablafx.errors import UserError, plain


class DataError(UserError, ValueError):
    """A data set that cannot be used as asked: what was found, what is needed, and the fix."""


class LostAudioError(DataError):
    """An audio file that could be read before, and cannot any more."""

    def __init__(self, message: str) -> None:
        # a worker's error comes as its traceback, whose last line is the message
        super().__init__(message.rsplit(f"{type(self).__name__}: ", 1)[-1].strip())


class DataWarning(UserWarning):
    """Findings about a data set that do not stop a run, since some devices really do this."""


class Report:
    """Collects problems (they stop the run) and notes (they are only said), each under its file."""

    def __init__(self) -> None:
        self.problems: dict[str, list[str]] = {}
        self.notes: dict[str, list[str]] = {}

    def problem(self, where: Path | str, line: str) -> None:
        self.problems.setdefault(str(where), []).append(line)

    def note(self, where: Path | str, line: str) -> None:
        self.notes.setdefault(str(where), []).append(line)

    def settle(self, speak: bool = True) -> None:
        """Warn of the notes (DataWarning; not if speak is False), then raise DataError for the problems."""
        if self.notes and speak:
            warnings.warn(plain(_text("Worth knowing about the data set", self.notes)), DataWarning, stacklevel=3)
        if self.problems:
            raise DataError(_text("The data set cannot be used", self.problems))


def _text(headline: str, lines: dict[str, list[str]]) -> str:
    blocks = [f"{where}\n" + "\n".join(f"  - {line}" for line in lines[where]) for where in sorted(lines)]
    count = "1 place" if len(lines) == 1 else f"{len(lines)} places"
    return f"{headline} ({count}):\n" + "\n".join(blocks)
