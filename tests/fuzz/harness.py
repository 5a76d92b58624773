"""What the fuzz tests share: a search over cases, and a watch over what becomes of each."""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from nablafx.errors import UserError

from ..cli import nablafx

SECONDS = 20.0  # of CPU for a case: the costliest good one takes one
MEGABYTES = 512  # of address space for a case, beyond what the process holds
Case = TypeVar("Case")


class Overrun(BaseException):
    """A case is at it for too long. No Exception, so that nothing takes it for damage of a file."""


def budget(short: int, long: int) -> pytest.MarkDecorator:
    """The argument `cases`: few of them by default, many in slow tests."""
    many = pytest.param(long, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])
    return pytest.mark.parametrize("cases", [short, many])


def search(cases: int, strategy: SearchStrategy[Case], check: Callable[[Case], object]) -> None:
    """Run `check` on so many cases, the same ones each time; the smallest that fails is told."""

    @settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        deadline=None,  # of wall time, which on a shared machine says nothing
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case: Case) -> None:
        check(case)

    run()


def told_by(call: Callable[..., Any], *arguments: Any) -> str | None:
    """What a reading function says of its input; None where it takes it. Nothing but a UserError may come out."""
    try:
        with bounded():
            call(*arguments)
    except UserError as mistake:
        return _checked(mistake.args[0])
    return None


def told_by_command(*words: object) -> str | None:
    """The same of a command."""
    with bounded():
        try:
            done = nablafx(*words)
        except SystemExit:
            return "argparse has told it"
    assert done.status in (0, 1), done
    assert "Traceback" not in done.err
    assert len(done.err) < 10_000, done.err[:300]
    return _checked(done.err.strip()) if done.status else None


def _checked(message: str) -> str:
    assert message.strip(), "an error says what is wrong"
    # it was let through, and only our limit stopped it
    assert not re.search("can't allocate|[Uu]nable to allocate|MemoryError|bad_alloc", message), message
    return message


@contextmanager
def bounded() -> Iterator[None]:
    """AssertionError after SECONDS of CPU; no more than MEGABYTES of address space to be had, used or not."""
    outer = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + (MEGABYTES << 20), outer[1]))
    before = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    except Overrun as error:
        raise AssertionError(f"it took more than {SECONDS} s of CPU") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, outer)


def _stop(_number: int, _frame: object) -> None:
    raise Overrun


def _address_space() -> int:
    """Bytes that this process has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
