"""The two ends of ``benchmarks.speed``'s pipes: one JSON object a line, a request and its answer.

A child measures one case with one library, and sleeps in a read while it is not asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "0",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # JAX would leave the other side no memory
}


class ChildError(RuntimeError):
    """A child could not do what it was asked, or is gone."""


class Side(Protocol):
    """What a child offers: one library's way to run a case."""

    def device(self) -> dict[str, Any]:
        """Its ``device``, ``gpu`` and number of ``threads``."""

    def load(self, *, case: str, gpu: bool, variant: str) -> dict[str, Any]:
        """Makes the program of a case ready."""

    def run(self, calls: int) -> None:
        """Runs it so often, and waits until all is done."""

    def device_peak_mb(self) -> float | None:
        """The most memory that it held on a GPU."""


class Child:
    """A process that answers requests, for use in a ``with`` statement.

    Args:
      module: run with ``python -m`` in the repository's root; it calls ``serve``.
    """

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT | os.environ,
        )

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Sends a request and waits for the answer.

        Raises:
          ChildError: the child failed at it, or ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            print(json.dumps({"request": request, **arguments}), file=self._process.stdin,
                  flush=True)  # fmt: skip
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ChildError(f"the process ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(answer["error"])
        return answer

    def seconds(self, calls: int) -> float:
        """Mean seconds of one of so many calls; if they are several, one goes before untimed."""
        return self.ask("time", calls=calls)["seconds"]

    def close(self) -> None:
        """Ends the process: politely, and after ten seconds not so."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def serve(side: Side, **more: Callable[..., dict[str, Any]]) -> None:
    """Answers requests from standard input until it ends.

    What libraries print to standard output goes to standard error instead.

    Args:
      side: what is asked.
      **more: further requests by name.
    """
    answers: dict[str, Callable[..., dict[str, Any]]] = {
        "device": side.device,
        "load": side.load,
        "time": lambda calls: {"seconds": _time(side.run, calls)},
        "memory": lambda: {"peak_mb": _peak_mb(), "device_peak_mb": side.device_peak_mb()},
        **more,
    }
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        while line := sys.stdin.readline():
            request = json.loads(line)
            try:
                answer = answers[request.pop("request")](**request)
            except Exception as error:  # the other side tells it, and goes on
                message = str(error).strip().splitlines() or [""]
                answer = {"error": f"{type(error).__name__}: {message[0]}"}
            print(json.dumps(answer), file=channel, flush=True)


def available_threads() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _time(run: Callable[[int], None], calls: int) -> float:
    if calls > 1:
        run(1)
    begun = time.perf_counter()
    run(calls)
    return (time.perf_counter() - begun) / calls


def _peak_mb() -> float | None:
    """The process's peak resident memory; unlike ``ru_maxrss`` nothing of the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(fields["VmHWM"].split()[0]) / 1024
