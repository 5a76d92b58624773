"""What a config may name, and what a file .env may set: both may be of somebody else.

A class path is code: its module is imported, and the class called. Of a config, only those of PARTS and of what torch,
auraloss and Lightning add to a training are, and of packages that the user names, by `--allow` or $NABLAFX_ALLOW.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nablafx.errors import UserError

OPTION, VARIABLE = "--allow", "NABLAFX_ALLOW"
# what effects are made of; bundles hold nothing else
PARTS = ("nablafx.effects", "nablafx.conditioning", "nablafx.processors", "nablafx.controllers")
ALLOWED = (
    *PARTS,
    "nablafx.export.nam",
    "nablafx.training.losses",
    "nablafx.training.schedules",
    "nablafx.training.sinks",
    "nablafx.training.wandb_sink",
    "nablafx.training.callbacks",
    "nablafx.training.media",
    "torch.nn",
    "torch.optim",
    "auraloss",
    # of the trainer; loggers that send to an address of the config's choice are left out
    "lightning.pytorch.accelerators",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers.CSVLogger",
    "lightning.pytorch.loggers.TensorBoardLogger",
    "lightning.pytorch.loggers.csv_logs",
    "lightning.pytorch.loggers.tensorboard",
    "lightning.pytorch.plugins",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
    "lightning.fabric.plugins",
)
# of .env, which lies where nablafx is called: none of these decides which code runs, or where a key is sent
SETTINGS = (
    "DATA_ROOT",
    "LOG_ROOT",
    "NABLAFX_EMBEDDINGS",
    "NABLAFX_KERNELS",
    *(f"WANDB_{name}" for name in ("API_KEY", "ENTITY", "MODE", "PROJECT", "RUN_GROUP", "TAGS")),
)
_DENIED = re.compile(r"Importing '([^']+)' is not allowed")


class ForeignClassError(UserError):
    """A config names a class of a package that the user has not named."""


def named() -> tuple[str, ...]:
    """The packages, or parts of such, that the user trusts.

    Raises:
        UserError: what is named is no package, or would allow everything.
    """
    words = [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    for word in words:
        if not all(part.isidentifier() for part in word.split(".")) or word.split(".")[0] == "jsonargparse":
            raise UserError(f"{OPTION} is {word!r}; it needs names of packages with commas between, such as mine,other")
    return tuple(words)


@contextmanager
def taking(words: Sequence[str]) -> Iterator[list[str]]:
    """The words without `--allow PACKAGES`, which hold until the end of the block, also for processes begun there.

    Raises:
        UserError: nothing stands after it.
    """
    rest: list[str] = []
    given: list[str] = []
    waiting = iter(words)
    for word in waiting:
        option, equals, value = word.partition("=")
        if option != OPTION:
            rest.append(word)
            continue
        value = value if equals else next(waiting, "")
        if not value or value.startswith("-"):
            raise UserError(f"{OPTION} needs the names of packages whose code configs may run, such as {OPTION} mine")
        given.append(value)
    before = os.environ.get(VARIABLE)
    if given:
        os.environ[VARIABLE] = ",".join([*([before] if before else []), *given])
    try:
        yield rest
    finally:
        if before is not None:
            os.environ[VARIABLE] = before
        else:
            os.environ.pop(VARIABLE, None)


@contextmanager
def only_allowed() -> Iterator[None]:
    """Within the block, jsonargparse imports what is allowed, and nothing else.

    It asks before it imports, and of what it has got by an allowed path again where that was defined: `torch.nn.x.os`
    is os.

    Raises:
        ForeignClassError: a config names something else.
    """
    from jsonargparse import set_parsing_settings
    from jsonargparse._common import parsing_settings  # they are the process's, and there is no public way back

    allowed = [*ALLOWED, *named()]
    before = dict(parsing_settings)
    try:
        set_parsing_settings(
            import_path_denylist=["*"], import_path_allowlist=allowed, instantiate_subclass_spec_in_any=False
        )
        yield
    except ArgumentError as error:
        refused = refusal(str(error))
        if refused:
            raise refused from error
        raise
    finally:
        parsing_settings.update(before)


def refusal(message: str) -> ForeignClassError | None:
    """The answer to a message of jsonargparse's that says that it does not import something; None for another one."""
    found = _DENIED.search(message)
    if not found:
        return None
    path = found[1]
    package = path.partition(".")[0]
    told = f"a config names {path}, and the code of {package} is run for no config"
    if package in sys.stdlib_module_names or package == "jsonargparse":
        return ForeignClassError(f"{told}: it is no part of a model. Do not run this config before you have read it")
    # these are known to be large: no more of them than is needed
    wanted = path.rpartition(".")[0] if package in ("nablafx", "torch", "lightning") else package
    return ForeignClassError(
        f"{told} unless you say so. If you trust the config and the package, add {OPTION} {wanted}, or set "
        f"{VARIABLE}={wanted} in the shell"
    )


def load_settings(file: str = ".env") -> None:
    """Set what a file .env says of SETTINGS, where the environment does not; name what else it holds."""
    from dotenv import dotenv_values

    others = []
    for name, value in dotenv_values(file).items():
        if name in SETTINGS:
            if value is not None:
                os.environ.setdefault(name, value)
        elif name not in os.environ:
            others.append(name)
    if others:
        print(f"nablafx: not read from {file}, set them in the shell: {', '.join(others)}", file=sys.stderr)
