"""One process at a time in a folder of records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from brainjax.errors import InputError

LOCK = ".lock"


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[bool]:
    """Waits for and holds the folder's lock; the system lets go of it if we are killed.

    Yields:
      Whether it is held: some network file systems know no locks. Work done
      there is safe (it is renamed into place), but others' must not be removed.

    Raises:
      InputError: the folder cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stream = (directory / LOCK).open("a")
    except OSError as error:
        raise InputError(
            f"{directory}: expected a folder that can be written to, {error.strerror}; "
            "choose another folder for the records"
        ) from error
    with stream:
        yield _lock(stream.fileno())


def _lock(descriptor: int) -> bool:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return False
    return True
