"""One process at a time in a run's folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from brainjax.errors import InputError


class FolderInUseError(InputError):
    """Another process is at work in the folder."""


@contextlib.contextmanager
def alone_in(workdir: Path, *, but_for_workers: bool = False) -> Iterator[None]:
    """Keeps a second process out of a run's folder, which is made when missing.

    Args:
      workdir: the folder.
      but_for_workers: let in others that say so too, the workers of one search.

    Raises:
      FolderInUseError: another process is there.
      InputError: the folder cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        stream = (workdir / ".lock").open("w")
    except OSError as error:
        raise InputError(
            f"--workdir={workdir}: cannot be written ({error.strerror}); choose another folder"
        ) from error
    with stream:
        try:
            kind = fcntl.LOCK_SH if but_for_workers else fcntl.LOCK_EX
            fcntl.flock(stream, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(
                f"--workdir={workdir}: another process is at work there; wait, or choose another"
            ) from error
        yield
