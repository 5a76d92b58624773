"""What the command line's parser knows of this package: short names of classes, and answers to wrong ones."""

from __future__ import annotations

import re
from argparse import SUPPRESS
from difflib import get_close_matches
from inspect import isclass, signature
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

import nablafx.conditioning
import nablafx.controllers
import nablafx.effects
import nablafx.processors
from nablafx.errors import UserError
from nablafx.training import losses, schedules, sinks
from nablafx.trust import refusal

# arguments of the System before it took a schedule, in the resolved configs of the runs of then
_OF_PLATEAU = {"plateau_factor": "factor", "plateau_patience": "patience"}


class Parser(LightningArgumentParser):
    """Answers a wrong name with the nearest right one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            # a parser within a parser: the outer one will tell
            super().error(message, ex)
        refused = refusal(message)
        if refused:
            raise refused from ex
        # some of jsonargparse's answers name the nearest name themselves
        hint = "" if "Did you mean" in message else _nearest(message, _vocabulary(self))
        raise UserError(f"{message}{hint}\nEvery option: nablafx {self.prog.split()[-1]} --help") from ex


def add_former(parser: LightningArgumentParser) -> None:
    """Let the parser take what runs of before had, so that their configs can be tested."""
    for name in _OF_PLATEAU:
        parser.add_argument(f"--model.{name}", type=float, default=SUPPRESS, help=SUPPRESS)


def take_former(model: Any, trains: bool) -> None:
    """Remove it from the section model of a parsed config.

    Raises:
        UserError: it would train by another schedule than the config says.
    """
    given = {name: model.pop(name) for name in _OF_PLATEAU if name in model}
    if given and trains:
        words = ", ".join(f"{_OF_PLATEAU[name]}: {value:g}" for name, value in given.items())
        raise UserError(
            f"model.{', model.'.join(given)}: the schedule is a class of its own now. Give in this place model: "
            f"{{schedule: {{class_path: PlateauSchedule, init_args: {{{words}}}}}}}"
        )


def _nearest(message: str, known: list[str]) -> str:
    """A hint for the words of jsonargparse's message that look like a name in `known`, but are none."""
    message = re.sub(r"<class '[^']*'>|Given value.*", "", message)
    words = re.findall(r"['\"`]([\w.]+)['\"`]|--([\w.]+)|string: ([\w.]+)", message)
    leaves = [word.split(".")[-1] for groups in words for word in groups if word]
    near = [match for leaf in leaves if leaf not in known for match in get_close_matches(leaf, known, 1, 0.6)]
    return f"\nDid you mean {' or '.join(dict.fromkeys(map(repr, near)))}?" if near else ""


def _vocabulary(parser: LightningArgumentParser) -> list[str]:
    """Every name that a config can hold: keys of the parser, classes of ours and their arguments."""
    names = {part for action in parser._actions for part in str(action.dest).split(".")}
    parts = (nablafx.effects, nablafx.conditioning, nablafx.processors, nablafx.controllers)
    for package in (*parts, losses, schedules, sinks):
        for name, value in vars(package).items():
            if isclass(value) and value.__module__.startswith("nablafx") and not issubclass(value, Exception):
                names |= {name, *signature(value).parameters}
    return sorted(names)
