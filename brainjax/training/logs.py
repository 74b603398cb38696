"""What a run says while it runs: metrics.jsonl, TensorBoard and the console."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from brainjax.files import write_text

if TYPE_CHECKING:
    import tensorboardX


def read_history(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics.jsonl; a last line cut off by a killed process is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class Log(Protocol):
    """Where a run's numbers go."""

    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class SilentLog:
    """Of a process that computes with others, one of which writes."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Leaves the row to the process that writes."""

    def close(self) -> None:
        """Nothing was opened."""


class MetricsLog:
    """Appends rows of named numbers to ``metrics.jsonl`` and to TensorBoard.

    Opened for a run that goes on at ``start_step``, it first drops the rows
    written after that step by a process that was killed, so that the history
    reads as if the run had never stopped.
    """

    def __init__(self, directory: Path, *, start_step: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "metrics.jsonl"
        rows = [row for row in read_history(self.path) if row["step"] <= start_step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows))
        self._stream: TextIO = self.path.open("a", encoding="utf-8")
        self._board_folder, self._purge_step = directory / "tensorboard", start_step + 1

    @functools.cached_property
    def _board(self) -> tensorboardX.SummaryWriter:
        """Imported late: it loads PyTorch where there is one, more than a second's work."""
        import tensorboardX

        return tensorboardX.SummaryWriter(str(self._board_folder), purge_step=self._purge_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one row; numbers that are not finite are written as null."""
        row = {
            name: float(value) if math.isfinite(float(value)) else None
            for name, value in values.items()
        }
        self._stream.write(json.dumps({"step": step, **row}) + "\n")
        self._stream.flush()
        for name, value in row.items():
            if value is not None:
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes both files."""
        self._stream.close()
        self._board.close()


def format_duration(seconds: float) -> str:
    """Seconds as ``1:02:03`` or ``2:03``.

    >>> format_duration(3723), format_duration(123.4)
    ('1:02:03', '2:03')
    """
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ProgressPrinter:
    """Prints ``label done/total, rate, time left`` at most once every few seconds.

    Called as ``printer(done, total, seconds)``, or without the seconds, which then
    count from when it was made; the last one is always printed.
    """

    def __init__(self, label: str, *, unit: str, every_seconds: float = 5.0) -> None:
        self._label, self._unit, self._every, self._last = label, unit, every_seconds, -math.inf
        self._begun = time.perf_counter()

    def __call__(self, done: int, total: int, seconds: float | None = None) -> None:
        seconds = time.perf_counter() - self._begun if seconds is None else seconds
        if done < total and seconds - self._last < self._every:
            return
        self._last = seconds
        rate = done / seconds if seconds > 0 else 0.0
        left = format_duration((total - done) / rate) if rate else "?"
        print(f"{self._label} {done}/{total}  {rate:.2f} {self._unit}/s  {left} left", flush=True)
