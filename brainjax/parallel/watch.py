"""One process fails or is lost: all end, soon, with one line that says why."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import jax

from brainjax.errors import InputError
from brainjax.parallel.processes import WEEK_MS, barrier, client

LOST = 75
"""Exit code of the rest when a process is lost: what ``sysexits.h`` calls a temporary failure."""

SILENCE_SECONDS = 30.0
"""How long a process may be silent before it counts as lost."""

JAX_SILENCE_SECONDS = 60
"""The same for JAX's own watch, which ends processes with a long message; ours comes first."""

_ENDED = "brainjax/ended"
_WELL = "well"
_ALIVE = "brainjax/alive"
_BEAT_SECONDS = 2.0

_SIGNS_OF_LOSS = ("Gloo", "NCCL", "oordination", "heartbeat")
"""In errors of collectives and of the coordination service."""

_finished = threading.Event()
_threads: list[threading.Thread] = []


def watch() -> None:
    """Starts to tell the others that this process lives, and to listen for their end."""
    for task in (_beat, _listen, *([_count] if jax.process_index() == 0 else [])):
        _threads.append(threading.Thread(target=_until_finished, args=(task,), daemon=True))
        _threads[-1].start()


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """What a process does in its run: none ends before the others, or all end with an error.

    Where a process is lost, what is left of the run ends with ``LOST`` and one line.
    """
    try:
        yield
    except InputError as error:
        _tell_failure(str(error), 2)
        raise
    except (Exception, KeyboardInterrupt) as error:
        if client() is None:
            raise
        if any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            time.sleep(_BEAT_SECONDS)  # a process that failed tells more, and ends this one
            _end(LOST, f"the connection to another process broke ({_short(error)})")
        traceback.print_exc()
        _tell_failure(f"{type(error).__name__}: {_short(error)}", 1)
        os._exit(1)
    if client() is not None:
        barrier()
        _finished.set()
        _tell(_WELL)
        for thread in _threads:
            thread.join(timeout=10)


def _tell_failure(message: str, code: int) -> None:
    if client() is not None:
        _tell(f"{code}:process {jax.process_index()} failed: {message}")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]


def _tell(ended: str) -> None:
    try:
        client().key_value_set(_ENDED, ended, allow_overwrite=False)
    except Exception:  # another process was first, or the service is gone: all end anyway
        return


def _until_finished(task: Callable[[], None]) -> None:
    try:
        task()
    except Exception:
        if not _finished.is_set():
            _end(LOST, "lost the connection to the first process")


def _beat() -> None:
    while not _finished.wait(_BEAT_SECONDS):
        client().key_value_increment(f"{_ALIVE}/{jax.process_index()}", 1)


def _count() -> None:
    """The first process counts everyone's beats."""
    beats: dict[str, tuple[str, float]] = {}
    while not _finished.wait(_BEAT_SECONDS):
        now = time.monotonic()
        for name, beat in client().key_value_dir_get(_ALIVE):
            if beats.get(name, ("", 0.0))[0] != beat:
                beats[name] = (beat, now)
        silent = [name for name, (_, last) in beats.items() if now - last > SILENCE_SECONDS]
        if silent:
            number = silent[0].rsplit("/", 1)[-1]
            _tell(f"{LOST}:process {number} has been silent for {SILENCE_SECONDS:.0f} s")


def _listen() -> None:
    ended = client().blocking_key_value_get(_ENDED, WEEK_MS)
    code, _, message = ended.partition(":")
    if ended != _WELL and not message.startswith(f"process {jax.process_index()} failed"):
        _end(int(code), message)


def _end(code: int, message: str) -> None:
    print(
        f"error: process {jax.process_index()} of {jax.process_count()} ends: {message}; "
        "run the same command to go on from the last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(code)
