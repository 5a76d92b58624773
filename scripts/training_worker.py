"""One side of a comparison of training steps, in a process of its own: no nablafx is imported here, whichever it is.

A worker reads a request a line from its standard input, JSON, and answers with a line. `serve` hands the first one, the
plan of a training, to a function that makes a `Subject` of it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CLIP = 10.0


class Plan(NamedTuple):
    """A training that both sides can run.

    Attributes:
        kind: class of the net, or GrayBox.
        arguments: of a net, all that its constructor takes; of a chain, `stages`: (processor, arguments, controller).
        conditioning: its kind in the published words (film, tfilm, ...), or None.
        tbptt: samples of an optimizer step, or None.
        config: the name of our config.
    """

    config: str
    kind: str
    arguments: dict[str, Any]
    conditioning: str | None
    num_controls: int
    tbptt: int | None
    batch: int
    samples: int
    device: str
    threads: int
    lr: float
    tf32: bool
    compile: bool = False


class Subject(NamedTuple):
    """What is timed.

    Attributes:
        parameters: what the optimizer steps.
        start: called at the start of a batch.
        forward: (x, controls) of a piece -> prediction; carries its state from piece to piece, detached.
        loss: (prediction, target) -> total.
        fit: trains for so many batches within Lightning, with a callback of ours.
        facts: what is told of it.
    """

    parameters: list[nn.Parameter]
    start: Callable[[], None]
    forward: Callable[[Tensor, Tensor | None], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    fit: Callable[[int, Any], None]
    facts: dict[str, Any]


class Bare:
    """A training step in a plain loop over one batch: forward, loss, backward, clipping, AdamW."""

    def __init__(self, plan: Plan, subject: Subject) -> None:
        self.plan, self.subject = plan, subject
        self.x, self.y, self.controls = audio(plan)
        self.optimizer = torch.optim.AdamW(subject.parameters, lr=plan.lr, fused=True)
        # what a step has freed stays with the process: only what was there before the first one is not of steps
        self.resident = _resident("VmRSS") if Path("/proc/self/clear_refs").exists() else None

    def step(self) -> float:
        """Seconds of one batch."""
        self._wait()
        started = time.perf_counter()
        self.subject.start()
        size = self.plan.tbptt or self.plan.samples
        for x, y in zip(self.x.split(size, -1), self.y.split(size, -1), strict=True):
            total = self.subject.loss(self.subject.forward(x, self.controls), y)
            self.optimizer.zero_grad()
            total.backward()
            nn.utils.clip_grad_value_(self.subject.parameters, CLIP)
            self.optimizer.step()
        self._wait()
        return time.perf_counter() - started

    def peak(self) -> int | None:
        """Bytes that a step needs at most beyond what was there before; None where the system does not tell."""
        if self.plan.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.step()
            return torch.cuda.max_memory_allocated() - before
        if self.resident is None:
            return None
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of what follows
        self.step()
        return _resident("VmHWM") - self.resident

    def _wait(self) -> None:
        if self.plan.device == "cuda":
            torch.cuda.synchronize()


def audio(plan: Plan) -> tuple[Tensor, Tensor, Tensor | None]:
    """Dry and wet noise of a moving level, and knobs: the same on both sides."""
    generator = torch.Generator().manual_seed(0)
    level = 0.1 * (1 + torch.sin(torch.linspace(0, 12, plan.samples)))
    x = level * torch.randn(plan.batch, 1, plan.samples, generator=generator)
    knobs = torch.rand(plan.batch, plan.num_controls, generator=generator) if plan.num_controls else None
    return x.to(plan.device), torch.tanh(3 * x).to(plan.device), None if knobs is None else knobs.to(plan.device)


def pairs_callback(bare: Bare, base: Any) -> Any:
    """A Lightning callback that times every batch of a fit, and a bare step beside it: shared machines drift."""

    class Pairs(base):
        def __init__(self) -> None:
            self.pairs: list[tuple[float, float]] = []
            self.started: float | None = None

        def on_train_batch_start(self, *args: object) -> None:
            bare._wait()
            if self.started is not None:
                within = time.perf_counter() - self.started
                self.pairs.append((bare.step(), within))
            self.started = time.perf_counter()

    return Pairs()


def serve(make: Callable[[Plan], Subject], callback: type) -> None:
    """Answer requests until there are no more: a plan first, then `step`, `peak` and `fit N`.

    callback: Lightning's class of that name.
    """
    answer = _take_stdout()
    warnings.filterwarnings("ignore")
    lines = iter(sys.stdin)
    plan = Plan(**json.loads(next(lines)))
    torch.set_num_threads(plan.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = plan.tf32
    torch.manual_seed(0)
    subject = make(plan)
    bare = Bare(plan, subject)
    count = sum(p.numel() for p in subject.parameters)
    answer({"parameters": count, "torch": torch.__version__, **subject.facts})
    for line in lines:
        word, _, number = line.strip().partition(" ")
        if word == "fit":
            pairs = pairs_callback(bare, callback)
            subject.fit(int(number) + 2, pairs)
            answer(pairs.pairs[1:])  # the first one warms up
        else:
            answer(getattr(bare, word)())


class Worker:
    """A process that serves, seen from outside."""

    def __init__(self, python: str, script: Path, plan: Plan) -> None:
        self._process: Any = subprocess.Popen(
            [python, str(script), "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(plan.threads)},
        )
        self.facts = self._ask(json.dumps(plan._asdict()))

    def step(self) -> float:
        return self._ask("step")

    def peak(self) -> int | None:
        return self._ask("peak")

    def fit(self, batches: int) -> tuple[float, float]:
        """Seconds of a batch within fit, and how many times the bare step beside it that is: medians."""
        pairs = self._ask(f"fit {batches}")
        return statistics.median(b for _, b in pairs), statistics.median(b / a for a, b in pairs)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, request: str) -> Any:
        given, answers, complaints = self._process.stdin, self._process.stdout, self._process.stderr
        with suppress(BrokenPipeError):  # what it said before it ended is told below
            given.write(f"{request}\n")
            given.flush()
        line = answers.readline()
        if not line:
            raise RuntimeError(f"{self._process.args}: {complaints.read()[-2000:]}")
        return json.loads(line)


@contextmanager
def worker(python: str, script: Path, plan: Plan) -> Iterator[Worker]:
    running = Worker(python, script, plan)
    try:
        yield running
    finally:
        running.close()


def _take_stdout() -> Callable[[Any], None]:
    """A function that writes an answer; whatever else is printed goes nowhere."""
    channel = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)

    def answer(value: Any) -> None:
        print(json.dumps(value), file=channel, flush=True)

    return answer


def _resident(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines[field].split()[0]) * 1024
