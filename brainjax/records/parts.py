"""Work in parts: by this process, by several, or by a cluster; a finished part is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from brainjax.errors import InputError
from brainjax.files import read_json, write_json
from brainjax.records.beam_pipeline import run_pipeline

#: Called now and then with (items done, items in all, seconds so far).
Progress = Callable[[int, int, float], None]

#: Writes the part of this number and describes it in JSON values; calls back after each item.
WritePart = Callable[[int, Callable[[], None]], dict[str, Any]]

_MARKERS = "parts"


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """Who writes the parts; what is written does not depend on it.

    Attributes:
      workers: processes on this machine.
      beam: options of an Apache Beam runner, such as
        ``"--runner=FlinkRunner --flink_master=HOST:8081"``; empty uses this machine.
        Its workers have to see raw files and records under the same paths.
    """

    workers: int = 1
    beam: str = ""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"prepare_workers: expected 1 or more, found {self.workers}")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Parts of a generation of records, and which of them are there already.

    Attributes:
      folder: of the unfinished generation.
      sizes: the number of items of each part.
      keys: what each part is made of; a part with another key is written anew.
      write: writes one part; can be pickled unless one process does all.
    """

    folder: Path
    sizes: Sequence[int]
    keys: Sequence[str]
    write: WritePart

    def finished(self) -> dict[int, dict[str, Any]]:
        """Descriptions of the parts that are there, by number."""
        found = {}
        for number, key in enumerate(self.keys):
            path = _marker(self.folder, number)
            if path.exists() and (marker := read_json(path))["key"] == key:
                found[number] = marker["described"]
        return found

    def write_one(self, number: int, tell: Callable[[], None] = lambda: None) -> None:
        """Writes a part and, as the last thing, its marker."""
        described = self.write(number, tell)
        write_json(_marker(self.folder, number), {"key": self.keys[number], "described": described})


def write_parts(
    parts: Parts, options: PartOptions, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Writes the parts that are not there yet.

    Args:
      parts: all of them.
      options: who writes.
      progress: called with the items of the parts that were not there.

    Returns:
      The descriptions of all parts, in order.

    Raises:
      InputError: an item cannot be read, a process ended, or Beam refused.
    """
    _remove_unfinished_files(parts.folder)
    (parts.folder / _MARKERS).mkdir(exist_ok=True)
    missing = [number for number in range(len(parts.keys)) if number not in parts.finished()]
    for number in missing:
        _marker(parts.folder, number).unlink(missing_ok=True)
    counted = _Count(total=sum(parts.sizes[number] for number in missing), progress=progress)
    if options.beam:
        with _counting_markers(parts, missing, counted):
            run_pipeline(_WithErrors(parts), missing, options.beam)
        _raise_first_error(parts.folder)
    elif min(options.workers, len(missing)) > 1:
        _write_in_processes(parts, missing, min(options.workers, len(missing)), counted)
    else:
        for number in missing:
            parts.write_one(number, counted.add)
    _remove_unfinished_files(parts.folder)
    finished = parts.finished()
    return [finished[number] for number in range(len(parts.keys))]


def part_key(*values: Any) -> str:
    """A hash of plain JSON values: what a part, or a generation, is made of."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def has_finished_parts(folder: Path) -> bool:
    """Whether another preparation can go on with what is in an unfinished generation."""
    return any((folder / _MARKERS).glob("*.json"))


def remove_markers(folder: Path) -> None:
    """Removes what only says which parts are finished."""
    shutil.rmtree(folder / _MARKERS, ignore_errors=True)


class _Count:
    """Adds up items and tells of them."""

    def __init__(self, *, total: int, progress: Progress | None):
        self._total, self._progress = total, progress
        self._done, self._began = 0, time.monotonic()

    def add(self, items: int = 1) -> None:
        self._done += items
        if self._progress is not None and items:
            self._progress(self._done, self._total, time.monotonic() - self._began)


def _marker(folder: Path, number: int) -> Path:
    return folder / _MARKERS / f"{number:05d}.json"


def _remove_unfinished_files(folder: Path) -> None:
    """Removes temporary files and folders, whose names begin with a dot, of killed processes."""
    for path in sorted(folder.rglob(".*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


# Several processes on this machine. They are started anew, not forked: the parent may hold a
# device and threads.

_WORKED_ON: list[Parts] = []


def _write_in_processes(
    parts: Parts, missing: Sequence[int], workers: int, counted: _Count
) -> None:
    context = multiprocessing.get_context("spawn")
    ends_with_us, alive = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (parts, ends_with_us))
    try:
        numbers = {pool.submit(_write_in_worker, number): number for number in missing}
        for future in as_completed(numbers):
            future.result()
            counted.add(parts.sizes[numbers[future]])
    except BrokenProcessPool as error:
        raise InputError(
            "a process that prepared records was ended from outside, as happens when memory runs "
            f"out; lower data.prepare_workers ({workers} were at work) and run this again: "
            "finished parts are kept"
        ) from error
    finally:
        alive.close()  # whoever still works on a part ends: nobody waits for it
        pool.shutdown(cancel_futures=True)


def _begin_worker(parts: Parts, ends_with_parent: Connection) -> None:
    _WORKED_ON.append(parts)
    threading.Thread(target=_end_with, args=(ends_with_parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    """Ends this process when the parent closes its end, or was killed and so closed it."""
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os._exit(1)


def _write_in_worker(number: int) -> None:
    _WORKED_ON[0].write_one(number)


# A cluster. Runners try failed work several times and change what was raised, so a mistake of
# the user's is written down instead.


@dataclass(frozen=True)
class _WithErrors:
    """Writes a part somewhere; what the user has to know lies beside the markers after."""

    parts: Parts

    def __call__(self, number: int) -> int:
        error_file = _marker(self.parts.folder, number).with_suffix(".error")
        error_file.unlink(missing_ok=True)
        try:
            self.parts.write_one(number)
        except InputError as error:
            error_file.write_text(str(error), encoding="utf-8")
        return number


def _raise_first_error(folder: Path) -> None:
    for path in sorted((folder / _MARKERS).glob("*.error")):
        message = path.read_text(encoding="utf-8")
        path.unlink()
        raise InputError(message)


@contextlib.contextmanager
def _counting_markers(parts: Parts, missing: Sequence[int], counted: _Count) -> Iterator[None]:
    """Tells of parts as their markers appear, looked for every second."""
    waiting, ended = set(missing), threading.Event()

    def look() -> None:
        there = {number for number in waiting if _marker(parts.folder, number).exists()}
        waiting.difference_update(there)
        counted.add(sum(parts.sizes[number] for number in there))

    def watch() -> None:
        while not ended.wait(1.0):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        look()
