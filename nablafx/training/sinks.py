"""Where scalars, audio and figures of a run go: plain files, TensorBoard or W&B.

The rest of the package calls `log_metrics`, `log_audio` and `log_figure` and knows none of the three.
"""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from torch import Tensor

from nablafx.training.files import inside, png_bytes, wav_bytes, write_wav
from nablafx.training.locks import writing_in
from nablafx.training.sink import Sink, first_process, require
from nablafx.training.wandb_sink import WandbSink
from nablafx.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FileSink", "Sink", "TensorBoardSink", "WandbSink"]

_LONGEST_ROW = 1 << 16  # bytes


class FileSink(Sink):
    """Plain files in the run's folder: `history.csv`, `audio/<tag>/step-….wav`, `figures/<tag>/step-….png`.

    `history.csv` has a row per call, `step` first. Rows are appended as they come, also by a test meanwhile; a run that
    goes on from a checkpoint first takes away those that came after it. A column that appears late is added at the
    right, which costs one pass over the file.
    """

    def __init__(self, save_dir: str = ".", name: str | None = None) -> None:
        super().__init__(save_dir, name)
        self.history = Path(save_dir, "history.csv")

    @first_process
    def log_metrics(self, metrics: Mapping[str, Tensor | float], step: int | None = None) -> None:
        row = {"step": step, **{key: float(value) for key, value in metrics.items()}}
        with writing_in(Path(self._save_dir)):
            columns = self._columns()
            late = [key for key in row if key not in columns]
            if late:
                columns += late
                self._rewrite(columns)
            self._append(_line(row.get(key) for key in columns))

    def position(self, pending_step: int | None) -> int:
        """Rows."""
        pending = int(pending_step is not None)
        if not self.history.exists():
            return pending
        with self.history.open("rb") as file:
            return max(sum(1 for _ in file) - 1, 0) + pending

    @first_process
    def rewind(self, position: int) -> None:
        with writing_in(Path(self._save_dir)):
            if self._columns():
                with self.history.open("rb") as source:
                    kept = list(islice(source, position + 1))
                with replacing(self.history, durable=True) as temporary:
                    temporary.write_bytes(b"".join(kept))

    def _columns(self) -> list[str]:
        """Those on the disk; a row that a run was killed in is taken away."""
        if not self.history.exists():
            return []
        with self.history.open("rb+") as file:
            header = file.readline()
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - _LONGEST_ROW, 0))
            tail = file.read()
            if not tail.endswith(b"\n"):
                file.truncate(end - len(tail) + tail.rfind(b"\n") + 1)
        return next(csv.reader([header.decode()]), []) if header.endswith(b"\n") else []

    def _append(self, line: bytes) -> None:
        with self.history.open("ab", buffering=0) as file:
            end = file.tell()
            if file.write(line) < len(line):
                file.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.history))

    def _rewrite(self, columns: list[str]) -> None:
        """The same rows under a new header, one at a time: a history may be longer than memory is large."""
        with replacing(self.history, durable=True) as temporary, temporary.open("wb") as target:
            target.write(_line(columns))
            if self.history.exists():
                with self.history.open(newline="") as source:
                    rows = csv.reader(source)
                    next(rows, None)
                    target.writelines(_line([*row, *[""] * (len(columns) - len(row))]) for row in rows)

    @first_process
    def log_audio(self, tag: str, audio: Tensor, sample_rate: int, step: int) -> None:
        write_wav(self._path("audio", tag, step, ".wav"), audio, sample_rate)

    @first_process
    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        with replacing(self._path("figures", tag, step, ".png")) as temporary:
            temporary.write_bytes(png_bytes(figure))

    def _path(self, kind: str, tag: str, step: int, suffix: str) -> Path:
        # Tags carry their kind for the other sinks' sake ("audio/input/…"); here it is the folder, once.
        return inside(Path(self._save_dir, kind), f"{tag.removeprefix(kind + '/')}/step-{step:06d}", suffix)


def _line(cells: Iterable[Any]) -> bytes:
    """A row of a csv file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


class TensorBoardSink(Sink):
    """TensorBoard events in `<run>/tensorboard`; needs the extra `nablafx[tensorboard]`."""

    def __init__(self, save_dir: str = ".", name: str | None = None) -> None:
        super().__init__(save_dir, name)
        require("tensorboard")
        self._writer: Any = None
        self._last_step = -1
        self._void_from: int | None = None  # step from which on TensorBoard forgets what a run logged before

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The SummaryWriter, made at the first use."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(os.path.join(self._save_dir, "tensorboard"), purge_step=self._void_from)
        return self._writer

    def position(self, pending_step: int | None) -> int:
        """The last step that was logged."""
        return max(self._last_step, -1 if pending_step is None else pending_step)

    @first_process
    def rewind(self, position: int) -> None:
        self.finalize("success")
        self._last_step, self._void_from = position, position + 1

    @first_process
    def log_metrics(self, metrics: Mapping[str, Tensor | float], step: int | None = None) -> None:
        self._last_step = max(self._last_step, step or 0)
        for tag, value in metrics.items():
            self.experiment.add_scalar(tag, float(value), step)

    @first_process
    def log_audio(self, tag: str, audio: Tensor, sample_rate: int, step: int) -> None:
        # Not SummaryWriter.add_audio: it clips to 16 bits and takes one channel only.
        from tensorboard.compat.proto.summary_pb2 import Summary

        content = Summary.Audio(
            sample_rate=sample_rate,
            num_channels=1 if audio.ndim == 1 else audio.shape[0],
            length_frames=audio.shape[-1],
            encoded_audio_string=wav_bytes(audio, sample_rate),
            content_type="audio/wav",
        )
        self._add(Summary(value=[Summary.Value(tag=tag, audio=content)]), step)

    @first_process
    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        # Not SummaryWriter.add_figure: it goes through pyplot and its global state.
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = figure.canvas.get_width_height()
        content = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png_bytes(figure))
        self._add(Summary(value=[Summary.Value(tag=tag, image=content)]), step)

    def _add(self, summary: Any, step: int) -> None:
        self._last_step = max(self._last_step, step)
        self.experiment._get_file_writer().add_summary(summary, step)

    @first_process
    def save(self) -> None:
        self.experiment.flush()

    @first_process
    def finalize(self, status: str) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
