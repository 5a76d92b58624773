"""What happens around training: the test's report, rendered files, the progress bar."""

import csv
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from nablafx.errors import plain
from nablafx.plots import plot_comparison
from nablafx.processes import gathered
from nablafx.training.files import inside, png_bytes, write_wav
from nablafx.writing import replacing

# of a terminal's width: longer names of files are folded where the table is
_NAMES_SHARE = 3


class TestReport(Callback):
    """Writes `metrics.csv`, prints it as a table, and draws `test/<name>.png` for `max_pictures` files.

    `test_step` returns {"name", "values": {metric: number}, "x", "y", "prediction"} with CPU tensors (1, T), or None,
    and the module holds `test_totals: {metric: float}` when the test ends. `metrics.csv` has a row a file and
    a last row `all`. `folder` is the run's; without it, the trainer's default_root_dir.
    """

    __test__ = False  # pytest collects what is called Test…

    def __init__(self, folder: str | None = None, max_pictures: int = 10) -> None:
        self.folder = folder
        self.max_pictures = max_pictures
        self._rows: dict[str, dict[str, float]] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows = {}

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if outputs is None:
            return
        if batch_idx * trainer.world_size + trainer.global_rank < self.max_pictures:
            name, rate = outputs["name"], pl_module.sample_rate
            figure = plot_comparison(outputs["y"], outputs["prediction"], rate, outputs["x"], name)
            with replacing(inside(_folder(self, trainer) / "test", name, ".png")) as temporary:
                temporary.write_bytes(png_bytes(figure))
        self._rows[outputs["name"]] = {key: float(value) for key, value in outputs["values"].items()}

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        rows = dict(sorted(row for part in gathered(self._rows) for row in part.items()))
        if trainer.is_global_zero:
            rows["all"] = {key: float(value) for key, value in pl_module.test_totals.items()}
            columns = list(dict.fromkeys(key for row in rows.values() for key in row))
            path = _folder(self, trainer) / "metrics.csv"
            _write_table(path, columns, rows)
            _print_table(columns, rows)
            print(f"Test metrics in {path}")


def _folder(callback: Any, trainer: Trainer) -> Path:
    return Path(callback.folder or trainer.default_root_dir)


def _write_table(path: Path, columns: list[str], rows: Mapping[str, Mapping[str, float]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", *columns])
        writer.writerows([name, *(row.get(key) for key in columns)] for name, row in rows.items())


def _print_table(columns: list[str], rows: Mapping[str, Mapping[str, float]]) -> None:
    """A row a file; a row a metric where a terminal is too narrow for that; and where for both, several of the first.

    A log has no edge at which figures would have to be cut off.
    """
    from rich.console import Console

    console = Console()
    cells = [[plain(name), *(f"{row[key]:.4g}" if key in row else "" for key in columns)] for name, row in rows.items()]
    by_file = [["file", *columns], *cells]
    by_metric = [["metric", *rows], *_transposed(by_file)[1:]]
    widest = console.width if console.is_terminal else _width(by_file)
    console.width = max(console.width, widest)
    if _width(by_file) <= widest:
        console.print(_grid(by_file, all_is_last_row=True))
    elif _width(by_metric) <= widest:
        console.print(_grid(by_metric))
    else:
        for part in _folded(by_file, widest):
            console.print(_grid(part, all_is_last_row=True, longest_name=widest // _NAMES_SHARE))


def _width(cells: list[list[str]], longest_name: int = sys.maxsize) -> int:
    """Of the table as it is printed, with a line and two spaces a column."""
    names, *columns = (max(map(len, column)) for column in zip(*cells, strict=True))
    return min(names, longest_name) + 3 + sum(column + 3 for column in columns) + 1


def _folded(cells: list[list[str]], widest: int) -> Iterator[list[list[str]]]:
    """Tables no wider than that, of some of the columns each; the first column is in all of them."""
    names, *columns = _transposed(cells)
    part = [names]
    for column in columns:
        if len(part) > 1 and _width(_transposed([*part, column]), widest // _NAMES_SHARE) > widest:
            yield _transposed(part)
            part = [names]
        part.append(column)
    yield _transposed(part)


def _transposed(cells: list[list[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*cells, strict=True)]


def _grid(cells: list[list[str]], all_is_last_row: bool = False, longest_name: int | None = None) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column(escape(cells[0][0]), overflow="fold", max_width=longest_name)
    for name in cells[0][1:]:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for row in cells[1:-1]:
        table.add_row(*map(escape, row))
    if all_is_last_row:
        table.add_section()
    table.add_row(*map(escape, cells[-1]))
    return table


class PredictionWriter(Callback):
    """Writes `predictions/<name>.wav`, 32-bit float and as long as the input, as each file is rendered.

    `predict_step` returns {"name": a relative path without suffix, "prediction": CPU tensor (1, T)}, or None.
    `folder` is the run's; without it, the trainer's default_root_dir. Raises ValueError for a name that leads
    out of it.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def on_predict_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        if outputs is None:
            return
        path = inside(_folder(self, trainer) / "predictions", outputs["name"], ".wav")
        write_wav(path, outputs["prediction"], pl_module.sample_rate)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            print(f"Predictions in {_folder(self, trainer) / 'predictions'}")


class ProgressBar(TQDMProgressBar):
    """A bar redrawn every `refresh_rate` batches only: reading its numbers waits for the accelerator.

    Where the output is no terminal (a log file), bars give way to a line of training progress at most every
    `log_seconds`, and one at the end.
    """

    def __init__(self, refresh_rate: int = 10, log_seconds: float = 30.0) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self.log_seconds = log_seconds
        self._logs = False
        self._logged_at = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        # A notebook is no terminal, and redraws lines all the same.
        if self.is_enabled and not sys.stdout.isatty() and "ipykernel" not in sys.modules:
            self._logs = True
            self.disable()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._logs and time.monotonic() - self._logged_at > self.log_seconds:
            self._log_line(trainer, pl_module)

    def on_train_end(self, *args: Any) -> None:
        super().on_train_end(*args)
        if self._logs:
            self._log_line(*args)

    @contextmanager
    def naming(self, what: str) -> Iterator[None]:
        """Show what the run waits for, in the place of the name of its stage."""
        if self._logs:
            print(what, flush=True)
        bar = self._train_progress_bar if self.trainer.training else self._val_progress_bar
        if bar is None:
            yield
            return
        name = bar.desc
        bar.set_description_str(what)
        yield
        bar.set_description_str(name)

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        if self._logs:
            print(*args, sep=sep, **kwargs)  # with its bars disabled, the parent would print nothing
        else:
            super().print(*args, sep=sep, **kwargs)

    def _log_line(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._logged_at = time.monotonic()
        metrics = self.get_metrics(trainer, pl_module)
        shown = "".join(f", {key} {value:.4g}" for key, value in metrics.items() if isinstance(value, float))
        print(f"Step {trainer.global_step}, epoch {trainer.current_epoch}{shown}", flush=True)
