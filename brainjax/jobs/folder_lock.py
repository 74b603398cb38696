"""One process at a time in a run's folder."""

from __future__ import annotations

import contextlib
import fcntl
import functools
from collections.abc import Iterator
from pathlib import Path

from brainjax import parallel
from brainjax.errors import InputError


class FolderInUseError(InputError):
    """Another process is at work in the folder."""


@contextlib.contextmanager
def alone_in(workdir: Path, *, but_for_workers: bool = False) -> Iterator[None]:
    """Keeps a second run out of a run's folder, which is made when missing.

    Of several processes of one run the first sees to it.

    Args:
      workdir: the folder.
      but_for_workers: let in others that say so too, the workers of one search.

    Raises:
      FolderInUseError: another process is there.
      InputError: the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        failed = parallel.from_first(functools.partial(_take, workdir, but_for_workers, held))
        if failed is not None:
            raise failed
        yield


def _take(workdir: Path, but_for_workers: bool, held: contextlib.ExitStack) -> InputError | None:
    """Takes the lock until ``held`` is left; what kept it from that is returned, for all."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        stream = held.enter_context((workdir / ".lock").open("w"))
        kind = fcntl.LOCK_SH if but_for_workers else fcntl.LOCK_EX
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return FolderInUseError(
            f"--workdir={workdir}: another process is at work there; wait, or choose another"
        )
    except OSError as error:
        return InputError(
            f"--workdir={workdir}: cannot be written ({error.strerror}); choose another folder"
        )
    return None
