"""Several processes of ``python -m brainjax.main`` on this machine, joined by gloo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from tests.jobs.command_line import ENVIRONMENT, ROOT

SLICES = (
    "--config=configs/kaggle4_baseline.py", "--config.images.image_size=(16, 16)",
    "--config.batches.batch_size=8", "--config.model.widths=(4, 8)", "--config.model.hidden=(8,)",
    "--config.made_up.slices_per_class=6", "--config.made_up.image_size=(16, 16)",
    "--config.made_up.epochs=4", "--config.evaluation.bootstrap=5",
    "--config.evaluation.permutations=5", "--config.loop.log_every_steps=1",
    "--config.loop.save_every_steps=2", "--config.optimizer.average_decay=0.9",
)  # fmt: skip
"""A classifier of eight steps on made-up images."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


class Processes:
    """One command in several processes.

    Attributes:
      output: what each has printed so far, both streams together.
    """

    def __init__(
        self, count: int, *arguments: str, environment: Sequence[dict[str, str]] = ()
    ) -> None:
        port = free_port()
        self.output = ["" for _ in range(count)]
        self._changed = threading.Condition()
        self._processes = []
        self._readers = []
        for number in range(count):
            joined = (
                () if environment else
                (f"--coordinator=localhost:{port}", f"--processes={count}", f"--process={number}")
            )  # fmt: skip
            own = environment[number] if environment else {}
            process = subprocess.Popen(
                [sys.executable, "-m", "brainjax.main", *joined, *arguments],
                cwd=ROOT, env={**os.environ, **ENVIRONMENT, **own}, text=True, bufsize=1,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            self._processes.append(process)
            self._readers.append(threading.Thread(target=self._read, args=(number,)))
            self._readers[-1].start()

    def _read(self, number: int) -> None:
        stream = self._processes[number].stdout
        assert stream is not None
        with stream:
            for line in stream:
                with self._changed:
                    self.output[number] += line
                    self._changed.notify_all()

    def wait_for(self, text: str, *, of: int = 0, timeout: float = 300) -> None:
        """Returns when a process has printed ``text``."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.output[of], timeout), self.output

    def send(self, number: signal.Signals, *, to: int) -> None:
        self._processes[to].send_signal(number)

    def codes(self, timeout: float = 400) -> list[int]:
        """Exit codes of all, in order; kills what does not end in time."""
        try:
            return [process.wait(timeout) for process in self._processes]
        finally:
            for process in self._processes:
                process.kill()
            for reader in self._readers:
                reader.join()


def run(count: int, *arguments: str, code: int = 0) -> list[str]:
    """Runs to the end; what each process printed."""
    processes = Processes(count, *arguments)
    assert processes.codes() == [code] * count, processes.output
    return processes.output
